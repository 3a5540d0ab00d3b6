#include "backends/llvm/target.h"

#include <llvm/ADT/StringMap.h>
#include <llvm/IR/Function.h>
#include <llvm/IR/Module.h>
#include <llvm/MC/TargetRegistry.h>
#include <llvm/Support/TargetSelect.h>
#include <llvm/Target/TargetMachine.h>
#include <llvm/Target/TargetOptions.h>
#include <llvm/TargetParser/Host.h>
#include <llvm/TargetParser/Triple.h>

#include <cstdlib>
#include <map>
#include <mutex>

#include "backends/llvm/host_cpu.h"
#include "backends/llvm/target_internal.h"
#include "ir/diagnostic.h"

namespace treadle {

namespace {

bool starts_with_any(std::string_view name, std::initializer_list<std::string_view> prefixes) {
  for (std::string_view prefix : prefixes)
    if (name.starts_with(prefix)) return true;
  return false;
}

bool masked(std::string_view feature, std::string_view mask) {
  if (mask.empty()) return false;
  if (starts_with_any(feature, {"avx512", "avx10", "amx", "evex512"})) return true;
  if (mask == "avx2") return false;
  return starts_with_any(feature, {"avx", "fma", "f16c", "xop", "vaes", "vpclmulqdq", "gfni"}) ||
         starts_with_any(feature, {"sha512", "sm3", "sm4"});
}

bool has(const std::map<std::string, bool>& features, const char* name) {
  const auto found = features.find(name);
  return found != features.end() && found->second;
}

void describe_x86(Target& target, const std::map<std::string, bool>& features) {
  const bool avx512 = has(features, "avx512f") && has(features, "avx512vl") &&
                      has(features, "avx512bw") && has(features, "avx512dq");
  target.has_fma = has(features, "fma") || avx512;
  target.vector_bytes = avx512 ? 64 : has(features, "avx2") ? 32 : 16;
  target.vector_registers = avx512 ? 32 : 16;
  target.has_bfloat16 = avx512 && has(features, "avx512bf16");
  target.has_amx = target.has_bfloat16 && has(features, "amx-tile") && has(features, "amx-bf16") &&
                   host_grants_tiles();
}

}  // namespace

Target make_target(std::string_view mask) {
  if (!mask.empty() && mask != "avx2" && mask != "sse")
    throw_user_error("T0984", "unknown set of CPU features '" + std::string(mask) + "'",
                     "TREADLE_CPU_FEATURES is empty, 'avx2' or 'sse'");
  std::map<std::string, bool> features;  // sorted: the feature string is reproducible
  for (const auto& feature : llvm::sys::getHostCPUFeatures())
    features[feature.getKey().str()] = feature.getValue() && !masked(feature.getKey().str(), mask);

  Target target;
  target.triple = llvm::sys::getProcessTriple();
  target.cpu = llvm::sys::getHostCPUName().str();
  for (const auto& [name, on] : features) {
    if (!target.features.empty()) target.features += ',';
    target.features += (on ? '+' : '-') + name;
  }
  const llvm::Triple triple(target.triple);
  if (triple.isX86()) {
    describe_x86(target, features);
  } else if (triple.isAArch64()) {
    target.has_fma = true;
    target.vector_registers = 32;
  }
  return target;
}

std::string host_mask() {
  const char* mask = std::getenv("TREADLE_CPU_FEATURES");
  return mask != nullptr ? mask : "";
}

Target host_target() { return make_target(host_mask()); }

std::unique_ptr<llvm::TargetMachine> create_target_machine(const Target& target) {
  static std::once_flag registered;
  std::call_once(registered, [] {
    llvm::InitializeNativeTarget();
    llvm::InitializeNativeTargetAsmPrinter();
  });
  const llvm::Triple triple(target.triple);
  std::string error;
#if LLVM_VERSION_MAJOR >= 21
  const llvm::Target* found = llvm::TargetRegistry::lookupTarget(triple, error);
#else
  const llvm::Target* found = llvm::TargetRegistry::lookupTarget(target.triple, error);
#endif
  ensure(found != nullptr, "llvm target", error);
  llvm::TargetOptions options;
  options.AllowFPOpFusion = llvm::FPOpFusion::Strict;
#if LLVM_VERSION_MAJOR >= 21
  const llvm::Triple& name = triple;
#else
  const std::string& name = target.triple;
#endif
  // A program and its constants are one small image (link_code_internal.h), so that
  // short distances do; for code made in memory LLVM would take long ones.
  return std::unique_ptr<llvm::TargetMachine>(
      found->createTargetMachine(name, target.cpu, target.features, options, llvm::Reloc::PIC_,
                                 llvm::CodeModel::Small, llvm::CodeGenOptLevel::Default,
                                 /*JIT=*/true));
}

void set_module_target(llvm::Module& module, llvm::TargetMachine& machine) {
#if LLVM_VERSION_MAJOR >= 21
  module.setTargetTriple(machine.getTargetTriple());
#else
  module.setTargetTriple(machine.getTargetTriple().str());
#endif
  module.setDataLayout(machine.createDataLayout());
}

void set_target_attributes(llvm::Function& function, const Target& target) {
  function.addFnAttr("target-cpu", target.cpu);
  function.addFnAttr("target-features", target.features);
  const std::string bits = std::to_string(target.vector_bytes * 8);
  function.addFnAttr("prefer-vector-width", bits);
  if (target.vector_bytes >= 32) function.addFnAttr("min-legal-vector-width", bits);
}

}  // namespace treadle
