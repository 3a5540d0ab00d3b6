#include "driver/cli.h"

#include <fmt/format.h>

#include <CLI/CLI.hpp>
#include <charconv>
#include <cstdio>
#include <iostream>
#include <iterator>
#include <new>

#include "backends/llvm/compile.h"
#include "backends/onednn/matmul.h"
#include "driver/calibration.h"
#include "driver/commands.h"
#include "frontend/elaborate.h"
#include "ir/diagnostic.h"
#include "ir/text_parser.h"
#include "passes/pass_manager.h"
#include "runtime/atomic_file.h"
#include "runtime/file.h"

namespace treadle {
namespace {

constexpr int exit_user_error = 1;
constexpr int exit_usage = 2;
constexpr int exit_internal = 70;
constexpr const char* reproducer_path = "treadle-reproducer.tir";

int report_pass_failure(const PassFailure& failure) {
  std::cerr << fmt::format("internal error in the pass '{}': {}\n", failure.pass, failure.message);
  const std::string text = fmt::format("# treadle opt {} -p '{}' --verify-each\n{}",
                                       reproducer_path, failure.rest, failure.input);
  try {
    write_file_atomically(reproducer_path, text);
    std::cerr << fmt::format("the graph before it is in {}\n", reproducer_path);
  } catch (const UserError& error) {
    std::cerr << error.what();
  }
  return exit_internal;
}

// A result that nobody got is no success.
int flushed(int status) {
  std::cout.flush();
  if (std::cout && std::fflush(stdout) == 0 && std::ferror(stdout) == 0) return status;
  throw_user_error("T0858", "cannot write to standard output",
                   "is the disk full, or its reader gone?");
}

int guarded(const Action& action) {
  try {
    return flushed(action());
  } catch (const UserError& error) {
    std::cerr << error.what();
    return exit_user_error;
  } catch (const PassFailure& failure) {
    return report_pass_failure(failure);
  } catch (const std::bad_alloc&) {
    Diagnostic mistake;
    mistake.code = "T0986";
    mistake.message = "this machine has not the memory that this needs";
    mistake.hints = {"smaller dims, a smaller batch or a shorter sequence need less"};
    std::cerr << render(mistake);
    return exit_user_error;
  } catch (const std::exception& error) {
    std::cerr << "internal error: " << error.what() << "\n";
    return exit_internal;
  }
}

}  // namespace

Graph load_graph(const std::string& path, DType real, const DimEnv& dims) {
  if (path.ends_with(".tdl")) {
    ElaborateOptions options;
    options.real = real;
    for (const auto& [name, value] : dims) options.dims[name] = value;
    const Experiment experiment = load_experiment(path, options);
    if (const TrainSpec* train = experiment.find_train())
      return experiment.loss(*train, Mode::eval);
    if (experiment.models.empty())
      throw_user_error("T0842", "'" + path + "' has no model", "model NAME(...) { ... }");
    return experiment.model(experiment.models[0].name, Mode::eval);
  }
  if (path != "-") return parse_graph(read_file(path), path);
  const std::string text{std::istreambuf_iterator<char>(std::cin), {}};
  return parse_graph(text, "<stdin>");
}

DimEnv parse_dims(const std::vector<std::string>& words) {
  DimEnv out;
  for (const std::string& word : words) {
    const std::size_t equals = word.find('=');
    std::int64_t value = 0;
    const char* begin = word.data() + (equals == std::string::npos ? word.size() : equals + 1);
    const char* end = word.data() + word.size();
    const auto parsed = std::from_chars(begin, end, value);
    if (equals == 0 || begin == end || parsed.ec != std::errc() || parsed.ptr != end || value < 0)
      throw_user_error("T0830", fmt::format("'{}' does not set a dimension", word), "write -D T=5");
    out[word.substr(0, equals)] = value;
  }
  return out;
}

int run_command_line(int argc, const char* const* argv) {
  CLI::App app{"Treadle: a compiler and autodiff engine for sequence models"};
  app.set_version_flag("--version", fmt::format("treadle {} (LLVM {}, oneDNN {})", TREADLE_VERSION,
                                                llvm_version(), onednn_version()));
  app.require_subcommand(1);
  app.footer(
      "Examples:\n"
      "  treadle opt cell.tir -p differentiate,hoist-scan,fuse-gates\n"
      "  treadle opt cell.tir -p batch --print-after all --verify-each=numeric\n"
      "  treadle gradcheck cell.tir -D T=5 --order 2\n"
      "  treadle check examples/demo.tdl\n"
      "  treadle train examples/demo.tdl -o runs/demo\n"
      "  treadle eval examples/demo.tdl --run runs/demo\n"
      "  treadle run examples/demo.tdl --run runs/demo --input image=drawings.npy\n"
      "  treadle run examples/which_word.tdl --run runs/words --show attention --text \"...\"\n"
      "  treadle test examples/*.tdl\n"
      "  treadle generate examples/char_lm.tdl --run runs/char_lm\n"
      "  treadle dump examples/my_cell.tdl --after fuse-gates\n"
      "  treadle explain T0312\n"
      "  treadle passes\n"
      "Environment:\n"
      "  TREADLE_CACHE         folder of compiled code and of what was measured, ~/.cache/treadle\n"
      "                        unless set; 'off': none\n"
      "  TREADLE_CPU_FEATURES  'avx2' or 'sse': code for less than this processor has");
  Action action;
  add_opt_command(app, action);
  add_gradcheck_command(app, action);
  add_check_command(app, action);
  add_dump_command(app, action);
  add_train_command(app, action);
  add_eval_command(app, action);
  add_run_command(app, action);
  add_weights_command(app, action);
  add_predict_command(app, action);
  add_sweep_command(app, action);
  add_diagnose_command(app, action);
  add_generate_command(app, action);
  add_memory_command(app, action);
  add_calibrate_command(app, action);
  add_bench_command(app, action);
  add_test_command(app, action);
  add_fmt_command(app, action);
  add_explain_command(app, action);
  add_list_commands(app, action);
  add_completion_command(app, action);
  try {
    app.parse(argc, argv);
  } catch (const CLI::ParseError& error) {
    return app.exit(error) == 0 ? 0 : exit_usage;
  }
  return guarded(action);
}

}  // namespace treadle
