// What attention reads from memory for each query and key: a bias, a mask. Rows
// of keys stand there, while scores have lanes of queries: squares are read in rows and turned
// in registers.
#include <algorithm>
#include <set>
#include <tuple>

#include "backends/llvm/attention_kernel_internal.h"
#include "backends/llvm/square_internal.h"
#include "backends/llvm/vector_math_internal.h"
#include "ir/op_def.h"

namespace treadle {

namespace {

constexpr std::int64_t not_an_axis = -1;

// Is there an operand in memory from which a value reads, for each place along an axis `rows`,
// what stands side by side along `columns`?
class RowsInMemory {
 public:
  explicit RowsInMemory(const Graph& body) : body_(body) {}

  bool read(Value v, std::int64_t rows, std::int64_t columns) {
    if (rows == not_an_axis || columns == not_an_axis) return false;
    if (!tried_.insert({v, rows, columns}).second) return false;
    const Node& node = body_.node(v.node);
    switch (node.op) {
      case Op::argument: return columns == static_cast<std::int64_t>(body_.type(v).rank()) - 1;
      case Op::broadcast: {
        const Integers& axes = node.attributes.integers("axes");
        return read(node.operands[0], place_of(axes, rows), place_of(axes, columns));
      }
      case Op::transpose: {
        const Integers& permutation = node.attributes.integers("permutation");
        return read(node.operands[0], permutation[static_cast<std::size_t>(rows)],
                    permutation[static_cast<std::size_t>(columns)]);
      }
      case Op::slice: return read(node.operands[0], rows, columns);
      default:
        return op_def(node.op).pointwise() &&
               std::any_of(node.operands.begin(), node.operands.end(),
                           [&](Value operand) { return read(operand, rows, columns); });
    }
  }

 private:
  static std::int64_t place_of(const Integers& axes, std::int64_t axis) {
    const auto found = std::find(axes.begin(), axes.end(), axis);
    return found == axes.end() ? not_an_axis : found - axes.begin();
  }

  const Graph& body_;
  std::set<std::tuple<Value, std::int64_t, std::int64_t>> tried_;  // in vain
};

}  // namespace

std::vector<Value> AttentionKernel::read_in_rows(const std::vector<std::size_t>& outputs,
                                                 const std::vector<Value>& known) const {
  const std::size_t rank = body_.type(body_.input_value(0)).rank();
  std::vector<bool> of_scores(body_.size());  // depends on the scores or weights
  for (std::size_t i = 0; i < arguments_; ++i) of_scores[body_.input_value(i).node] = true;
  for (NodeId id = 0; id < body_.size(); ++id)
    for (const Value operand : body_.node(id).operands)
      if (of_scores[operand.node]) of_scores[id] = true;
  std::vector<Value> found, open;
  for (const std::size_t i : outputs) open.push_back(body_.outputs()[i].value);
  std::set<Value> seen(known.begin(), known.end());
  while (!open.empty()) {
    const Value v = open.back();
    open.pop_back();
    if (!seen.insert(v).second || body_.type(v).rank() != rank) continue;
    const auto rows = static_cast<std::int64_t>(rank) - 2;
    if (!of_scores[v.node] && RowsInMemory(body_).read(v, rows, rows + 1))
      found.push_back(v);
    else if (of_scores[v.node])
      open.insert(open.end(), body_.node(v.node).operands.begin(),
                  body_.node(v.node).operands.end());
  }
  return found;
}

unsigned AttentionKernel::square_lanes() const {
  return static_cast<unsigned>(target_.vector_bytes) / static_cast<unsigned>(size_of(dtype_));
}

// From `query` and `key` on, as many as a vector has lanes.
void AttentionKernel::define_turned(KernelEmitter& e, const Tile& tile, llvm::Value* query,
                                    llvm::Value* key, const std::vector<Value>& values,
                                    const std::vector<LaneIndices>& where) {
  llvm::IRBuilder<>& b = e.b;
  const unsigned lanes = square_lanes();
  for (const Value v : values) {
    const bool condition = body_.type(v).dtype == DType::b1;
    std::vector<llvm::Value*> square;
    for (unsigned i = 0; i < lanes; ++i) {
      const LaneIndices row = index(e, tile, b.CreateAdd(query, e.integer(i)), key);
      square.push_back(e.emit(v, row, nullptr, lanes));
      if (condition)  // as wide as a score: whole vectors are interleaved
        square.back() = b.CreateSExt(
            square.back(), llvm::FixedVectorType::get(
                               b.getIntNTy(static_cast<unsigned>(8 * size_of(dtype_))), lanes));
    }
    square = transposed_square(b, std::move(square));
    for (unsigned i = 0; i < lanes; ++i) {
      llvm::Value* column = square[i];
      if (condition)
        column = b.CreateICmpSLT(column, llvm::Constant::getNullValue(column->getType()));
      e.define(v, where[i], nullptr, lanes, column);
    }
  }
}

}  // namespace treadle
