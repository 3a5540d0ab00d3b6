#include "backends/llvm/compile.h"

#include <fmt/format.h>
#include <llvm/ExecutionEngine/Orc/LLJIT.h>
#include <llvm/IR/LegacyPassManager.h>
#include <llvm/IR/Verifier.h>
#include <llvm/Passes/PassBuilder.h>
#include <llvm/Support/MemoryBuffer.h>
#include <llvm/Support/SHA1.h>
#include <llvm/Support/SmallVectorMemoryBuffer.h>
#include <llvm/Support/raw_ostream.h>
#include <llvm/Target/TargetMachine.h>
#include <llvm/Transforms/Scalar/EarlyCSE.h>
#include <llvm/Transforms/Scalar/LICM.h>
#include <llvm/Transforms/Scalar/LoopPassManager.h>
#include <llvm/Transforms/Utils/Mem2Reg.h>

#include <atomic>
#include <cstdlib>
#include <map>

#include "backends/llvm/program_emitter_internal.h"
#include "backends/llvm/program_plan.h"
#include "backends/llvm/target_internal.h"
#include "ir/diagnostic.h"
#include "ir/memory.h"
#include "ir/slice_bounds.h"
#include "ir/text_printer.h"
#include "runtime/atomic_file.h"
#include "runtime/team.h"

