// LLVM's side of a Target. Included only by backends/llvm/*.cpp and its tests.
#pragma once
#include <memory>

#include "backends/llvm/target.h"

namespace llvm {
class Function;
class Module;
class TargetMachine;
}  // namespace llvm

namespace treadle {

// For JIT use: no floating-point contraction, so that multiply-adds are fused
// exactly where llvm.fma is written. The caller includes TargetMachine.h.
std::unique_ptr<llvm::TargetMachine> create_target_machine(const Target& target);

// Triple and data layout.
void set_module_target(llvm::Module& module, llvm::TargetMachine& machine);

// target-cpu, target-features and the vector width; to every function that is
// emitted (LLVM does not inline across different features).
void set_target_attributes(llvm::Function& function, const Target& target);

}  // namespace treadle
