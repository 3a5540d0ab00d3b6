#include "tests/llvm_kernels/jit.h"

#include <llvm/ExecutionEngine/Orc/JITTargetMachineBuilder.h>
#include <llvm/IR/Verifier.h>
#include <llvm/Support/TargetSelect.h>
#include <llvm/Support/raw_ostream.h>
#include <llvm/Target/TargetMachine.h>

#include "backends/llvm/target_internal.h"
#include "ir/diagnostic.h"

namespace treadle::testing {

namespace {

template <typename T>
T checked(llvm::Expected<T> value) {
  if (!value) internal_error("test jit", llvm::toString(value.takeError()));
  return std::move(*value);
}

llvm::orc::JITTargetMachineBuilder machine_builder(const Target& target) {
  llvm::orc::JITTargetMachineBuilder builder{llvm::Triple(target.triple)};
  builder.setCPU(target.cpu);
  builder.getFeatures() = llvm::SubtargetFeatures(target.features);
  builder.getOptions().AllowFPOpFusion = llvm::FPOpFusion::Strict;
  return builder;
}

}  // namespace

TestJit::TestJit(const Target& target)
    : target_(target), context_(std::make_unique<llvm::LLVMContext>()) {
  const auto machine = create_target_machine(target);
  jit_ = checked(llvm::orc::LLJITBuilder()
                     .setJITTargetMachineBuilder(machine_builder(target))
                     .setLinkProcessSymbolsByDefault(true)
                     .create());
  module_ = std::make_unique<llvm::Module>("test", *context_);
  set_module_target(*module_, *machine);
}

llvm::Function* TestJit::function(const std::string& name, llvm::FunctionType* type) {
  auto* f = llvm::Function::Create(type, llvm::Function::ExternalLinkage, name, *module_);
  set_target_attributes(*f, target_);
  return f;
}

void TestJit::compile() {
  std::string error;
  llvm::raw_string_ostream stream(error);
  ensure(!llvm::verifyModule(*module_, &stream), "test jit", error);
  llvm::cantFail(
      jit_->addIRModule(llvm::orc::ThreadSafeModule(std::move(module_), std::move(context_))));
}

std::uint64_t TestJit::address(const std::string& name) {
  return checked(jit_->lookup(name)).getValue();
}

}  // namespace treadle::testing
