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

ScanEdit::ScanEdit(const Node& node, std::vector<Value> operands, std::vector<CarrySpec> carries)
    : node_(node), view_(node), operands_(std::move(operands)), step_(inner_), map_(body()) {
  inner_.name = body().name;
  inner_.stage = body().stage;
  const auto add = [&](std::size_t i) {
    const Value v = body().input_value(i);
    map_.set(v, step_.argument(body().type(v)));
  };
  for (std::size_t i = 0; i < view_.first_sequence(); ++i) add(i);
  for (CarrySpec& carry : carries) {
    initial_.push_back(carry.initial);
    carried_.push_back(step_.argument(std::move(carry.type)));
  }
  next_ = carried_;
  for (std::size_t i = view_.first_sequence(); i < body().inputs().size(); ++i) add(i);
}

void ScanEdit::copy_nodes() {
  for (NodeId id = 0; id < body().size(); ++id)
    if (!map_.has({id, 0})) copy_node(step_, body(), id, map_);
}

std::vector<Value> ScanEdit::emit(Builder& b) {
  const auto part = [&](std::size_t begin, std::size_t end) {
    return std::vector<Value>(operands_.begin() + static_cast<std::ptrdiff_t>(begin),
                              operands_.begin() + static_cast<std::ptrdiff_t>(end));
  };
  std::vector<Value> outputs;
  for (const Output& output : body().outputs()) outputs.push_back(map_[output.value]);
  outputs.insert(outputs.begin() + static_cast<std::ptrdiff_t>(view_.carries), next_.begin(),
                 next_.end());
  outputs.insert(outputs.end(), outputs_.begin(), outputs_.end());
  for (const Value output : outputs) inner_.add_output("", output);
  Builder::ScanSpec spec;
  spec.constants = part(0, view_.first_carry());
  spec.carries = part(view_.first_carry(), view_.first_sequence());
  spec.carries.insert(spec.carries.end(), initial_.begin(), initial_.end());
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
