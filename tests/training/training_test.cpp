// Whole training runs on the reference program, with data that is generated.
#include <cmath>
#include <limits>

#include "driver/compile.h"
#include "passes/training_step.h"
#include "runtime/generators.h"
#include "runtime/initialise.h"
#include "runtime/reference_program.h"
#include "runtime/team.h"
#include "runtime/trainer.h"
#include "tests/catch.h"

using namespace treadle;

namespace {

constexpr std::int64_t hidden = 6;

// A tanh recurrence reads the adding problem; squared error of its last state's
// projection. One example.
Graph adding_loss() {
  Graph graph;
  Builder b(graph);
  const Dim T = Dim::symbol("T");
  const Type state{DType::f32, {hidden}};
  const Value x = b.input("sequences", {DType::f32, {T, 2}});
  const Value target = b.input("targets", {DType::f32, {}});
  const Value w = b.parameter("W", {DType::f32, {2, hidden}}, "xavier");
  const Value u = b.parameter("U", {DType::f32, {hidden, hidden}}, "orthogonal");
  const Value out = b.parameter("out", {DType::f32, {hidden}}, "zeros");
  Graph body;
  Builder s(body);
  const Value bw = s.argument(b.type(w)), bu = s.argument(b.type(u));
  const Value h = s.argument(state), row = s.argument({DType::f32, {2}});
  body.add_output("", s.tanh(s.add(s.matmul(row, bw, {0}, {0}), s.matmul(h, bu, {0}, {0}))));
  const std::vector<Value> last = b.scan(
      {{w, u}, {b.constant(state, 0)}, {x}, T, false, std::make_shared<const Graph>(body), {}});
  const Value error = b.square(b.sub(b.matmul(last[0], out, {0}, {0}), target));
  graph.add_output("loss", error);
  graph.add_output("report.absolute", b.sqrt(error));
  return graph;
}

std::map<std::string, Tensor> first_tensors(const TrainingStep& step) {
  std::map<std::string, Tensor> out;
  out.emplace("W", initialise({Initialiser::xavier, 0, 0}, {2, hidden}, DType::f32, 1, "W"));
  out.emplace("U",
              initialise({Initialiser::orthogonal, 0, 0}, {hidden, hidden}, DType::f32, 1, "U"));
  out.emplace("out", Tensor(DType::f32, {hidden}));
  for (const OptimizerSlot& slot : step.slots)
    out.emplace(slot.name, Tensor(DType::f32, out.at(slot.parameter).shape()));
  return out;
}

std::unique_ptr<Program> program_of(const TrainingStep& step) {
  return make_reference_program(step.graph, in_place_updates(step));
}

std::unique_ptr<BatchSource> adding_data() {
  AddingProblem data = adding_problem(4, 96, 3);
  NamedFields fields;
  fields.emplace("sequences", std::move(data.sequences));
  fields.emplace("targets", std::move(data.targets));
  return array_batches(std::move(fields), {16, true, 5});
}

OptimizerSettings adamw() {
  OptimizerSettings out;
  out.weight_decay = 0.01;
  out.clip_norm = 1.0;
  return out;
}

TrainerOptions options_for(std::int64_t epochs) {
  TrainerOptions out;
  out.epochs = epochs;
  out.schedule = {Schedule::Kind::cosine, 0.02, 5, 0.1};
  return out;
}

}  // namespace

TEST_CASE("training lowers the loss far below that of a constant answer") {
  const TrainingStep step = make_training_step(adding_loss(), adamw());
  const std::unique_ptr<Program> program = program_of(step);
  const std::unique_ptr<BatchSource> data = adding_data();
  Team team(1);
  Trainer trainer(*program, first_tensors(step), *data, options_for(25), team);
  while (!trainer.finished()) trainer.step();
  const TrainingStep evaluation = make_evaluation_step(adding_loss());
  const std::unique_ptr<Program> evaluate = program_of(evaluation);
  const Metrics metrics = evaluate_metrics(*evaluate, trainer.tensors(), *data, 0, team);
  CHECK(metrics.at("loss") < 1.0 / 12);  // half of 1/6, the constant's
  CHECK(metrics.at("report.absolute") > 0);
}

TEST_CASE("a run that stops and goes on ends with the same bits") {
  const TrainingStep step = make_training_step(adding_loss(), adamw());
  const std::unique_ptr<Program> program = program_of(step);
  const std::unique_ptr<BatchSource> data = adding_data();
  Team team(1);
  Trainer whole(*program, first_tensors(step), *data, options_for(3), team);
  while (!whole.finished()) whole.step();
  Trainer first(*program, first_tensors(step), *data, options_for(3), team);
  for (int i = 0; i < 8; ++i) first.step();
  Trainer second(*program, {}, *data, options_for(3), team);
  second.resume(first.position(), first.tensors());
  while (!second.finished()) second.step();
  for (const auto& [name, tensor] : whole.tensors()) {
    INFO(name);
    CHECK(same_bits(tensor, second.tensors().at(name)));
  }
}

