// The checks between passes notice what a broken pass does.
#include "ir/builder.h"
#include "ir/text_parser.h"
#include "passes/graph_copy.h"
#include "passes/pass_manager.h"
#include "tests/catch.h"
#include "tests/support/graphs.h"

using namespace treadle;

namespace {

// Every log_softmax behind a stop_gradient: the same values.
Graph lose_gradients(const Graph& graph, std::int64_t, const PassContext&) {
  return copy_graph(graph, [&](Builder& b, NodeId id, ValueMap& map) {
    if (graph.node(id).op != Op::log_softmax) return false;
    map.set({id, 0}, b.stop_gradient(copy_node(b, graph, id, map)));
    return true;
  });
}

Graph change_values(const Graph& graph, std::int64_t, const PassContext&) {
  return copy_graph(graph, [&](Builder& b, NodeId id, ValueMap& map) {
    if (graph.node(id).op != Op::log_softmax) return false;
    map.set({id, 0}, b.scale(copy_node(b, graph, id, map), 1.001));
    return true;
  });
}

std::string failure(const Pass& pass, bool numeric) {
  const PassCall call{&pass, 0};
  PassObserver observer;
  observer.verify_each = true;
  observer.verify_numeric = numeric;
  try {
    run_pipeline(test::token_loss(), {&call, 1}, observer);
  } catch (const PassFailure& error) {
    CHECK(error.pass == pass.name);
    CHECK(parse_graph(error.input).size() == test::token_loss().size());
    return error.message;
  }
  return {};
}

}  // namespace

TEST_CASE("numeric verification compares values and gradients") {
  const Pass values{"values", "", change_values};
  CHECK(failure(values, false).empty());
  CHECK(failure(values, true).find("'loss' changed") != std::string::npos);
  const Pass gradients{"gradients", "", lose_gradients};
  CHECK(failure(gradients, false).empty());
  CHECK(failure(gradients, true).find("'gradient by ") != std::string::npos);
  Pass meant = gradients;
  meant.keeps = Keeps::values;
  CHECK(failure(meant, true).empty());
}
