// A module under test, built by hand and compiled through ORC.
#pragma once
#include <llvm/ExecutionEngine/Orc/LLJIT.h>
#include <llvm/IR/IRBuilder.h>
#include <llvm/IR/Module.h>

#include <memory>
#include <string>

#include "backends/llvm/target.h"

namespace treadle::testing {

// Fill in `module`, then compile() once and look functions up.
class TestJit {
 public:
  explicit TestJit(const Target& target);
  llvm::Module& module() { return *module_; }
  llvm::Function* function(const std::string& name, llvm::FunctionType* type);
  void compile();
  template <typename Function>
  Function* lookup(const std::string& name) {
    return reinterpret_cast<Function*>(address(name));
  }

 private:
  std::uint64_t address(const std::string& name);

  Target target_;
  std::unique_ptr<llvm::orc::LLJIT> jit_;
  std::unique_ptr<llvm::LLVMContext> context_;
  std::unique_ptr<llvm::Module> module_;
};

}  // namespace treadle::testing
