#include "passes/unroll.h"

#include <algorithm>

#include "ir/builder.h"
#include "passes/graph_copy.h"

namespace treadle {
namespace {

// One step of a scan's body on values of b's graph: new carries, then rows.
std::vector<Value> inline_step(Builder& b, const Graph& body, const std::vector<Value>& arguments) {
  ValueMap map(body);
  for (std::size_t i = 0; i < arguments.size(); ++i) map.set(body.input_value(i), arguments[i]);
  for (NodeId id = 0; id < body.size(); ++id)
    if (body.node(id).op != Op::argument) copy_node(b, body, id, map);
  std::vector<Value> out;
  for (const Output& output : body.outputs()) out.push_back(map[output.value]);
  return out;
}

Value row(Builder& b, Value stacked, const Dim& t) {
  Dims dims = b.type(stacked).dims;
  const Value one = b.slice(stacked, 0, t, 1);
  dims.erase(dims.begin());
  return b.reshape(one, dims);
}

Value stack_rows(Builder& b, const std::vector<Value>& rows) {
  std::vector<Value> parts;
  for (const Value v : rows) {
    Dims dims = b.type(v).dims;
    dims.insert(dims.begin(), Dim(1));
    parts.push_back(b.reshape(v, dims));
  }
  return parts.size() == 1 ? parts[0] : b.concat(std::move(parts), 0);
}

struct Parts {
  std::vector<Value> constants, carries, sequences;
};

// All steps, one after another.
std::vector<Value> write_out(Builder& b, const ScanView& view, const Graph& body, Parts parts,
                             std::int64_t length) {
  std::vector<std::vector<Value>> rows(view.outputs,
                                       std::vector<Value>(static_cast<std::size_t>(length)));
  for (std::int64_t i = 0; i < length; ++i) {
    const std::int64_t t = view.reverse ? length - 1 - i : i;
    std::vector<Value> arguments = parts.constants;
    arguments.insert(arguments.end(), parts.carries.begin(), parts.carries.end());
    for (const Value v : parts.sequences) arguments.push_back(row(b, v, t));
    std::vector<Value> out = inline_step(b, body, arguments);
    std::copy_n(out.begin(), view.carries, parts.carries.begin());
    for (std::size_t k = 0; k < view.outputs; ++k)
      rows[k][static_cast<std::size_t>(t)] = out[view.carries + k];
  }
  std::vector<Value> out = parts.carries;
  for (const auto& all : rows) out.push_back(stack_rows(b, all));
  return out;
}

std::vector<Value> loop(Builder& b, const ScanView& view, const Region& body, const Parts& parts,
                        const Dim& length, const Attributes& more = {}) {
  return b.scan(
      {parts.constants, parts.carries, parts.sequences, length, view.reverse, body, more});
}

Parts parts_of(const ScanView& view, const std::vector<Value>& operands) {
  Parts out;
  for (std::size_t i = 0; i < operands.size(); ++i)
    (i < view.first_carry()      ? out.constants
     : i < view.first_sequence() ? out.carries
                                 : out.sequences)
        .push_back(operands[i]);
  return out;
}

// The body that does `steps` steps on rows [steps, ...].
Region wide_body(const ScanView& view, const Graph& body, std::int64_t steps) {
  Graph out;
  out.stage = body.stage;
  Builder b(out);
  Parts parts;
  for (std::size_t i = 0; i < body.inputs().size(); ++i) {
    Type type = body.type(body.input_value(i));
    if (i >= view.first_sequence()) type.dims.insert(type.dims.begin(), Dim(steps));
    const Value v = b.argument(type);
    (i < view.first_carry()      ? parts.constants
     : i < view.first_sequence() ? parts.carries
                                 : parts.sequences)
        .push_back(v);
  }
  for (const Value v : write_out(b, view, body, std::move(parts), steps)) out.add_output("", v);
  return std::make_shared<const Graph>(std::move(out));
}

// Rows [begin, begin + extent) of the sequences.
Parts cut(Builder& b, const Parts& parts, const Dim& begin, const Dim& extent) {
  Parts out = parts;
  for (Value& v : out.sequences) v = b.slice(v, 0, begin, extent);
  return out;
}

}  // namespace

std::vector<Value> scan_in_blocks(Builder& b, const ScanView& view, const Region& body,
                                  const std::vector<Value>& operands, const ScanBlocks& how) {
  const Parts parts = parts_of(view, operands);
  const Dim& turns = how.count;
  const Dim steps(how.steps), whole = turns * steps, left = view.length - whole;
  const auto main = [&](const std::vector<Value>& carries) {
    Parts blocks = cut(b, parts, 0, whole);
    blocks.carries = carries;
    for (Value& v : blocks.sequences) {
      Dims dims = b.type(v).dims;
      dims[0] = steps;
      dims.insert(dims.begin(), turns);
      v = b.reshape(v, dims);
    }
    std::vector<Value> out = loop(b, view, how.block, blocks, turns, how.more);
    for (std::size_t k = view.carries; k < out.size(); ++k) {
      Dims dims = b.type(out[k]).dims;
      dims.erase(dims.begin());
      dims[0] = whole;
      out[k] = b.reshape(out[k], dims);
    }
    return out;
  };
  const auto rest = [&](const std::vector<Value>& carries) {
    Parts tail = cut(b, parts, whole, left);
    tail.carries = carries;
    return loop(b, view, body, tail, left, how.more_left);
  };
  const auto carries_of = [&](const std::vector<Value>& out) {
    return std::vector<Value>(out.begin(), out.begin() + static_cast<std::ptrdiff_t>(view.carries));
  };
  // A reverse scan begins with the rows at the end.
  const std::vector<Value> first = view.reverse ? rest(parts.carries) : main(parts.carries);
  const std::vector<Value> second =
      view.reverse ? main(carries_of(first)) : rest(carries_of(first));
  std::vector<Value> out = carries_of(second);
  const std::vector<Value>& low = view.reverse ? second : first;
  const std::vector<Value>& high = view.reverse ? first : second;
  for (std::size_t k = view.carries; k < low.size(); ++k)
    out.push_back(b.concat({low[k], high[k]}, 0));
  return out;
}

namespace {

// Replaces one scan; the body is already as it should be.
void unroll_scan(Builder& b, const Graph& graph, NodeId id, ValueMap& map, const Region& inner,
                 std::int64_t steps) {
  const Node& node = graph.node(id);
  const ScanView view(node);
  const std::vector<Value> operands = map.all(node.operands);
  const Parts parts = parts_of(view, operands);
  const LocationScope scope(b, node.location);
  const auto length = view.length.constant();
  Attributes more = node.attributes;
  more.erase("unroll");
  std::vector<Value> out;
  if (steps == 0 && length && *length > 0)
    out = write_out(b, view, *inner, parts, *length);
  else if (steps > 1)
    out = scan_in_blocks(
        b, view, inner, operands,
        {steps, view.length.floor_div(steps), wide_body(view, *inner, steps), {}, {}});
  else
    out = loop(b, view, inner, parts, view.length, more);
  for (std::uint32_t i = 0; i < out.size(); ++i) map.set({id, i}, out[i]);
}

bool has_unroll(const Graph& graph) {
  return std::any_of(graph.nodes().begin(), graph.nodes().end(), [](const Node& node) {
    return node.attributes.has("unroll") ||
           std::any_of(node.regions.begin(), node.regions.end(),
                       [](const Region& region) { return has_unroll(*region); });
  });
}

}  // namespace

Graph unroll(const Graph& graph, std::int64_t steps) {
  return copy_graph(graph, [&](Builder& b, NodeId id, ValueMap& map) {
    if (graph.node(id).op != Op::scan) return false;
    const ScanView view(graph.node(id));
    if (!view.bounds.empty()) return false;
    unroll_scan(b, graph, id, map, std::make_shared<const Graph>(unroll(*view.body, steps)), steps);
    return true;
  });
}

Graph unroll_as_written(const Graph& graph) {
  if (!has_unroll(graph)) return graph;
  return copy_graph(graph, [&](Builder& b, NodeId id, ValueMap& map) {
    const Node& node = graph.node(id);
    if (node.op != Op::scan) return false;
    const ScanView view(node);
    // A turn of several steps would need the same examples in all of them.
    if (view.length.is_ragged() || !view.bounds.empty()) return false;
    if (!node.attributes.has("unroll") && !has_unroll(*view.body)) return false;
    unroll_scan(b, graph, id, map, std::make_shared<const Graph>(unroll_as_written(*view.body)),
                node.attributes.integer("unroll", 1));
    return true;
  });
}

}  // namespace treadle
