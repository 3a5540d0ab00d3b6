// The graph: nodes in topological order, values, regions.
#pragma once
#include <cstdint>
#include <memory>
#include <set>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "ir/attributes.h"
#include "ir/source.h"
#include "ir/type.h"

namespace treadle {

enum class Op : std::uint16_t {
#define OP(name) name,
#include "ir/ops.def"
};

using NodeId = std::uint32_t;

// Output `index` of node `node`. A default-made Value is no value at all.
struct Value {
  NodeId node = UINT32_MAX;
  std::uint32_t index = 0;
  bool valid() const { return node != UINT32_MAX; }
  friend auto operator<=>(const Value&, const Value&) = default;
};

class Graph;
// Regions are immutable and shared, so that copying a node is cheap.
using Region = std::shared_ptr<const Graph>;

struct Node {
  Op op = Op::constant;
  std::vector<Value> operands;  // in order; mul(x, x) has two
  Attributes attributes;
  std::vector<Type> types;  // of the outputs
  std::vector<Region> regions;
  SourceRange location;
};

// How far a graph has come; a pass states the stages it accepts.
enum class Stage : std::uint8_t { one_example, batched, differentiated, optimised, placed };
std::string_view to_string(Stage stage);  // "one-example", ...

struct Output {
  std::string name;
  Value value;
};

// Nodes stand in topological order: an operand's node comes before its user.
// Only the Builder adds nodes. The inputs are, in order, the `input` and
// `parameter` nodes of a whole graph, or the `argument` nodes of a region.
class Graph {
 public:
  std::string name = "main";
  Stage stage = Stage::one_example;

  std::size_t size() const { return nodes_.size(); }
  const Node& node(NodeId id) const { return nodes_[id]; }
  const std::vector<Node>& nodes() const { return nodes_; }
  const Type& type(Value v) const { return nodes_[v.node].types[v.index]; }
  const std::vector<NodeId>& inputs() const { return inputs_; }
  const std::vector<Output>& outputs() const { return outputs_; }
  // Names of a whole graph's outputs are distinct; a region's are "".
  void add_output(std::string output_name, Value value);
  void set_outputs(std::vector<Output> outputs) { outputs_ = std::move(outputs); }
  Value output(std::string_view output_name) const;  // invalid when there is none
  // The `input` or `parameter` node of that name; invalid when there is none.
  Value input(std::string_view input_name) const;
  Value input_value(std::size_t i) const { return {inputs_[i], 0}; }
  Type output_type(std::size_t i) const { return type(outputs_[i].value); }

  // Symbols that occur in the types of the inputs.
  std::set<std::string> symbols() const;

 private:
  friend class Builder;
  std::vector<Node> nodes_;
  std::vector<NodeId> inputs_;
  std::vector<Output> outputs_;
};

// Number of uses of each output of each node, the graph's outputs included:
// uses[node][index].
std::vector<std::vector<std::uint32_t>> count_uses(const Graph& graph);

// Structural equality up to source locations and node numbering-preserving
// order (two graphs built by the same steps are equal).
bool same_graph(const Graph& a, const Graph& b);

}  // namespace treadle
