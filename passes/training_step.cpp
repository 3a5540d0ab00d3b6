#include "passes/training_step.h"

#include <cmath>

#include "ir/diagnostic.h"
#include "passes/batch.h"
#include "passes/differentiate.h"
#include "passes/graph_copy.h"
#include "passes/unroll.h"

namespace treadle {
namespace {

// With `loss per token`: what an example counts.
constexpr const char* weight_output = "loss.weight";

Integers all_axes(const Type& type) {
  Integers axes;
  for (std::size_t i = 0; i < type.rank(); ++i) axes.push_back(static_cast<std::int64_t>(i));
  return axes;
}

Value sum_all(Builder& b, Value x) {
  return b.type(x).rank() == 0 ? x : b.reduce_sum(x, all_axes(b.type(x)));
}

// The mean over the batch; an output that no example enters stays as it is.
Value batch_mean(Builder& b, Value x, Value weight) {
  if (b.type(x).rank() == 0) return x;
  if (!weight.valid()) return b.mean(x, {0});
  const Type scalar{b.type(x).dtype, {}};
  const Value total = b.maximum(sum_all(b, weight), b.constant(scalar, 1e-30));
  return b.div(sum_all(b, b.mul(x, weight)), total);
}

std::vector<Successor> state_successors(const Graph& graph) {
  std::vector<Successor> out;
  for (const NodeId id : graph.inputs()) {
    const Attributes& attributes = graph.node(id).attributes;
    const std::string output = attributes.string("successor", "");
    if (attributes.string("role", "") == "state" && !output.empty())
      out.push_back({output, attributes.string("name")});
  }
  return out;
}

Graph batched(const Graph& loss_graph, const std::vector<std::string>& ragged) {
  if (ragged.empty()) return batch(unroll_as_written(loss_graph));
  // Of the model's own outputs a step needs the carried state alone; others
  // may be no rows of a batch.
  Graph needed = loss_graph;
  std::vector<Output> outputs;
  for (const Output& output : loss_graph.outputs()) {
    const bool loss = output.name == "loss" || output.name == "penalty" ||
                      output.name == weight_output || output.name.starts_with("report.");
    bool state = false;
    for (const Successor& successor : state_successors(loss_graph))
      state = state || successor.output == output.name;
    if (loss || state) outputs.push_back(output);
  }
  needed.set_outputs(std::move(outputs));
  needed = without_dead_nodes(mark_ragged(needed, ragged));
  return batch(unroll_as_written(needed));
}

// The batched loss graph with its outputs reduced over the batch.
Graph reduced(const Graph& loss_graph, const std::vector<std::string>& ragged) {
  Graph work = batched(loss_graph, ragged);
  Builder b(work);
  const std::vector<Output> before = work.outputs();
  Value weight = work.output(weight_output);
  const Value loss = work.output("loss");
  if (!loss.valid()) throw_user_error("T0812", "there is no output 'loss'");
  if (weight.valid()) {
    weight = b.cast(weight, b.type(loss).dtype);
    if (b.type(weight).rank() == 0) weight = b.broadcast_scalar(weight, b.type(loss).dims);
  }
  std::vector<Output> outputs;
  for (const Output& output : before) {
    Value v = output.value;
    const bool report = output.name.starts_with("report.");
    if (output.name == "loss") {
      v = batch_mean(b, v, weight);
      if (const Value penalty = work.output("penalty"); penalty.valid()) v = b.add(v, penalty);
    } else if (report) {
      v = batch_mean(b, v, weight.valid() && b.type(v) == b.type(weight) ? weight : Value{});
    } else if (output.name == "penalty") {
      continue;
    } else if (output.name == weight_output) {
      v = sum_all(b, weight);
    }
    outputs.push_back({output.name, v});
  }
  work.set_outputs(std::move(outputs));
  return work;
}

// Keeps loss and reports, renames the successors of carried state, drops what
// a step has no use for.
// `keep(next, old)` is what a state becomes.
template <typename Keep>
void add_common_outputs(const Graph& from, std::vector<Output>& outputs, TrainingStep& step,
                        Keep&& keep) {
  for (const Output& output : from.outputs())
    if (output.name == "loss" || output.name.starts_with("report.")) outputs.push_back(output);
  for (const Successor& state : state_successors(from)) {
    const Value v = from.output(state.output);
    ensure(v.valid(), "training-step", "carried state has no successor " + state.output);
    outputs.push_back({"next:" + state.input, keep(v, from.input(state.input))});
    step.updates.push_back({"next:" + state.input, state.input});
  }
}

// One parameter's update. Scalars are broadcast to its shape.
class Updater {
 public:
  Updater(Builder& b, const OptimizerSettings& settings, DType dtype)
      : b_(b), settings_(settings), scalar_{dtype, {}} {}

