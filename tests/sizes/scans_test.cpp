// LSTM and GRU and their gradients, of every size that their tiles can have,
// against the formulas in plain loops.
#include <fmt/format.h>

#include <functional>

#include "driver/compile.h"
#include "ir/builder.h"
#include "passes/differentiate.h"
#include "runtime/team.h"
#include "tests/sizes/support.h"
#include "tests/support/graphs.h"

using namespace treadle;
using namespace treadle::test;

namespace {

enum class Cell { lstm, gru };

const Dim T = Dim::symbol("T"), B = Dim::symbol("B"), I = Dim::symbol("I"), H = Dim::symbol("H");

// The state of every step from a zero start, and the gradients of sum(y dy).
// LSTM [Hochreiter and Schmidhuber 1997, Gers et al. 2000]; GRU [Cho et al.
// 2014] whose reset gate acts on the product.
Graph cell_graph(Cell cell, DType dtype) {
  const std::int64_t gates = cell == Cell::lstm ? 4 : 3;
  Graph graph;
  Builder b(graph);
  const Value x = b.input("x", {dtype, {T, B, I}});
  const Value w = b.input("W", {dtype, {I, H * Dim(gates)}});
  const Value u = b.input("U", {dtype, {H, H * Dim(gates)}});
  const Value bias = b.input("b", {dtype, {H * Dim(gates)}});
  const Value dy = b.input("dy", {dtype, {T, B, H}});
  const Type state{dtype, {B, H}};
  Graph body;
  Builder s(body);
  const Value sw = s.argument(b.type(w)), su = s.argument(b.type(u)), sb = s.argument(b.type(bias));
  std::vector<Value> carries{s.argument(state)};
  if (cell == Cell::lstm) carries.push_back(s.argument(state));
  const Value row = s.argument({dtype, {B, I}});
  const Value ahead = s.add(s.matmul(row, sw, {1}, {0}), s.broadcast(sb, {B, H * Dim(gates)}, {1}));
  const Value back = s.matmul(carries[0], su, {1}, {0});
  const auto gate = [&](Value z, std::int64_t i) { return s.slice(z, 1, H * Dim(i), H); };
  Value h;
  if (cell == Cell::lstm) {
    const Value z = s.add(ahead, back);
    const Value c = s.add(s.mul(s.sigmoid(gate(z, 1)), carries[1]),
                          s.mul(s.sigmoid(gate(z, 0)), s.tanh(gate(z, 2))));
    h = s.mul(s.sigmoid(gate(z, 3)), s.tanh(c));
    body.add_output("", h);
    body.add_output("", c);
  } else {
    const Value r = s.sigmoid(s.add(gate(ahead, 0), gate(back, 0)));
    const Value z = s.sigmoid(s.add(gate(ahead, 1), gate(back, 1)));
    const Value n = s.tanh(s.add(gate(ahead, 2), s.mul(r, gate(back, 2))));
    h = s.add(s.mul(s.shift(s.neg(z), 1), n), s.mul(z, carries[0]));
    body.add_output("", h);
  }
  body.add_output("", h);
  const std::vector<Value> starts(carries.size(), b.constant(state, 0));
  const std::vector<Value> out =
      b.scan({{w, u, bias}, starts, {x}, T, false, std::make_shared<const Graph>(body), {}});
  b.output("y", out.back());
  b.output("loss", b.reduce_sum(b.mul(out.back(), dy), {0, 1, 2}));
  DifferentiateOptions options;
  options.wrt = {"x", "W", "U", "b"};
  return differentiate(graph, options);
}

// In the order of cell_graph's inputs and outputs.
template <typename T>
struct Operands {
  explicit Operands(const std::vector<Tensor>& inputs)
      : x(inputs[0]), w(inputs[1]), u(inputs[2]), b(inputs[3]), dy(inputs[4]) {}
  Grid<T> x, w, u, b, dy;
};
template <typename T>
struct Results {
  Results(const Operands<T>& o)
      : y(o.dy.shape()),
        loss(Shape{}),
        dx(o.x.shape()),
        dw(o.w.shape()),
        du(o.u.shape()),
        db(o.b.shape()) {}
  Grid<T> y, loss, dx, dw, du, db;
};

// A cell in plain loops, forward and back.
template <typename T>
class Reference {
 public:
  Reference(Cell cell, const Operands<T>& o)
      : cell_(cell),
        o_(o),
        out_(o),
        steps_(o.x.shape()[0]),
        batch_(o.x.shape()[1]),
        input_(o.x.shape()[2]),
        hidden_(o.dy.shape()[2]),
        columns_(o.b.shape()[0]),
        gates_({steps_, batch_, columns_}),
        d_ahead_(gates_.shape()),
        d_back_(gates_.shape()),
        back_(gates_.shape()),
        c_(o.dy.shape()),
        dc_({batch_, hidden_}),
        dh_({batch_, hidden_}) {}

