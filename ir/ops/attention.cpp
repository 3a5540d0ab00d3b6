// Attention and its gradient, which passes make after differentiation.
#include "ir/ops/attention.h"

#include <map>

#include "ir/eval/evaluate.h"
#include "ir/ops/support.h"

namespace treadle {

using namespace ops;  // NOLINT: a family file of the op records

namespace {

constexpr std::size_t forward_matrices = 3, gradient_matrices = 6;
constexpr std::size_t forward_arguments = 2, gradient_arguments = 4;

[[noreturn]] void misfit(const std::string& what) { fail("T0331", what); }

void require(const InferContext& c, std::size_t operand, const Type& expected) {
  if (c.operands[operand] != expected)
    misfit(fmt::format("operand {} is {}, expected {}", operand, to_string(c.operands[operand]),
                       to_string(expected)));
}

Dims with_last(Dims batch, std::initializer_list<Dim> last) {
  batch.insert(batch.end(), last);
  return batch;
}

// Checks operands and region; the batch dims, T, S, D, E of the node.
struct Shapes {
  Shapes(const InferContext& c, std::size_t matrices, std::size_t arguments) {
    if (c.regions.size() != 1) misfit("it needs one region");
    if (c.operands.size() < matrices) misfit(fmt::format("it needs {} operands", matrices));
    const Type &q = c.operands[0], &v = c.operands[2];
    dtype = q.dtype;
    if (!is_float(dtype) || q.rank() < 2 || c.operands[1].rank() != q.rank() ||
        v.rank() != q.rank())
      misfit(fmt::format("no attention between {}, {} and {}", to_string(q),
                         to_string(c.operands[1]), to_string(v)));
    batch = Dims(q.dims.begin(), q.dims.end() - 2);
    queries = q.dims[q.rank() - 2];
    width = q.dims.back();
    keys = c.operands[1].dims[q.rank() - 2];
    value_width = v.dims.back();
    require(c, 1, {dtype, with_last(batch, {keys, width})});
    require(c, 2, {dtype, with_last(batch, {keys, value_width})});
    const Graph& body = *c.regions[0];
    const Type tile{dtype, with_last(batch, {queries, keys})};
    const std::size_t more = c.operands.size() - matrices;
    if (body.inputs().size() != arguments + more)
      misfit(fmt::format("its region has {} arguments, expected {}", body.inputs().size(),
                         arguments + more));
    for (std::size_t i = 0; i < body.inputs().size(); ++i) {
      const Type& expected = i < arguments ? tile : c.operands[matrices + i - arguments];
      if (body.type(body.input_value(i)) != expected)
        misfit(fmt::format("argument {} is {}, expected {}", i,
                           to_string(body.type(body.input_value(i))), to_string(expected)));
    }
    if (body.outputs().size() != arguments)
      misfit(fmt::format("its region returns {} values, expected {}", body.outputs().size(),
                         arguments));
    for (std::size_t i = 0; i < arguments; ++i)
      if (body.output_type(i) != tile)
        misfit(fmt::format("its region's value {} is {}, expected {}", i,
                           to_string(body.output_type(i)), to_string(tile)));
  }
  DType dtype = DType::f32;
  Dims batch;
  Dim queries, keys, width, value_width;
};

std::vector<Type> infer_attention(const InferContext& c) {
  const Shapes s(c, forward_matrices, forward_arguments);
  return {{s.dtype, with_last(s.batch, {s.queries, s.value_width})},
          {s.dtype, with_last(s.batch, {s.queries})}};
}

std::vector<Type> infer_gradient(const InferContext& c) {
  const Shapes s(c, gradient_matrices, gradient_arguments);
  require(c, 3, {s.dtype, with_last(s.batch, {s.queries, s.value_width})});
  require(c, 4, c.operands[3]);
  require(c, 5, {s.dtype, with_last(s.batch, {s.queries})});
  return {c.operands[0], c.operands[1], c.operands[2]};
}

// Builds the region's nodes in b's graph, each once.
class Inlined {
 public:
  Inlined(Builder& b, const Graph& body) : b_(b), body_(body) {}
  void bind(std::size_t argument, Value v) { known_[body_.input_value(argument)] = v; }
  Value output(std::size_t i) { return build(body_.outputs()[i].value); }

