// The derived step, row by row, against the model on the whole sequence.
#include <cstring>
#include <map>

#include "ir/diagnostic.h"
#include "ir/eval/evaluate.h"
#include "ir/eval/random_inputs.h"
#include "ir/verify.h"
#include "passes/derive_step.h"
#include "passes/simplify.h"
#include "passes/unroll.h"
#include "tests/catch.h"
#include "tests/support/graphs.h"
#include "tests/support/programs.h"

using namespace treadle;
using namespace treadle::test;

namespace {

Tensor row_of(const Tensor& all, std::int64_t t) {
  Shape shape = all.shape();
  shape[0] = 1;
  Tensor out(all.dtype(), shape);
  std::memcpy(out.data(), all.data() + static_cast<std::size_t>(t) * out.bytes(), out.bytes());
  return out;
}

using Named = std::map<std::string, Tensor>;

std::vector<Tensor> run_on(const Graph& graph, const Named& values) {
  std::vector<Tensor> operands;
  for (const NodeId id : graph.inputs())
    operands.push_back(values.at(graph.node(id).attributes.string("name")));
  return evaluate(graph, operands);
}

bool has_rows(const Type& type) { return !type.dims.empty() && type.dims[0] == Dim::symbol("T"); }

// `written_out` has no scans left; the other one keeps them with length 1.
void require_step_is_full(const Graph& model, bool written_out) {
  constexpr std::int64_t length = 6;
  DerivedStep step = derive_step(model, "T");
  if (written_out) step.graph = simplify(unroll(step.graph, 0));
  verify(step.graph);
  verify(step.start);
  const std::vector<Tensor> inputs = random_inputs(model, {{"T", length}, {"S", 4}}, 3);
  const std::vector<Tensor> full = evaluate(model, inputs);
  Named known;
  for (std::size_t i = 0; i < inputs.size(); ++i)
    known[model.node(model.inputs()[i]).attributes.string("name")] = inputs[i];
  known["position"] = Tensor(DType::i64, {});
  constexpr std::int64_t capacity = length + 3;
  for (const NodeId id : step.graph.inputs()) {
    const Node& node = step.graph.node(id);
    const std::string name = node.attributes.string("name");
    if (node.attributes.string("role", "") == "cache")
      known[name] = Tensor(node.types[0].dtype,
                           evaluate_shape(node.types[0], {{step.capacity, capacity}, {"S", 4}}));
  }
  const std::vector<Tensor> start = run_on(step.start, known);
  for (std::size_t i = 0; i < start.size(); ++i) known[step.start.outputs()[i].name] = start[i];
  for (std::int64_t t = 0; t < length; ++t) {
    Named now = known;
    now.at("position").set_integer(0, t);
    for (const NodeId id : model.inputs())
      if (has_rows(model.node(id).types[0])) {
        const std::string name = model.node(id).attributes.string("name");
        now[name] = row_of(known.at(name), t);
      }
    const std::vector<Tensor> outputs = run_on(step.graph, now);
    Named found;
    for (std::size_t i = 0; i < outputs.size(); ++i)
      found[step.graph.outputs()[i].name] = outputs[i];
    for (std::size_t o = 0; o < full.size(); ++o) {
      const bool rows = has_rows(model.type(model.outputs()[o].value));
      if (!rows && t + 1 < length) continue;
      std::string why;
      const bool same = close(found.at(model.outputs()[o].name),
                              rows ? row_of(full[o], t) : full[o], 1e-12, &why);
      INFO("row " << t << " of " << model.outputs()[o].name << ": " << why);
      CHECK(same);
    }
    for (auto& [name, value] : known)
      if (const auto next = found.find(name + ".next"); next != found.end()) value = next->second;
  }
}

}  // namespace

