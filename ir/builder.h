// The only way to create a node.
#pragma once
#include <span>
#include <string>
#include <utility>
#include <vector>

#include "ir/graph.h"
#include "ir/op_def.h"

namespace treadle {

// A dimension that has another extent at each step of a scan: counts[t] at step
// t. When it is a bare symbol, the step's types may use that symbol in any
// expression. In the step a value [dim, ...]
//   of a sequence or an output stands for rows [start, start + counts[t]) of
//     [rows, ...], start being the sum of the counts before t;
//   of a constant or a carried value stands for the first counts[t] rows of
//     [most, ...]; of a carried value the step rewrites those, and the others
//     stay as they are.
// So with the examples of a batch in order of descending length, counts[t] =
// how many are longer than t, dim = the active examples, this is a loop over
// packed sequences; with counts[i] = the length of example i it is a loop over
// examples of different lengths.
struct ScanBound {
  Dim dim;
  Dim rows;  // the sum of the counts
  Dim most;  // none is larger
};

// Checks operands, infers types, folds nothing. What does not fit is a
// UserError at the current location that reads "[matmul] inner dimensions
// differ: ...".
class Builder {
 public:
  explicit Builder(Graph& graph) : graph_(graph) {}
  Graph& graph() { return graph_; }
  const Type& type(Value v) const { return graph_.type(v); }

  // The source range that new nodes get, until it is set again.
  void set_location(SourceRange location) { location_ = std::move(location); }
  const SourceRange& location() const { return location_; }

  // Any op. Returns output 0; the others are {result.node, i}.
  Value add_node(Op op, std::vector<Value> operands, Attributes attributes = {},
                 std::vector<Region> regions = {});
  // A copy of a node on other operands; types are inferred anew. Not for
  // inputs, parameters, arguments (use the functions below).
  Value clone(const Node& node, std::vector<Value> operands);

  // Sources. `parameter` has the initialiser as text ("xavier",
  // "normal(0, 0.02)"), read by the runtime.
  Value input(std::string name, Type type, Attributes more = {});
  Value parameter(std::string name, Type type, std::string initialiser, Attributes more = {});
  Value argument(Type type);
  // `source` node (input, parameter or argument) again, under another type.
  Value source(const Node& source, Type type);
  Value constant(Type type, double value);  // every element the same
  Value literal(Tensor tensor);             // constant extents
  Value dimension(Dim dim, DType dtype);    // the extent as a scalar

  // Pointwise; operands have equal types (`select`: bool, then two equal).
#define OP(name)
#define UNARY(name) \
  Value name(Value x) { return add_node(Op::name, {x}); }
#define BINARY(name) \
  Value name(Value x, Value y) { return add_node(Op::name, {x, y}); }
#define TERNARY(name) \
  Value name(Value x, Value y, Value z) { return add_node(Op::name, {x, y, z}); }
#include "ir/ops.def"
  Value cast(Value x, DType dtype);
  // x * value and x + value, for floats.
  Value scale(Value x, double value);
  Value shift(Value x, double value);

  // out[batch..., free a..., free b...] = sum over the contracted dimensions of
  // a * b. All lists are axes; contract_a[i] meets contract_b[i].
  Value matmul(Value a, Value b, Integers contract_a, Integers contract_b, Integers batch_a = {},
               Integers batch_b = {});

  Value transpose(Value x, Integers permutation);  // out dim i is x dim permutation[i]
  Value reshape(Value x, Dims dims);
  // x's dim i becomes dim axes[i] of the result; axes ascend; a dim of extent 1
  // does not stretch.
  Value broadcast(Value x, Dims dims, Integers axes);
  Value broadcast_scalar(Value x, const Dims& dims) { return broadcast(x, dims, {}); }
  // Elements [start, start + extent) of `axis`.
  Value slice(Value x, std::int64_t axis, Dim start, Dim extent);
  // `low` zeros before and `high` zeros behind on `axis`.
  Value pad(Value x, std::int64_t axis, Dim low, Dim high);
  Value concat(std::vector<Value> parts, std::int64_t axis);
  Value reverse(Value x, std::int64_t axis);
  // `axis` becomes two: window i's element k is element i * stride +
  // k * dilation. There are as many windows as fit.
  Value windows(Value x, std::int64_t axis, Dim size, std::int64_t stride = 1,
                std::int64_t dilation = 1);
  // The transpose of that: windows (`axis`, `axis + 1`) added up where they lie
  // in an axis of `extent` elements.
  Value overlap_add(Value x, std::int64_t axis, Dim extent, std::int64_t stride = 1,
                    std::int64_t dilation = 1);

