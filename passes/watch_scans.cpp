#include "passes/watch_scans.h"

#include <fmt/format.h>

#include <algorithm>
#include <map>

#include "ir/diagnostic.h"
#include "passes/differentiate.h"
#include "passes/graph_copy.h"

namespace treadle {
namespace {

// The step with a probe row behind its rows, and the carries that it receives
// behind its outputs.
Graph probed_step(const ScanView& view) {
  const Graph& body = *view.body;
  Graph out;
  out.stage = body.stage;
  Builder b(out);
  ValueMap map(body);
  for (std::size_t i = 0; i < body.inputs().size(); ++i) {
    const Value v = body.input_value(i);
    map.set(v, b.argument(body.type(v)));
  }
  // Of each value that becomes a carry: the rows that are added to it.
  std::map<Value, std::vector<Value>> probes;
  for (std::size_t i = 0; i < view.carries; ++i) {
    const Value v = body.outputs()[i].value;
    if (is_float(body.type(v).dtype)) probes[v].push_back(b.argument(body.type(v)));
  }
  const auto probed = [&](Value of, Value value) {
    const auto found = probes.find(of);
    if (found == probes.end()) return value;
    for (const Value row : found->second) value = b.add(value, row);
    return value;
  };
  for (NodeId id = 0; id < body.size(); ++id) {
    const Node& node = body.node(id);
    if (node.op == Op::argument) continue;
    copy_node(b, body, id, map);
    const LocationScope scope(b, node.location);
    for (std::uint32_t i = 0; i < node.types.size(); ++i)
      map.set({id, i}, probed({id, i}, map[{id, i}]));
  }
  for (const Output& output : body.outputs()) {
    const Value v = output.value;
    // What a step passes on as it came is changed only from here on.
    const bool passed_on = body.node(v.node).op == Op::argument;
    out.add_output("", passed_on ? probed(v, map[v]) : map[v]);
  }
  for (std::size_t i = view.first_carry(); i < view.first_sequence(); ++i)
    out.add_output("", map[body.input_value(i)]);
  return out;
}

bool has_float_state(const ScanView& view) {
  for (std::size_t i = 0; i < view.carries; ++i)
    if (is_float(view.body->output_type(i).dtype)) return true;
  return false;
}

Type stacked(const Type& row, const Dim& length) {
  Type out = row;
  out.dims.insert(out.dims.begin(), length);
  return out;
}

}  // namespace

WatchedGraph watch_scans(const Graph& loss_graph) {
  WatchedGraph out;
  std::vector<Output> added;
  out.graph = copy_graph(loss_graph, [&](Builder& b, NodeId id, ValueMap& map) {
    const Node& node = loss_graph.node(id);
    if (node.op != Op::scan) return false;
    const ScanView view(node);
    if (!has_float_state(view)) return false;
    const LocationScope scope(b, node.location);
    WatchedScan scan;
    scan.location = node.location;
    scan.symbol_prefix = fmt::format("scan{}", out.scans.size());
    scan.length = view.length;
    scan.reverse = view.reverse;
    scan.step = node.regions[0];
    std::vector<Value> operands = map.all(node.operands);
    const std::vector<Value> given = operands;
    for (std::size_t i = 0; i < view.carries; ++i) {
      const Type type = view.body->output_type(i);
      if (!is_float(type.dtype)) continue;
      scan.probes.push_back(fmt::format("{}.probe.{}", scan.symbol_prefix, i));
      operands.push_back(b.input(scan.probes.back(), stacked(type, view.length)));
    }
    const Value first = b.add_node(Op::scan, std::move(operands), node.attributes,
                                   {std::make_shared<const Graph>(probed_step(view))});
    const auto results = static_cast<std::uint32_t>(node.types.size());
    for (std::uint32_t i = 0; i < results; ++i) map.set({id, i}, {first.node, i});
    const auto name = [&](std::string_view what, std::size_t i, Value value,
                          std::vector<std::string>& names) {
      names.push_back(fmt::format("{}.{}.{}", scan.symbol_prefix, what, i));
      added.push_back({names.back(), value});
    };
    for (std::size_t i = 0; i < view.constants; ++i) name("constant", i, given[i], scan.constants);
    for (std::size_t i = 0; i < view.carries; ++i)
      name("carry", i, {first.node, results + static_cast<std::uint32_t>(i)}, scan.carries);
    for (std::size_t i = 0; i < view.sequences; ++i)
      name("row", i, given[view.first_sequence() + i], scan.rows);
    out.scans.push_back(std::move(scan));
    return true;
  });
  for (Output& output : added) out.graph.add_output(std::move(output.name), output.value);
  return out;
}

bool has_step_jacobian(const WatchedScan& scan) {
  const std::vector<Node>& nodes = scan.step->nodes();
  return std::none_of(nodes.begin(), nodes.end(),
                      [](const Node& node) { return node.op == Op::scan; });
}

Graph step_jacobian(const WatchedScan& scan, const std::vector<bool>& shared) {
  ensure(has_step_jacobian(scan), "watch-scans", "a scan inside a step");
  const Graph& body = *scan.step;
  const std::size_t constants = scan.constants.size(), carries = scan.carries.size();
  Graph work;
  Builder b(work);
  ValueMap map(body);
  for (std::size_t i = 0; i < body.inputs().size(); ++i) {
    const Value v = body.input_value(i);
    const Type& type = body.type(v);
    if (i < constants)
      map.set(v, b.input(fmt::format("constant.{}", i), type, {{"shared", Attribute(shared[i])}}));
    else if (i < constants + carries)
      map.set(v, b.input(fmt::format("carry.{}", i - constants), type));
    else
      map.set(v, b.input(fmt::format("row.{}", i - constants - carries), type));
  }
  for (NodeId id = 0; id < body.size(); ++id)
    if (body.node(id).op != Op::argument) copy_node(b, body, id, map);

  std::vector<std::size_t> floats;
  std::vector<Value> in, out;
  for (std::size_t i = 0; i < carries; ++i) {
    const Value v = map[body.outputs()[i].value];
    if (!is_float(b.type(v).dtype)) continue;
    floats.push_back(i);
    in.push_back(map[body.input_value(constants + i)]);
    out.push_back(v);
  }
  std::vector<ScanReplacement> none;
  const auto back = [&](const std::vector<Value>& cotangents) {
    std::vector<Seed> seeds;
    for (std::size_t k = 0; k < out.size(); ++k) seeds.push_back({out[k], cotangents[k]});
    std::vector<Value> found = gradients(b, seeds, in, none);
    for (std::size_t k = 0; k < found.size(); ++k)
      if (!found[k].valid()) found[k] = b.constant(b.type(in[k]), 0);
    return found;
  };
  // u -> J^T u is linear, so that its own gradient in the direction v, at any u,
  // is J v.
  std::vector<Value> anywhere, directions;
  for (const Value v : out) anywhere.push_back(b.constant(b.type(v), 0));
  for (std::size_t k = 0; k < in.size(); ++k)
    directions.push_back(b.input(fmt::format("direction.{}", floats[k]), b.type(in[k])));
  const std::vector<Value> pulled = back(anywhere);
  std::vector<Seed> seeds;
  for (std::size_t k = 0; k < in.size(); ++k) seeds.push_back({pulled[k], directions[k]});
  std::vector<Value> forward = gradients(b, seeds, anywhere, none);
  for (std::size_t k = 0; k < forward.size(); ++k)
    if (!forward[k].valid()) forward[k] = b.constant(b.type(out[k]), 0);
  const std::vector<Value> again = back(forward);
  for (std::size_t k = 0; k < floats.size(); ++k) {
    work.add_output(fmt::format("forward.{}", floats[k]), forward[k]);
    work.add_output(fmt::format("back.{}", floats[k]), again[k]);
  }
  return without_dead_nodes(work);
}

}  // namespace treadle
