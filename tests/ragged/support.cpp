#include "tests/ragged/support.h"

#include <cstring>

#include "ir/builder.h"
#include "ir/diagnostic.h"
#include "ir/eval/evaluate.h"
#include "ir/eval/random_inputs.h"
#include "passes/batch.h"
#include "passes/differentiate.h"

namespace treadle::test {
namespace {

std::vector<std::string> differentiated_names(const Graph& graph) {
  std::vector<std::string> out;
  for (const NodeId id : graph.inputs())
    if (is_float(graph.node(id).types[0].dtype))
      out.push_back(graph.node(id).attributes.string("name"));
  return out;
}

bool is_shared(const Node& source) {
  return source.op == Op::parameter || source.attributes.boolean("shared");
}

void only_loss(Graph& graph) { graph.set_outputs({{"loss", graph.output("loss")}}); }

// Tensors of the examples' rows, one after another.
Tensor joined(const std::vector<Tensor>& parts, std::vector<std::int64_t>& first) {
  Shape shape = parts[0].shape();
  shape[0] = 0;
  for (const Tensor& part : parts) {
    first.push_back(shape[0]);
    shape[0] += part.shape()[0];
  }
  Tensor out(parts[0].dtype(), shape);
  std::byte* to = out.data();
  for (const Tensor& part : parts) {
    std::memcpy(to, part.data(), part.bytes());
    to += part.bytes();
  }
  return out;
}

// One value of each example as one of the batch.
Tensor packed(const Type& one, const std::vector<Tensor>& parts, const Lengths& lengths) {
  std::set<std::string> symbols;
  if (!one.dims.empty()) one.dims[0].collect_symbols(symbols);
  if (!symbols.empty()) {
    std::vector<std::int64_t> first;
    const Tensor rows = joined(parts, first);
    return RaggedLayout(extents_of(one.dims[0], lengths)).pack(rows, first);
  }
  Shape shape = parts[0].shape();
  shape.insert(shape.begin(), static_cast<std::int64_t>(parts.size()));
  Tensor out(parts[0].dtype(), shape);
  for (std::size_t i = 0; i < parts.size(); ++i)
    std::memcpy(out.data() + i * parts[i].bytes(), parts[i].data(), parts[i].bytes());
  return out;
}

}  // namespace

RaggedCase::RaggedCase(const Graph& loss, const Lengths& lengths) {
  Graph one = loss;
  only_loss(one);
  std::vector<std::string> symbols;
  for (const auto& [symbol, extents] : lengths) symbols.push_back(symbol);
  Graph work = treadle::batch(mark_ragged(one, symbols));
  Builder b(work);
  work.set_outputs({{"loss", b.reduce_sum(work.output("loss"), {0})}});
  const std::vector<std::string> names = differentiated_names(one);
  batch_ = differentiate(work, {"loss", names, "grad:"});
  const Graph alone = differentiate(one, {"loss", names, "grad:"});

  const std::size_t examples = lengths.begin()->second.size();
  std::vector<std::vector<Tensor>> own, results;
  for (std::size_t i = 0; i < examples; ++i) {
    DimEnv env;
    for (const auto& [symbol, extents] : lengths) env[symbol] = extents[i];
    std::vector<Tensor> inputs = random_inputs(alone, env, 11 + i);
    for (std::size_t k = 0; k < inputs.size() && i > 0; ++k)
      if (is_shared(alone.node(alone.inputs()[k]))) inputs[k] = own[0][k];
    std::vector<const Tensor*> pointers;
    for (const Tensor& tensor : inputs) pointers.push_back(&tensor);
    results.push_back(evaluate(alone, pointers, env));
    own.push_back(std::move(inputs));
  }
  const auto of_all = [](const std::vector<std::vector<Tensor>>& all, std::size_t k) {
    std::vector<Tensor> out;
    for (const std::vector<Tensor>& tensors : all) out.push_back(tensors[k]);
    return out;
  };
  for (const NodeId id : batch_.inputs()) {
    const std::string name = batch_.node(id).attributes.string("name");
    if (auto made = ragged_input(name, lengths)) {
      inputs_.push_back(std::move(*made));
      continue;
    }
    const Value input = alone.input(name);
    ensure(input.valid(), "test", "an input that is no index: " + name);
    std::size_t k = 0;
    while (alone.inputs()[k] != input.node) ++k;
    const bool shared = is_shared(alone.node(input.node));
    inputs_.push_back(shared ? own[0][k] : packed(alone.type(input), of_all(own, k), lengths));
  }
  for (std::size_t k = 0; k < alone.outputs().size(); ++k) {
    const std::string& name = alone.outputs()[k].name;
    const std::vector<Tensor> parts = of_all(results, k);
    const Value input = name == "loss" ? Value{} : alone.input(name.substr(5));
    if (input.valid() && alone.node(input.node).op == Op::input) {
      expected_.push_back(packed(alone.type(input), parts, lengths));
      continue;
    }
    Tensor sum = parts[0];
    for (std::size_t i = 1; i < parts.size(); ++i)
      for (std::int64_t e = 0; e < sum.size(); ++e) sum.set(e, sum.get(e) + parts[i].get(e));
    expected_.push_back(std::move(sum));
  }
}

}  // namespace treadle::test
