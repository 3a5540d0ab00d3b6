#include "backends/llvm/scan_stacks.h"

#include <algorithm>

#include "ir/op_def.h"

namespace treadle {

namespace {

// How often values of the graph are read, results included.
std::ptrdiff_t uses_of(const Graph& graph, Value v) {
  std::ptrdiff_t uses = 0;
  for (const Node& node : graph.nodes())
    uses += std::count(node.operands.begin(), node.operands.end(), v);
  for (const Output& output : graph.outputs()) uses += output.value == v ? 1 : 0;
  return uses;
}

// The only node that reads a value, if it reads it once.
std::optional<NodeId> only_reader(const Graph& graph, Value v) {
  if (uses_of(graph, v) != 1) return std::nullopt;
  for (NodeId id = 0; id < graph.size(); ++id) {
    const std::vector<Value>& operands = graph.node(id).operands;
    if (std::find(operands.begin(), operands.end(), v) != operands.end()) return id;
  }
  return std::nullopt;
}

// Where the parts of an output start: it has the dims of the kernel's domain, or is a
// concatenation, perhaps of concatenations, of parts that have them.
struct Parts {
  std::int64_t axis = -1;
  std::vector<Dim> starts;
};
void add_parts(const Graph& body, Value v, const Dims& domain, Dim& start, Parts& parts) {
  const Node& node = body.node(v.node);
  const Dims& dims = body.type(v).dims;
  if (dims != domain && node.op == Op::concat && node.attributes.integer("axis") == parts.axis) {
    for (const Value part : node.operands) add_parts(body, part, domain, start, parts);
    return;
  }
  parts.starts.push_back(start);
  start = start + dims[static_cast<std::size_t>(parts.axis)];
}

// Does a kernel read argument `argument` only at elements that it writes of output
// `output` in the same stroke? All of a stroke is read before any of it is written.
bool reads_what_it_writes(const Node& kernel, std::size_t argument, std::size_t output) {
  const Graph& body = *kernel.regions[0];
  const Dims& domain = kernel.attributes.dims("domain");
  const Value written = body.outputs()[output].value, read = body.input_value(argument);
  Parts parts;
  if (body.type(written).dims != domain) {
    if (body.node(written.node).op != Op::concat) return false;
    parts.axis = body.node(written.node).attributes.integer("axis");
    Dim start(0);
    add_parts(body, written, domain, start, parts);
  }
  std::vector<bool> follows(body.size(), false);
  for (NodeId id = 0; id < body.size(); ++id) {
    const Node& node = body.node(id);
    bool direct = false;
    for (const Value v : node.operands) {
      direct = direct || v == read;
      follows[id] = follows[id] || v == read || follows[v.node];
    }
    if (!follows[id]) continue;
    if (op_def(node.op).pointwise()) {
      if (node.types[0].dims != domain) return false;
    } else if (node.op == Op::slice && direct) {
      const auto starts_there = [&](const Dim& start) {
        return start == node.attributes.dim("start");
      };
      if (node.attributes.integer("axis") != parts.axis || node.types[0].dims != domain ||
          std::none_of(parts.starts.begin(), parts.starts.end(), starts_there))
        return false;
    } else if (node.op != Op::concat || direct) {
      return false;
    }
  }
  return true;
}

}  // namespace

std::vector<std::size_t> carries_of_stacks(const ScanView& view,
                                           const std::function<bool(std::size_t)>& wanted) {
  std::vector<std::size_t> out(view.outputs, view.carries);
  if (!view.bounds.empty()) return out;
  for (const bool before : {true, false})
    for (std::size_t i = 0; i < view.outputs; ++i) {
      const Value stacked = view.body->outputs()[view.carries + i].value;
      if (wanted(view.carries + i)) continue;
      for (std::size_t carry = 0; carry < view.carries && out[i] == view.carries; ++carry) {
        const Value in = view.body->input_value(view.first_carry() + carry);
        const Value next = view.body->outputs()[carry].value;
        if (in != next && stacked == (before ? in : next)) out[i] = carry;
      }
    }
  return out;
}

std::optional<Value> overwritten_stack(const Graph& graph, NodeId scan, std::size_t i) {
  const Node& node = graph.node(scan);
  const ScanView view(node);
  const Value written = view.body->outputs()[view.carries + i].value;
  const Node& kernel = view.body->node(written.node);
  if (kernel.op != Op::fused) return std::nullopt;
  // Once: the same value may be another output too, and then has that one's place.
  const auto& outputs = view.body->outputs();
  if (std::count_if(outputs.begin(), outputs.end(),
                    [&](const Output& output) { return output.value == written; }) != 1)
    return std::nullopt;
  for (std::size_t j = view.first_sequence(); j < view.first_count(); ++j) {
    const Value stack = node.operands[j];
    const Op source = graph.node(stack.node).op;
    const Value row = view.body->input_value(j);
    // A product may be computed row by row instead (deferred_products.h).
    if ((source != Op::scan && source != Op::fused) ||
        graph.type(stack) != graph.type({scan, static_cast<std::uint32_t>(view.carries + i)}) ||
        view.body->type(row) != view.body->type(written) || uses_of(graph, stack) != 1 ||
        only_reader(*view.body, row) != written.node)
      continue;
    const auto argument = static_cast<std::size_t>(
        std::find(kernel.operands.begin(), kernel.operands.end(), row) - kernel.operands.begin());
    if (reads_what_it_writes(kernel, argument, written.index)) return stack;
  }
  return std::nullopt;
}

bool carried_in_place(const ScanView& view, std::size_t carry) {
  const Graph& body = *view.body;
  const Value before = body.input_value(view.first_carry() + carry);
  const Value next = body.outputs()[carry].value;
  const Node& kernel = body.node(next.node);
  if (kernel.op != Op::fused || view.bound_of(body.type(before)) != nullptr ||
      only_reader(body, before) != next.node)
    return false;
  const auto argument = static_cast<std::size_t>(
      std::find(kernel.operands.begin(), kernel.operands.end(), before) - kernel.operands.begin());
  return reads_what_it_writes(kernel, argument, next.index);
}

}  // namespace treadle
