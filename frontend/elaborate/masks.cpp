// Masks that are known before anything runs.
#include <fmt/format.h>

#include <algorithm>
#include <limits>
#include <map>

#include "frontend/elaborate/elaborator.h"
#include "ir/eval/evaluate.h"

namespace treadle::elaboration {

namespace {

// Larger masks are not looked at: this is a check, not a run.
constexpr std::int64_t largest_mask = 1 << 18;

bool is_minus_infinity(const Graph& graph, Value v) {
  const Node* node = &graph.node(v.node);
  while (node->op == Op::broadcast) node = &graph.node(node->operands[0].node);
  if (node->op != Op::constant) return false;
  const Tensor& value = node->attributes.tensor("value");
  return value.size() == 1 && value.get(0) == -std::numeric_limits<double>::infinity();
}

// What computes `v`, when that reads no input, parameter or step.
std::optional<Graph> without_inputs(const Graph& graph, Value v) {
  Graph out;
  Builder b(out);
  std::map<Value, Value> known;
  const std::function<bool(Value)> copy = [&](Value value) {
    if (known.contains(value)) return true;
    const Node& node = graph.node(value.node);
    if (node.op == Op::input || node.op == Op::parameter || node.op == Op::argument ||
        node.op == Op::scan)
      return false;
    std::vector<Value> operands;
    for (const Value operand : node.operands) {
      if (!copy(operand)) return false;
      operands.push_back(known.at(operand));
    }
    known[value] = {b.clone(node, std::move(operands)).node, value.index};
    return true;
  };
  if (!copy(v)) return std::nullopt;
  out.add_output("mask", known.at(v));
  return out;
}

// The first row that is false throughout; -1: none.
std::int64_t first_empty_row(const Tensor& mask, std::int64_t length) {
  const std::int64_t rows = length == 0 ? 0 : mask.size() / length;
  for (std::int64_t row = 0; row < rows; ++row) {
    std::int64_t seen = 0;
    for (std::int64_t i = 0; i < length; ++i) seen += mask.get(row * length + i) != 0 ? 1 : 0;
    if (seen == 0) return row;
  }
  return -1;
}

}  // namespace

void GraphMaker::warn_empty_rows(const TensorValue& x, std::int64_t axis,
                                 const SourceRange& range) {
  const Graph& graph = levels_[x.level]->graph;
  const Node& choice = graph.node(x.value.node);
  if (choice.op != Op::select || axis + 1 != static_cast<std::int64_t>(x.type.rank()) ||
      !is_minus_infinity(graph, choice.operands[2]))
    return;
  // Repeating the mask over heads makes no other rows.
  Value mask = choice.operands[0];
  const Node& repeated = graph.node(mask.node);
  if (repeated.op == Op::broadcast && !repeated.attributes.integers("axes").empty() &&
      repeated.attributes.integers("axes").back() == axis)
    mask = repeated.operands[0];
  const Type& type = graph.type(mask);
  const std::optional<Graph> alone = without_inputs(graph, mask);
  if (!alone || type.rank() == 0) return;
  std::set<std::string> symbols;
  for (const Dim& dim : type.dims) dim.collect_symbols(symbols);
  // Sizes that are not known yet: a row that is empty for each of these is so
  // by the mask's rule.
  const std::vector<std::int64_t> sizes =
      symbols.empty() ? std::vector<std::int64_t>{0} : std::vector<std::int64_t>{1, 2, 3, 7};
  std::int64_t row = -1;
  for (const std::int64_t size : sizes) {
    DimEnv env;
    for (const std::string& symbol : symbols) env[symbol] = size;
    for (const std::string& symbol : alone->symbols()) env.try_emplace(symbol, size);
    if (product(type.dims).evaluate(env) > largest_mask) return;
    const Tensor found = evaluate(*alone, std::span<const Tensor* const>{}, env)[0];
    row = first_empty_row(found, found.shape().back());
    if (row < 0) return;
  }
  warn("T0506", range, fmt::format("row {} of this mask sees nothing: its result is zeros", row),
       {"a row should see itself at least"});
}

}  // namespace treadle::elaboration
