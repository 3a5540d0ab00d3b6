#include "driver/generator.h"

#include <fmt/format.h>

#include <algorithm>
#include <cstring>

#include "driver/compile.h"
#include "passes/batch.h"
#include "passes/simplify.h"
#include "passes/unroll.h"

namespace treadle {
namespace {

constexpr std::string_view sequences_symbol = "B";
constexpr std::int64_t first_capacity = 32;

Dim free_symbol(const Graph& graph) {
  std::string name(sequences_symbol);
  while (graph.symbols().count(name) != 0) name += "_";
  return Dim::symbol(name);
}

std::size_t row_bytes(const Tensor& x) {
  return x.shape()[0] == 0 ? 0 : x.bytes() / static_cast<std::size_t>(x.shape()[0]);
}

// Rows of the first dimension, in another order and number.
Tensor taken(const Tensor& x, std::span<const std::int64_t> from) {
  Shape shape = x.shape();
  shape[0] = static_cast<std::int64_t>(from.size());
  Tensor out(x.dtype(), shape);
  const std::size_t bytes = row_bytes(x);
  for (std::size_t i = 0; i < from.size(); ++i)
    std::memcpy(out.data() + i * bytes, x.data() + static_cast<std::size_t>(from[i]) * bytes,
                bytes);
  return out;
}

Tensor repeated(const Tensor& x, std::int64_t times) {
  Shape shape = x.shape();
  shape.insert(shape.begin(), times);
  Tensor out(x.dtype(), shape);
  for (std::int64_t i = 0; i < times; ++i)
    std::memcpy(out.data() + static_cast<std::size_t>(i) * x.bytes(), x.data(), x.bytes());
  return out;
}

std::vector<double> row_of(const Tensor& x, std::int64_t first, std::int64_t count) {
  const auto copied = [&](const auto all) {
    const auto row = all.subspan(static_cast<std::size_t>(first), static_cast<std::size_t>(count));
    return std::vector<double>(row.begin(), row.end());
  };
  if (x.dtype() == DType::f32) return copied(x.as<float>());
  ensure(x.dtype() == DType::f64, "generate", "logits that are no numbers");
  return copied(x.as<double>());
}

// x[..., rows, ...] along `axis` with more rows, those behind the old ones zero.
Tensor with_rows(const Tensor& x, std::size_t axis, std::int64_t rows) {
  Shape shape = x.shape();
  const std::int64_t before = shape[axis];
  shape[axis] = rows;
  Tensor out(x.dtype(), shape);
  std::size_t outer = 1, inner = size_of(x.dtype());
  for (std::size_t d = 0; d < axis; ++d) outer *= static_cast<std::size_t>(shape[d]);
  for (std::size_t d = axis + 1; d < shape.size(); ++d) inner *= static_cast<std::size_t>(shape[d]);
  const std::size_t old_bytes = static_cast<std::size_t>(before) * inner;
  const std::size_t new_bytes = static_cast<std::size_t>(rows) * inner;
  for (std::size_t o = 0; o < outer; ++o)
    std::memcpy(out.data() + o * new_bytes, x.data() + o * old_bytes, old_bytes);
  return out;
}

}  // namespace

Generator::Generator(const Graph& model, NamedTensors parameters, CompileOptions options)
    : parameters_(std::make_shared<const NamedTensors>(std::move(parameters))),
      options_(with_fixed_parameters(std::move(options), model)) {
  find_inputs(model);
  try {
    compile_step(model);
  } catch (const UserError& error) {
    if (error.diagnostics().empty() || error.diagnostics()[0].code != "T0848") throw;
    blocked_ = error.diagnostics()[0];
    whole_ = compiled(model);
  }
}

std::unique_ptr<Program> Generator::compiled(const Graph& graph,
                                             std::span<const InPlaceUpdate> updates) const {
  std::unique_ptr<Program> out = compile(graph, updates, options_);
  out->fix(parameters_);
  return out;
}

void Generator::find_inputs(const Graph& model) {
  const std::string length = sequence_symbol(model);
  for (const NodeId id : model.inputs()) {
    const Node& node = model.node(id);
    if (node.op == Op::parameter) continue;
    const std::string name = node.attributes.string("name");
    const Type& type = node.types[0];
    if (node.attributes.string("role", "") == "state") {
      initial_state_.push_back({name, type, -1});
    } else if (token_.empty() && type.dtype == DType::i32 && type.rank() == 1 &&
               type.dims[0] == Dim::symbol(length)) {
      token_ = name;
    } else {
      given_.push_back({name, type, -1});
      for (const Dim& dim : type.dims)
        if (dim.mentions(length))
          throw_user_error("T0844", fmt::format("generation cannot feed the input '{}'", name),
                           "a model that generates reads one sequence of what it generates: "
                           "token(V)[T]",
                           node.location);
    }
  }
  if (token_.empty())
    throw_user_error("T0844", "generation needs a model that reads tokens",
                     "model M(text: token(V)[T], s: state CELL = zeros)");
}

std::vector<std::string> Generator::given_inputs() const {
  std::vector<std::string> out;
  for (const Slot& slot : given_) out.push_back(slot.name);
  return out;
}

void Generator::compile_step(const Graph& model) {
  const DerivedStep derived = derive_step(model, sequence_symbol(model));
  capacity_ = derived.capacity;
  longest_ = derived.longest;
  const Graph one = simplify(unroll(derived.graph, 0));
  const Graph many = simplify(batch(one, {free_symbol(one)}));
  std::vector<InPlaceUpdate> updates;
  for (const NodeId id : many.inputs()) {
    const Attributes& at = many.node(id).attributes;
    const std::string name = at.string("name");
    const std::string role = at.string("role", "");
    if (role == "cache") caches_[name] = {name, many.node(id).types[0], -1};
    if (!at.has("successor") || model.input(name).valid()) continue;
    updates.push_back({at.string("successor"), name});
    successors_[at.string("successor")] = name;
  }
  step_ = compiled(many, updates);
  if (derived.start.outputs().empty()) return;
  const Graph start = simplify(batch(derived.start, {free_symbol(derived.start)}));
  start_ = compiled(start);
}

void Generator::begin(std::int64_t sequences, const NamedTensors& given) {
  state_.clear();
  given_values_.clear();
  for (const Slot& slot : given_) {
    const auto found = given.find(slot.name);
    const auto rank = slot.type.rank() + 1;
    if (found == given.end() || found->second.dtype() != slot.type.dtype ||
        found->second.shape().size() != rank || found->second.shape()[0] != sequences)
      throw_user_error("T0880",
                       found == given.end()
                           ? fmt::format("the model reads '{}', which is not given", slot.name)
                           : fmt::format("'{}' is {} for each sequence, not what is given",
                                         slot.name, to_string(slot.type)),
                       fmt::format("it is {} for one sequence", to_string(slot.type)));
    given_values_[slot.name] = found->second;
  }
  positions_.assign(static_cast<std::size_t>(sequences), 0);
  history_.assign(static_cast<std::size_t>(sequences), {});
  if (step_) start();
}

void Generator::start() {
  const std::int64_t sequences = count();
  NamedTensors known = given_values_;
  for (const Slot& slot : initial_state_)
    known[slot.name] = repeated(Tensor(slot.type.dtype, evaluate_shape(slot.type, {})), sequences);
  // The step may read these too.
  state_ = known;
  rows_ = std::min(first_capacity, longest_.value_or(first_capacity));
  for (const auto& [name, slot] : caches_) {
    Shape shape;
    for (const Dim& dim : slot.type.dims)
      shape.push_back(dim.is_constant()               ? *dim.constant()
                      : dim == Dim::symbol(capacity_) ? rows_
                                                      : sequences);
    state_[name] = Tensor(slot.type.dtype, shape);
  }
  if (!start_) return;
  std::vector<Tensor> outputs = run(*start_, inputs_of(*start_, known), team_);
  for (std::size_t i = 0; i < outputs.size(); ++i) {
    const std::string& name = start_->outputs()[i].name;
    // What depends on parameters alone is the same for all.
    const auto wanted = std::find_if(step_->inputs().begin(), step_->inputs().end(),
                                     [&](const Slot& slot) { return slot.name == name; });
    if (wanted == step_->inputs().end()) continue;
    state_[name] = outputs[i].shape().size() < wanted->type.rank() ? repeated(outputs[i], sequences)
                                                                   : std::move(outputs[i]);
  }
}

// Caches with space for `rows` rows: twice as many each time, so that copying
// them costs little.
void Generator::reserve_rows(std::int64_t rows) {
  if (longest_ && rows > *longest_)
    throw_user_error("T0881",
                     fmt::format("the model has no row {} of a table that is as long as {}",
                                 rows - 1, *longest_),
                     "generate less (max), or train with a longer table of positions");
  if (caches_.empty() || rows <= rows_) return;
  const std::int64_t wanted =
      std::min(std::max(rows, 2 * rows_), longest_.value_or(std::max(rows, 2 * rows_)));
  for (const auto& [name, slot] : caches_)
    for (std::size_t axis = 0; axis < slot.type.rank(); ++axis)
      if (slot.type.dims[axis] == Dim::symbol(capacity_))
        state_[name] = with_rows(state_.at(name), axis, wanted);
  rows_ = wanted;
}

std::vector<double> Generator::read_again(std::size_t sequence) {
  const std::vector<std::int32_t>& read = history_[sequence];
  Tensor tokens(DType::i32, {static_cast<std::int64_t>(read.size())});
  for (std::size_t i = 0; i < read.size(); ++i)
    tokens.set_integer(static_cast<std::int64_t>(i), read[i]);
  NamedTensors known;
  known[token_] = std::move(tokens);
  for (const Slot& slot : initial_state_)
    known[slot.name] = Tensor(slot.type.dtype, evaluate_shape(slot.type, {}));
  for (const auto& [name, value] : given_values_) {
    const auto from = static_cast<std::int64_t>(sequence);
    const Tensor row = taken(value, std::span(&from, 1));
    Tensor one(row.dtype(), Shape(row.shape().begin() + 1, row.shape().end()));
    std::memcpy(one.data(), row.data(), row.bytes());
    known[name] = std::move(one);
  }
  const std::vector<Tensor> outputs = run(*whole_, inputs_of(*whole_, known), team_);
  const Tensor& logits = outputs.front();
  const std::int64_t classes = logits.shape().back();
  return row_of(logits, logits.size() - classes, classes);
}

std::vector<std::vector<double>> Generator::next(std::span<const std::int32_t> tokens) {
  ensure(tokens.size() == positions_.size(), "generate", "one token for each sequence");
  std::vector<std::vector<double>> out;
  if (blocked_) {
    for (std::size_t i = 0; i < tokens.size(); ++i) {
      history_[i].push_back(tokens[i]);
      out.push_back(read_again(i));
      ++positions_[i];
    }
    return out;
  }
  const std::int64_t sequences = count();
  Tensor read(DType::i32, {sequences, 1});
  Tensor position(DType::i64, {sequences});
  for (std::int64_t i = 0; i < sequences; ++i) {
    read.set_integer(i, tokens[static_cast<std::size_t>(i)]);
    position.set_integer(i, positions_[static_cast<std::size_t>(i)]);
  }
  reserve_rows(*std::max_element(positions_.begin(), positions_.end()) + 1);
  state_[token_] = std::move(read);
  state_["position"] = std::move(position);
  const std::vector<const Tensor*> inputs = inputs_of(*step_, state_);
  std::vector<const std::byte*> from;
  for (const Tensor* input : inputs) from.push_back(input->data());
  const DimEnv env = bind_dims(step_->inputs(), inputs);
  std::vector<Tensor> fresh;
  fresh.reserve(step_->outputs().size());
  std::vector<std::byte*> to;
  for (const Slot& slot : step_->outputs()) {
    if (const auto successor = successors_.find(slot.name); successor != successors_.end()) {
      to.push_back(state_.at(successor->second).data());
      continue;
    }
    fresh.emplace_back(slot.type.dtype, evaluate_shape(slot.type, env));
    to.push_back(fresh.back().data());
  }
  step_->run(env, from, to, team_);
  const Tensor& logits = fresh.front();
  const std::int64_t classes = logits.shape().back();
  for (std::int64_t i = 0; i < sequences; ++i) {
    out.push_back(row_of(logits, i * classes, classes));
    ++positions_[static_cast<std::size_t>(i)];
  }
  return out;
}

void Generator::select(std::span<const std::int64_t> from) {
  for (auto& [name, value] : state_) value = taken(value, from);
  for (auto& [name, value] : given_values_) value = taken(value, from);
  std::vector<std::int64_t> positions;
  std::vector<std::vector<std::int32_t>> history;
  for (const std::int64_t i : from) {
    positions.push_back(positions_[static_cast<std::size_t>(i)]);
    history.push_back(history_[static_cast<std::size_t>(i)]);
  }
  positions_ = std::move(positions);
  history_ = std::move(history);
}

}  // namespace treadle
