#include "backends/llvm/results_in_place.h"

#include <algorithm>
#include <optional>

#include "backends/llvm/attention_scratch.h"
#include "backends/llvm/buffer_uses.h"
#include "ir/ops/attention.h"

namespace treadle {

namespace {

// Where a result goes: rows in an output of a kernel.
struct Destination {
  std::size_t output = 0;
  RowsView rows;
};

// Where the elements of each argument go, if a kernel's body does nothing but put them there.
class Destinations {
 public:
  explicit Destinations(const Graph& body) : body_(body), found_(body.inputs().size()) {
    only_moves_ = true;
    for (output_ = 0; output_ < body.outputs().size() && only_moves_; ++output_) {
      const Value output = body.outputs()[output_].value;
      only_moves_ = follow({output, Dim(0), dense_strides(body.type(output).dims)});
    }
  }

  // None unless each argument goes to one place, as rows whose elements stand side by side.
  std::optional<std::vector<Destination>> of_arguments() const {
    std::vector<Destination> out;
    for (std::size_t i = 0; i < found_.size() && only_moves_; ++i) {
      const Dims& dims = body_.type(body_.input_value(i)).dims;
      if (!found_[i] || dims.size() < 2) return std::nullopt;
      auto rows = rows_of(found_[i]->second, dims);
      if (!rows) return std::nullopt;
      out.push_back({found_[i]->first, std::move(*rows)});
    }
    if (!only_moves_) return std::nullopt;
    return out;
  }

 private:
  // `to.base` is a value of the body, the rest says where it goes.
  bool follow(StridedView to) {
    const Node& node = body_.node(to.base.node);
    switch (node.op) {
      case Op::argument: {
        const auto& inputs = body_.inputs();
        const auto i = static_cast<std::size_t>(
            std::find(inputs.begin(), inputs.end(), to.base.node) - inputs.begin());
        if (found_[i]) return false;
        found_[i].emplace(output_, std::move(to));
        return true;
      }
      case Op::concat: {
        const auto axis = static_cast<std::size_t>(node.attributes.integer("axis"));
        for (const Value part : node.operands) {
          if (!follow({part, to.offset, to.strides})) return false;
          to.offset = to.offset + body_.type(part).dims[axis] * to.strides[axis];
        }
        return true;
      }
      case Op::transpose: {
        const Integers& permutation = node.attributes.integers("permutation");
        Dims strides(to.strides.size());
        for (std::size_t i = 0; i < strides.size(); ++i)
          strides[static_cast<std::size_t>(permutation[i])] = to.strides[i];
        return follow({node.operands[0], to.offset, std::move(strides)});
      }
      case Op::reshape: {
        auto strides =
            reshaped_strides(to.strides, node.types[0].dims, body_.type(node.operands[0]).dims);
        return strides && follow({node.operands[0], to.offset, std::move(*strides)});
      }
      default: return false;
    }
  }

  const Graph& body_;
  // By argument, the output and where in it.
  std::vector<std::optional<std::pair<std::size_t, StridedView>>> found_;
  std::size_t output_ = 0;
  bool only_moves_ = false;
};

// Result `i`, not lse, of the attention at `step`.
struct Result {
  std::size_t step, i;
};

class Writer {
 public:
  Writer(ProgramPlan& plan, std::vector<Step>& steps) : plan_(plan), steps_(steps) {}

  void run() {
    for (std::size_t i = 0; i < steps_.size(); ++i) {
      const auto destinations = destinations_of(steps_[i]);
      if (!destinations) continue;
      std::vector<Result> results;
      for (const Value v : steps_[i].graph->node(steps_[i].node).operands)
        if (const auto result = result_of(*steps_[i].graph, v)) results.push_back(*result);
      if (results.size() != destinations->size() || !may_write(results, i)) continue;
      const std::vector<Location> places = steps_[i].out;
      for (std::size_t k = 0; k < results.size(); ++k)
        move(results[k], places[(*destinations)[k].output], (*destinations)[k].rows);
      steps_.erase(steps_.begin() + static_cast<std::ptrdiff_t>(i));
      --i;
    }
  }

