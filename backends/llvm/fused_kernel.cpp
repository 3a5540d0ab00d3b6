#include <fmt/format.h>

#include <algorithm>
#include <map>

#include "backends/llvm/fused_kernel_internal.h"
#include "backends/llvm/fused_stages.h"
#include "backends/llvm/fused_units.h"
#include "backends/llvm/loop_internal.h"
#include "backends/llvm/vector_math_internal.h"
#include "ir/builder.h"
#include "ir/diagnostic.h"
#include "ir/op_def.h"
#include "ir/text_printer.h"

namespace treadle {

namespace {

// Vectors of columns that one unit of a reduction sums side by side: eight, since
// what is read of a row is then 256 bytes or more in a piece, where that leaves
// eight units to share out, else four. (Sums of 3,200 rows of 1,024: 0.63 of the time.)
constexpr unsigned widest_columns = 8, wide_columns = 4;
constexpr std::int64_t fewest_wide_units = 8;
// Turns of a stage's loop before the next stage.
constexpr std::int64_t turns_of_stage = 8;

// The only axis of a domain that is flat; the kernel is told what it is.
const Dim& flat_axis() {
  static const Dim axis = Dim::symbol("kernel.count");
  return axis;
}

}  // namespace

FusedKernel::FusedKernel(const Target& target, DimTable& dims, const Graph& body,
                         const Dims& domain)
    : target_(target), dims_(dims), body_(body), domain_(domain), count_(product(domain)) {
  const std::size_t widest = widest_element(body_);
  lanes_ = static_cast<unsigned>(target.vector_bytes) / static_cast<unsigned>(widest);
  block_ = fused_block(target.vector_bytes, widest);
  flat_ = !domain_.empty() && is_flat(body_, domain_);
  std::optional<std::int64_t> extent;
  if (!domain_.empty()) {
    extent = (flat_ ? count_ : domain_.back()).constant();
    whole_lanes_ = lanes_;
  }
  const auto take_together = [&](unsigned vectors) {
    const std::int64_t width = std::int64_t{vectors} * lanes_;
    if (!extent || *extent % width == 0 || *extent >= 4 * width) whole_lanes_ = vectors * lanes_;
  };
  // Two vectors side by side: a processor looks ahead over one chain of functions, as of an
  // LSTM's cell, and no further. On Zen 3 that kernel takes three quarters of the time with two,
  // and no less with four. A chain that is not cut in two stages is longer: with registers for
  // it, GELU and its derivative take 0.97 of the time with four on Zen 4, an LSTM's stages 1.004.
  const bool has_chains =
      !domain_.empty() && std::any_of(body_.nodes().begin(), body_.nodes().end(), is_long_chain);
  if (has_chains) take_together(2);
  if (flat_) flatten();
  const Node& first = body_.node(body_.outputs()[0].value.node);
  if (!is_reduction(first.op)) {
    find_parts();
    if (whole_lanes_ > lanes_ && (!extent || *extent >= whole_lanes_)) find_stages();
    if (has_chains && kept_values_.empty() && target.vector_registers >= 32) take_together(4);
    if (domain_.empty())
      units_ = 1;
    else
      units_ = flat_
                   ? blocks_of(count_)
                   : product(Dims(domain_.begin(), domain_.end() - 1)) * blocks_of(domain_.back());
    // Of what is flat a thread may do the elements of some rows, any number of them.
    divisible_ = !flat_ && extent && *extent % whole_lanes_ == 0;
    narrow_ = extent && *extent < whole_lanes_;
    return;
  }
  reduction_ = &first;
  const Integers& axes = first.attributes.integers("axes");
  for (std::size_t i = 0; i < domain_.size(); ++i) {
    const bool gone =
        std::find(axes.begin(), axes.end(), static_cast<std::int64_t>(i)) != axes.end();
    (gone ? reduced_ : kept_).push_back(i);
  }
  last_reduced_ = kept_.empty() || kept_.back() + 1 != domain_.size();
  Dims outer;
  for (const std::size_t i : kept_) outer.push_back(domain_[i]);
  if (!last_reduced_) {
    const auto extent = domain_.back().constant();
    for (const unsigned columns : {wide_columns, widest_columns}) {
      const std::int64_t width = std::int64_t{columns} * lanes_;
      if (extent && *extent % width == 0 &&
          (columns == wide_columns || *extent / width >= fewest_wide_units))
        columns_ = columns;
    }
    const std::int64_t width = std::int64_t{columns_} * lanes_;
    outer.back() = (outer.back() + Dim(width - 1)).floor_div(width);
  }
  units_ = product(outer);
}

Dim FusedKernel::blocks_of(const Dim& columns) const {
  return (columns + Dim(block_ - 1)).floor_div(block_);
}

std::string FusedKernel::key() const {
  return fmt::format("{} {} {} {}\n{}", to_string(domain_), flat_, by_elements() && divisible_,
                     by_elements() && narrow_, print(body_));
}

void FusedKernel::flatten() {
  const Dims flat{flat_axis()};
  Graph out;
  Builder b(out);
  std::map<Value, Value> map;
  for (NodeId id = 0; id < body_.size(); ++id) {
    const Node& node = body_.node(id);
    const bool whole = !node.types[0].dims.empty();
    std::vector<Value> operands;
    for (const Value v : node.operands) operands.push_back(map.at(v));
    Value to;
    if (node.op == Op::argument)
      to = b.argument({node.types[0].dtype, whole ? flat : Dims{}});
    else if (node.op == Op::broadcast)
      to = whole ? b.broadcast_scalar(operands[0], flat) : operands[0];
    else if (node.op == Op::constant && whole)
      to = b.broadcast_scalar(b.add_node(Op::constant, {},
                                         {{"dims", Dims{}},
                                          *[&] {
                                            for (auto it = node.attributes.begin();; ++it)
                                              if (it->first == "value") return it;
                                          }()}),
                              flat);
    else if (is_reduction(node.op))
      to = b.add_node(node.op, operands, {{"axes", Integers{0}}});
    else
      to = b.clone(node, operands);
    map[{id, 0}] = to;
  }
  for (const Output& output : body_.outputs()) out.add_output("", map.at(output.value));
  body_ = std::move(out);
  domain_ = flat;
}

void FusedKernel::find_parts() {
  for (std::size_t i = 0; i < body_.outputs().size(); ++i) {
    const Value v = body_.outputs()[i].value;
    if (body_.type(v).dims == domain_) {
      parts_.push_back({v, i, body_.type(v), -1, Dim(0)});
      continue;
    }
    const Node& node = body_.node(v.node);
    ensure(node.op == Op::concat, "llvm", "an output that does not fit the domain of its kernel");
    Dim start(0);
    concat_parts(v, i, static_cast<int>(node.attributes.integer("axis")), start);
  }
}

void FusedKernel::find_stages() {
  std::vector<Value> values;
  for (const Part& part : parts_) values.push_back(part.value);
  if (auto kept = first_stage(body_, domain_, values)) kept_values_ = std::move(*kept);
}

void FusedKernel::concat_parts(Value v, std::size_t output, int axis, Dim& start) {
  const Node& node = body_.node(v.node);
  if (body_.type(v).dims != domain_ && node.op == Op::concat &&
      node.attributes.integer("axis") == axis) {
    for (const Value part : node.operands) concat_parts(part, output, axis, start);
    return;
  }
  parts_.push_back({v, output, body_.output_type(output), axis, start});
  start = start + body_.type(v).dims[static_cast<std::size_t>(axis)];
}

void FusedKernel::emit(llvm::IRBuilder<>& b, llvm::Value* dim_table, llvm::Value* count,
                       llvm::Value* begin, llvm::Value* end,
                       const std::vector<llvm::Value*>& operands,
                       const std::vector<std::vector<llvm::Value*>>& outputs) {
  KernelEmitter e(b, target_, body_, dims_, dim_table);
  for (std::size_t i = 0; i < operands.size(); ++i) e.set_leaf(body_.input_value(i), operands[i]);
  if (flat_) e.set_extent(flat_axis(), count);
  outputs_ = &outputs;
  if (reduction_ != nullptr)
    emit_reduction(e, begin, end);
  else
    emit_pointwise(e, begin, end);
}

void FusedKernel::emit_pointwise(KernelEmitter& e, llvm::Value* begin, llvm::Value* end) {
  llvm::IRBuilder<>& b = e.b;
  if (domain_.empty()) {
    emit_loop(b, begin, end, e.integer(1), [&](llvm::Value*) {
      e.start_block();
      emit_parts(e, {}, nullptr, 1);
    });
    return;
  }
  llvm::Value* block = e.integer(block_);
  const auto smaller = [&](llvm::Value* x, llvm::Value* y) {
    return b.CreateSelect(b.CreateICmpSLT(x, y), x, y);
  };
  if (by_elements()) return emit_columns(e, {}, begin, end);
  llvm::Value* columns = e.extent(domain_.back());
  if (domain_.size() == 1) {
    emit_columns(e, {}, b.CreateMul(begin, block), smaller(b.CreateMul(end, block), columns));
    return;
  }
  // Whole rows, but for the first and the last one: few rows are shared out too.
  llvm::Value* blocks = e.extent(blocks_of(domain_.back()).at_least(1));
  llvm::Value *zero = e.integer(0), *one = e.integer(1);
  llvm::Value* behind = b.CreateUDiv(b.CreateSub(b.CreateAdd(end, blocks), one), blocks);
  emit_loop(b, b.CreateUDiv(begin, blocks), behind, one, [&](llvm::Value* row) {
    const LaneIndices index = e.delinearise(row, std::span(domain_).first(domain_.size() - 1));
    llvm::Value* first = b.CreateMul(row, blocks);
    llvm::Value* from = b.CreateSub(begin, first);
    from = b.CreateSelect(b.CreateICmpSLT(from, zero), zero, from);
    llvm::Value* to = smaller(b.CreateMul(b.CreateSub(end, first), block), columns);
    emit_columns(e, index, b.CreateMul(from, block), to);
  });
}

// Columns from ... to - 1 of a row: whole vectors, then what is left.
void FusedKernel::emit_columns(KernelEmitter& e, const LaneIndices& row, llvm::Value* from,
                               llvm::Value* to) {
  llvm::IRBuilder<>& b = e.b;
  const auto body = [&](llvm::Value* column, llvm::Value* mask, unsigned lanes) {
    e.start_block();
    LaneIndices index = row;
    index.push_back({column, 1, nullptr});
    emit_parts(e, index, mask, lanes);
  };
  llvm::Value* count = b.CreateSub(to, from);
  llvm::Value* left = b.CreateAnd(count, e.integer(whole_lanes_ - 1));
  llvm::Value* whole = b.CreateSub(to, left);
  if (!kept_values_.empty())
    emit_in_stages(e, row, from, whole);
  else if (!narrow_)
    emit_loop(b, from, whole, e.integer(whole_lanes_),
              [&](llvm::Value* column) { body(column, nullptr, whole_lanes_); });
  if (divisible_) return;
  // So many turns as vectors side by side at the most; none when the threads share no column
  // here.
  emit_loop(b, narrow_ ? from : whole, to, e.integer(lanes_), [&](llvm::Value* column) {
    std::vector<llvm::Constant*> steps;
    for (unsigned i = 0; i < lanes_; ++i) steps.push_back(b.getInt64(i));
    llvm::Value* mask = b.CreateICmpSLT(llvm::ConstantVector::get(steps),
                                        b.CreateVectorSplat(lanes_, b.CreateSub(to, column)));
    body(column, mask, lanes_);
  });
}

// A block at a time, what is kept of it on the stack; outputs, which may stand where
// operands do, are written in the second stage alone.
void FusedKernel::emit_in_stages(KernelEmitter& e, const LaneIndices& row, llvm::Value* from,
                                 llvm::Value* to) {
  llvm::IRBuilder<>& b = e.b;
  const std::int64_t block = std::int64_t{whole_lanes_} * turns_of_stage;
  std::vector<llvm::Value*> places;
  llvm::BasicBlock& entry = b.GetInsertBlock()->getParent()->getEntryBlock();
  llvm::IRBuilder<> at_entry(&entry, entry.begin());
  for (const Value v : kept_values_) {
    auto* place = at_entry.CreateAlloca(llvm::ArrayType::get(
        memory_type(b.getContext(), body_.type(v).dtype), static_cast<std::uint64_t>(block)));
    place->setAlignment(llvm::Align(64));
    places.push_back(place);
  }
  emit_loop(b, from, to, e.integer(block), [&](llvm::Value* begin) {
    llvm::Value* end = b.CreateAdd(begin, e.integer(block));
    end = b.CreateSelect(b.CreateICmpSLT(end, to), end, to);
    const auto stage = [&](const std::function<void(const LaneIndices&, llvm::Value*)>& work) {
      emit_loop(b, begin, end, e.integer(whole_lanes_), [&](llvm::Value* column) {
        e.start_block();
        LaneIndices index = row;
        index.push_back({column, 1, nullptr});
        work(index, b.CreateSub(column, begin));
      });
    };
    stage([&](const LaneIndices& index, llvm::Value* at) {
      std::vector<llvm::Value*> values;
      for (const Value v : kept_values_) values.push_back(e.emit(v, index, nullptr, whole_lanes_));
      for (std::size_t i = 0; i < places.size(); ++i)
        e.store(values[i], body_.type(kept_values_[i]).dtype, places[i], at, nullptr);
    });
    stage([&](const LaneIndices& index, llvm::Value* at) {
      for (std::size_t i = 0; i < places.size(); ++i) {
        const DType dtype = body_.type(kept_values_[i]).dtype;
        e.define(kept_values_[i], index, nullptr, whole_lanes_,
                 e.load(dtype, places[i], {at, 1, nullptr}, nullptr, whole_lanes_));
      }
      emit_parts(e, index, nullptr, whole_lanes_);
    });
  });
}

void FusedKernel::emit_parts(KernelEmitter& e, const LaneIndices& index, llvm::Value* mask,
                             unsigned lanes) {
  std::vector<llvm::Value*> values;
  for (const Part& part : parts_) values.push_back(e.emit(part.value, index, mask, lanes));
  for (std::size_t i = 0; i < parts_.size(); ++i) {
    const Part& part = parts_[i];
    LaneIndices to = index;
    if (part.axis >= 0) {
      LaneIndex& x = to[static_cast<std::size_t>(part.axis)];
      x.base = e.b.CreateAdd(x.base, e.extent(part.start));
    }
    const LaneIndex offset = e.offset_of(part.type, to, lanes);
    for (llvm::Value* place : (*outputs_)[part.output])
      e.store(values[i], part.type.dtype, place, offset.base, mask);
  }
}

// ---- reductions ----

llvm::Value* FusedKernel::combine(KernelEmitter& e, llvm::Value* x, llvm::Value* y) {
  const DType dtype = reduction_->types[0].dtype;
  ScalarBuilder scalars;
  const Scalar a = scalars.argument(0, dtype), c = scalars.argument(1, dtype);
  const bool sum = reduction_->op == Op::reduce_sum;
  const ScalarProgram program = scalars.finish(sum ? a + c : maximum(a, c));
  llvm::Value* values[] = {x, y};
  return emit_scalar_program(e.b, program, values, target_);
}

llvm::Value* FusedKernel::neutral(KernelEmitter& e, unsigned lanes) {
  const DType dtype = reduction_->types[0].dtype;
  llvm::Type* type = value_type(e.b.getContext(), dtype, lanes);
  if (reduction_->op == Op::reduce_sum) return llvm::Constant::getNullValue(type);
  if (is_float(dtype)) return llvm::ConstantFP::getInfinity(type, /*Negative=*/true);
  const unsigned bits = type->getScalarSizeInBits();
  return llvm::ConstantInt::get(type, llvm::APInt::getSignedMinValue(bits));
}

void FusedKernel::emit_reduction(KernelEmitter& e, llvm::Value* begin, llvm::Value* end) {
  emit_loop(e.b, begin, end, e.integer(1), [&](llvm::Value* unit) {
    if (last_reduced_)
      reduce_rows(e, unit);
    else
      reduce_columns(e, unit);
  });
}

// Loops over reduced_[next...]; `innermost` adds at one index.
std::vector<llvm::Value*> FusedKernel::reduction_loops(
    KernelEmitter& e, std::size_t next, LaneIndices& index, std::vector<llvm::Value*> sums,
    const std::function<std::vector<llvm::Value*>(LaneIndices&, std::vector<llvm::Value*>)>&
        innermost) {
  const std::size_t loops = reduced_.size() - (last_reduced_ ? 1 : 0);
  if (next == loops) return innermost(index, std::move(sums));
  const std::size_t axis = reduced_[next];
  return emit_loop(e.b, e.integer(0), e.extent(domain_[axis]), e.integer(1), std::move(sums),
                   [&](llvm::Value* i, std::vector<llvm::Value*>& values) {
                     index[axis] = {i, 0, nullptr};
                     values = reduction_loops(e, next + 1, index, values, innermost);
                   });
}

void FusedKernel::store_reduced(KernelEmitter& e, llvm::Value* value, const LaneIndices& kept,
                                llvm::Value* mask) {
  const Type& type = reduction_->types[0];
  const LaneIndex offset = e.offset_of(type, kept, mask != nullptr ? lanes_ : 1);
  for (llvm::Value* place : (*outputs_)[0]) e.store(value, type.dtype, place, offset.base, mask);
}

// The last axis goes: vectors along it, folded at the end in a fixed order.
void FusedKernel::reduce_rows(KernelEmitter& e, llvm::Value* unit) {
  llvm::IRBuilder<>& b = e.b;
  Dims outer;
  for (const std::size_t i : kept_) outer.push_back(domain_[i]);
  const LaneIndices kept = outer.empty() ? LaneIndices{} : e.delinearise(unit, outer);
  LaneIndices index(domain_.size());
  for (std::size_t i = 0; i < kept_.size(); ++i) index[kept_[i]] = kept[i];
  const Value operand = reduction_->operands[0];
  const std::size_t last = domain_.size() - 1;
  constexpr unsigned ways = 4;
  const auto columns = [&](LaneIndices& at, std::vector<llvm::Value*> sums) {
    llvm::Value* count = e.extent(domain_[last]);
    llvm::Value* wide =
        b.CreateSub(count, b.CreateAnd(count, e.integer(std::int64_t{ways} * lanes_ - 1)));
    llvm::Value* whole = b.CreateSub(count, b.CreateAnd(count, e.integer(lanes_ - 1)));
    const auto add = [&](llvm::Value* column, llvm::Value* mask, llvm::Value* sum) {
      LaneIndices where = at;
      where[last] = {column, 1, nullptr};
      llvm::Value* x = e.emit(operand, where, mask, lanes_);
      if (mask != nullptr) x = b.CreateSelect(mask, x, neutral(e, lanes_));
      return combine(e, sum, x);
    };
    sums = emit_loop(b, e.integer(0), wide, e.integer(std::int64_t{ways} * lanes_), sums,
                     [&](llvm::Value* column, std::vector<llvm::Value*>& values) {
                       e.start_block();
                       for (unsigned w = 0; w < ways; ++w)
                         values[w] = add(b.CreateAdd(column, e.integer(std::int64_t{w} * lanes_)),
                                         nullptr, values[w]);
                     });
    sums = emit_loop(b, wide, whole, e.integer(lanes_), sums,
                     [&](llvm::Value* column, std::vector<llvm::Value*>& values) {
                       e.start_block();
                       values[0] = add(column, nullptr, values[0]);
                     });
    return emit_loop(b, whole, count, e.integer(lanes_), sums,
                     [&](llvm::Value* column, std::vector<llvm::Value*>& values) {
                       e.start_block();
                       std::vector<llvm::Constant*> steps;
                       for (unsigned i = 0; i < lanes_; ++i) steps.push_back(b.getInt64(i));
                       llvm::Value* mask =
                           b.CreateICmpSLT(llvm::ConstantVector::get(steps),
                                           b.CreateVectorSplat(lanes_, b.CreateSub(count, column)));
                       values[0] = add(column, mask, values[0]);
                     });
  };
  std::vector<llvm::Value*> sums(ways, neutral(e, lanes_));
  sums = reduction_loops(e, 0, index, std::move(sums), columns);
  llvm::Value* total = combine(e, combine(e, sums[0], sums[1]), combine(e, sums[2], sums[3]));
  for (unsigned half = lanes_ / 2; half >= 1; half /= 2) {
    std::vector<int> high(lanes_, -1);
    for (unsigned i = 0; i < half; ++i) high[i] = static_cast<int>(half + i);
    total = combine(e, total, b.CreateShuffleVector(total, high));
  }
  e.start_block();
  store_reduced(e, b.CreateExtractElement(total, std::uint64_t{0}), kept, nullptr);
}

// The last axis stays: each lane sums its own column.
void FusedKernel::reduce_columns(KernelEmitter& e, llvm::Value* unit) {
  llvm::IRBuilder<>& b = e.b;
  const std::int64_t width = std::int64_t{columns_} * lanes_;
  Dims outer;
  for (const std::size_t i : kept_) outer.push_back(domain_[i]);
  const Dim last = outer.back();
  outer.back() = (last + Dim(width - 1)).floor_div(width);
  LaneIndices kept = e.delinearise(unit, outer);
  llvm::Value* first = b.CreateMul(kept.back().base, e.integer(width));
  llvm::Value* mask = nullptr;
  const auto extent = last.constant();
  if (!extent || *extent % width != 0) {
    std::vector<llvm::Constant*> steps;
    for (unsigned i = 0; i < lanes_; ++i) steps.push_back(b.getInt64(i));
    mask = b.CreateICmpSLT(llvm::ConstantVector::get(steps),
                           b.CreateVectorSplat(lanes_, b.CreateSub(e.extent(last), first)));
  }
  LaneIndices index(domain_.size());
  for (std::size_t i = 0; i < kept_.size(); ++i) index[kept_[i]] = kept[i];
  const Value operand = reduction_->operands[0];
  std::vector<llvm::Value*> sums(columns_, neutral(e, lanes_));
  sums = reduction_loops(
      e, 0, index, std::move(sums), [&](LaneIndices& at, std::vector<llvm::Value*> values) {
        e.start_block();
        for (unsigned w = 0; w < columns_; ++w) {
          LaneIndices where = at;
          where.back() = {b.CreateAdd(first, e.integer(std::int64_t{w} * lanes_)), 1, nullptr};
          values[w] = combine(e, values[w], e.emit(operand, where, mask, lanes_));
        }
        return values;
      });
  e.start_block();
  for (unsigned w = 0; w < columns_; ++w) {
    kept.back() = {b.CreateAdd(first, e.integer(std::int64_t{w} * lanes_)), 1, nullptr};
    const LaneIndex offset = e.offset_of(reduction_->types[0], kept, lanes_);
    for (llvm::Value* place : (*outputs_)[0])
      e.store(sums[w], reduction_->types[0].dtype, place, offset.base, mask);
  }
}

}  // namespace treadle