TEST_CASE("a run of so many steps ends within an epoch, and its learning rate with it") {
  const TrainingStep step = make_training_step(adding_loss(), adamw());
  const std::unique_ptr<Program> program = program_of(step);
  const std::unique_ptr<BatchSource> data = adding_data();
  REQUIRE(data->batches() == 6);
  TrainerOptions options = options_for(2);
  options.steps = 8;
  Team team(1);
  Trainer trainer(*program, first_tensors(step), *data, options, team);
  CHECK(trainer.batches_of_epoch() == 6);
  double rate = 0;
  while (!trainer.finished()) rate = trainer.step().learning_rate;
  CHECK(trainer.position().step == 8);
  CHECK(trainer.position().epoch == 1);
  CHECK(trainer.position().batch == 2);
  CHECK(trainer.batches_of_epoch() == 2);
  CHECK(rate == learning_rate(options.schedule, 7, 8));
  CHECK(rate < learning_rate(options.schedule, 7, 12));
  Trainer first(*program, first_tensors(step), *data, options, team);
  for (int i = 0; i < 7; ++i) first.step();
  Trainer second(*program, {}, *data, options, team);
  second.resume(first.position(), first.tensors());
  second.step();
  CHECK(second.finished());
  for (const auto& [name, tensor] : trainer.tensors())
    CHECK(same_bits(tensor, second.tensors().at(name)));
}

TEST_CASE("a step whose loss is not finite changes nothing and is reported") {
  const TrainingStep step = make_training_step(adding_loss(), adamw());
  const std::unique_ptr<Program> program = program_of(step);
  NamedFields fields;
  fields.emplace("sequences", Tensor(DType::f32, {2, 3, 2}));
  Tensor targets(DType::f32, {2});
  targets.set(1, std::numeric_limits<double>::quiet_NaN());
  fields.emplace("targets", std::move(targets));
  const std::unique_ptr<BatchSource> data = array_batches(std::move(fields), {2, false, 0});
  Team team(1);
  const std::map<std::string, Tensor> before = first_tensors(step);
  Trainer trainer(*program, before, *data, options_for(1), team);
  CHECK_THROWS_AS(trainer.step(), NonFiniteStep);
  for (const auto& [name, tensor] : before) CHECK(same_bits(tensor, trainer.tensors().at(name)));
}

TEST_CASE("a step that is not finite leaves the carried state as it was") {
  // s' = s + x, loss log(s'): not a number once s' is negative.
  Graph graph;
  Builder b(graph);
  const Type row{DType::f64, {2}};
  const Value p = b.parameter("p", row, "ones");
  const Value x = b.input("x", row);
  const Value s =
      b.input("s", row, {{"role", std::string("state")}, {"successor", std::string("state")}});
  const Value next = b.add(s, x);
  graph.add_output("state", next);
  graph.add_output("loss", b.reduce_sum(b.mul(p, b.log(next)), {0}));
  const TrainingStep step = make_training_step(graph, adamw());
  for (const auto& program : {program_of(step), compile_step(step)}) {
    Team team(1);
    std::map<std::string, Tensor> tensors;
    tensors.emplace("p", Tensor(DType::f64, {2}));
    for (const OptimizerSlot& slot : step.slots)
      tensors.emplace(slot.name, Tensor(DType::f64, {2}));
    Batch batch;
    batch.examples = 3;
    const auto step_by = [&](double value) {
      batch.fields.insert_or_assign("x", Tensor(DType::f64, {3, 2}));
      for (std::int64_t i = 0; i < 6; ++i) batch.fields.at("x").set(i, value + 0.1 * double(i));
      return StepRunner(*program, team)
          .run(batch, tensors, {{"learning_rate", 0.1}, {"step", 1}})
          .at("loss");
    };
    CHECK(std::isfinite(step_by(1)));
    const std::map<std::string, Tensor> before = tensors;
    CHECK(before.at("s").get(5) == Approx(1.5));
    CHECK_FALSE(std::isfinite(step_by(-4)));
    for (const auto& [name, tensor] : before) CHECK(same_bits(tensor, tensors.at(name)));
    CHECK(std::isfinite(step_by(1)));
    CHECK(tensors.at("s").get(5) == Approx(3));
  }
}

TEST_CASE("weight decay takes all parameters, or matrices alone") {
  // The gradient is zero, so that what moves is what decays.
  Graph graph;
  Builder b(graph);
  const Value matrix = b.parameter("W", {DType::f64, {2, 3}}, "ones");
  const Value vector = b.parameter("b", {DType::f64, {3}}, "ones");
  const Value x = b.input("x", {DType::f64, {2}});
  const Value y = b.add(b.matmul(x, matrix, {0}, {0}), vector);
  graph.add_output("loss", b.scale(b.reduce_sum(y, {0}), 0));
  for (const auto kind : {OptimizerSettings::Kind::adamw, OptimizerSettings::Kind::sgd})
    for (const bool matrices : {false, true}) {
      OptimizerSettings settings;
      settings.kind = kind;
      settings.weight_decay = 0.5;
      settings.decay_matrices_only = matrices;
      const TrainingStep step = make_training_step(graph, settings);
      std::map<std::string, Tensor> tensors;
      for (const auto& [name, shape] : {std::pair<std::string, Shape>{"W", {2, 3}}, {"b", {3}}}) {
        tensors.emplace(name, Tensor(DType::f64, shape));
        for (std::int64_t i = 0; i < tensors.at(name).size(); ++i) tensors.at(name).set(i, 1);
      }
      for (const OptimizerSlot& slot : step.slots)
        tensors.emplace(slot.name, Tensor(DType::f64, tensors.at(slot.parameter).shape()));
      Batch batch;
      batch.examples = 1;
      batch.fields.emplace("x", Tensor(DType::f64, {1, 2}));
      Team team(1);
      StepRunner(*program_of(step), team)
          .run(batch, tensors, {{"learning_rate", 0.1}, {"step", 1}});
      CHECK(tensors.at("W").get(5) == Approx(0.95).epsilon(1e-14));
      CHECK(tensors.at("b").get(2) == Approx(matrices ? 1 : 0.95).epsilon(1e-14));
    }
}

