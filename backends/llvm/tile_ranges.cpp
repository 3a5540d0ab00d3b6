#include "backends/llvm/tile_ranges_internal.h"

#include <algorithm>
#include <cmath>

namespace treadle {

llvm::Value* TileRanges::least(llvm::Value* x, llvm::Value* y) {
  return x == y ? x : e_.b.CreateSelect(e_.b.CreateICmpSLT(x, y), x, y);
}

llvm::Value* TileRanges::greatest(llvm::Value* x, llvm::Value* y) {
  return x == y ? x : e_.b.CreateSelect(e_.b.CreateICmpSGT(x, y), x, y);
}

std::optional<IndexRanges> TileRanges::read_at(const Node& node, const IndexRanges& index) {
  if (node.op == Op::broadcast) {
    IndexRanges out;
    for (const std::int64_t axis : node.attributes.integers("axes"))
      out.push_back(index[static_cast<std::size_t>(axis)]);
    return out;
  }
  if (node.op == Op::transpose) {
    IndexRanges out(index.size());
    const Integers& permutation = node.attributes.integers("permutation");
    for (std::size_t i = 0; i < index.size(); ++i)
      out[static_cast<std::size_t>(permutation[i])] = index[i];
    return out;
  }
  return std::nullopt;
}

// An element in memory, where the index is one place.
llvm::Value* TileRanges::element(Value v, const IndexRanges& index) {
  LaneIndices at;
  for (const ValueRange& range : index) {
    if (!range.known()) return nullptr;
    at.push_back({range.low, 0, nullptr});
  }
  return e_.emit(v, at, nullptr, 1);
}

llvm::Value* TileRanges::all_minus_infinity(Value v, const IndexRanges& index) {
  const Node& node = e_.graph().node(v.node);
  if (const auto inner = read_at(node, index)) return all_minus_infinity(node.operands[0], *inner);
  if (node.op == Op::constant) {
    const Tensor& value = node.attributes.tensor("value");
    const bool is = value.size() == 1 && std::isinf(value.get(0)) && value.get(0) < 0;
    return is ? e_.b.getTrue() : nullptr;
  }
  if (node.op != Op::select) return nullptr;
  const std::optional<Truth> condition = truth(node.operands[0], index);
  if (!condition) return nullptr;
  llvm::Value* yes = all_minus_infinity(node.operands[1], index);
  llvm::Value* no = all_minus_infinity(node.operands[2], index);
  if (yes != nullptr) yes = e_.b.CreateAnd(condition->always, yes);
  if (no != nullptr) no = e_.b.CreateAnd(condition->never, no);
  if (yes == nullptr || no == nullptr) return yes == nullptr ? no : yes;
  return e_.b.CreateOr(yes, no);
}

llvm::Value* TileRanges::always(Value v, const IndexRanges& index) {
  const std::optional<Truth> found = truth(v, index);
  return found ? found->always : nullptr;
}

std::optional<TileRanges::Truth> TileRanges::truth(Value v, const IndexRanges& index) {
  const Node& node = e_.graph().node(v.node);
  if (const auto inner = read_at(node, index)) return truth(node.operands[0], *inner);
  const auto of = [&](std::size_t i) { return truth(node.operands[i], index); };
  switch (node.op) {
    case Op::argument: {
      llvm::Value* x = element(v, index);
      if (x == nullptr) return std::nullopt;
      return Truth{x, e_.b.CreateNot(x)};
    }
    case Op::logical_not: {
      const auto x = of(0);
      if (!x) return std::nullopt;
      return Truth{x->never, x->always};
    }
    case Op::logical_and:
    case Op::logical_or: {
      // One of them may decide alone.
      const Truth unknown{e_.b.getFalse(), e_.b.getFalse()};
      const auto a = of(0), c = of(1);
      if (!a && !c) return std::nullopt;
      const Truth x = a.value_or(unknown), y = c.value_or(unknown);
      if (node.op == Op::logical_and)
        return Truth{e_.b.CreateAnd(x.always, y.always), e_.b.CreateOr(x.never, y.never)};
      return Truth{e_.b.CreateOr(x.always, y.always), e_.b.CreateAnd(x.never, y.never)};
    }
    default: return comparison(node, index);
  }
}

std::optional<TileRanges::Truth> TileRanges::comparison(const Node& node,
                                                        const IndexRanges& index) {
  const bool compares = node.op == Op::lt || node.op == Op::le || node.op == Op::gt ||
                        node.op == Op::ge || node.op == Op::eq || node.op == Op::ne;
  if (!compares) return std::nullopt;
  auto x = range(node.operands[0], index), y = range(node.operands[1], index);
  if (!x || !y) return std::nullopt;
  llvm::IRBuilder<>& b = e_.b;
  if (node.op == Op::gt || node.op == Op::ge) std::swap(x, y);
  switch (node.op) {
    case Op::lt:
    case Op::gt: return Truth{b.CreateICmpSLT(x->high, y->low), b.CreateICmpSGE(x->low, y->high)};
    case Op::le:
    case Op::ge: return Truth{b.CreateICmpSLE(x->high, y->low), b.CreateICmpSGT(x->low, y->high)};
    default: break;
  }
  llvm::Value* apart =
      b.CreateOr(b.CreateICmpSLT(x->high, y->low), b.CreateICmpSGT(x->low, y->high));
  llvm::Value* same = b.CreateAnd(b.CreateICmpEQ(x->low, y->high), b.CreateICmpEQ(x->high, y->low));
  if (node.op == Op::eq) return Truth{same, apart};
  return Truth{apart, same};
}

std::optional<ValueRange> TileRanges::range(Value v, const IndexRanges& index) {
  const Node& node = e_.graph().node(v.node);
  const DType dtype = e_.graph().type(v).dtype;
  if (is_float(dtype) || dtype == DType::b1) return std::nullopt;
  if (const auto inner = read_at(node, index)) return range(node.operands[0], *inner);
  switch (node.op) {
    case Op::argument: {
      llvm::Value* x = element(v, index);
      if (x == nullptr) return std::nullopt;
      x = e_.b.CreateSExt(x, e_.b.getInt64Ty());
      return ValueRange{x, x};
    }
    case Op::iota: return index[static_cast<std::size_t>(node.attributes.integer("axis"))];
    case Op::dimension: {
      llvm::Value* x = e_.extent(node.attributes.dim("dim"));
      return ValueRange{x, x};
    }
    case Op::constant: {
      const Tensor& value = node.attributes.tensor("value");
      if (value.size() != 1) return std::nullopt;
      llvm::Value* x = e_.integer(value.get_integer(0));
      return ValueRange{x, x};
    }
    default: return arithmetic(node, index);
  }
}

std::optional<ValueRange> TileRanges::arithmetic(const Node& node, const IndexRanges& index) {
  llvm::IRBuilder<>& b = e_.b;
  std::vector<ValueRange> x;
  for (const Value operand : node.operands) {
    if (node.op != Op::add && node.op != Op::sub && node.op != Op::neg && node.op != Op::abs &&
        node.op != Op::mul && node.op != Op::minimum && node.op != Op::maximum)
      return std::nullopt;
    const auto found = range(operand, index);
    if (!found) return std::nullopt;
    x.push_back(*found);
  }
  switch (node.op) {
    case Op::add:
      return ValueRange{b.CreateAdd(x[0].low, x[1].low), b.CreateAdd(x[0].high, x[1].high)};
    case Op::sub:
      return ValueRange{b.CreateSub(x[0].low, x[1].high), b.CreateSub(x[0].high, x[1].low)};
    case Op::neg: return ValueRange{b.CreateNeg(x[0].high), b.CreateNeg(x[0].low)};
    case Op::minimum: return ValueRange{least(x[0].low, x[1].low), least(x[0].high, x[1].high)};
    case Op::maximum:
      return ValueRange{greatest(x[0].low, x[1].low), greatest(x[0].high, x[1].high)};
    case Op::abs: {
      llvm::Value* minus_high = b.CreateNeg(x[0].high);
      return ValueRange{greatest(e_.integer(0), greatest(x[0].low, minus_high)),
                        greatest(b.CreateNeg(x[0].low), x[0].high)};
    }
    case Op::mul: {
      std::vector<llvm::Value*> products;
      for (llvm::Value* i : {x[0].low, x[0].high})
        for (llvm::Value* k : {x[1].low, x[1].high}) products.push_back(b.CreateMul(i, k));
      return ValueRange{
          least(least(products[0], products[1]), least(products[2], products[3])),
          greatest(greatest(products[0], products[1]), greatest(products[2], products[3]))};
    }
    default: return std::nullopt;
  }
}

}  // namespace treadle
