// Loops over time.
#include <fmt/format.h>

#include "frontend/elaborate/elaborator.h"

namespace treadle::elaboration {

using namespace syntax;

namespace {

// The same structure with other leaves.
Any map_leaves(const Any& value, const std::function<TensorValue(const TensorValue&)>& f) {
  if (const auto* leaf = value.as<TensorValue>()) return {f(*leaf)};
  TupleValue out;
  for (const Any& element : value.as<TupleValue>()->elements)
    out.elements.push_back(map_leaves(element, f));
  return {std::move(out)};
}

}  // namespace

Any GraphMaker::make_stack(const Stack& stack, const Expr& expr, Scope& scope) {
  Callable out;
  out.kind = Callable::Kind::stack;
  for (const ExprPtr& layer : stack.layers) out.layers.push_back(resolve_callable(*layer, scope));
  if (stack.count) {
    const auto count = eval_dim(*stack.count, scope).constant();
    if (!count || *count < 1 || *count > 1000)
      fail("T0337", stack.count->range, "a stack has a known number of layers, 1 to 1000");
    out.layers.assign(static_cast<std::size_t>(*count), out.layers[0]);
  }
  if (out.layers.empty()) fail("T0337", expr.range, "a stack needs a layer");
  return {std::make_shared<const Callable>(std::move(out))};
}

GraphMaker::Step GraphMaker::step(const Callable& callable, std::vector<ArgumentValue> inputs,
                                  const Any* state, const SourceRange& state_range,
                                  ScanFrame* frame, Scope& caller, const SourceRange& range) {
  if (callable.kind == Callable::Kind::stack) {
    const std::string path = call_path(callable, caller);
    const auto* states = state ? state->as<TupleValue>() : nullptr;
    const bool fill = state && state->as<FillValue>();
    if (state && !fill && (!states || states->elements.size() != callable.layers.size()))
      fail("T0343", state_range,
           fmt::format("the state of {} layers is expected, this is {}", callable.layers.size(),
                       show(*state)));
    Step out;
    TupleValue carries;
    for (std::size_t i = 0; i < callable.layers.size(); ++i) {
      Callable layer = *callable.layers[i].callable();
      layer.path = fmt::format("{}[{}]", path, i);
      const Any* own = states ? &states->elements[i] : state;
      Step one = step(layer, inputs, own, state_range, frame, caller, range);
      inputs.clear();
      for (Any& value : one.outputs) inputs.push_back({"", value, range});
      out.outputs = std::move(one.outputs);
      carries.elements.push_back(std::move(one.carry));
    }
    out.carry = {std::move(carries)};
    return out;
  }
  if (callable.kind != Callable::Kind::definition ||
      callable.definition->kind != Definition::Kind::cell ||
      callable.definition->parameters.empty())
    fail("T0335", range, "only a cell steps through time",
         fmt::format("this is {}", show({std::make_shared<const Callable>(callable)})),
         callable.kind == Callable::Kind::definition
             ? std::vector<std::string>{fmt::format("a block is called: {}(x)",
                                                    callable.definition->name.text)}
             : std::vector<std::string>{});
  const Definition& definition = *callable.definition;
  // `run` has a call site of its own.
  std::optional<CallSiteScope> site(
      std::in_place, call_sites_,
      CallSite{range, definition.name.text, callable.module->is_standard});
  Activation activation = activate(callable, std::move(inputs), caller, true, range);
  const Parameter& carried = definition.parameters.back();
  Any carry;
  {
    const LevelScope outside(*this, frame ? frame->level - 1 : current_);
    Any initial = state                   ? *state
                  : carried.default_value ? eval(*carried.default_value, activation.scope)
                                          : Any{FillValue{0}};
    carry = meet(*carried.type, std::move(initial), activation.scope, activation.u,
                 state ? state_range : range, carried.pattern.name);
    settle(activation.scope, activation.u);
  }
  const std::size_t first = frame ? frame->carries.size() : 0;
  if (frame) {
    carry = map_leaves(carry, [&](const TensorValue& leaf) {
      Value initial;
      {
        const LevelScope outside(*this, frame->level - 1);
        initial = use(leaf);
      }
      TensorValue inside = leaf;
      inside.level = frame->level;
      inside.value = levels_[frame->level]->b.argument(leaf.type);
      frame->carries.push_back({initial, inside.value, {}, leaf.type});
      return inside;
    });
  }
  const std::size_t last = frame ? frame->carries.size() : 0;
  bind(carried.pattern, carry, activation.scope, Binding::Kind::argument);
  site.reset();
  Results results = run(callable, activation, range);
  for (const Any& value : results.values)
    if (value.is_poison()) throw Failure{};
  Step out;
  if (results.values.size() < 2)
    fail("T0338", results.ranges.back(), "a cell yields its outputs and then its new state", {},
         {"yield h, (h, c)"});
  Unification u;
  Any next = meet(*carried.type, results.values.back(), activation.scope, u, results.ranges.back(),
                  "the new state");
  settle(activation.scope, u);
  results.values.pop_back();
  if (frame) {
    std::size_t k = first;
    for_each_leaf(next, [&](const TensorValue& leaf) {
      if (k >= last || leaf.type != frame->carries[k].type)
        fail("T0339", results.ranges.back(), "the new state has another type than the old",
             fmt::format("this is {}", show(next)), {}, {{carried.range, "the state"}});
      frame->carries[k++].final = use(leaf);
    });
  }
  out.outputs = std::move(results.values);
  out.carry = std::move(next);
  return out;
}

Any GraphMaker::scan(const Scan& scan, const Expr& expr, Scope& scope) {
  const Any cell = resolve_callable(*scan.cell, scope);
  std::vector<TensorValue> sequences;
  for (const ExprPtr& sequence : scan.sequences) {
    sequences.push_back(eval_tensor(*sequence, scope));
    const TensorValue& x = sequences.back();
    if (x.type.rank() == 0)
      fail("T0348", sequence->range, "a scan runs over a sequence",
           fmt::format("this is {}", show_type(x)));
    if (x.type.dims[0] != sequences[0].type.dims[0])
      fail("T0314", sequence->range, "the sequences of a scan have different lengths",
           fmt::format("{}: {}   {}: {}", source_text(scan.sequences[0]->range),
                       show_type(sequences[0]), source_text(sequence->range), show_type(x)),
           dim_notes({&sequences[0], &x}));
  }
  std::optional<Any> from;
  if (scan.from) from = eval(*scan.from, scope);
  Attributes more;
  if (scan.unroll) {
    const auto count = scan.unroll_count ? eval_dim(*scan.unroll_count, scope).constant()
                                         : std::optional<std::int64_t>(0);
    if (!count || *count < 0) fail("T0349", expr.range, "unroll takes a known number of steps");
    const Dim& steps = sequences[0].type.dims[0];
    if (*count == 0 && !steps.constant())
      fail("T0349", expr.range, "only a known number of steps can be written out",
           "the length is " + steps.to_string(),
           {fmt::format("unroll 8 writes out eight at a time; -D {}=28 fixes the length",
                        steps.to_string())});
    more.set("unroll", *count);
  }
  if (scan.budget) {
    if (scan.unroll)
      fail("T0376", expr.range, "what is written out cannot be computed again chunk by chunk", {},
           {"unroll or remat, not both"});
    more.set("remat", byte_budget(*scan.budget));
  }
  if (options_.truncate > 0) more.set("tbptt", options_.truncate);

  const std::size_t outside = current_;
  const Dim length = sequences[0].type.dims[0];
  OpenLevel open(*this);
  Level& level = open.level();
  level.length = length;
  level.reverse = scan.reverse;
  level.b.set_location(expr.range);
  ScanFrame frame;
  frame.level = outside + 1;
  std::vector<Value> rows, row_values;
  std::vector<ArgumentValue> inputs;
  for (std::size_t i = 0; i < sequences.size(); ++i) {
    const TensorValue& x = sequences[i];
    row_values.push_back(use(x));
    TensorValue row = x;
    row.level = frame.level;
    row.type.dims.erase(row.type.dims.begin());
    if (!row.origins.empty()) row.origins.erase(row.origins.begin());
    row.value = level.b.argument(row.type);
    rows.push_back(row.value);
    inputs.push_back({"", {row}, scan.sequences[i]->range});
  }
  Step result;
  std::vector<Value> outputs;
  {
    const LevelScope inside(*this, frame.level);
    result = step(*cell.callable(), std::move(inputs), from ? &*from : nullptr,
                  scan.from ? scan.from->range : expr.range, &frame, scope, expr.range);
    for (Any& value : result.outputs)
      if (!value.as<TupleValue>()) value = {to_tensor(value, options_.real, expr.range)};
    for (const Any& value : result.outputs)
      for_each_leaf(value, [&](const TensorValue& leaf) { outputs.push_back(use(leaf)); });
  }
  if (level.time.valid()) {
    row_values.push_back(b().iota({length}, 0, DType::i64));
    rows.push_back(level.time);
  }

  // The body again, its arguments in the order of a scan's operands.
  Graph body;
  Builder order(body);
  std::map<Value, Value> map;
  Builder::ScanSpec spec;
  for (const Level::Capture& capture : level.captures) {
    spec.constants.push_back(capture.outer);
    map[capture.inner] = order.argument(level.graph.type(capture.inner));
  }
  for (const ScanFrame::Carry& carry : frame.carries) {
    spec.carries.push_back(carry.initial);
    map[carry.argument] = order.argument(carry.type);
  }
  for (std::size_t i = 0; i < rows.size(); ++i) {
    spec.sequences.push_back(row_values[i]);
    map[rows[i]] = order.argument(level.graph.type(rows[i]));
  }
  for (NodeId id = 0; id < level.graph.size(); ++id) {
    const Node& node = level.graph.node(id);
    if (node.op == Op::argument) continue;
    std::vector<Value> operands;
    for (const Value v : node.operands) operands.push_back(map.at(v));
    const LocationScope location(order, node.location);
    const Value first = order.clone(node, std::move(operands));
    for (std::uint32_t i = 0; i < node.types.size(); ++i) map[{id, i}] = {first.node, i};
  }
  for (const ScanFrame::Carry& carry : frame.carries) body.add_output("", map.at(carry.final));
  for (const Value v : outputs) body.add_output("", map.at(v));
  spec.length = length;
  spec.reverse = scan.reverse;
  spec.body = std::make_shared<const Graph>(std::move(body));
  spec.more = std::move(more);
  return guarded(expr.range, [&]() -> Any {
    const std::vector<Value> values = b().scan(std::move(spec));
    std::size_t next = frame.carries.size();
    Origin time;
    if (!sequences[0].origins.empty()) time = sequences[0].origins[0];
    std::vector<Any> stacked;
    for (const Any& value : result.outputs)
      stacked.push_back(map_leaves(value, [&](const TensorValue& leaf) {
        TensorValue out = tensor(values[next++]);
        if (leaf.origins.size() == leaf.type.rank()) {
          out.origins = {time};
          out.origins.insert(out.origins.end(), leaf.origins.begin(), leaf.origins.end());
        }
        out.classes = leaf.classes;
        return out;
      }));
    std::size_t carry = 0;
    Any final = map_leaves(result.carry, [&](const TensorValue& leaf) {
      TensorValue out = tensor(values[carry++]);
      out.origins = leaf.origins;
      return out;
    });
    return {TupleValue{{make_tuple(std::move(stacked)), std::move(final)}}};
  });
}

}  // namespace treadle::elaboration
