#include <CLI/CLI.hpp>
#include <algorithm>
#include <iostream>
#include <iterator>
#include <memory>

#include "driver/commands.h"
#include "frontend/format.h"
#include "ir/diagnostic.h"
#include "runtime/atomic_file.h"
#include "runtime/file.h"

namespace treadle {
namespace {

struct Options {
  std::vector<std::string> files;
  bool check = false;
  bool to_stdout = false;
};

std::string source(const std::string& file) {
  if (file != "-") return read_file(file);
  return {std::istreambuf_iterator<char>(std::cin), {}};
}

// Returns the exit status for this file.
int format_file(const Options& options, const std::string& file) {
  const bool is_stdin = file == "-";
  const std::string name = is_stdin ? "<stdin>" : file;
  const std::string before = source(file);
  const std::string after = format_program(before, name);
  if (options.check) {
    if (before == after) return 0;
    std::cout << name << "\n";
    return exit_check_failed;
  }
  if (is_stdin || options.to_stdout)
    std::cout << after;
  else if (before != after)
    write_file_atomically(file, after);
  return 0;
}

// A file with a mistake is left as it is, and the others are formatted.
int run_fmt(const Options& options) {
  int status = 0;
  for (const std::string& file : options.files) {
    try {
      const int one = format_file(options, file);
      if (status == 0) status = one;
    } catch (const UserError& error) {
      std::cerr << error.what();
      status = 1;
    }
  }
  return status;
}

}  // namespace

void add_fmt_command(CLI::App& app, Action& action) {
  auto options = std::make_shared<Options>();
  CLI::App* command = app.add_subcommand("fmt", "Lay programs out anew, in place");
  command->add_option("file", options->files, "Programs (.tdl); - is standard input to output")
      ->required();
  CLI::Option* check = command->add_flag(
      "--check", options->check, "Change nothing; list the files that would change, exit 3");
  command->add_flag("--stdout", options->to_stdout, "Write to standard output, not to the files")
      ->excludes(check);
  command->callback([options, &action] { action = [options] { return run_fmt(*options); }; });
}

}  // namespace treadle