  Value learning_rate, step, scale, good;

  Value wide(Value scalar, const Type& type) {
    if (b_.type(scalar).dtype != DType::b1) scalar = b_.cast(scalar, type.dtype);
    return type.rank() == 0 ? scalar : b_.broadcast_scalar(scalar, type.dims);
  }
  Value keep_if_bad(Value next, Value old) {
    return b_.select(wide(good, b_.type(old)), next, old);
  }

  // 1 - beta^step
  Value bias(double beta) {
    const Value power = b_.pow(b_.constant(scalar_, beta), step);
    return b_.sub(b_.constant(scalar_, 1), power);
  }

  double decay(const Type& type) const {
    return settings_.decay_matrices_only && type.rank() < 2 ? 0 : settings_.weight_decay;
  }

  Value adam(Value p, Value g, Value m, Value v, Value& next_m, Value& next_v) {
    const Type type = b_.type(p);
    const bool decoupled = settings_.kind == OptimizerSettings::Kind::adamw;
    if (!decoupled && decay(type) != 0) g = b_.add(g, b_.scale(p, decay(type)));
    next_m = b_.add(b_.scale(m, settings_.beta1), b_.scale(g, 1 - settings_.beta1));
    next_v = b_.add(b_.scale(v, settings_.beta2), b_.scale(b_.square(g), 1 - settings_.beta2));
    const Value rate = b_.div(learning_rate, bias1);
    const Value root = b_.mul(b_.sqrt(next_v), wide(b_.rsqrt(bias2), type));
    const Value delta = b_.div(next_m, b_.shift(root, settings_.epsilon));
    Value kept = p;
    if (decoupled && decay(type) != 0)
      kept = b_.sub(p, b_.mul(p, wide(b_.scale(learning_rate, decay(type)), type)));
    return b_.sub(kept, b_.mul(delta, wide(rate, type)));
  }

  Value sgd(Value p, Value g, Value velocity, Value& next_velocity) {
    if (const double rate = decay(b_.type(p)); rate != 0) g = b_.add(g, b_.scale(p, rate));
    if (velocity.valid()) g = next_velocity = b_.add(b_.scale(velocity, settings_.momentum), g);
    return b_.sub(p, b_.mul(g, wide(learning_rate, b_.type(p))));
  }

  // The proximal steps of both penalties, for a step of this length.
  Value proximal(Value p) {
    const Type type = b_.type(p);
    if (settings_.proximal_l1 != 0) {
      const Value reach = wide(b_.scale(learning_rate, settings_.proximal_l1), type);
      p = b_.sub(p, b_.minimum(b_.maximum(p, b_.neg(reach)), reach));
    }
    if (settings_.proximal_l2 != 0) {
      const Value shrink = b_.shift(b_.scale(learning_rate, 2 * settings_.proximal_l2), 1);
      p = b_.div(p, wide(shrink, type));
    }
    return p;
  }

  Value bias1, bias2;

