#include "backends/llvm/matmul_amx_internal.h"

#include <llvm/IR/IRBuilder.h>
#include <llvm/IR/IntrinsicsX86.h>
#include <llvm/IR/Module.h>

#include <array>
#include <cstdint>

#include "backends/llvm/loop_internal.h"
#include "backends/llvm/target_internal.h"

namespace treadle {

namespace {

using llvm::Value;

constexpr std::int64_t row_bytes = 64, register_rows = 16;

// What LDTILECFG reads. [Intel, Architecture Instruction Set Extensions]
llvm::Constant* configuration(llvm::Module& module) {
  const char* name = "amx.configuration";
  if (llvm::GlobalVariable* known = module.getGlobalVariable(name, true)) return known;
  std::array<std::uint8_t, 64> bytes{};
  bytes[0] = 1;  // palette
  for (std::size_t i = 0; i < 8; ++i) {
    bytes[16 + 2 * i] = row_bytes;
    bytes[48 + i] = register_rows;
  }
  llvm::Constant* value = llvm::ConstantDataArray::get(module.getContext(), bytes);
  auto* out = new llvm::GlobalVariable(module, value->getType(), true,
                                       llvm::GlobalValue::InternalLinkage, value, name);
  out->setAlignment(llvm::Align(64));
  return out;
}

// Four tile registers of sums, 0 to 3, by two of A, 4 and 5, and two of B, 6 and 7.
class AmxStrip {
 public:
  explicit AmxStrip(llvm::Function& f)
      : b_(llvm::BasicBlock::Create(f.getContext(), "entry", &f)),
        a_(f.getArg(0)),
        b_panel_(f.getArg(1)),
        c_(f.getArg(2)),
        c_m_(f.getArg(3)),
        initial_(f.getArg(4)),
        initial_m_(f.getArg(5)),
        depth_(f.getArg(6)),
        rows_(f.getArg(7)) {}

  void run() {
    // From the first 16 rows of A to the next.
    Value* a_strip = b_.CreateMul(depth_, i64(row_bytes));
    Value* b_row = i64(2 * row_bytes);
    emit_loop(b_, i64(0), rows_, i64(2 * register_rows), [&](Value* row) {
      sums(llvm::Intrinsic::x86_tileloadd64, initial_, initial_m_, row);
      Value* a = offset(a_, b_.CreateMul(row, b_.CreateMul(depth_, i64(4))));
      emit_loop(b_, i64(0), depth_, i64(register_rows), [&](Value* l) {
        Value* upper = offset(a, b_.CreateMul(l, i64(row_bytes)));
        Value* left = offset(b_panel_, b_.CreateMul(l, b_row));
        move(llvm::Intrinsic::x86_tileloadd64, 4, upper, i64(row_bytes));
        move(llvm::Intrinsic::x86_tileloadd64, 5, offset(upper, a_strip), i64(row_bytes));
        move(llvm::Intrinsic::x86_tileloadd64, 6, left, b_row);
        move(llvm::Intrinsic::x86_tileloadd64, 7, offset(left, i64(row_bytes)), b_row);
        for (const int i : {0, 1, 2, 3})
          b_.CreateIntrinsic(llvm::Intrinsic::x86_tdpbf16ps, {},
                             {number(i), number(4 + i / 2), number(6 + i % 2)});
      });
      sums(llvm::Intrinsic::x86_tilestored64, c_, c_m_, row);
    });
    b_.CreateRetVoid();
  }

 private:
  Value* i64(std::int64_t value) { return b_.getInt64(static_cast<std::uint64_t>(value)); }
  Value* number(int tile) { return b_.getInt8(static_cast<std::uint8_t>(tile)); }
  Value* offset(Value* base, Value* bytes) { return b_.CreateGEP(b_.getInt8Ty(), base, bytes); }
  void move(llvm::Intrinsic::ID id, int tile, Value* at, Value* stride) {
    b_.CreateIntrinsic(id, {}, {number(tile), at, stride});
  }
  // The four tiles from `row` on.
  void sums(llvm::Intrinsic::ID id, Value* base, Value* stride, Value* row) {
    for (const int i : {0, 1, 2, 3}) {
      Value* first = b_.CreateAdd(row, i64(i / 2 * register_rows));
      Value* at = b_.CreateAdd(b_.CreateMul(first, stride), i64(i % 2 * row_bytes));
      move(id, i, offset(base, at), stride);
    }
  }

  llvm::IRBuilder<> b_;
  Value *a_, *b_panel_, *c_, *c_m_, *initial_, *initial_m_, *depth_, *rows_;
};

}  // namespace

void emit_amx_begin(llvm::IRBuilderBase& b) {
  llvm::Module& module = *b.GetInsertBlock()->getModule();
  b.CreateIntrinsic(llvm::Intrinsic::x86_ldtilecfg, {}, {configuration(module)});
}

void emit_amx_end(llvm::IRBuilderBase& b) {
  const llvm::ArrayRef<llvm::Type*> no_types;
  b.CreateIntrinsic(llvm::Intrinsic::x86_tilerelease, no_types, {});
}

llvm::Function* emit_amx_strip(llvm::Module& module, const Target& target,
                               const std::string& name) {
  llvm::LLVMContext& context = module.getContext();
  llvm::Type *p = llvm::PointerType::get(context, 0), *i = llvm::Type::getInt64Ty(context);
  auto* type =
      llvm::FunctionType::get(llvm::Type::getVoidTy(context), {p, p, p, i, p, i, i, i}, false);
  auto* f = llvm::Function::Create(type, llvm::Function::InternalLinkage, name, module);
  set_target_attributes(*f, target);
  f->addFnAttr(llvm::Attribute::NoInline);
  f->setDoesNotThrow();
  AmxStrip(*f).run();
  return f;
}

}  // namespace treadle