TEST_CASE("one AdamW step equals the formula of the paper") {
  // One parameter p, loss (p - 3)^2 for every example.
  Graph graph;
  Builder b(graph);
  const Value p = b.parameter("p", {DType::f64, {}}, "zeros");
  const Value x = b.input("x", {DType::f64, {}});
  graph.add_output("loss", b.square(b.sub(p, x)));
  OptimizerSettings settings = adamw();
  settings.clip_norm.reset();
  const TrainingStep step = make_training_step(graph, settings);
  const std::unique_ptr<Program> program = program_of(step);
  std::map<std::string, Tensor> tensors;
  tensors.emplace("p", Tensor::scalar(DType::f64, 1));
  tensors.emplace("m:p", Tensor::scalar(DType::f64, 0.5));
  tensors.emplace("v:p", Tensor::scalar(DType::f64, 2));
  Team team(1);
  Batch batch;
  batch.fields.emplace("x", Tensor(DType::f64, {2}));
  batch.fields.at("x").set(0, 3);
  batch.fields.at("x").set(1, 3);
  batch.examples = 2;
  StepRunner(*program, team).run(batch, tensors, {{"learning_rate", 0.1}, {"step", 4}});
  const double g = 2 * (1.0 - 3.0);
  const double m = 0.9 * 0.5 + 0.1 * g, v = 0.999 * 2 + 0.001 * g * g;
  const double expected =
      1 - 0.1 * 0.01 * 1 -
      0.1 * (m / (1 - std::pow(0.9, 4))) / (std::sqrt(v / (1 - std::pow(0.999, 4))) + 1e-8);
  CHECK(tensors.at("p").get(0) == Approx(expected).epsilon(1e-14));
  CHECK(tensors.at("m:p").get(0) == Approx(m).epsilon(1e-14));
  CHECK(tensors.at("v:p").get(0) == Approx(v).epsilon(1e-14));
}

TEST_CASE("a proximal step follows the update: exact zeros for l1, a shrinkage for l2") {
  // Three parameters, loss |p - x|^2 / 2, so that the gradient is p - x.
  Graph graph;
  Builder b(graph);
  const Type three{DType::f64, {3}};
  const Value p = b.parameter("p", three, "zeros");
  const Value x = b.input("x", three);
  graph.add_output("loss", b.scale(b.reduce_sum(b.square(b.sub(p, x)), {0}), 0.5));
  const std::vector<double> before{1, 0.02, -2}, target{3, 0.1, -2};
  const double rate = 0.1, l1 = 0.5, l2 = 0.25;
  for (const bool adam : {false, true}) {
    OptimizerSettings settings;
    settings.kind = adam ? OptimizerSettings::Kind::adam : OptimizerSettings::Kind::sgd;
    settings.proximal_l1 = l1;
    settings.proximal_l2 = l2;
    OptimizerSettings without;
    without.kind = settings.kind;
    const auto after = [&](const OptimizerSettings& chosen) {
      const TrainingStep step = make_training_step(graph, chosen);
      const std::unique_ptr<Program> program = program_of(step);
      std::map<std::string, Tensor> tensors;
      for (const char* name : {"p", "m:p", "v:p"}) tensors.emplace(name, Tensor(DType::f64, {3}));
      Batch batch;
      batch.fields.emplace("x", Tensor(DType::f64, {1, 3}));
      batch.examples = 1;
      for (std::int64_t i = 0; i < 3; ++i) {
        tensors.at("p").set(i, before[static_cast<std::size_t>(i)]);
        batch.fields.at("x").set(i, target[static_cast<std::size_t>(i)]);
      }
      Team team(1);
      StepRunner(*program, team).run(batch, tensors, {{"learning_rate", rate}, {"step", 1}});
      return tensors.at("p");
    };
    const Tensor updated = after(without), proximal = after(settings);
    for (std::int64_t i = 0; i < 3; ++i) {
      const double u = updated.get(i), size = std::max(std::abs(u) - rate * l1, 0.0);
      const double expected = std::copysign(size, u) / (1 + 2 * rate * l2);
      CHECK(proximal.get(i) == Approx(expected).epsilon(1e-14).margin(0));
    }
    if (!adam) CHECK(proximal.get(1) == 0);
  }
}
