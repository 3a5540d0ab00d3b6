#include "passes/differentiate.h"

#include "driver/gradcheck.h"
#include "ir/eval/evaluate.h"
#include "ir/text_parser.h"
#include "ir/text_printer.h"
#include "passes/batch.h"
#include "tests/catch.h"
#include "tests/support/graphs.h"

using namespace treadle;
using namespace treadle::test;

namespace {

void require_gradcheck(const Graph& graph, int order) {
  GradcheckOptions options;
  options.order = order;
  for (const GradcheckRow& row : gradcheck(graph, inputs_for(graph, {{"T", 4}}), options)) {
    INFO(row.name << " order " << row.order << ": error " << row.error << " of " << row.largest);
    CHECK(row.passed);
  }
}

void require_equal_outputs(const Graph& a, const Graph& b, const std::vector<Tensor>& inputs) {
  const std::vector<Tensor> x = evaluate(a, inputs);
  const std::vector<Tensor> y = evaluate(b, inputs);
  REQUIRE(x.size() == y.size());
  for (std::size_t i = 0; i < x.size(); ++i) {
    std::string why;
    INFO(a.outputs()[i].name << ": " << why);
    CHECK(close(x[i], y[i], 1e-12, &why));
  }
}

}  // namespace

TEST_CASE("the gradient of a scan equals finite differences") {
  require_gradcheck(lstm_loss(), 1);
  require_gradcheck(separate_gates_loss(), 1);
  require_gradcheck(token_loss(), 1);
}

TEST_CASE("second derivatives through scans equal finite differences") {
  require_gradcheck(lstm_loss(), 2);
  require_gradcheck(token_loss(), 2);
}

TEST_CASE("a gradient graph holds one forward and one backward scan") {
  const Graph gradient = differentiate(lstm_loss());
  CHECK(count_ops(gradient, Op::scan) == 2);
}

TEST_CASE("a batch of three is three batches of one, gradients included") {
  for (const Graph& graph : {lstm_loss(), separate_gates_loss(), token_loss()}) {
    const Graph one = differentiate(graph);
    const Graph many = batch(one);
    const std::vector<Tensor> inputs = inputs_for(many, {{"B", 3}, {"T", 5}});
    const std::vector<Tensor> together = evaluate(many, inputs);
    for (std::int64_t example = 0; example < 3; ++example) {
      std::vector<Tensor> own;
      for (std::size_t i = 0; i < inputs.size(); ++i) {
        const Node& node = many.node(many.inputs()[i]);
        if (node.op == Op::parameter) {
          own.push_back(inputs[i]);
          continue;
        }
        Tensor row(inputs[i].dtype(),
                   Shape(inputs[i].shape().begin() + 1, inputs[i].shape().end()));
        for (std::int64_t k = 0; k < row.size(); ++k)
          row.set(k, inputs[i].get(example * row.size() + k));
        own.push_back(std::move(row));
      }
      const std::vector<Tensor> alone = evaluate(one, own);
      for (std::size_t i = 0; i < alone.size(); ++i) {
        Tensor row(alone[i].dtype(), alone[i].shape());
        REQUIRE(together[i].size() == 3 * row.size());
        for (std::int64_t k = 0; k < row.size(); ++k)
          row.set(k, together[i].get(example * row.size() + k));
        std::string why;
        const bool same = close(row, alone[i], 1e-10, &why);
        INFO(one.outputs()[i].name << " of example " << example << ": " << why);
        CHECK(same);
      }
    }
  }
}

TEST_CASE("truncation changes no value, and none of the gradient when the window is long") {
  const Graph full = differentiate(lstm_loss());
  const std::vector<Tensor> inputs = inputs_for(full, {{"T", 6}});
  require_equal_outputs(differentiate(truncate_bptt(lstm_loss(), 6)), full, inputs);
  const std::vector<Tensor> cut = evaluate(differentiate(truncate_bptt(lstm_loss(), 2)), inputs);
  const std::vector<Tensor> whole = evaluate(full, inputs);
  CHECK(close(cut[0], whole[0], 1e-12));
  CHECK_FALSE(close(cut[2], whole[2], 1e-3));  // the recurrent weights' gradient
}

TEST_CASE("no step at all: the gradient of a scan of length 0 is zero") {
  const Graph gradient = differentiate(lstm_loss());
  const std::vector<Tensor> out = evaluate(gradient, inputs_for(gradient, {{"T", 0}}));
  for (std::size_t i = 1; i < out.size(); ++i)
    for (std::int64_t k = 0; k < out[i].size(); ++k) CHECK(out[i].get(k) == 0);
}

TEST_CASE("the text form of a differentiated graph round-trips") {
  for (const Graph& graph : {lstm_loss(), token_loss()}) {
    const std::string text = print(batch(differentiate(graph)));
    CHECK(print(parse_graph(text)) == text);
  }
}