  Results<T> run() {
    for (std::int64_t t = 0; t < steps_; ++t)
      for (std::int64_t b = 0; b < batch_; ++b) step(t, b);
    for (std::int64_t t = steps_; t-- > 0;)
      for (std::int64_t b = 0; b < batch_; ++b) step_back(t, b);
    sums();
    return std::move(out_);
  }

 private:
  using Number = Bounded<T>;

  Number& gate(std::int64_t t, std::int64_t b, std::int64_t i, std::int64_t j) {
    return gates_(t, b, i * hidden_ + j);
  }
  Number before(Grid<T>& state, std::int64_t t, std::int64_t b, std::int64_t j) {
    return t == 0 ? Number() : state(t - 1, b, j);
  }

  void step(std::int64_t t, std::int64_t b) {
    const bool lstm = cell_ == Cell::lstm;
    for (std::int64_t j = 0; j < columns_; ++j) {
      Sum<T> ahead, back;
      ahead.add(o_.b(j));
      for (std::int64_t i = 0; i < input_; ++i) ahead.add(o_.x(t, b, i), o_.w(i, j));
      if (t > 0)
        for (std::int64_t i = 0; i < hidden_; ++i) back.add(out_.y(t - 1, b, i), o_.u(i, j));
      back_(t, b, j) = back.result();
      const bool proposal = j / hidden_ == 2;
      Number& out = gates_(t, b, j);
      if (!lstm && proposal)
        out = tanh(ahead.result() + gate(t, b, 0, j - 2 * hidden_) * back.result());
      else
        out = lstm && proposal ? tanh(ahead.result() + back.result())
                               : sigmoid(ahead.result() + back.result());
    }
    for (std::int64_t j = 0; j < hidden_; ++j) {
      if (lstm) {
        c_(t, b, j) = gate(t, b, 1, j) * before(c_, t, b, j) + gate(t, b, 0, j) * gate(t, b, 2, j);
        out_.y(t, b, j) = gate(t, b, 3, j) * tanh(c_(t, b, j));
      } else {
        const Number z = gate(t, b, 1, j);
        out_.y(t, b, j) = (Number(1) - z) * gate(t, b, 2, j) + z * before(out_.y, t, b, j);
      }
    }
  }

  static Number through_sigmoid(const Number& y, const Number& dy) {
    return dy * (y * (Number(1) - y));
  }
  static Number through_tanh(const Number& y, const Number& dy) { return dy * (Number(1) - y * y); }