 private:
  Builder& b_;
  const OptimizerSettings& settings_;
  Type scalar_;
};

}  // namespace

TrainingStep make_training_step(const Graph& loss_graph, const OptimizerSettings& settings,
                                const std::vector<std::string>& ragged, const DimEnv& sizes,
                                const WorkingMemory& memory) {
  TrainingStep out;
  const Graph forward = recompute(reduced(loss_graph, ragged), sizes, &out.recomputed, memory);
  Graph& work = out.graph;
  work = differentiate(forward);
  Builder b(work);
  const Value loss = work.output("loss");
  const Type scalar = b.type(loss);
  const Attributes shared{{"shared", true}};
  Updater updater(b, settings, scalar.dtype);
  updater.learning_rate = b.input("learning_rate", scalar, shared);
  updater.step = b.input("step", scalar, shared);

  struct Item {
    std::string name;
    Value parameter, gradient;
  };
  std::vector<Item> items;
  Value squares;
  for (const NodeId id : std::vector<NodeId>(work.inputs())) {
    if (work.node(id).op != Op::parameter) continue;
    const std::string name = work.node(id).attributes.string("name");
    const Value gradient = work.output("grad:" + name);
    if (!gradient.valid()) continue;
    items.push_back({name, {id, 0}, gradient});
    const Value term = b.cast(sum_all(b, b.square(gradient)), scalar.dtype);
    squares = squares.valid() ? b.add(squares, term) : term;
  }
  ensure(squares.valid(), "training-step", "a model without parameters");
  const Value norm = b.sqrt(squares);
  updater.good = b.logical_and(b.is_finite(loss), b.is_finite(norm));
  if (settings.clip_norm) {
    const Value limit = b.constant(scalar, *settings.clip_norm);
    updater.scale = b.div(limit, b.maximum(norm, limit));
  }
  const bool adam = settings.kind != OptimizerSettings::Kind::sgd;
  if (adam) {
    updater.bias1 = updater.bias(settings.beta1);
    updater.bias2 = updater.bias(settings.beta2);
  }
  std::vector<Output> outputs;
  add_common_outputs(work, outputs, out,
                     [&](Value next, Value old) { return updater.keep_if_bad(next, old); });
  outputs.push_back({"grad_norm", norm});
  const auto update = [&](const std::string& name, Value next, Value old) {
    outputs.push_back({"next:" + name, updater.keep_if_bad(next, old)});
    out.updates.push_back({"next:" + name, name});
  };
  const auto slot = [&](const std::string& prefix, const Item& item) {
    out.slots.push_back({prefix + item.name, item.name});
    return b.input(prefix + item.name, b.type(item.parameter), shared);
  };
  for (const Item& item : items) {
    const Type type = b.type(item.parameter);
    Value g = item.gradient;
    if (updater.scale.valid()) g = b.mul(g, updater.wide(updater.scale, type));
    if (adam) {
      const Value m = slot("m:", item);
      const Value v = slot("v:", item);
      Value next_m, next_v;
      const Value next = updater.adam(item.parameter, g, m, v, next_m, next_v);
      update(item.name, updater.proximal(next), item.parameter);
      update("m:" + item.name, next_m, m);
      update("v:" + item.name, next_v, v);
      continue;
    }
    const Value velocity = settings.momentum != 0 ? slot("m:", item) : Value{};
    Value next_velocity;
    const Value next = updater.sgd(item.parameter, g, velocity, next_velocity);
    update(item.name, updater.proximal(next), item.parameter);
    if (velocity.valid()) update("m:" + item.name, next_velocity, velocity);
  }
  work.set_outputs(std::move(outputs));
  return out;
}

Graph batched_loss(const Graph& loss_graph) { return reduced(loss_graph, {}); }

TrainingStep make_evaluation_step(const Graph& loss_graph, const std::vector<std::string>& ragged) {
  TrainingStep out;
  out.graph = reduced(loss_graph, ragged);
  std::vector<Output> outputs;
  add_common_outputs(out.graph, outputs, out, [](Value next, Value) { return next; });
  if (const Value weight = out.graph.output(weight_output); weight.valid())
    outputs.push_back({weight_output, weight});
  out.graph.set_outputs(std::move(outputs));
  return out;
}

}  // namespace treadle