 private:
  static std::optional<std::vector<Destination>> destinations_of(const Step& step) {
    if (step.kind != Step::Kind::fused || step.in.empty()) return std::nullopt;
    const Graph& body = *step.graph->node(step.node).regions[0];
    if (step.out.size() != body.outputs().size()) return std::nullopt;  // some in two places
    return Destinations(body).of_arguments();
  }

  std::optional<Result> result_of(const Graph& graph, Value v) const {
    for (std::size_t s = 0; s < steps_.size(); ++s) {
      const Step& step = steps_[s];
      if (step.kind != Step::Kind::attention || step.graph != &graph || step.node != v.node)
        continue;
      const std::size_t results =
          step.rows.size() - AttentionView(graph.node(step.node)).row_operands;
      // What the graph gives others read, too, perhaps from the stack of a loop.
      const bool given = std::any_of(graph.outputs().begin(), graph.outputs().end(),
                                     [&](const Output& output) { return output.value == v; });
      if (v.index < results && !given) return Result{s, v.index};
    }
    return std::nullopt;
  }

  // Does nobody read or write a result but who can follow it, and nobody the places of the
  // kernel's outputs too early?
  bool may_write(const std::vector<Result>& results, std::size_t kernel) const {
    std::size_t first = kernel;
    for (const Result& result : results) {
      const int buffer = steps_[result.step].out[result.i].buffer;
      if (plan_.buffers[static_cast<std::size_t>(buffer)].kind != BufferPlan::Kind::arena ||
          steps_[result.step].loops != steps_[kernel].loops)
        return false;
      first = std::min(first, result.step);
      for (std::size_t s = 0; s < steps_.size(); ++s)
        if (s != result.step && s != kernel && touches(steps_[s], buffer) &&
            !follows(steps_[s], steps_[result.step].out[result.i]))
          return false;
    }
    return std::none_of(
        steps_.begin() + static_cast<std::ptrdiff_t>(first),
        steps_.begin() + static_cast<std::ptrdiff_t>(kernel), [&](const Step& step) {
          return std::any_of(steps_[kernel].out.begin(), steps_[kernel].out.end(),
                             [&](const Location& to) { return touches(step, to.buffer); });
        });
  }

  static bool is_gradient(const Step& step) {
    return step.kind == Step::Kind::attention &&
           step.graph->node(step.node).op == Op::attention_gradient;
  }
  // Is it a gradient that reads it as the result of its forward half?
  static bool follows(const Step& step, const Location& result) {
    if (!is_gradient(step) || writes(step, result.buffer)) return false;
    for (std::size_t k = 0; k < step.in.size(); ++k)
      if (stands_in(step.in[k], result.buffer) &&
          (k != op_result || step.in[k] != result ||
           step.rows[k].base != step.graph->node(step.node).operands[k]))
        return false;
    return true;
  }

  void move(const Result& result, const Location& to, const RowsView& rows) {
    Step& attention = steps_[result.step];
    const Location from = attention.out[result.i];
    for (Step& step : steps_)
      if (is_gradient(step) && step.in[op_result] == from) {
        step.in[op_result] = to;
        set_rows(step.rows[op_result], rows);
      }
    attention.out[result.i] = to;
    set_rows(
        attention
            .rows[AttentionView(attention.graph->node(attention.node)).row_operands + result.i],
        rows);
  }
  static void set_rows(RowsView& to, const RowsView& from) {
    const Value base = to.base;
    to = from;
    to.base = base;
  }

  ProgramPlan& plan_;
  std::vector<Step>& steps_;
};

}  // namespace

void write_results_in_place(ProgramPlan& plan, std::vector<Step>& steps) {
  for (Step& step : steps) {
    write_results_in_place(plan, step.before);
    write_results_in_place(plan, step.body);
  }
  Writer(plan, steps).run();
}

}  // namespace treadle
