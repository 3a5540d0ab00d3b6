// Derivatives as expressions: grad(y, x), jvp(y, x, v), hvp(y, x, v).
//
// A gradient is one by a value, not by a formula: what `x` names is a node of
// the graph, and the derivative follows the ways from it to `y`.
#include <fmt/format.h>

#include <algorithm>

#include "frontend/elaborate/elaborator.h"
#include "ir/op_def.h"

namespace treadle::elaboration {

namespace {

bool passes_derivatives(const Node& node) {
  const OpDef& def = op_def(node.op);
  const bool whole = node.op == Op::scan || node.op == Op::gradient || node.op == Op::tangent;
  if (!whole && def.vjp == nullptr) return false;
  return std::any_of(node.types.begin(), node.types.end(),
                     [](const Type& type) { return is_float(type.dtype); });
}

// The nodes that `to` depends on.
std::vector<bool> above(const Graph& graph, NodeId to) {
  std::vector<bool> out(graph.size(), false);
  out[to] = true;
  for (NodeId id = to + 1; id-- > 0;)
    if (out[id])
      for (const Value v : graph.node(id).operands) out[v.node] = true;
  return out;
}

// How `to` depends on `from`: along a way that derivatives can take, only
// through `blocker`, or (no blocker) not at all.
struct Dependence {
  bool smooth = false;
  NodeId blocker = UINT32_MAX;
};
Dependence dependence(const Graph& graph, Value from, Value to) {
  Dependence out;
  if (from.node > to.node) return out;
  const std::vector<bool> wanted = above(graph, to.node);
  std::vector<bool> smooth(graph.size(), false);
  smooth[from.node] = true;
  bool blocked_by_wish = false;
  for (NodeId id = from.node + 1; id <= to.node; ++id) {
    const Node& node = graph.node(id);
    const bool reads = std::any_of(node.operands.begin(), node.operands.end(),
                                   [&](Value v) { return smooth[v.node]; });
    if (!reads || !wanted[id]) continue;
    if (passes_derivatives(node)) {
      smooth[id] = true;
    } else if (out.blocker == UINT32_MAX || blocked_by_wish) {
      out.blocker = id;
      blocked_by_wish = node.op == Op::stop_gradient;
    }
  }
  out.smooth = smooth[to.node];
  return out;
}

}  // namespace

Any GraphMaker::derivative(const std::string& name, const std::vector<ArgumentValue>& arguments,
                           const SourceRange& range) {
  const bool along = name != "grad";
  const std::size_t count = along ? 3 : 2;
  const std::string form = along ? fmt::format("{}(y, x, v): y by x along v", name)
                                 : "grad(y, x): the gradient of y by x";
  const bool by_position = std::all_of(arguments.begin(), arguments.end(),
                                       [](const ArgumentValue& a) { return a.name.empty(); });
  if (arguments.size() != count || !by_position)
    fail("T0334", range, fmt::format("'{}' takes {}", name, ordinal_plural(count, "argument")), {},
         {form});
  const ArgumentValue &of = arguments[0], &by = arguments[1];

  const TensorValue y = to_tensor(of.value, options_.real, of.range);
  if (!is_float(y.type.dtype))
    fail("T0372", of.range, "only real numbers have derivatives",
         fmt::format("this is {}", show_type(y)));
  if (name != "jvp" && y.type.rank() != 0)
    fail("T0371", of.range, "only a single number has a gradient",
         fmt::format("this is {}", show_type(y)),
         {"take its sum or its mean; jvp(y, x, v) says how all of y changes along v"});
  std::vector<TensorValue> xs;
  const bool all_parameters = by.value.as<ParametersValue>() != nullptr;
  if (all_parameters)
    for (const auto& [path, parameter] : parameters_) xs.push_back(parameter);
  else
    for_each_leaf(by.value, [&](const TensorValue& leaf) { xs.push_back(leaf); });
  if (xs.empty() && !all_parameters)
    fail("T0372", by.range, "derivatives are by a value of the model",
         fmt::format("this is {}", show(by.value)), {"give the value a name and use the name"});
  if (xs.empty()) fail("T0372", by.range, "there are no parameters yet to derive by");
  for (const TensorValue& x : xs)
    if (!is_float(x.type.dtype))
      fail("T0372", by.range, "only real numbers have derivatives",
           fmt::format("this is {}", show_type(x)));

  // In a scan's step a derivative is that of the step.
  std::size_t level = y.level;
  for (const TensorValue& x : xs) level = std::max(level, x.level);
  for (const TensorValue& x : xs)
    if (x.level < level)
      fail("T0374", by.range, "inside a step derivatives are by values of the step",
           fmt::format("{} is the same in every step", source_text(by.range)),
           {"take the derivative outside of the scan, of what it yields",
            "or make the value a part of the cell's state"});
  std::vector<TensorValue> vs;
  if (along) {
    const ArgumentValue& direction = arguments[2];
    if (const auto* tuple = direction.value.as<TupleValue>(); tuple && by.value.as<TupleValue>())
      for (const Any& element : tuple->elements)
        vs.push_back(to_tensor(element, options_.real, direction.range));
    else
      vs.assign(xs.size(), to_tensor(direction.value, options_.real, direction.range));
    const auto fits = [](const Type& v, const Type& x) {
      return v.dtype == x.dtype && v.rank() <= x.rank() &&
             std::equal(v.dims.rbegin(), v.dims.rend(), x.dims.rbegin());
    };
    for (std::size_t i = 0; i < vs.size(); ++i)
      if (i >= xs.size() || !fits(vs[i].type, xs[i].type) || vs[i].level > level)
        fail("T0375", direction.range, "a direction has the type of what it is a direction of",
             fmt::format("{}: {}   {}: {}", source_text(by.range), show(by.value),
                         source_text(direction.range), show(direction.value)));
    if (vs.size() != xs.size())
      fail("T0375", direction.range,
           fmt::format("{} for {}", ordinal_plural(vs.size(), "direction"),
                       ordinal_plural(xs.size(), "value")));
  }

  const LevelScope at(*this, level);
  const Value value = use(y);
  bool smooth = false;
  Dependence found;
  for (std::size_t i = 0; i < xs.size() && !all_parameters; ++i) {
    const Dependence one = dependence(b().graph(), use(xs[i]), value);
    smooth = smooth || one.smooth;
    if (!one.smooth && one.blocker != UINT32_MAX) found = one;
  }
  if (!smooth && !all_parameters) {
    const std::string what = source_text(of.range), source = source_text(by.range);
    if (found.blocker == UINT32_MAX) {
      warn("T0511", range, fmt::format("'{}' does not depend on '{}': zero", what, source),
           {"derivatives are by the value that the name stands for here; name it before using it"});
    } else if (const Node& node = b().graph().node(found.blocker); node.op == Op::stop_gradient) {
      warn("T0511", range,
           fmt::format("'{}' depends on '{}' only through stop_gradient: zero", what, source));
    } else {
      fail("T0373", range,
           fmt::format("'{}' depends on '{}' only through something without a derivative", what,
                       source),
           {}, {fmt::format("'{}': {}", op_def(node.op).name, op_def(node.op).no_derivative)},
           {{node.location, "here"}});
    }
  }
  return guarded(range, [&]() -> Any {
    const auto stretched = [&](std::size_t i) {
      return use(broadcast_to(vs[i], xs[i].type.dims, xs[i].origins));
    };
    std::vector<Value> points;
    for (const TensorValue& x : xs) points.push_back(use(x));
    std::vector<Value> values{value};
    if (name != "jvp") {
      std::vector<Value> operands{value};
      operands.insert(operands.end(), points.begin(), points.end());
      const Value first = b().add_node(Op::gradient, std::move(operands));
      values.clear();
      for (std::uint32_t i = 0; i < points.size(); ++i) values.push_back({first.node, i});
    }
    if (along) {
      std::vector<Value> operands = values;
      operands.insert(operands.end(), points.begin(), points.end());
      for (std::size_t i = 0; i < vs.size(); ++i) operands.push_back(stretched(i));
      const auto outputs = static_cast<std::int64_t>(values.size());
      const Value first = b().add_node(Op::tangent, std::move(operands), {{"values", outputs}});
      for (std::uint32_t i = 0; i < values.size(); ++i) values[i] = {first.node, i};
    }
    std::vector<Any> out;
    for (std::size_t i = 0; i < values.size(); ++i) {
      TensorValue one = tensor(values[i]);
      one.origins = name == "jvp" ? y.origins : xs[i].origins;
      out.push_back({std::move(one)});
    }
    if (name == "jvp" || by.value.as<TensorValue>()) return out[0];
    return {TupleValue{std::move(out)}};
  });
}

}  // namespace treadle::elaboration
