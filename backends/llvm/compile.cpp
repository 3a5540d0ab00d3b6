#include "backends/llvm/compile.h"

#include <fmt/format.h>
#include <llvm/Config/llvm-config.h>

#include <algorithm>
#include <atomic>
#include <vector>

#include "backends/llvm/generate_code_internal.h"
#include "backends/llvm/host_cpu.h"
#include "backends/llvm/link_code_internal.h"
#include "backends/llvm/native_program.h"
#include "backends/llvm/program_emitter_internal.h"
#include "backends/llvm/program_plan.h"
#include "backends/llvm/source_id.h"
#include "ir/diagnostic.h"
#include "ir/text_printer.h"
#include "runtime/file_cache.h"

namespace treadle {

namespace {

std::atomic<std::uint64_t> compilations{0}, cache_hits{0};

std::string cpu_features(const std::string& mask) { return mask.empty() ? host_mask() : mask; }

struct Planned {
  Target target;
  ProgramPlan plan;
};

Planned make_plan(const Graph& graph, std::span<const InPlaceUpdate> updates,
                  const LlvmOptions& options) {
  Planned out;
  out.target = make_target(cpu_features(options.features));
  out.plan = plan_program(graph, updates, matmul_tiles(out.target), options.fixed);
  return out;
}

// Everything that the code follows from.
std::string cache_key(const Graph& graph, std::span<const InPlaceUpdate> updates,
                      const LlvmOptions& options) {
  std::string text = fmt::format("treadle {} {}\nLLVM {}\n{}\nfeatures {}\n{}\n", TREADLE_VERSION,
                                 compiler_source_id(), LLVM_VERSION_STRING, host_cpu_key(),
                                 cpu_features(options.features), options.lowering);
  for (const InPlaceUpdate& update : updates) text += update.output + ">" + update.input + "\n";
  for (const std::string& name : options.fixed) text += "fixed " + name + "\n";
  return text + print(graph);
}

// What callers give and get does not change by lowering.
void require_equal_slots(const std::vector<Slot>& a, const std::vector<Slot>& b) {
  const auto equal = [](const Slot& x, const Slot& y) {
    return x.name == y.name && x.type == y.type && x.updates_input == y.updates_input;
  };
  ensure(std::equal(a.begin(), a.end(), b.begin(), b.end(), equal), "llvm",
         "lowering changed inputs or outputs");
}

CompiledProgram compile_now(const Graph& graph, std::span<const InPlaceUpdate> updates,
                            const LlvmOptions& options) {
  const Graph lowered = options.lower ? options.lower(graph) : graph;
  require_equal_slots(input_slots(lowered), input_slots(graph));
  require_equal_slots(output_slots(lowered, updates), output_slots(graph, updates));
  Planned work = make_plan(lowered, updates, options);
  MachineCode code =
      generate_code(work.target, work.plan, options.profile != nullptr, options.compile_threads);
  ++compilations;
  CompiledProgram out{std::move(work.plan), std::move(code.dims),
                      link_code(code.objects, entry_name)};
  out.plan.preparation.clear();
  out.plan.steps.clear();  // they point into the lowered graph
  return out;
}

std::optional<CompiledProgram> find_compiled(const FileCache& cache, const std::string& key) {
  const std::optional<std::string> bytes = cache.find(key);
  if (!bytes) return std::nullopt;
  std::optional<CompiledProgram> out = compiled_program(*bytes);
  if (out) ++cache_hits;
  return out;
}

}  // namespace

CompileStats llvm_compile_stats() { return {compilations.load(), cache_hits.load()}; }

std::size_t planned_bytes(const Graph& lowered, const DimEnv& sizes) {
  std::size_t bytes = 0;
  plan_program(lowered, {}, matmul_tiles(host_target())).arena_offsets(sizes, 1, &bytes);
  return bytes;
}

std::unique_ptr<Program> compile_llvm(const Graph& graph, std::span<const InPlaceUpdate> updates,
                                      const LlvmOptions& options) {
  std::optional<CompiledProgram> program;
  if (options.cache && options.profile == nullptr) {
    const FileCache cache(*options.cache);
    const std::string key = cache_key(graph, updates, options);
    program = find_compiled(cache, key);
    if (!program) {
      program = compile_now(graph, updates, options);
      cache.store(key, to_bytes(*program));
    }
  } else {
    program = compile_now(graph, updates, options);
  }
  return make_native_program(graph, updates, std::move(*program), options.runners, options.profile);
}

bool multiplies_bfloat16(const std::string& features) {
  return make_target(cpu_features(features)).has_bfloat16;
}

std::string llvm_version() { return LLVM_VERSION_STRING; }

std::string llvm_ir_text(const Graph& graph, const LlvmOptions& options) {
  const Planned work = make_plan(graph, {}, options);
  return program_llvm_ir(work.target, work.plan);
}

std::string assembly_text(const Graph& graph, const LlvmOptions& options) {
  const Planned work = make_plan(graph, {}, options);
  return program_assembly(work.target, work.plan);
}

}  // namespace treadle
