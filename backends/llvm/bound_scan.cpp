// Scans whose steps have other extents than the one before: the counts of a
// step are read from memory, and every thread writes the extents that depend on
// them into a table of its own.
#include <algorithm>

#include "backends/llvm/loop_internal.h"
#include "backends/llvm/program_emitter_internal.h"
#include "backends/llvm/target_internal.h"
#include "ir/diagnostic.h"

namespace treadle {

llvm::Value* ProgramEmitter::own_dim_table(llvm::IRBuilder<>& b, llvm::Value* shared,
                                           llvm::Value* count) {
  llvm::Value* own = b.CreateAlloca(b.getInt64Ty(), count);
  b.CreateMemCpy(own, llvm::Align(8), shared, llvm::Align(8),
                 b.CreateMul(count, b.getInt64(sizeof(std::int64_t))));
  return own;
}

// The buffers' addresses, those of the thread itself where each has its own.
llvm::Value* ProgramEmitter::own_buffer_table(llvm::IRBuilder<>& b) {
  const auto& buffers = plan_.buffers;
  if (std::none_of(buffers.begin(), buffers.end(),
                   [](const BufferPlan& buffer) { return buffer.per_thread; }))
    return buffers_;
  llvm::Value* own = b.CreateAlloca(b.getPtrTy(), b.getInt64(buffers.size()));
  b.CreateMemCpy(own, llvm::Align(8), buffers_, llvm::Align(8),
                 b.getInt64(buffers.size() * sizeof(void*)));
  for (std::size_t i = 0; i < buffers.size(); ++i) {
    if (!buffers[i].per_thread) continue;
    const auto size = static_cast<std::int64_t>(size_of(buffers[i].dtype));
    llvm::Value* bytes = b.CreateMul(extent(b, dim_table_, buffers[i].elements), b.getInt64(size));
    const std::uint64_t mask = ProgramPlan::alignment - 1;
    bytes = b.CreateAnd(b.CreateAdd(bytes, b.getInt64(mask)), b.getInt64(~mask));
    llvm::Value* place = b.CreateConstGEP1_64(b.getPtrTy(), own, i);
    llvm::Value* first = b.CreateLoad(b.getPtrTy(), place);
    b.CreateStore(b.CreateGEP(b.getInt8Ty(), first, b.CreateMul(bytes, thread_)), place);
  }
  return own;
}

void ProgramEmitter::emit_alone(llvm::IRBuilder<>& b, const std::vector<Step>& steps) {
  llvm::Value *thread = thread_, *threads = threads_;
  thread_ = b.getInt64(0);
  threads_ = b.getInt64(1);
  alone_ = true;
  emit_steps(b, steps);
  alone_ = false;
  thread_ = thread;
  threads_ = threads;
}

void ProgramEmitter::emit_bound_scan(llvm::IRBuilder<>& b, const Step& step) {
  emit_steps(b, step.before);
  emit_barrier(b);
  const std::size_t bounds = step.bounds.size();
  // Per bound: the rows in front of the step (of a reverse scan, behind it),
  // and the count of the step before.
  std::vector<llvm::Value*> values;
  for (const PlannedBound& bound : step.bounds) {
    values.push_back(step.reverse ? extent(b, dim_table_, bound.rows) : b.getInt64(0));
    values.push_back(b.getInt64(0));
  }
  Binder binder;
  for (const PlannedBound& bound : step.bounds) {
    binder.symbols.push_back(bound.start);
    binder.symbols.push_back(bound.fewer);
    if (bound.dim.bare_symbol()) binder.symbols.push_back(bound.dim);
  }
  std::vector<llvm::Type*> types{b.getPtrTy()};
  types.insert(types.end(), binder.symbols.size(), b.getInt64Ty());
  binder.function =
      llvm::Function::Create(llvm::FunctionType::get(b.getVoidTy(), types, false),
                             llvm::Function::InternalLinkage, kernel_name("bind"), module_);
  binder.function->addFnAttr(llvm::Attribute::NoInline);
  binder.function->setDoesNotThrow();
  set_target_attributes(*binder.function, target_);
  llvm::Value* length = extent(b, dim_table_, step.length);
  emit_loop(
      b, b.getInt64(0), length, b.getInt64(1), values,
      [&](llvm::Value* i, std::vector<llvm::Value*>& carried) {
        llvm::Value* t = step.reverse ? b.CreateSub(b.CreateSub(length, b.getInt64(1)), i) : i;
        std::vector<llvm::Value*> arguments{dim_table_};
        for (std::size_t j = 0; j < bounds; ++j) {
          const PlannedBound& bound = step.bounds[j];
          llvm::Value* counts = pointer(b, bound.counts, DType::i32);
          llvm::Value* count = b.CreateSExt(
              b.CreateLoad(b.getInt32Ty(), b.CreateGEP(b.getInt32Ty(), counts, t)), b.getInt64Ty());
          llvm::Value *&rows = carried[2 * j], *&before = carried[2 * j + 1];
          if (step.reverse) rows = b.CreateSub(rows, count);
          llvm::Value* less = b.CreateSub(before, count);
          arguments.push_back(rows);
          arguments.push_back(
              b.CreateSelect(b.CreateICmpSGT(less, b.getInt64(0)), less, b.getInt64(0)));
          if (bound.dim.bare_symbol()) arguments.push_back(count);
          if (!step.reverse) rows = b.CreateAdd(rows, count);
          before = count;
        }
        counters_.push_back(i);
        if (step.parallel) {
          const auto turn = [&] {
            b.CreateCall(binder.function, arguments);
            emit_alone(b, step.body);
          };
          emit_if(b, b.CreateICmpEQ(b.CreateURem(i, threads_), thread_), turn, [] {});
        } else {
          b.CreateCall(binder.function, arguments);
          emit_steps(b, step.body);
          emit_barrier(b);
        }
        counters_.pop_back();
      });
  if (step.parallel) emit_barrier(b);
  binders_.push_back(std::move(binder));
}

namespace {

// Code for the value of a dimension, given that of its symbols.
class DimCode {
 public:
  using Symbol = std::function<llvm::Value*(const std::string&)>;
  DimCode(llvm::IRBuilder<>& b, Symbol symbol) : b_(b), symbol_(std::move(symbol)) {}

