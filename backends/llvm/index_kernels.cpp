// Kernels that read or make indices: rows added where an index says, and the
// index of the largest element.
#include "backends/llvm/loop_internal.h"
#include "backends/llvm/program_emitter_internal.h"
#include "backends/llvm/target_internal.h"
#include "backends/llvm/vector_math_internal.h"

namespace treadle {

namespace {

Dim count(const Dims& dims, std::size_t begin, std::size_t end) {
  return product(Dims(dims.begin() + static_cast<std::ptrdiff_t>(begin),
                      dims.begin() + static_cast<std::ptrdiff_t>(end)));
}

}  // namespace

// Threads share out the columns, so each element's sum has one order.
void ProgramEmitter::scatter_add(llvm::IRBuilder<>& b, const Step& step) {
  const Node& node = step.graph->node(step.node);
  const DType dtype = node.types[0].dtype;
  const Type& indices = step.graph->type(node.operands[1]);
  const Dims& dims = node.types[0].dims;
  const auto shared = static_cast<std::size_t>(node.attributes.integer("batch"));
  const Dim batch = count(dims, 0, shared);
  const Dim rows = count(indices.dims, shared, indices.rank());
  const Dim width = count(dims, shared + 1, dims.size());
  const Dim& table = dims[shared];
  const std::int64_t lanes =
      target_.vector_bytes / static_cast<std::int64_t>(std::max<std::size_t>(4, size_of(dtype)));
  call_kernel(
      b, key_of(step, "scatter_add"), "scatter_add",
      {pointer(b, step.in[0], indices.dtype), pointer(b, step.in[1], dtype),
       pointer(b, step.out[0], dtype)},
      share_of(b, (width + Dim(lanes - 1)).floor_div(lanes)), std::nullopt,
      [&](llvm::IRBuilder<>& c, const Kernel& k) {
        const auto size = [&](const Dim& dim) { return extent(c, k.dims, dim); };
        const Graph none;
        KernelEmitter e(c, target_, none, dims_, k.dims);
        llvm::Value* index = k.pointers[0];
        llvm::Value* updates = k.pointers[1];
        llvm::Value* out = k.pointers[2];
        llvm::Value *zero = c.getInt64(0), *one = c.getInt64(1), *all = size(width);
        llvm::Value* from = c.CreateMul(k.begin, c.getInt64(static_cast<std::uint64_t>(lanes)));
        llvm::Value* to = c.CreateMul(k.end, c.getInt64(static_cast<std::uint64_t>(lanes)));
        to = c.CreateSelect(c.CreateICmpSLT(to, all), to, all);
        emit_loop(c, zero, size(batch), one, [&](llvm::Value* o) {
          emit_loop(c, zero, size(rows), one, [&](llvm::Value* r) {
            llvm::Value* row = c.CreateAdd(c.CreateMul(o, size(rows)), r);
            llvm::Value* to_row = c.CreateSExt(
                e.load(indices.dtype, index, {row, 0, nullptr}, nullptr, 1), c.getInt64Ty());
            llvm::Value* inside =
                c.CreateAnd(c.CreateICmpSGE(to_row, zero), c.CreateICmpSLT(to_row, size(table)));
            llvm::Value* end = c.CreateSelect(inside, to, from);
            llvm::Value* source = c.CreateMul(row, all);
            llvm::Value* target =
                c.CreateMul(c.CreateAdd(c.CreateMul(o, size(table)), to_row), all);
            const auto width_lanes = static_cast<unsigned>(lanes);
            emit_loop(c, from, end, c.getInt64(width_lanes), [&](llvm::Value* column) {
              std::vector<llvm::Constant*> steps;
              for (unsigned i = 0; i < width_lanes; ++i) steps.push_back(c.getInt64(i));
              llvm::Value* mask =
                  c.CreateICmpSLT(llvm::ConstantVector::get(steps),
                                  c.CreateVectorSplat(width_lanes, c.CreateSub(end, column)));
              llvm::Value* at = c.CreateAdd(target, column);
              llvm::Value* x = e.load(dtype, updates, {c.CreateAdd(source, column), 1, nullptr},
                                      mask, width_lanes);
              llvm::Value* y = e.load(dtype, out, {at, 1, nullptr}, mask, width_lanes);
              llvm::Value* sum = is_float(dtype) ? c.CreateFAdd(y, x) : c.CreateAdd(y, x);
              e.store(sum, dtype, out, at, mask);
            });
          });
        });
      });
}

void ProgramEmitter::argmax(llvm::IRBuilder<>& b, const Step& step) {
  const Node& node = step.graph->node(step.node);
  const Type& type = step.graph->type(node.operands[0]);
  const auto axis = static_cast<std::size_t>(node.attributes.integer("axis"));
  const Dim outer = count(type.dims, 0, axis);
  const Dim inner = count(type.dims, axis + 1, type.rank());
  const Dim& length = type.dims[axis];
  call_kernel(b, key_of(step, "argmax"), "argmax",
              {pointer(b, step.in[0], type.dtype), pointer(b, step.out[0], node.types[0].dtype)},
              share_of(b, outer * inner), std::nullopt, [&](llvm::IRBuilder<>& c, const Kernel& k) {
                const auto size = [&](const Dim& dim) { return extent(c, k.dims, dim); };
                const Graph none;
                KernelEmitter e(c, target_, none, dims_, k.dims);
                llvm::Value* x = k.pointers[0];
                llvm::Value* out = k.pointers[1];
                llvm::Value *zero = c.getInt64(0), *one = c.getInt64(1);
                emit_loop(c, k.begin, k.end, one, [&](llvm::Value* unit) {
                  llvm::Value* base = c.CreateAdd(
                      c.CreateMul(c.CreateUDiv(unit, size(inner)), size(length * inner)),
                      c.CreateURem(unit, size(inner)));
                  const auto element = [&](llvm::Value* i) {
                    llvm::Value* at = c.CreateAdd(base, c.CreateMul(i, size(inner)));
                    return e.load(type.dtype, x, {at, 0, nullptr}, nullptr, 1);
                  };
                  llvm::Value* some = c.CreateICmpSGT(size(length), zero);
                  llvm::Value* first = c.CreateSelect(some, one, zero);
                  std::vector<llvm::Value*> best =
                      emit_loop(c, first, size(length), one, {zero},
                                [&](llvm::Value* i, std::vector<llvm::Value*>& values) {
                                  llvm::Value *top = element(values[0]), *value = element(i);
                                  llvm::Value* better = nullptr;
                                  if (is_float(type.dtype))
                                    better = c.CreateOr(c.CreateFCmpOGT(value, top),
                                                        c.CreateAnd(c.CreateFCmpUNO(value, value),
                                                                    c.CreateFCmpORD(top, top)));
                                  else
                                    better = c.CreateICmpSGT(value, top);
                                  values[0] = c.CreateSelect(better, i, values[0]);
                                });
                  e.store(c.CreateTrunc(best[0], memory_type(c.getContext(), node.types[0].dtype)),
                          node.types[0].dtype, out, unit, nullptr);
                });
              });
}

}  // namespace treadle