TEST_CASE("a step after a step is the whole model") {
  for (const char* text : {
           // state given by the caller, and state that the scan begins itself
           "model M(text: token(5)[T], s: state LSTM[3, 4] = zeros) {\n"
           "  param table: real[5, 3] ~ normal(0, 1)\n"
           "  hs, s = scan LSTM[3, 4] over table[text] from s\n"
           "  return logits: dense[5](hs), state: s\n"
           "}\n",
           "model M(text: token(5)[T]) {\n"
           "  hs, _ = scan stack 2 of GRU[3, 3] over embedding[3, 5](text)\n"
           "  return logits: log_softmax(dense[5](hs))\n"
           "}\n",
           // attention over the rows so far, in each way to hide the others
           "model M(x: real[T, 4]) {\n"
           "  q, k, v = split(dense[12](x), 3)\n"
           "  s = where(causal_mask[T](), q @ transpose(k) / sqrt(4), -infinity)\n"
           "  return y: softmax(s) @ v\n"
           "}\n",
           "model M(x: real[T, 4]) {\n"
           "  bias = where(causal_mask[T](), 0, -infinity)\n"
           "  return y: attention(x, x * 2, sin(x), bias: bias)\n"
           "}\n",
           "model M(x: real[T, 4]) {\n"
           "  distance = spread(iota(T), T) - iota(T)\n"
           "  return y: attention(x, x * 2, sin(x), mask: distance >= 0 and distance < 3)\n"
           "}\n",
           // scores with the past in front
           "model M(x: real[T, 4]) {\n"
           "  s = where(spread(iota(T), T) <= iota(T), x @ transpose(sin(x)), -infinity)\n"
           "  return y: transpose(transpose(x) @ softmax(s, axis: 0))\n"
           "}\n",
           // heads, and each way to say where a row stands
           "model M(x: real[T, 4]) {\n"
           "  y = MultiHead[2](learned_positions[9](x), mask: causal_mask[T]())\n"
           "  return y: MultiHead[2](sinusoidal_positions(y), mask: causal_mask[T]())\n"
           "}\n",
           "model M(x: real[T, 4]) {\n"
           "  y = MultiHead[2](x, mask: causal_mask[T](), rotary: true)\n"
           "  return y: MultiHead[2](y, mask: causal_mask[T](), bias: alibi[2, T]())\n"
           "}\n",
           // a memory that is read once, a recurrence beside attention
           "model M(x: real[T, 4], memory: real[S, 4]) {\n"
           "  seen = MultiHead[2](x, memory: tanh(dense[4](memory)))\n"
           "  hs, _ = scan GRU[4, 4] over x + seen\n"
           "  return y: MultiHead[2](hs, mask: causal_mask[T]())\n"
           "}\n",
           // state that begins with a parameter; positions; another sequence
           "model M(x: real[T, 3], memory: real[S, 3]) {\n"
           "  param first: real[4] ~ normal(0, 1)\n"
           "  _, summary = scan RNN[3, 4] over memory\n"
           "  hs, last = scan RNN[3, 4] over tanh(x) * 2 from first * 3 + summary\n"
           "  return y: softmax(hs), last: last, wave: sin(real(iota(T)) * 0.5)\n"
           "}\n",
       }) {
    INFO(text);
    const Graph model = program(text).model("M", Mode::eval);
    require_step_is_full(model, false);
    require_step_is_full(model, true);
  }
}

TEST_CASE("what reads later rows has no step, and says where") {
  for (const auto& [body, op, line] : std::vector<std::tuple<std::string, std::string, unsigned>>{
           {"  hs, _ = scan reverse RNN[3, 3] over x\n  return y: hs\n", "scan", 2},
           {"  return y: x - mean(x, axis: 0)\n", "mean", 2},
           {"  y = x * 2\n  return y: softmax(y, axis: 0)\n", "softmax", 3},
           {"  return y: reverse(x, axis: 0)\n", "reverse", 2},
           {"  return y: concat(x[1:], x[:1], axis: 0)\n", "slice", 2},
           {"  _, h = scan RNN[3, 3] over x\n  return y: x + h\n", "broadcast", 3},
           {"  return y: softmax(x @ transpose(x)) @ x\n", "softmax", 2},
           // a mask that lets each row see one row too many, or the wrong half
           {"  s = where(spread(iota(T) + 1, T) >= iota(T), x @ transpose(x), -infinity)\n"
            "  return y: softmax(s) @ x\n",
            "softmax", 3},
           {"  s = where(spread(iota(T), T) <= iota(T), x @ transpose(x), -infinity)\n"
            "  return y: softmax(s) @ x\n",
            "softmax", 3},
           // masked behind the softmax: its sum has seen what comes later
           {"  a = softmax(x @ transpose(x))\n"
            "  return y: where(causal_mask[T](), a, 0) @ x\n",
            "softmax", 2},
           {"  s = where(causal_mask[T](), x @ transpose(x), 0)\n  return y: softmax(s) @ x\n",
            "softmax", 3},
           {"  return y: x / real(length(x))\n", "dimension", 2},
       }) {
    INFO(body);
    const Graph model = program("model M(x: real[T, 3]) {\n" + body + "}\n").model("M", Mode::eval);
    try {
      derive_step(model, "T");
      FAIL("a step was derived");
    } catch (const UserError& error) {
      const Diagnostic& d = error.diagnostics().at(0);
      CHECK(d.code == "T0848");
      CHECK(d.message.find("'" + op + "'") != std::string::npos);
      INFO(d.message);
      REQUIRE(d.range);
      CHECK(line_column(*d.range.file, d.range.begin).line == line);
    }
  }
}
