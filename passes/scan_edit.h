// A scan with more sequences or more outputs than it has.
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

// A scan on its way into another graph: its own operands and outputs, and more.
class ScanEdit {
 public:
  ScanEdit(const Node& node, std::vector<Value> operands);
  const Graph& body() const { return *view_.body; }
  const ScanView& view() const { return view_; }

  // One more sequence; its row in the step.
  Value add_sequence(Value whole, Type row) {
    more_.push_back(whole);
    return step_.argument(std::move(row));
  }
  Builder& step() { return step_; }
  ValueMap& map() { return map_; }
  void copy_nodes();
  void add_output(Value inner) { inner_.add_output("", inner); }

  // The outputs of the new node.
  std::vector<Value> emit(Builder& b);

 private:
  const Node& node_;
  ScanView view_;
  std::vector<Value> operands_, more_;
  Graph inner_;
  Builder step_;
  ValueMap map_;  // of the body
};

}  // namespace treadle