  void step_back(std::int64_t t, std::int64_t b) {
    for (std::int64_t j = 0; j < hidden_; ++j) {
      const Number dh = o_.dy(t, b, j) + dh_(b, j);
      const auto at = [&](std::int64_t i) { return i * hidden_ + j; };
      if (cell_ == Cell::lstm) {
        const Number i = gate(t, b, 0, j), f = gate(t, b, 1, j), g = gate(t, b, 2, j),
                     o = gate(t, b, 3, j), top = tanh(c_(t, b, j));
        const Number dc = dc_(b, j) + through_tanh(top, dh * o);
        dc_(b, j) = dc * f;
        d_ahead_(t, b, at(0)) = through_sigmoid(i, dc * g);
        d_ahead_(t, b, at(1)) = through_sigmoid(f, dc * before(c_, t, b, j));
        d_ahead_(t, b, at(2)) = through_tanh(g, dc * i);
        d_ahead_(t, b, at(3)) = through_sigmoid(o, dh * top);
        for (int k = 0; k < 4; ++k) d_back_(t, b, at(k)) = d_ahead_(t, b, at(k));
        dh_(b, j) = {};
      } else {
        const Number r = gate(t, b, 0, j), z = gate(t, b, 1, j), n = gate(t, b, 2, j);
        const Number dn = through_tanh(n, dh * (Number(1) - z));
        const Number dz = dh * before(out_.y, t, b, j) - dh * n;
        d_ahead_(t, b, at(0)) = through_sigmoid(r, dn * back_(t, b, at(2)));
        d_ahead_(t, b, at(1)) = through_sigmoid(z, dz);
        d_ahead_(t, b, at(2)) = dn;
        for (int k = 0; k < 2; ++k) d_back_(t, b, at(k)) = d_ahead_(t, b, at(k));
        d_back_(t, b, at(2)) = dn * r;
        dh_(b, j) = dh * z;
      }
    }
    for (std::int64_t i = 0; i < hidden_; ++i) {
      Sum<T> sum;
      sum.add(dh_(b, i));
      for (std::int64_t j = 0; j < columns_; ++j) sum.add(d_back_(t, b, j), o_.u(i, j));
      dh_(b, i) = sum.result();
    }
  }

  template <typename Term>
  Number over_rows(const Term& term) {
    Sum<T> sum;
    for (std::int64_t t = 0; t < steps_; ++t)
      for (std::int64_t b = 0; b < batch_; ++b) term(sum, t, b);
    return sum.result();
  }

  void sums() {
    out_.loss() = over_rows([&](Sum<T>& sum, std::int64_t t, std::int64_t b) {
      for (std::int64_t j = 0; j < hidden_; ++j) sum.add(out_.y(t, b, j) * o_.dy(t, b, j));
    });
    for (std::int64_t t = 0; t < steps_; ++t)
      for (std::int64_t b = 0; b < batch_; ++b)
        for (std::int64_t i = 0; i < input_; ++i) {
          Sum<T> sum;
          for (std::int64_t j = 0; j < columns_; ++j) sum.add(d_ahead_(t, b, j), o_.w(i, j));
          out_.dx(t, b, i) = sum.result();
        }
    for (std::int64_t j = 0; j < columns_; ++j) {
      out_.db(j) = over_rows(
          [&](Sum<T>& sum, std::int64_t t, std::int64_t b) { sum.add(d_ahead_(t, b, j)); });
      for (std::int64_t i = 0; i < input_; ++i)
        out_.dw(i, j) = over_rows([&](Sum<T>& sum, std::int64_t t, std::int64_t b) {
          sum.add(o_.x(t, b, i), d_ahead_(t, b, j));
        });
      for (std::int64_t i = 0; i < hidden_; ++i)
        out_.du(i, j) = over_rows([&](Sum<T>& sum, std::int64_t t, std::int64_t b) {
          if (t > 0) sum.add(out_.y(t - 1, b, i), d_back_(t, b, j));
        });
    }
  }