 private:
  Value build(Value v) {
    if (const auto found = known_.find(v); found != known_.end()) return found->second;
    const Node& node = body_.node(v.node);
    std::vector<Value> operands;
    for (const Value operand : node.operands) operands.push_back(build(operand));
    const Value first = b_.clone(node, std::move(operands));
    for (std::uint32_t i = 0; i < node.types.size(); ++i) known_[{v.node, i}] = {first.node, i};
    return known_.at(v);
  }
  Builder& b_;
  const Graph& body_;
  std::map<Value, Value> known_;
};

// The extents of the domain stay as the region has them, perhaps symbols.
void evaluate_by_definition(EvaluateContext& c) {
  Graph graph;
  Builder b(graph);
  const AttentionView view(c.node);
  const Dim width(c.operands[0]->shape().back()), value_width(c.operands[2]->shape().back());
  const auto tall = [&](const Dim& rows, const Dim& columns) {
    return with_last(view.batch(), {rows, columns});
  };
  const std::vector<Dims> dims{
      tall(view.queries(), width),       tall(view.keys(), width),
      tall(view.keys(), value_width),    tall(view.queries(), value_width),
      tall(view.queries(), value_width), with_last(view.batch(), {view.queries()})};
  std::vector<Value> operands;
  for (std::size_t i = 0; i < c.operands.size(); ++i) {
    const std::size_t more = view.arguments + i - view.matrices;
    operands.push_back(i < view.matrices
                           ? b.argument({c.operands[i]->dtype(), dims[i]})
                           : b.argument(view.body->type(view.body->input_value(more))));
  }
  for (const Value v : expand_attention(b, c.node, operands)) graph.add_output("", v);
  std::vector<Tensor> results = evaluate(graph, c.operands, c.env);
  for (std::size_t i = 0; i < results.size(); ++i) c.results[i] = std::move(results[i]);
}

OpDef record(std::string_view doc) {
  OpDef def;
  def.doc = doc;
  def.family = Family::fused;
  def.operands = -1;
  def.evaluate = evaluate_by_definition;
  def.no_derivative = "made after differentiation";
  return def;
}

// A multiply-add is two operations; `products` of them an element of the
// domain and column of q or v.
Dim flops_of(const Node& node, std::span<const Type> operands, int of_q, int of_v) {
  const AttentionView view(node);
  return Dim(2) * product(view.domain()) *
         (Dim(of_q) * operands[0].dims.back() + Dim(of_v) * operands[2].dims.back());
}

}  // namespace

AttentionView::AttentionView(const Node& node)
    : gradient(node.op == Op::attention_gradient),
      body(node.regions[0].get()),
      matrices(gradient ? gradient_matrices : forward_matrices),
      row_operands(gradient ? gradient_matrices - 1 : forward_matrices),
      arguments(gradient ? gradient_arguments : forward_arguments) {}

bool AttentionView::plain_weights() const {
  return body->outputs()[1].value == body->input_value(1) &&
         (!gradient || body->outputs()[2].value == body->input_value(2));
}

std::vector<Value> expand_attention(Builder& b, const Node& node, std::span<const Value> x) {
  const AttentionView view(node);
  const auto rank = static_cast<std::int64_t>(view.domain().size());
  const Integers batch = ascending(view.domain().size() - 2), last{rank - 1}, rows{rank - 2};
  const auto multiply = [&](Value a, Value c, const Integers& of_a, const Integers& of_c) {
    return b.matmul(a, c, of_a, of_c, batch, batch);
  };
  Inlined body(b, *view.body);
  for (std::size_t i = view.matrices; i < x.size(); ++i)
    body.bind(view.arguments + i - view.matrices, x[i]);
  body.bind(0, multiply(x[0], x[1], last, last));
  const Value scores = body.output(0);
  const Value weight = b.softmax(scores, rank - 1);
  body.bind(1, weight);
  if (!view.gradient)
    return {multiply(body.output(1), x[2], last, rows), b.logsumexp(scores, rank - 1)};
  body.bind(2, multiply(x[3], x[2], last, last));
  const Value d_weight = body.output(2);
  const Value inner = b.reduce_sum(b.mul(weight, d_weight), last);
  const Value spread_inner = spread(b, inner, b.type(weight).dims, last);
  body.bind(3, b.mul(weight, b.sub(d_weight, spread_inner)));
  const Value d_score = body.output(3);
  return {multiply(d_score, x[1], last, rows), multiply(d_score, x[0], rows, rows),
          multiply(body.output(1), x[3], rows, rows)};
}

template <>
OpDef make_op_def<Op::attention>() {
  OpDef def = record("softmax(scores(q k^T)) v and the scores' logsumexp, in tiles");
  def.infer = infer_attention;
  def.flops = [](const Node& node, std::span<const Type> operands) {
    return flops_of(node, operands, 1, 1);
  };
  return def;
}

template <>
OpDef make_op_def<Op::attention_gradient>() {
  OpDef def = record("the gradients of attention by q, k and v, in tiles");
  def.infer = infer_gradient;
  def.flops = [](const Node& node, std::span<const Type> operands) {
    return flops_of(node, operands, 3, 2);
  };
  return def;
}

}  // namespace treadle
