#include "backends/llvm/compile.h"

#include <fmt/format.h>
#include <llvm/IR/LegacyPassManager.h>
#include <llvm/IR/Verifier.h>
#include <llvm/Passes/PassBuilder.h>
#include <llvm/Support/raw_ostream.h>
#include <llvm/Target/TargetMachine.h>
#include <llvm/Transforms/Scalar/EarlyCSE.h>
#include <llvm/Transforms/Scalar/LICM.h>
#include <llvm/Transforms/Scalar/LoopPassManager.h>
#include <llvm/Transforms/Utils/Mem2Reg.h>

#include <algorithm>
#include <atomic>
#include <vector>

#include "backends/llvm/host_cpu.h"
#include "backends/llvm/link_code_internal.h"
#include "backends/llvm/native_program.h"
#include "backends/llvm/program_emitter_internal.h"
#include "backends/llvm/program_plan.h"
#include "backends/llvm/source_id.h"
#include "backends/llvm/target_internal.h"
#include "ir/diagnostic.h"
#include "ir/text_printer.h"
#include "runtime/file_cache.h"

namespace treadle {

namespace {

std::atomic<std::uint64_t> compilations{0}, cache_hits{0};

// The kernels are written in the form in which they should run; what remains
// is to merge equal loads and index arithmetic and to move them out of loops.
void optimise(llvm::Module& module, llvm::TargetMachine& machine) {
  llvm::PassBuilder builder(&machine);
  llvm::LoopAnalysisManager loops;
  llvm::FunctionAnalysisManager functions;
  llvm::CGSCCAnalysisManager components;
  llvm::ModuleAnalysisManager modules;
  builder.registerModuleAnalyses(modules);
  builder.registerCGSCCAnalyses(components);
  builder.registerFunctionAnalyses(functions);
  builder.registerLoopAnalyses(loops);
  builder.crossRegisterProxies(loops, functions, components, modules);
  llvm::FunctionPassManager passes;
  passes.addPass(llvm::EarlyCSEPass(true));
  passes.addPass(llvm::createFunctionToLoopPassAdaptor(llvm::LICMPass(llvm::LICMOptions()),
                                                       /*UseMemorySSA=*/true));
  for (llvm::Function& function : module)
    if (!function.isDeclaration()) passes.run(function, functions);
}

struct Compiled {
  Target target;
  ProgramPlan plan;
  bool profiled = false;
  std::unique_ptr<llvm::TargetMachine> machine;
  std::unique_ptr<llvm::LLVMContext> context;
  std::unique_ptr<llvm::Module> module;
  std::vector<Dim> dims;  // the table that the code reads
};

std::string cpu_features(const LlvmOptions& options) {
  return options.features.empty() ? host_mask() : options.features;
}

Compiled make_plan(const Graph& graph, std::span<const InPlaceUpdate> updates,
                   const LlvmOptions& options) {
  Compiled out;
  out.profiled = options.profile != nullptr;
  out.target = make_target(cpu_features(options));
  out.plan = plan_program(graph, updates, matmul_tile(out.target, DType::f32),
                          matmul_tile(out.target, DType::f64));
  out.machine = create_target_machine(out.target);
  return out;
}

void emit_module(Compiled& work) {
  work.context = std::make_unique<llvm::LLVMContext>();
  work.module = std::make_unique<llvm::Module>("step", *work.context);
  set_module_target(*work.module, *work.machine);
  ProgramEmitter emitter(*work.module, work.target, work.plan, work.profiled);
  emitter.emit();
  work.dims = emitter.dims();
  std::string error;
  llvm::raw_string_ostream stream(error);
  ensure(!llvm::verifyModule(*work.module, &stream), "llvm", error);
  optimise(*work.module, *work.machine);
}

std::string machine_code(Compiled& work, llvm::CodeGenFileType kind) {
  llvm::SmallVector<char, 0> bytes;
  llvm::raw_svector_ostream stream(bytes);
  llvm::legacy::PassManager passes;
  ensure(!work.machine->addPassesToEmitFile(passes, stream, nullptr, kind), "llvm",
         "this target emits no such file");
  passes.run(*work.module);
  return {bytes.begin(), bytes.end()};
}

// Everything that the code follows from.
std::string cache_key(const Graph& graph, std::span<const InPlaceUpdate> updates,
                      const LlvmOptions& options) {
  std::string text = fmt::format("treadle {} {}\nLLVM {}\n{}\nfeatures {}\n{}\n", TREADLE_VERSION,
                                 compiler_source_id(), LLVM_VERSION_STRING, host_cpu_key(),
                                 cpu_features(options), options.lowering);
  for (const InPlaceUpdate& update : updates) text += update.output + ">" + update.input + "\n";
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
  Compiled work = make_plan(lowered, updates, options);
  emit_module(work);
  const std::string object = machine_code(work, llvm::CodeGenFileType::ObjectFile);
  ++compilations;
  CompiledProgram out{std::move(work.plan), std::move(work.dims), link_code(object, entry_name)};
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

std::string llvm_version() { return LLVM_VERSION_STRING; }

std::string llvm_ir_text(const Graph& graph, const LlvmOptions& options) {
  Compiled work = make_plan(graph, {}, options);
  emit_module(work);
  std::string out;
  llvm::raw_string_ostream stream(out);
  work.module->print(stream, nullptr);
  return out;
}

std::string assembly_text(const Graph& graph, const LlvmOptions& options) {
  Compiled work = make_plan(graph, {}, options);
  emit_module(work);
  return machine_code(work, llvm::CodeGenFileType::AssemblyFile);
}

}  // namespace treadle