namespace treadle {

namespace {

std::atomic<std::uint64_t> compilations{0}, cache_hits{0};

template <typename T>
T checked(llvm::Expected<T> value) {
  if (!value) internal_error("llvm", llvm::toString(value.takeError()));
  return std::move(*value);
}
void check(llvm::Error error) {
  if (error) internal_error("llvm", llvm::toString(std::move(error)));
}

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
  std::unique_ptr<llvm::TargetMachine> machine;
  std::unique_ptr<llvm::LLVMContext> context;
  std::unique_ptr<llvm::Module> module;
};

Compiled make_plan(const Graph& graph, std::span<const InPlaceUpdate> updates,
                   const LlvmOptions& options) {
  Compiled out;
  out.target = options.features.empty() ? host_target() : make_target(options.features);
  out.plan = plan_program(graph, updates, matmul_tile(out.target, DType::f32),
                          matmul_tile(out.target, DType::f64));
  out.machine = create_target_machine(out.target);
  return out;
}

void emit_module(Compiled& work) {
  work.context = std::make_unique<llvm::LLVMContext>();
  work.module = std::make_unique<llvm::Module>("step", *work.context);
  set_module_target(*work.module, *work.machine);
  ProgramEmitter(*work.module, work.target, work.plan).emit();
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

std::string cache_key(const Graph& graph, std::span<const InPlaceUpdate> updates,
                      const Target& target) {
  std::string text = std::string(TREADLE_VERSION "|") + std::to_string(LLVM_VERSION_MAJOR) + "|" +
                     target_key(target) + "|" + print(graph);
  for (const InPlaceUpdate& update : updates) text += update.output + ">" + update.input + "\n";
  const auto digest = llvm::SHA1::hash(
      llvm::ArrayRef(reinterpret_cast<const std::uint8_t*>(text.data()), text.size()));
  std::string out;
  for (const std::uint8_t byte : digest) out += fmt::format("{:02x}", byte);
  return out;
}

void prepare_claimed(NodeRunner* runner, std::int64_t thread, const std::byte* b) {
  runner->prepare(static_cast<int>(thread), b);
}
void run_claimed(NodeRunner* runner, std::int64_t thread, const std::byte* a, std::byte* c) {
  runner->run(static_cast<int>(thread), a, c);
}

std::unique_ptr<llvm::orc::LLJIT> make_jit(const Target& target) {
  llvm::orc::JITTargetMachineBuilder builder{llvm::Triple(target.triple)};
  builder.setCPU(target.cpu);
  builder.getFeatures() = llvm::SubtargetFeatures(target.features);
  auto jit = checked(llvm::orc::LLJITBuilder()
                         .setJITTargetMachineBuilder(std::move(builder))
                         .setLinkProcessSymbolsByDefault(true)
                         .create());
  llvm::orc::SymbolMap symbols;
  symbols[jit->mangleAndIntern("treadle_barrier")] = {
      llvm::orc::ExecutorAddr::fromPtr(&treadle_barrier), llvm::JITSymbolFlags::Exported};
  symbols[jit->mangleAndIntern(prepare_name)] = {llvm::orc::ExecutorAddr::fromPtr(&prepare_claimed),
                                                 llvm::JITSymbolFlags::Exported};
  symbols[jit->mangleAndIntern(claimed_name)] = {llvm::orc::ExecutorAddr::fromPtr(&run_claimed),
                                                 llvm::JITSymbolFlags::Exported};
  check(jit->getMainJITDylib().define(llvm::orc::absoluteSymbols(std::move(symbols))));
  return jit;
}

class LlvmProgram final : public Program {
 public:
  LlvmProgram(const Graph& graph, std::span<const InPlaceUpdate> updates, ProgramPlan plan,
              const Target& target, const std::string& object, const NodeRunnerFactory& factory)
      : plan_(std::move(plan)), jit_(make_jit(target)) {
    inputs_ = input_slots(graph);
    outputs_ = output_slots(graph, updates);
    slices_ = slice_bounds(graph);
    // The plan points into the graph, which may go; only its buffers are needed.
    plan_.steps.clear();
    for (const MatmulClaim& claim : plan_.claims) {
      ensure(factory != nullptr, "llvm", "a product is placed on a backend that is not there");
      runners_.push_back(factory(claim));
    }
    check(jit_->addObjectFile(llvm::MemoryBuffer::getMemBufferCopy(object, "step")));
    entry_ = checked(jit_->lookup(entry_name)).toPtr<ProgramEntry*>();
    const char* text = checked(jit_->lookup(dims_name)).toPtr<const char*>();
    for (const char* end = text; *end != '\0'; ++end)
      if (*end == '\n') {
        dims_.push_back(Dim::parse(std::string_view(text, static_cast<std::size_t>(end - text))));
        text = end + 1;
      }
  }

  void run(const DimEnv& env, std::span<const std::byte* const> inputs,
           std::span<std::byte* const> outputs, Team& team) override {
    const Binding& binding = bind(env, team.size());
    if (arena_bytes_ < binding.bytes) {
      constexpr std::string_view what = "the working space of one step";
      require_memory(binding.bytes, [&] { return std::string(what); });
      arena_.reset(static_cast<std::byte*>(std::aligned_alloc(64, binding.bytes)));
      if (!arena_) no_memory(binding.bytes, what);
      arena_bytes_ = binding.bytes;
    }
    std::vector<void*> buffers;
    buffers.reserve(plan_.buffers.size());
    for (std::size_t i = 0; i < plan_.buffers.size(); ++i) {
      const BufferPlan& buffer = plan_.buffers[i];
      const auto slot = static_cast<std::size_t>(buffer.slot);
      switch (buffer.kind) {
        case BufferPlan::Kind::input:
          buffers.push_back(const_cast<std::byte*>(inputs[slot]));
          break;
        case BufferPlan::Kind::output: buffers.push_back(outputs[slot]); break;
        case BufferPlan::Kind::arena: buffers.push_back(arena_.get() + binding.offsets[i]); break;
      }
    }
    std::vector<void*> runners;
    for (const auto& runner : runners_) {
      runner->bind(env, team.size());
      runners.push_back(runner.get());
    }
    const ProgramContext context{buffers.data(),  binding.dims.data(),
                                 &team.barrier(), team.size(),
                                 runners.data(),  static_cast<std::int64_t>(binding.dims.size())};
    struct Call {
      ProgramEntry* entry;
      const ProgramContext* context;
    } call{entry_, &context};
    team.run(
        [](void* p, int thread) {
          const Call& c = *static_cast<Call*>(p);
          c.entry(c.context, thread);
        },
        &call);
  }

  std::size_t workspace_bytes(const DimEnv& env) const override {
    std::size_t bytes = 0;
    plan_.arena_offsets(env, 1, &bytes);
    return bytes;
  }

 private:
  struct Binding {
    std::vector<std::int64_t> dims;
    std::vector<std::size_t> offsets;
    std::size_t bytes = 0;
  };
  struct Free {
    void operator()(std::byte* p) const { std::free(p); }
  };

  // Offsets are assigned once for each set of extents and number of threads; the
  // last ones are kept.
  const Binding& bind(const DimEnv& env, int threads) {
    const std::pair key{env, threads};
    if (const auto found = bindings_.find(key); found != bindings_.end()) return found->second;
    require_slices(slices_, env);
    if (bindings_.size() >= 256) bindings_.clear();
    Binding& out = bindings_[key];
    for (const Dim& dim : dims_) out.dims.push_back(plan_.is_bound(dim) ? 0 : dim.evaluate(env));
    out.offsets = plan_.arena_offsets(env, threads, &out.bytes);
    out.bytes = (out.bytes + 63) / 64 * 64 + 64;
    return out;
  }

  ProgramPlan plan_;
  std::vector<SliceBound> slices_;
  std::vector<std::unique_ptr<NodeRunner>> runners_;
  std::unique_ptr<llvm::orc::LLJIT> jit_;
  ProgramEntry* entry_ = nullptr;
  std::vector<Dim> dims_;
  std::map<std::pair<DimEnv, int>, Binding> bindings_;
  std::unique_ptr<std::byte, Free> arena_;
  std::size_t arena_bytes_ = 0;
};

// A cache that cannot be written is no reason to fail.
void write_cached(const std::filesystem::path& file, const std::string& object) {
  try {
    create_folders(file.parent_path());
    write_file_atomically(file, object);
  } catch (const UserError&) {
    return;
  }
}

std::string cached_object(const std::filesystem::path& file) {
  auto buffer = llvm::MemoryBuffer::getFile(file.string(), false, false);
  return buffer ? (*buffer)->getBuffer().str() : std::string();
}

}  // namespace

CompileStats llvm_compile_stats() { return {compilations.load(), cache_hits.load()}; }

std::unique_ptr<Program> compile_llvm(const Graph& graph, std::span<const InPlaceUpdate> updates,
                                      const LlvmOptions& options) {
  Compiled work = make_plan(graph, updates, options);
  std::filesystem::path file;
  std::string object;
  if (options.cache) {
    file = *options.cache / (cache_key(graph, updates, work.target) + ".o");
    object = cached_object(file);
  }
  if (!object.empty()) {
    ++cache_hits;
  } else {
    emit_module(work);
    object = machine_code(work, llvm::CodeGenFileType::ObjectFile);
    ++compilations;
    if (options.cache) write_cached(file, object);
  }
  return std::make_unique<LlvmProgram>(graph, updates, std::move(work.plan), work.target, object,
                                       options.runners);
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
