#include "passes/scan_edit.h"

namespace treadle {

std::int64_t axes_in_front(const ScanView& view, const Type& inner) {
  return view.bound_of(inner) == nullptr ? 1 : 0;
}

void parts_of(const Graph& graph, Value v, std::int64_t axis, std::vector<Value>& parts) {
  const Node& node = graph.node(v.node);
  if (node.op != Op::concat || node.attributes.integer("axis") != axis) {
    parts.push_back(v);
    return;
  }
  for (const Value part : node.operands) parts_of(graph, part, axis, parts);
}

ScanEdit::ScanEdit(const Node& node, std::vector<Value> operands)
    : node_(node), view_(node), operands_(std::move(operands)), step_(inner_), map_(body()) {
  inner_.name = body().name;
  inner_.stage = body().stage;
  for (const NodeId id : body().inputs()) map_.set({id, 0}, step_.argument(body().type({id, 0})));
}

void ScanEdit::copy_nodes() {
  for (NodeId id = 0; id < body().size(); ++id)
    if (!map_.has({id, 0})) copy_node(step_, body(), id, map_);
  for (const Output& output : body().outputs()) inner_.add_output("", map_[output.value]);
}

std::vector<Value> ScanEdit::emit(Builder& b) {
  const auto part = [&](std::size_t begin, std::size_t end) {
    return std::vector<Value>(operands_.begin() + static_cast<std::ptrdiff_t>(begin),
                              operands_.begin() + static_cast<std::ptrdiff_t>(end));
  };
  Builder::ScanSpec spec;
  spec.constants = part(0, view_.first_carry());
  spec.carries = part(view_.first_carry(), view_.first_sequence());
  spec.sequences = part(view_.first_sequence(), view_.first_count());
  spec.sequences.insert(spec.sequences.end(), more_.begin(), more_.end());
  spec.length = view_.length;
  spec.reverse = view_.reverse;
  spec.more = node_.attributes;
  spec.bounds = view_.bounds;
  spec.counts = view_.counts(operands_);
  spec.body = std::make_shared<const Graph>(std::move(inner_));
  return b.scan(std::move(spec));
}

}  // namespace treadle
