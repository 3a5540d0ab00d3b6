#include "backends/llvm/generate_code_internal.h"

#include <llvm/CodeGen/Passes.h>
#include <llvm/IR/LegacyPassManager.h>
#include <llvm/IR/Verifier.h>
#include <llvm/Passes/PassBuilder.h>
#include <llvm/Support/raw_ostream.h>
#include <llvm/Target/TargetMachine.h>
#include <llvm/Transforms/Scalar.h>
#include <llvm/Transforms/Scalar/EarlyCSE.h>
#include <llvm/Transforms/Scalar/LICM.h>
#include <llvm/Transforms/Scalar/LoopPassManager.h>
#include <llvm/Transforms/Utils.h>
#include <llvm/Transforms/Utils/Cloning.h>

#include <algorithm>
#include <atomic>
#include <exception>
#include <memory>
#include <mutex>
#include <set>
#include <system_error>
#include <thread>
#include <utility>

#include "backends/llvm/program_emitter_internal.h"
#include "backends/llvm/target_internal.h"
#include "ir/diagnostic.h"
#include "runtime/barrier.h"

namespace treadle {

namespace {

// Of a share, in instructions: less is not worth the tens of microseconds that an
// object file takes.
constexpr std::size_t least_share = 1000;
constexpr std::size_t most_shares = 8;
// What a function costs besides its instructions, in instructions.
constexpr std::size_t cost_of_function = 20;

void verify(llvm::Module& module) {
  std::string error;
  llvm::raw_string_ostream stream(error);
  ensure(!llvm::verifyModule(module, &stream), "llvm", error);
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

// Without the strength reduction of loops and what prepares it: that takes a fifth of
// the time, and no kernel is faster with it. It moves into registers the sums of
// addresses that instructions compute at no cost. A training step's instructions stay in
// the order in which registers were given to them: another one takes a tenth of the time
// to find and gains nothing there, where the model alone gains up to 3 %.
class CodeGeneration : public llvm::legacy::PassManager {
 public:
  explicit CodeGeneration(bool training_step) : training_step_(training_step) {}

  void add(llvm::Pass* pass) override {
    const llvm::AnalysisID id = pass->getPassID();
    if (id == reduction_ || id == preparation_ ||
        (training_step_ && id == &llvm::PostRASchedulerID))
      delete pass;
    else
      PassManager::add(pass);
  }

 private:
  static llvm::AnalysisID id_of(llvm::Pass* pass) {
    return std::unique_ptr<llvm::Pass>(pass)->getPassID();
  }
  const bool training_step_;
  llvm::AnalysisID reduction_ = id_of(llvm::createLoopStrengthReducePass());
  llvm::AnalysisID preparation_ = id_of(llvm::createCanonicalizeFreezeInLoopsPass());
};

std::string emitted_file(llvm::Module& module, llvm::TargetMachine& machine,
                         llvm::CodeGenFileType kind, bool training_step) {
  llvm::SmallVector<char, 0> bytes;
  llvm::raw_svector_ostream stream(bytes);
  CodeGeneration passes(training_step);
  ensure(!machine.addPassesToEmitFile(passes, stream, nullptr, kind), "llvm",
         "this target emits no such file");
  passes.run(module);
  return {bytes.begin(), bytes.end()};
}

// The whole program as LLVM's instructions, in a context of its own.
struct EmittedProgram {
  EmittedProgram(const Target& target, const ProgramPlan& plan, bool profiled)
      : machine(create_target_machine(target)),
        module(std::make_unique<llvm::Module>("step", context)) {
    set_module_target(*module, *machine);
    ProgramEmitter emitter(*module, target, plan, profiled);
    emitter.emit();
    dims = emitter.dims();
  }

  std::unique_ptr<llvm::TargetMachine> machine;
  llvm::LLVMContext context;
  std::unique_ptr<llvm::Module> module;
  std::vector<Dim> dims;
};

// ---- shares ----

// The share of each function that the module defines, in its order: the largest
// ones first, each to the share that has the least. Share 0 is the largest.
struct Shares {
  explicit Shares(const llvm::Module& module) {
    std::vector<std::pair<std::size_t, std::size_t>> order;  // by cost; number
    std::size_t total = 0;
    for (const llvm::Function& function : module) {
      if (function.isDeclaration()) continue;
      const std::size_t cost = function.getInstructionCount() + cost_of_function;
      order.emplace_back(cost, order.size());
      total += cost;
    }
    std::stable_sort(order.begin(), order.end(),
                     [](const auto& a, const auto& b) { return a.first > b.first; });
    std::vector<std::size_t> loads(std::clamp<std::size_t>(total / least_share, 1, most_shares));
    of_function.resize(order.size());
    for (const auto& [cost, number] : order) {
      const auto least = std::min_element(loads.begin(), loads.end());
      of_function[number] = static_cast<std::size_t>(least - loads.begin());
      *least += cost;
    }
    count = loads.size();
  }

  std::size_t count = 0;
  std::vector<std::size_t> of_function;
};

// Shares find each other's functions by name.
void make_known_to_all_shares(llvm::Module& module) {
  for (llvm::Function& function : module) {
    if (!function.hasLocalLinkage()) continue;
    function.setLinkage(llvm::GlobalValue::ExternalLinkage);
    function.setVisibility(llvm::GlobalValue::HiddenVisibility);
  }
}

// The functions of a share; each has its own copy of the constants that it reads.
std::unique_ptr<llvm::Module> module_of_share(const llvm::Module& whole, const Shares& shares,
                                              std::size_t share) {
  std::set<const llvm::GlobalValue*> kept;
  std::size_t number = 0;
  for (const llvm::Function& function : whole)
    if (!function.isDeclaration() && shares.of_function[number++] == share) kept.insert(&function);
  llvm::ValueToValueMapTy map;
  std::unique_ptr<llvm::Module> out =
      llvm::CloneModule(whole, map, [&](const llvm::GlobalValue* value) {
        return llvm::isa<llvm::GlobalVariable>(value) || kept.contains(value);
      });
  for (llvm::GlobalVariable& constant : llvm::make_early_inc_range(out->globals()))
    if (constant.use_empty()) constant.eraseFromParent();
  return out;
}

// Runs `work` on so many threads, this one among them, or on as many as the system
// gives; throws what one of them threw.
template <typename Work>
void on_threads(std::size_t count, const Work& work) {
  std::exception_ptr failure;
  std::mutex mutex;
  const auto guarded = [&] {
    try {
      work();
    } catch (...) {
      const std::scoped_lock lock(mutex);
      if (!failure) failure = std::current_exception();
    }
  };
  std::vector<std::thread> others;
  try {
    while (others.size() + 1 < count) others.emplace_back(guarded);
  } catch (const std::system_error&) {  // no more threads
  }
  guarded();
  for (std::thread& other : others) other.join();
  if (failure) std::rethrow_exception(failure);
}

}  // namespace

MachineCode generate_code(const Target& target, const ProgramPlan& plan, bool profiled,
                          int threads) {
  MachineCode out;
  std::atomic<std::size_t> next_share{0};
  std::once_flag first;
  // LLVM's objects belong to one thread, and writing a program down is cheap: each
  // thread has the whole program and takes shares of it until none is left.
  const auto work = [&] {
    EmittedProgram program(target, plan, profiled);
    const Shares shares(*program.module);
    std::call_once(first, [&] {
      out.dims = program.dims;
      out.objects.resize(shares.count);
    });
    make_known_to_all_shares(*program.module);
    for (std::size_t share; (share = next_share++) < shares.count;) {
      const auto module = module_of_share(*program.module, shares, share);
      verify(*module);
      optimise(*module, *program.machine);
      out.objects[share] = emitted_file(*module, *program.machine,
                                        llvm::CodeGenFileType::ObjectFile, plan.training_step);
    }
  };
  const auto wanted = static_cast<std::size_t>(threads > 0 ? static_cast<std::uint32_t>(threads)
                                                           : available_processors());
  const auto useful =
      std::clamp<std::size_t>(static_cast<std::size_t>(plan.kernels), 1, most_shares);
  on_threads(std::min(wanted, useful), work);
  return out;
}

std::string program_llvm_ir(const Target& target, const ProgramPlan& plan) {
  EmittedProgram program(target, plan, /*profiled=*/false);
  verify(*program.module);
  optimise(*program.module, *program.machine);
  std::string out;
  llvm::raw_string_ostream stream(out);
  program.module->print(stream, nullptr);
  return out;
}

std::string program_assembly(const Target& target, const ProgramPlan& plan) {
  EmittedProgram program(target, plan, /*profiled=*/false);
  verify(*program.module);
  optimise(*program.module, *program.machine);
  return emitted_file(*program.module, *program.machine, llvm::CodeGenFileType::AssemblyFile,
                      plan.training_step);
}

}  // namespace treadle
