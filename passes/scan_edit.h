// A scan with more carried values, sequences or outputs than it has.
#pragma once
#include <vector>

#include "ir/builder.h"
#include "passes/graph_copy.h"

namespace treadle {

// By how much the axes of a stack are behind those of the step's value.
std::int64_t axes_in_front(const ScanView& view, const Type& inner);

// What a concatenation along `axis` concatenates, those that are such concatenations
// themselves taken apart; else the value alone.
void parts_of(const Graph& graph, Value v, std::int64_t axis, std::vector<Value>& parts);

// A carried value of which a step sees all.
struct CarrySpec {
  Value initial;
  Type type;
};

// A scan on its way into another graph: its own operands and outputs, and more.
class ScanEdit {
 public:
  ScanEdit(const Node& node, std::vector<Value> operands, std::vector<CarrySpec> carries = {});
  const Graph& body() const { return *view_.body; }
  const ScanView& view() const { return view_; }

  // More carried value `i` in the step, and what the step makes of it.
  Value carried(std::size_t i) const { return carried_[i]; }
  void set_next(std::size_t i, Value next) { next_[i] = next; }

  // One more sequence; its row in the step.
  Value add_sequence(Value whole, Type row) {
    more_.push_back(whole);
    return step_.argument(std::move(row));
  }
  Builder& step() { return step_; }
  ValueMap& map() { return map_; }
  void copy_nodes();
  void add_output(Value inner) { outputs_.push_back(inner); }

  // The outputs of the new node: the carried values, more of them, the stacks, more.
  std::vector<Value> emit(Builder& b);

 private:
  const Node& node_;
  ScanView view_;
  std::vector<Value> operands_, more_;
  std::vector<Value> initial_, carried_, next_;  // of more carried values
  std::vector<Value> outputs_;                   // more of them
  Graph inner_;
  Builder step_;
  ValueMap map_;  // of the body
};

}  // namespace treadle