  Value reduce_sum(Value x, Integers axes);  // the axes disappear
  Value reduce_max(Value x, Integers axes);  // over nothing: -inf
  Value mean(Value x, Integers axes);        // over nothing: 0
  Value argmax(Value x, std::int64_t axis);  // i32; the first of equals
  Value logsumexp(Value x, std::int64_t axis);
  Value softmax(Value x, std::int64_t axis);
  Value log_softmax(Value x, std::int64_t axis);

  // table[batch..., V, rest...], indices i32 or i64 [batch..., S...]
  // -> [batch..., S..., rest...]; `batch` leading dims are shared by both.
  Value gather(Value table, Value indices, std::int64_t batch = 0);
  // base[batch..., V, rest...] + updates[batch..., S..., rest...] added at
  // indices[batch..., S...], in the order of S.
  Value scatter_add(Value base, Value indices, Value updates, std::int64_t batch = 0);
  Value one_hot(Value indices, Dim classes, DType dtype);  // a new last dimension
  Value iota(Dims dims, std::int64_t axis, DType dtype);   // the index along `axis`

  // Counter-based random bits; see ir/ops/random.cpp. All i64, equal shapes;
  // returns i64 in [0, 2^32).
  Value philox(Value key, Value counter_low, Value counter_high);
  // (bits >> 8) / 2^24, in [0, 1).
  Value uniform_from_bits(Value bits, DType dtype);

  struct ScanSpec {
    std::vector<Value> constants;  // seen by every step, unchanged
    std::vector<Value> carries;    // initial state
    std::vector<Value> sequences;  // [length, ...]: one row a step
    Dim length;
    bool reverse = false;  // the steps run from length-1 to 0
    Region body;           // (constants, carries, rows) -> (carries, rows of the outputs)
    Attributes more = {};
    std::vector<ScanBound> bounds = {};
    std::vector<Value> counts = {};  // one a bound: i32 [length]
  };
  // Outputs: final carries, then stacked outputs [length, ...] (row t is step
  // t's, in either direction).
  std::vector<Value> scan(ScanSpec spec);

  void output(std::string name, Value value) { graph_.add_output(std::move(name), value); }

 private:
  Value push(Node node);
  Graph& graph_;
  SourceRange location_;
};

// Sets a location for a scope.
class LocationScope {
 public:
  LocationScope(Builder& b, SourceRange location) : b_(b), before_(b.location()) {
    if (location) b_.set_location(std::move(location));
  }
  ~LocationScope() { b_.set_location(std::move(before_)); }
  LocationScope(const LocationScope&) = delete;
  LocationScope& operator=(const LocationScope&) = delete;

 private:
  Builder& b_;
  SourceRange before_;
};

// What a scan node's operands and outputs mean. The operands are constants,
// carries, sequences (together the arguments of the step), then the counts of
// the bounds.
struct ScanView {
  explicit ScanView(const Node& node);
  ScanView(const Attributes& attributes, std::size_t operands, const Graph& step);
  std::size_t constants = 0, carries = 0, sequences = 0, outputs = 0;
  Dim length;
  bool reverse = false;
  const Graph* body = nullptr;
  std::vector<ScanBound> bounds;
  std::size_t first_carry() const { return constants; }
  std::size_t first_sequence() const { return constants + carries; }
  std::size_t first_count() const { return constants + carries + sequences; }
  std::vector<Value> counts(const std::vector<Value>& operands) const;
  // The bound that the step's value is rows of; null for other values.
  const ScanBound* bound_of(const Type& inner) const;
  bool mentions_bound(const Dim& dim) const;
  bool mentions_bound(const Type& type) const;
  // May a step's value stand in a row of a sequence? Only its first dimension
  // may mention a bound, and must be one then.
  bool stackable(const Type& inner) const;
  Type stacked(Type inner) const;  // of the whole sequence
  Type carried(Type inner) const;  // of the whole constant or carried value
};

std::vector<ScanBound> scan_bounds(const Attributes& attributes);

}  // namespace treadle