  llvm::Value* value(const Dim& dim) {
    llvm::Value* sum = b_.getInt64(0);
    for (const Dim::Term& term : dim.terms()) {
      llvm::Value* product = b_.getInt64(static_cast<std::uint64_t>(term.coefficient));
      for (const Dim::Atom& atom : term.atoms) product = b_.CreateMul(product, this->atom(atom));
      sum = b_.CreateAdd(sum, product);
    }
    return sum;
  }

 private:
  llvm::Value* atom(const Dim::Atom& atom) {
    if (atom.kind == Dim::AtomKind::symbol) return symbol_(atom.name);
    llvm::Value* x = value(*atom.arg);
    llvm::Value* k = b_.getInt64(static_cast<std::uint64_t>(atom.k));
    if (atom.kind == Dim::AtomKind::at_least) return b_.CreateSelect(b_.CreateICmpSGT(x, k), x, k);
    // Towards minus infinity.
    llvm::Value* quotient = b_.CreateSDiv(x, k);
    llvm::Value* rest = b_.CreateSRem(x, k);
    return b_.CreateAdd(quotient,
                        b_.CreateSExt(b_.CreateICmpSLT(rest, b_.getInt64(0)), b_.getInt64Ty()));
  }

  llvm::IRBuilder<>& b_;
  Symbol symbol_;
};

}  // namespace

void ProgramEmitter::emit_binders() {
  if (binders_.empty()) return;
  // Every symbol has an entry, so that a loop inside another finds the other's.
  for (std::size_t i = 0; i < dims_.dims().size(); ++i) {
    std::set<std::string> symbols;
    Dim(dims_.dims()[i]).collect_symbols(symbols);
    for (const std::string& name : symbols) dims_.number(Dim::symbol(name));
  }
  for (const Binder& binder : binders_)
    for (const Dim& symbol : binder.symbols) dims_.number(symbol);
  for (const Binder& binder : binders_) {
    llvm::IRBuilder<> b(llvm::BasicBlock::Create(module_.getContext(), "entry", binder.function));
    llvm::Value* table = binder.function->getArg(0);
    std::map<std::string, llvm::Value*> known;
    for (std::size_t i = 0; i < binder.symbols.size(); ++i)
      known[*binder.symbols[i].bare_symbol()] =
          binder.function->getArg(static_cast<unsigned>(i + 1));
    const auto entry = [&](const Dim& dim) {
      return b.CreateConstGEP1_64(b.getInt64Ty(), table, dims_.number(dim));
    };
    DimCode code(b, [&](const std::string& name) -> llvm::Value* {
      const auto found = known.find(name);
      if (found != known.end()) return found->second;
      return b.CreateLoad(b.getInt64Ty(), entry(Dim::symbol(name)));
    });
    for (const Dim& dim : Dims(dims_.dims())) {
      const bool changes =
          std::any_of(binder.symbols.begin(), binder.symbols.end(),
                      [&](const Dim& s) { return dim.mentions(*s.bare_symbol()); });
      if (changes) b.CreateStore(code.value(dim), entry(dim));
    }
    b.CreateRetVoid();
  }
}

}  // namespace treadle
