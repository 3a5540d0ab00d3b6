#include "tests/ops/support.h"

#include <algorithm>
#include <cmath>

namespace treadle::test {
namespace {

// SplitMix64 (Steele, Lea, Flood 2014): the same numbers on every machine.
class Numbers {
 public:
  explicit Numbers(std::uint64_t seed) : state_(seed * 0x9E3779B97F4A7C15U + 1) {}
  double next() {  // [0, 1)
    std::uint64_t z = state_ += 0x9E3779B97F4A7C15U;
    z = (z ^ (z >> 30)) * 0xBF58476D1CE4E5B9U;
    z = (z ^ (z >> 27)) * 0x94D049BB133111EBU;
    return static_cast<double>((z ^ (z >> 31)) >> 11) * 0x1p-53;
  }

 private:
  std::uint64_t state_;
};

DType widened(DType d) { return d == DType::f32 ? DType::f64 : d; }

Probe widened(Probe probe) {
  for (ProbeOperand& operand : probe.operands) operand.type.dtype = widened(operand.type.dtype);
  Attributes attributes;
  for (const auto& [name, value] : probe.attributes) {
    const auto* dtype = std::get_if<DType>(&value);
    attributes.set(name, dtype != nullptr ? Attribute(widened(*dtype)) : value);
  }
  probe.attributes = std::move(attributes);
  return probe;
}

double away_from_whole_numbers(double value, double low, double high) {
  const double nearest = std::round(value);
  if (std::abs(value - nearest) >= 0.01) return value;
  const double moved = nearest + (nearest + 0.02 <= high ? 0.02 : -0.02);
  return moved >= low && moved <= high ? moved : value;
}

}  // namespace

std::string Case::name() const { return std::string(to_string(op)) + " " + std::to_string(number); }

std::vector<Case> all_cases() {
  std::vector<Case> out;
  for (const Op op : all_ops()) {
    const OpDef& def = op_def(op);
    if (def.family == Family::control || def.family == Family::fused) continue;
    const std::vector<Probe> probes = def.probes();
    for (std::size_t i = 0; i < probes.size(); ++i) out.push_back({op, i, widened(probes[i])});
  }
  return out;
}

bool is_float_operand(const Case& c, std::size_t i) {
  return is_float(c.probe.operands[i].type.dtype);
}

Tensor draw(const ProbeOperand& operand, std::uint64_t seed, Shape leading) {
  Shape shape = std::move(leading);
  for (const std::int64_t extent : evaluate_shape(operand.type, {})) shape.push_back(extent);
  Tensor out(operand.type.dtype, shape);
  Numbers numbers(seed);
  for (std::int64_t i = 0; i < out.size(); ++i) {
    const double u = numbers.next();
    if (is_float(out.dtype()))
      out.set(i, away_from_whole_numbers(operand.low + u * (operand.high - operand.low),
                                         operand.low, operand.high));
    else
      out.set_integer(i, static_cast<std::int64_t>(
                             std::floor(operand.low + u * (operand.high - operand.low + 1))));
  }
  return out;
}

std::vector<Tensor> draw_operands(const Case& c, std::uint64_t seed) {
  std::vector<Tensor> out;
  for (const ProbeOperand& operand : c.probe.operands)
    out.push_back(draw(operand, seed * 100 + out.size()));
  return out;
}

Tensor weights(const Shape& shape, std::uint64_t seed) {
  Tensor out(DType::f64, shape);
  Numbers numbers(seed + 7777);
  for (std::int64_t i = 0; i < out.size(); ++i) {
    const double u = numbers.next();
    out.set(i, u < 0.5 ? -0.3 - u : u + 0.2);
  }
  return out;
}

Graph case_graph(const Case& c) {
  Graph graph;
  Builder b(graph);
  std::vector<Value> operands;
  for (const ProbeOperand& operand : c.probe.operands)
    operands.push_back(b.input("x" + std::to_string(operands.size()), operand.type));
  const Value first = b.add_node(c.op, operands, c.probe.attributes, c.probe.regions);
  const std::size_t count = graph.node(first.node).types.size();
  for (std::uint32_t i = 0; i < count; ++i) b.output("y" + std::to_string(i), {first.node, i});
  return graph;
}

Graph loss_graph(const Case& c) {
  Graph graph = case_graph(c);
  Builder b(graph);
  Value loss = b.constant({DType::f64, {}}, 0);
  const std::vector<Output> outputs = graph.outputs();
  for (std::size_t i = 0; i < outputs.size(); ++i) {
    const Type type = graph.type(outputs[i].value);
    if (!is_float(type.dtype)) continue;
    const Value weight = b.literal(weights(evaluate_shape(type, {}), i));
    Integers axes;
    for (std::size_t axis = 0; axis < type.rank(); ++axis)
      axes.push_back(static_cast<std::int64_t>(axis));
    loss = b.add(loss, b.reduce_sum(b.mul(outputs[i].value, weight), axes));
  }
  b.output("loss", loss);
  return graph;
}

std::vector<std::string> float_inputs(const Case& c) {
  std::vector<std::string> out;
  for (std::size_t i = 0; i < c.probe.operands.size(); ++i)
    if (is_float_operand(c, i)) out.push_back("x" + std::to_string(i));
  return out;
}

double largest(const Tensor& t) {
  double out = 0;
  for (std::int64_t i = 0; i < t.size(); ++i) out = std::max(out, std::abs(t.get(i)));
  return out;
}

double dot(const Tensor& a, const Tensor& b) {
  double out = 0;
  for (std::int64_t i = 0; i < a.size(); ++i) out += a.get(i) * b.get(i);
  return out;
}

double relative_error(const Tensor& found, const Tensor& expected) {
  double worst = 0;
  for (std::int64_t i = 0; i < expected.size(); ++i) {
    const double difference = std::abs(found.get(i) - expected.get(i));
    if (std::isnan(difference)) return difference;
    worst = std::max(worst, difference);
  }
  return worst / std::max(1.0, largest(expected));
}

}  // namespace treadle::test
