#include "backends/llvm/direct_products.h"

#include <algorithm>

#include "backends/llvm/buffer_uses.h"

namespace treadle {

namespace {

// Rows of A in one block of a product, and of two.
constexpr std::int64_t fewest_rows = 16, most_rows = 2048;

// What a sum is taken of: columns `start` on of rows that are `stride` columns wide.
struct Summed {
  Type type;
  Dim start, stride;
};

// Is B all of those rows?
bool multiplies_rows(const Step& step, const Summed& sum) {
  if (!step.direct || step.out.size() != 1 || sum.type.rank() < 2) return false;
  const Dim rows = product(Dims(sum.type.dims.begin(), sum.type.dims.end() - 1));
  return step.shape.k == rows && step.shape.n == sum.type.dims.back() &&
         step.view_b.offset == sum.start && step.view_b.contract_stride == sum.stride;
}

// The operand, if a step is a sum over its first axes, or those of some of its columns, and
// nothing else.
std::optional<Summed> summed(const Step& step) {
  if (step.kind != Step::Kind::fused || step.in.size() != 1 || step.out.size() != 1) return {};
  const Graph& body = *step.graph->node(step.node).regions[0];
  const Node& sum = body.node(body.outputs()[0].value.node);
  if (sum.op != Op::reduce_sum) return {};
  Value of = sum.operands[0];
  Summed out{body.type(of), Dim(0), {}};
  const Node& part = body.node(of.node);
  const auto last = static_cast<std::int64_t>(out.type.rank()) - 1;
  if (part.op == Op::slice && part.attributes.integer("axis") == last) {
    out.start = part.attributes.dim("start");
    of = part.operands[0];
  }
  if (of != body.input_value(0)) return {};
  const Integers& axes = sum.attributes.integers("axes");
  for (std::size_t i = 0; i < axes.size(); ++i)
    if (axes[i] != static_cast<std::int64_t>(i)) return {};
  if (!is_float(sum.types[0].dtype) || sum.types[0].rank() == 0) return {};
  out.stride = body.type(of).dims.back();
  return out;
}

// A sum over all axes but the last, perhaps in several steps, which nothing else
// reads: of examples first, say, and of their time steps then.
struct RowSum {
  std::vector<std::size_t> steps;  // the last one first
  Location place;
  Summed of;
};
std::optional<RowSum> row_sum(const ProgramPlan& plan, const std::vector<Step>& steps,
                              std::size_t last) {
  const auto of = summed(steps[last]);
  const auto result = [&](const Step& step) {
    return step.graph->node(step.node).types[step.out_index[0]];
  };
  if (!of || result(steps[last]).rank() != 1) return std::nullopt;
  const auto kind_of = [&](const Location& place) {
    return plan.buffers[static_cast<std::size_t>(place.buffer)].kind;
  };
  if (kind_of(steps[last].out[0]) == BufferPlan::Kind::input) return std::nullopt;
  RowSum out{{last}, steps[last].in[0], *of};
  for (std::size_t i = last; i-- > 0 && kind_of(out.place) == BufferPlan::Kind::arena;) {
    if (!touches(steps[i], out.place.buffer)) continue;
    const auto below = summed(steps[i]);
    if (!below || out.of.stride != out.of.type.dims.back() || steps[i].out[0] != out.place ||
        steps[i].graph != steps[last].graph)
      break;
    const auto users = std::count_if(steps.begin(), steps.end(), [&](const Step& step) {
      return touches(step, out.place.buffer);
    });
    if (users != 2) break;
    out.steps.push_back(i);
    out.place = steps[i].in[0];
    out.of = *below;
  }
  return out;
}

bool have_same_b(const Step& x, const Step& y) {
  return x.in[1] == y.in[1] && x.view_b == y.view_b && x.shape.k == y.shape.k &&
         x.shape.n == y.shape.n && x.graph == y.graph;
}

bool stands_in(const Location& place, const Step& step, bool written) {
  return any_place(step, [&](const Location& used, bool writes) {
    return (writes || !written) &&
           (treadle::stands_in(used, place.buffer) ||
            (place.alternate >= 0 && treadle::stands_in(used, place.alternate)));
  });
}

// Can step j be computed where step i is, before those between and those since the
// threads last met whatever the extents, as they do behind a loop and where the program
// begins?
bool may_come_earlier(const std::vector<Step>& steps, std::size_t i, std::size_t j,
                      bool program_begins) {
  const auto met_before = [&](std::size_t at) {
    return at == 0 ? program_begins : steps[at - 1].kind == Step::Kind::scan;
  };
  std::size_t first = i;
  while (!met_before(first) && (!steps[first].barrier_before || steps[first].unless_one)) {
    if (first == 0) return false;
    --first;
  }
  for (; first < j; ++first) {
    const Step& step = steps[first];
    for (const Location& place : steps[j].in)
      if (stands_in(place, step, true)) return false;
    for (const Location& place : steps[j].out)
      if (stands_in(place, step, false)) return false;
  }
  return true;
}

// The step that computes both; the one of more rows comes first, whose tiles ask for the
// next rows of B.
Step joined(Step x, Step y) {
  const bool barrier = x.barrier_before;
  const std::optional<Dim> unless_one = x.unless_one;
  if (*x.shape.m.constant() < *y.shape.m.constant()) std::swap(x, y);
  x.second = SecondProduct{y.node, y.shape.m, y.view_a, y.a_run};
  x.in.push_back(y.in[0]);
  x.out.insert(x.out.end(), y.out.rbegin(), y.out.rend());  // its sums, if any, first
  x.out_index.resize(x.out.size());
  x.barrier_before = barrier;
  x.unless_one = unless_one;
  return x;
}

}  // namespace

bool reads_b_directly(const Step& matmul, const MatmulTile& tile) {
  const auto m = matmul.shape.m.constant(), n = matmul.shape.n.constant();
  return matmul.shape.batch == Dim(1) && matmul.row_loops.empty() && matmul.sum_loops.empty() &&
         matmul.view_b.free_stride == Dim(1) && m && *m >= fewest_rows && *m <= most_rows && n &&
         *n >= tile.columns && !matmul.shape.k.is_constant();
}

void sum_on_the_way(const ProgramPlan& plan, std::vector<Step>& steps) {
  for (Step& step : steps) {
    sum_on_the_way(plan, step.before);
    sum_on_the_way(plan, step.body);
  }
  for (std::size_t i = 0; i < steps.size(); ++i) {
    const auto sum = row_sum(plan, steps, i);
    if (!sum) continue;
    const Location place = steps[i].out[0];
    const auto matmul = std::find_if(steps.begin(), steps.end(), [&](const Step& step) {
      return multiplies_rows(step, sum->of) && step.in[1] == sum->place &&
             step.graph == steps[i].graph;
    });
    if (matmul == steps.end()) continue;
    // What reads the sum must come behind the product.
    const auto after = steps.begin() + static_cast<std::ptrdiff_t>(i) + 1;
    if (std::any_of(after, std::max(after, matmul),
                    [&](const Step& step) { return touches(step, place.buffer); }))
      continue;
    matmul->out.push_back(place);
    matmul->out_index.push_back(1);
    for (const std::size_t gone : sum->steps)
      steps.erase(steps.begin() + static_cast<std::ptrdiff_t>(gone));
    i -= sum->steps.size();
  }
}

void join_products(ProgramPlan& plan, std::vector<Step>& steps) {
  const bool program_begins = &steps == &plan.steps;
  for (Step& step : steps) {
    join_products(plan, step.before);
    join_products(plan, step.body);
  }
  const auto is_single = [](const Step& step) {
    return step.direct && !step.second && step.together == 1 && step.shape.m.constant();
  };
  const auto buffer = [&](const Location& place) -> BufferPlan& {
    return plan.buffers[static_cast<std::size_t>(place.buffer)];
  };
  for (std::size_t i = 0; i < steps.size(); ++i) {
    if (!is_single(steps[i])) continue;
    for (std::size_t j = i + 1; j < steps.size(); ++j) {
      const Step& later = steps[j];
      if (later.kind == Step::Kind::scan || later.together != 1) break;
      if (!is_single(later) || later.barrier_before || later.layer != steps[i].layer ||
          !have_same_b(steps[i], later) ||
          *steps[i].shape.m.constant() + *later.shape.m.constant() > rows_of_two ||
          steps[i].out.size() + later.out.size() > 3 ||
          !may_come_earlier(steps, i, j, program_begins))
        continue;
      for (const Location& place : later.out)
        buffer(place).first_phase =
            std::min(buffer(place).first_phase, buffer(steps[i].out[0]).first_phase);
      steps[i] = joined(steps[i], later);
      steps.erase(steps.begin() + static_cast<std::ptrdiff_t>(j));
      break;
    }
  }
}

}  // namespace treadle
