#include <algorithm>

#include "backends/llvm/kernel_emitter_internal.h"
#include "backends/llvm/loop_internal.h"
#include "backends/llvm/vector_math_internal.h"
#include "ir/diagnostic.h"
#include "ir/op_def.h"

namespace treadle {

std::size_t DimTable::number(const Dim& dim) {
  const auto [found, fresh] = numbers_.try_emplace(dim, dims_.size());
  if (fresh) dims_.push_back(dim);
  return found->second;
}

llvm::Type* memory_type(llvm::LLVMContext& context, DType dtype) {
  return dtype == DType::b1 ? llvm::Type::getInt8Ty(context) : value_type(context, dtype);
}

llvm::Value* KernelEmitter::extent(const Dim& dim) {
  if (const auto value = dim.constant()) return integer(*value);
  if (const auto own = extents_.find(dim); own != extents_.end()) return own->second;
  const std::size_t number = dims_.number(dim);
  auto* load =
      b.CreateLoad(b.getInt64Ty(), b.CreateConstGEP1_64(b.getInt64Ty(), dim_table_, number));
  load->setMetadata(llvm::LLVMContext::MD_invariant_load, llvm::MDNode::get(b.getContext(), {}));
  return load;
}

unsigned KernelEmitter::lanes_for(Value v) const {
  return static_cast<unsigned>(target_.vector_bytes) /
         static_cast<unsigned>(std::max<std::size_t>(4, size_of(graph_.type(v).dtype)));
}

llvm::Value* KernelEmitter::splat(llvm::Value* x, unsigned lanes) {
  return lanes == 1 || x->getType()->isVectorTy() ? x : b.CreateVectorSplat(lanes, x);
}

llvm::Value* KernelEmitter::zero(DType dtype, unsigned lanes) {
  return llvm::Constant::getNullValue(value_type(b.getContext(), dtype, lanes));
}

llvm::Value* KernelEmitter::lanes_of(const LaneIndex& x, unsigned lanes) {
  if (x.vector != nullptr) return x.vector;
  if (lanes == 1) return x.base;
  llvm::Value* base = b.CreateVectorSplat(lanes, x.base);
  if (x.lane == 0) return base;
  std::vector<llvm::Constant*> steps;
  for (unsigned i = 0; i < lanes; ++i)
    steps.push_back(llvm::ConstantInt::getSigned(b.getInt64Ty(), std::int64_t{x.lane} * i));
  return b.CreateAdd(base, llvm::ConstantVector::get(steps));
}

LaneIndex KernelEmitter::add(const LaneIndex& x, const LaneIndex& y) {
  if (x.vector == nullptr && y.vector == nullptr) {
    if (const auto* c = llvm::dyn_cast<llvm::ConstantInt>(y.base); c != nullptr && c->isZero())
      return {x.base, x.lane + y.lane, nullptr};
    return {b.CreateAdd(x.base, y.base), x.lane + y.lane, nullptr};
  }
  auto* any = x.vector != nullptr ? x.vector : y.vector;
  const unsigned lanes = llvm::cast<llvm::FixedVectorType>(any->getType())->getNumElements();
  return {nullptr, 0, b.CreateAdd(lanes_of(x, lanes), lanes_of(y, lanes))};
}

LaneIndex KernelEmitter::times(const LaneIndex& x, std::int64_t factor, unsigned lanes) {
  if (factor == 1) return x;
  const std::int64_t lane = factor * x.lane;
  if (x.vector == nullptr && std::abs(lane) < (1 << 30))
    return {b.CreateMul(x.base, integer(factor)), static_cast<int>(lane), nullptr};
  return {nullptr, 0, b.CreateMul(lanes_of(x, lanes), splat(integer(factor), lanes))};
}

llvm::Value* KernelEmitter::both(llvm::Value* x, llvm::Value* y) {
  if (x == nullptr) return y;
  return y == nullptr ? x : b.CreateAnd(x, y);
}

llvm::Value* KernelEmitter::in_range(const LaneIndex& x, llvm::Value* low, llvm::Value* high,
                                     unsigned lanes) {
  if (x.uniform())
    return splat(b.CreateAnd(b.CreateICmpSGE(x.base, low), b.CreateICmpSLT(x.base, high)), lanes);
  llvm::Value* all = lanes_of(x, lanes);
  return b.CreateAnd(b.CreateICmpSGE(all, splat(low, lanes)),
                     b.CreateICmpSLT(all, splat(high, lanes)));
}

LaneIndex KernelEmitter::offset_of(const Type& type, const LaneIndices& index, unsigned lanes) {
  LaneIndex sum{integer(0), 0, nullptr};
  Dim stride(1);
  for (std::size_t axis = type.rank(); axis-- > 0;) {
    const LaneIndex& x = index[axis];
    const auto step = stride.constant();
    if (x.uniform()) {
      sum = add(sum, {b.CreateMul(x.base, extent(stride)), 0, nullptr});
    } else if (x.vector == nullptr && step && std::abs(*step * x.lane) < (1 << 30)) {
      sum = add(sum,
                {b.CreateMul(x.base, integer(*step)), static_cast<int>(*step) * x.lane, nullptr});
    } else {
      llvm::Value* all = lanes_of(x, lanes);
      sum = add(sum, {nullptr, 0, b.CreateMul(all, splat(extent(stride), lanes))});
    }
    stride = stride * type.dims[axis];
  }
  return sum;
}

llvm::Value* KernelEmitter::load(DType dtype, llvm::Value* pointer, const LaneIndex& offset,
                                 llvm::Value* mask, unsigned lanes) {
  llvm::Type* element = memory_type(b.getContext(), dtype);
  auto* vector = llvm::FixedVectorType::get(element, lanes);
  const llvm::Align align(size_of(dtype));
  llvm::Value* loaded = nullptr;
  if (offset.uniform()) {
    llvm::Value* at = b.CreateGEP(element, pointer, offset.base);
    if (mask == nullptr) {
      loaded = b.CreateAlignedLoad(element, at, align);
    } else {
      llvm::Value* any = mask->getType()->isVectorTy() ? b.CreateOrReduce(mask) : mask;
      auto* one = llvm::FixedVectorType::get(element, 1);
      loaded =
          b.CreateExtractElement(b.CreateMaskedLoad(one, at, align, b.CreateVectorSplat(1, any),
                                                    llvm::Constant::getNullValue(one)),
                                 std::uint64_t{0});
    }
    if (lanes > 1) loaded = b.CreateVectorSplat(lanes, loaded);
  } else if (offset.vector == nullptr && offset.lane == 1) {
    llvm::Value* at = b.CreateGEP(element, pointer, offset.base);
    loaded = mask == nullptr ? static_cast<llvm::Value*>(b.CreateAlignedLoad(vector, at, align))
                             : b.CreateMaskedLoad(vector, at, align, mask,
                                                  llvm::Constant::getNullValue(vector));
  } else {
    llvm::Value* at = b.CreateGEP(element, pointer, lanes_of(offset, lanes));
    loaded = b.CreateMaskedGather(vector, at, align, mask, llvm::Constant::getNullValue(vector));
  }
  if (dtype != DType::b1) return loaded;
  return b.CreateICmpNE(loaded, llvm::Constant::getNullValue(loaded->getType()));
}

void KernelEmitter::store(llvm::Value* value, DType dtype, llvm::Value* pointer,
                          llvm::Value* offset, llvm::Value* mask) {
  if (dtype == DType::b1)
    value = b.CreateZExt(value, value->getType()->getWithNewType(b.getInt8Ty()));
  llvm::Value* at = b.CreateGEP(memory_type(b.getContext(), dtype), pointer, offset);
  const llvm::Align align(size_of(dtype));
  if (mask == nullptr)
    b.CreateAlignedStore(value, at, align);
  else
    b.CreateMaskedStore(value, at, align, mask);
}

LaneIndices KernelEmitter::delinearise(llvm::Value* linear, std::span<const Dim> dims) {
  LaneIndices out(dims.size());
  for (std::size_t axis = dims.size(); axis-- > 0;) {
    if (axis == 0) {
      out[0].base = linear;
      break;
    }
    llvm::Value* size = extent(dims[axis]);
    out[axis].base = b.CreateURem(linear, size);
    linear = b.CreateUDiv(linear, size);
  }
  return out;
}

llvm::Value* KernelEmitter::emit(Value v, const LaneIndices& index, llvm::Value* mask,
                                 unsigned lanes) {
  const Key key{v, index, mask, lanes};
  if (const auto found = known_.find(key); found != known_.end()) return found->second;
  llvm::Value* value = nullptr;
  const bool uniform =
      std::all_of(index.begin(), index.end(), [](const LaneIndex& i) { return i.uniform(); });
  if (uniform && lanes > 1) {
    llvm::Value* any = mask == nullptr ? nullptr : b.CreateOrReduce(mask);
    value = b.CreateVectorSplat(lanes, emit(v, index, any, 1));
  } else if (const auto leaf = leaves_.find(v); leaf != leaves_.end()) {
    const Type& type = graph_.type(v);
    value = load(type.dtype, leaf->second, offset_of(type, index, lanes), mask, lanes);
  } else {
    value = emit_fresh(v, index, mask, lanes);
  }
  known_[key] = value;
  return value;
}

llvm::Value* KernelEmitter::emit_fresh(Value v, const LaneIndices& index, llvm::Value* mask,
                                       unsigned lanes) {
  const Node& n = graph_.node(v.node);
  const auto axis = [&] { return static_cast<std::size_t>(n.attributes.integer("axis")); };
  switch (n.op) {
    case Op::broadcast: {
      LaneIndices inner;
      for (const std::int64_t a : n.attributes.integers("axes"))
        inner.push_back(index[static_cast<std::size_t>(a)]);
      return emit(n.operands[0], inner, mask, lanes);
    }
    case Op::transpose: {
      LaneIndices inner(index.size());
      const Integers& permutation = n.attributes.integers("permutation");
      for (std::size_t i = 0; i < index.size(); ++i)
        inner[static_cast<std::size_t>(permutation[i])] = index[i];
      return emit(n.operands[0], inner, mask, lanes);
    }
    case Op::slice: {
      LaneIndices inner = index;
      inner[axis()] = add(inner[axis()], {extent(n.attributes.dim("start")), 0, nullptr});
      return emit(n.operands[0], inner, mask, lanes);
    }
    case Op::reverse: {
      LaneIndices inner = index;
      LaneIndex& x = inner[axis()];
      llvm::Value* last = extent(n.types[0].dims[axis()] - Dim(1));
      x = x.vector != nullptr ? LaneIndex{nullptr, 0, b.CreateSub(splat(last, lanes), x.vector)}
                              : LaneIndex{b.CreateSub(last, x.base), -x.lane, nullptr};
      return emit(n.operands[0], inner, mask, lanes);
    }
    case Op::windows: {
      LaneIndices inner = index;
      const std::size_t k = axis() + 1;
      inner[axis()] = add(times(index[axis()], n.attributes.integer("stride"), lanes),
                          times(index[k], n.attributes.integer("dilation"), lanes));
      inner.erase(inner.begin() + static_cast<std::ptrdiff_t>(k));
      return emit(n.operands[0], inner, mask, lanes);
    }
    case Op::overlap_add: return emit_overlap_add(n, index, mask, lanes);
    case Op::reshape:
      return emit(n.operands[0],
                  reshape_index(graph_.type(n.operands[0]).dims, n.types[0].dims, index, lanes),
                  mask, lanes);
    case Op::pad: return emit_pad(n, index, mask, lanes);
    case Op::concat: return emit_concat(n, index, mask, lanes);
    case Op::gather: return emit_gather(n, index, mask, lanes);
    case Op::constant: return emit_constant(n, index, mask, lanes);
    case Op::iota:
    case Op::dimension: {
      llvm::Value* x = n.op == Op::iota ? lanes_of(index[axis()], lanes)
                                        : splat(extent(n.attributes.dim("dim")), lanes);
      llvm::Type* type = value_type(b.getContext(), n.types[0].dtype, lanes);
      return is_float(n.types[0].dtype) ? b.CreateSIToFP(x, type) : b.CreateSExtOrTrunc(x, type);
    }
    default: return emit_pointwise(v, index, mask, lanes);
  }
}

llvm::Value* KernelEmitter::emit_pointwise(Value v, const LaneIndices& index, llvm::Value* mask,
                                           unsigned lanes) {
  const Node& n = graph_.node(v.node);
  const OpDef& def = op_def(n.op);
  ensure(def.scalar != nullptr, "llvm",
         "'" + std::string(def.name) + "' is no value that can be computed at an index");
  ScalarBuilder scalars;
  std::vector<Scalar> arguments;
  std::vector<llvm::Value*> values;
  for (std::size_t i = 0; i < n.operands.size(); ++i) {
    arguments.push_back(
        scalars.argument(static_cast<std::uint32_t>(i), graph_.type(n.operands[i]).dtype));
    values.push_back(emit(n.operands[i], index, mask, lanes));
  }
  const ScalarProgram program =
      scalars.finish(def.scalar(scalars, arguments, n.types[v.index].dtype));
  return splat(emit_scalar_program(b, program, values, target_), lanes);
}

llvm::Value* KernelEmitter::emit_pad(const Node& n, const LaneIndices& index, llvm::Value* mask,
                                     unsigned lanes) {
  const auto axis = static_cast<std::size_t>(n.attributes.integer("axis"));
  const Dim& low = n.attributes.dim("low");
  const Dim& size = graph_.type(n.operands[0]).dims[axis];
  llvm::Value* inside = in_range(index[axis], extent(low), extent(low + size), lanes);
  LaneIndices inner = index;
  inner[axis] = add(inner[axis], {extent(Dim(0) - low), 0, nullptr});
  llvm::Value* value = emit(n.operands[0], inner, both(mask, inside), lanes);
  return b.CreateSelect(inside, value, zero(n.types[0].dtype, lanes));
}

llvm::Value* KernelEmitter::emit_concat(const Node& n, const LaneIndices& index, llvm::Value* mask,
                                        unsigned lanes) {
  const auto axis = static_cast<std::size_t>(n.attributes.integer("axis"));
  llvm::Value* out = zero(n.types[0].dtype, lanes);
  Dim begin(0);
  for (const Value part : n.operands) {
    const Dim end = begin + graph_.type(part).dims[axis];
    llvm::Value* inside = in_range(index[axis], extent(begin), extent(end), lanes);
    LaneIndices inner = index;
    inner[axis] = add(inner[axis], {extent(Dim(0) - begin), 0, nullptr});
    out = b.CreateSelect(inside, emit(part, inner, both(mask, inside), lanes), out);
    begin = end;
  }
  return out;
}

// Element t is the sum over k of window (t - k * dilation) / stride's element k
// where there is such a window. The loop is over k; or over windows where all
// lanes are at the same t, for it then skips what does not reach t.
llvm::Value* KernelEmitter::emit_overlap_add(const Node& n, const LaneIndices& index,
                                             llvm::Value* mask, unsigned lanes) {
  const auto axis = static_cast<std::size_t>(n.attributes.integer("axis"));
  const std::int64_t stride = n.attributes.integer("stride");
  const std::int64_t dilation = n.attributes.integer("dilation");
  const DType dtype = n.types[0].dtype;
  const Dims& dims = graph_.type(n.operands[0]).dims;
  llvm::Value *windows = extent(dims[axis]), *size = extent(dims[axis + 1]);
  const LaneIndex at = index[axis];
  const auto sum = [&](llvm::Value* total, const LaneIndex& window, const LaneIndex& k,
                       llvm::Value* inside) {
    const std::map<Key, llvm::Value*> before = known_;  // of the loop
    LaneIndices inner = index;
    inner[axis] = window;
    inner.insert(inner.begin() + static_cast<std::ptrdiff_t>(axis) + 1, k);
    llvm::Value* x = emit(n.operands[0], inner, both(mask, inside), lanes);
    known_ = before;
    if (inside != nullptr) x = b.CreateSelect(inside, x, zero(dtype, lanes));
    return is_float(dtype) ? b.CreateFAdd(total, x) : b.CreateAdd(total, x);
  };
  if (at.uniform() && dilation == 1) {
    // Windows from the first that ends behind t to the last that starts by it.
    const auto at_most = [&](llvm::Value* x, llvm::Value* most) {
      return b.CreateSelect(b.CreateICmpSLT(x, most), x, most);
    };
    llvm::Value* past = b.CreateAdd(b.CreateSub(at.base, size), integer(stride));  // rounds up
    llvm::Value* first = b.CreateSelect(b.CreateICmpSLT(past, integer(0)), integer(0),
                                        b.CreateSDiv(past, integer(stride)));
    llvm::Value* end =
        at_most(b.CreateAdd(b.CreateUDiv(at.base, integer(stride)), integer(1)), windows);
    end = b.CreateSelect(b.CreateICmpSLT(end, first), first, end);
    return emit_loop(b, first, end, integer(1), {zero(dtype, lanes)},
                     [&](llvm::Value* window, std::vector<llvm::Value*>& totals) {
                       llvm::Value* k = b.CreateSub(at.base, b.CreateMul(window, integer(stride)));
                       totals[0] = sum(totals[0], {window, 0, nullptr}, {k, 0, nullptr}, nullptr);
                     })[0];
  }
  return emit_loop(b, integer(0), size, integer(1), {zero(dtype, lanes)},
                   [&](llvm::Value* k, std::vector<llvm::Value*>& totals) {
                     const LaneIndex start =
                         add(at, {b.CreateNeg(b.CreateMul(k, integer(dilation))), 0, nullptr});
                     LaneIndex window = start;
                     llvm::Value* inside = nullptr;
                     if (stride != 1) {
                       llvm::Value* all = start.uniform() ? start.base : lanes_of(start, lanes);
                       const unsigned width = start.uniform() ? 1 : lanes;
                       llvm::Value* by = splat(integer(stride), width);
                       llvm::Value* quotient = b.CreateSDiv(all, by);
                       inside = splat(b.CreateICmpEQ(b.CreateMul(quotient, by), all), lanes);
                       window = start.uniform() ? LaneIndex{quotient, 0, nullptr}
                                                : LaneIndex{nullptr, 0, quotient};
                     }
                     inside = both(inside, in_range(window, integer(0), windows, lanes));
                     totals[0] = sum(totals[0], window, {k, 0, nullptr}, inside);
                   })[0];
}

llvm::Value* KernelEmitter::emit_gather(const Node& n, const LaneIndices& index, llvm::Value* mask,
                                        unsigned lanes) {
  const Type& table = graph_.type(n.operands[0]);
  const auto batch = static_cast<std::ptrdiff_t>(n.attributes.integer("batch"));
  const auto lookups = static_cast<std::ptrdiff_t>(graph_.type(n.operands[1]).rank());
  const LaneIndices where(index.begin(), index.begin() + lookups);
  const bool uniform =
      std::all_of(where.begin(), where.end(), [](const LaneIndex& i) { return i.uniform(); });
  const unsigned width = uniform ? 1 : lanes;
  llvm::Value* any = mask;
  if (uniform && mask != nullptr && mask->getType()->isVectorTy()) any = b.CreateOrReduce(mask);
  llvm::Value* found = emit(n.operands[1], where, any, width);
  found = b.CreateSExt(found, found->getType()->getWithNewType(b.getInt64Ty()));
  LaneIndex row = width == 1 ? LaneIndex{found, 0, nullptr} : LaneIndex{nullptr, 0, found};
  llvm::Value* inside =
      in_range(row, integer(0), extent(table.dims[static_cast<std::size_t>(batch)]), lanes);
  LaneIndices inner(index.begin(), index.begin() + batch);
  inner.push_back(row);
  inner.insert(inner.end(), index.begin() + lookups, index.end());
  llvm::Value* value = emit(n.operands[0], inner, both(mask, inside), lanes);
  return b.CreateSelect(inside, value, zero(n.types[0].dtype, lanes));
}

llvm::Value* KernelEmitter::emit_constant(const Node& n, const LaneIndices& index,
                                          llvm::Value* mask, unsigned lanes) {
  const Tensor& tensor = n.attributes.tensor("value");
  const DType dtype = tensor.dtype();
  llvm::Type* type = value_type(b.getContext(), dtype, lanes);
  if (tensor.size() == 1)
    return is_float(dtype) ? llvm::ConstantFP::get(type, tensor.get(0))
                           : static_cast<llvm::Value*>(
                                 llvm::ConstantInt::getSigned(type, tensor.get_integer(0)));
  auto* bytes = llvm::ConstantDataArray::getRaw(
      llvm::StringRef(reinterpret_cast<const char*>(tensor.data()), tensor.bytes()), tensor.bytes(),
      b.getInt8Ty());
  auto* global = new llvm::GlobalVariable(*b.GetInsertBlock()->getModule(), bytes->getType(), true,
                                          llvm::GlobalValue::InternalLinkage, bytes, "literal");
  global->setAlignment(llvm::Align(64));
  return load(dtype, global, offset_of(n.types[0], index, lanes), mask, lanes);
}

// Dims that meet one to one keep their index; a group of dims that becomes
// another group of the same product goes through the position in the group.
LaneIndices KernelEmitter::reshape_index(const Dims& from, const Dims& to, const LaneIndices& index,
                                         unsigned lanes) {
  LaneIndices out(from.size());
  std::size_t i = 0, j = 0;
  while (i < from.size() || j < to.size()) {
    std::size_t i_end = i, j_end = j;
    Dim left(1), right(1);
    if (i_end < from.size()) left = from[i_end++];
    if (j_end < to.size()) right = to[j_end++];
    while (left != right && (i_end < from.size() || j_end < to.size())) {
      const auto l = left.constant(), r = right.constant();
      const bool take_left = j_end == to.size() || (i_end < from.size() && l && r && *l < *r) ||
                             (i_end < from.size() && right.exact_div(left).has_value());
      if (take_left)
        left = left * from[i_end++];
      else
        right = right * to[j_end++];
    }
    if (i_end == i + 1 && j_end == j + 1) {
      out[i] = index[j];
    } else {
      LaneIndex position =
          offset_of(Type{DType::f32, Dims(to.begin() + static_cast<std::ptrdiff_t>(j),
                                          to.begin() + static_cast<std::ptrdiff_t>(j_end))},
                    LaneIndices(index.begin() + static_cast<std::ptrdiff_t>(j),
                                index.begin() + static_cast<std::ptrdiff_t>(j_end)),
                    lanes);
      if (position.uniform()) {
        const LaneIndices parts = delinearise(position.base, std::span(from).subspan(i, i_end - i));
        std::copy(parts.begin(), parts.end(), out.begin() + static_cast<std::ptrdiff_t>(i));
      } else if (i_end == i + 1) {
        out[i] = position;
      } else {
        llvm::Value* rest = lanes_of(position, lanes);
        for (std::size_t axis = i_end; axis-- > i;) {
          llvm::Value* size = splat(extent(from[axis]), lanes);
          out[axis] = {nullptr, 0, axis == i ? rest : b.CreateURem(rest, size)};
          if (axis != i) rest = b.CreateUDiv(rest, size);
        }
      }
    }
    i = i_end;
    j = j_end;
  }
  return out;
}

}  // namespace treadle