  Cell cell_;
  Operands<T> o_;
  Results<T> out_;
  std::int64_t steps_, batch_, input_, hidden_, columns_;
  // Of each step: the gates behind their functions, the gradients of x W + b and
  // of h U, h U itself, and the LSTM's cell.
  Grid<T> gates_, d_ahead_, d_back_, back_, c_;
  Grid<T> dc_, dh_;  // of the step in front
};

// Weights of about the size that initialisers give them, so that bounds do not
// grow from step to step.
std::vector<Tensor> scan_inputs(const Graph& graph, const DimEnv& env) {
  std::vector<Tensor> inputs = inputs_for(graph, env);
  const auto scale = [](Tensor& x, std::int64_t width) {
    for (std::int64_t i = 0; i < x.size(); ++i)
      x.set(i, x.get(i) / std::sqrt(static_cast<double>(width)));
  };
  scale(inputs[1], env.at("I"));
  scale(inputs[2], env.at("H"));
  return inputs;
}

template <typename T>
Results<T> expected_of(Cell cell, const std::vector<Tensor>& inputs) {
  return Reference<T>(cell, Operands<T>(inputs)).run();
}

template <typename T>
double share_of_bounds(const std::vector<Tensor>& found, const Results<T>& expected) {
  double worst = 0;
  std::size_t i = 0;
  for (const Grid<T>* grid :
       {&expected.y, &expected.loss, &expected.dx, &expected.dw, &expected.du, &expected.db})
    worst = std::max(worst, worst_share(found.at(i++), *grid));
  REQUIRE(i == found.size());
  return worst;
}

// Each width takes every size, with few rows and, every third time, with up to
// the most. Three steps, so that the last has two behind it.
std::vector<DimEnv> scan_sizes(std::uint64_t seed) {
  std::vector<DimEnv> out;
  for (const auto& s : size_sample(3, 1, seed)) {
    const auto add = [&](std::int64_t batch) {
      out.push_back({{"T", 3}, {"H", s[0]}, {"I", s[1]}, {"B", batch}});
    };
    add(1 + s[2] % 4);
    if (out.size() % 4 == 3) add(s[2]);
  }
  return out;
}

std::string described(const DimEnv& env) {
  return fmt::format("H = {}, I = {}, B = {}", env.at("H"), env.at("I"), env.at("B"));
}

}  // namespace

TEMPLATE_TEST_CASE("LSTM and GRU of every size and their gradients are within their bounds", "",
                   float, double) {
  Team team(1);
  for (const Cell cell : {Cell::lstm, Cell::gru}) {
    const Graph graph = cell_graph(cell, dtype_of<TestType>);
    const auto programs = programs_for_features(graph);
    for (const DimEnv& env : scan_sizes(1)) {
      const std::vector<Tensor> inputs = scan_inputs(graph, env);
      const Results<TestType> expected = expected_of<TestType>(cell, inputs);
      for (const auto& [features, program] : programs) {
        INFO((cell == Cell::lstm ? "LSTM, " : "GRU, ")
             << described(env) << ", features '" << features << "'");
        REQUIRE(share_of_bounds(run_with(*program, inputs, team), expected) <= 1);
      }
    }
  }
}

TEMPLATE_TEST_CASE("LSTM and GRU of any size have the same bits for 1, 2 and 3 threads", "", float,
                   double) {
  Team one(1);
  for (const Cell cell : {Cell::lstm, Cell::gru}) {
    const Graph graph = cell_graph(cell, dtype_of<TestType>);
    const auto program = compile(graph, {}, {"llvm", {}, {}});
    std::size_t turn = 0;
    for (const DimEnv& env : scan_sizes(9)) {
      if (turn++ % 2 != 0) continue;
      INFO(described(env));
      const std::vector<Tensor> inputs = scan_inputs(graph, env);
      require_same_for_threads(*program, inputs, run_with(*program, inputs, one));
    }
  }
}

TEMPLATE_TEST_CASE("a cell without its last input or unit is outside of the bounds", "", float,
                   double) {
  Team team(1);
  for (const Cell cell : {Cell::lstm, Cell::gru}) {
    const Graph graph = cell_graph(cell, dtype_of<TestType>);
    const auto program = compile(graph, {}, {"llvm", {}, {}});
    std::size_t turn = 0;
    for (const DimEnv& env : scan_sizes(5)) {
      if (turn++ % 12 != 3) continue;
      INFO(described(env));
      const std::vector<Tensor> inputs = scan_inputs(graph, env);
      const std::vector<Tensor> found = run_with(*program, inputs, team);
      for (const std::size_t weights : {1, 2}) {
        std::vector<Tensor> changed = inputs;
        Tensor& w = changed[weights];
        const std::int64_t columns = w.shape()[1];
        for (std::int64_t j = 0; j < columns; ++j) w.set(w.size() - columns + j, 0);
        CHECK(share_of_bounds(found, expected_of<TestType>(cell, changed)) > 1);
      }
    }
  }
}
