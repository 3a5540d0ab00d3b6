#include "passes/padded_step.h"

#include <algorithm>
#include <limits>
#include <map>
#include <set>

#include "ir/op_def.h"
#include "passes/graph_copy.h"
#include "passes/ragged_inputs.h"
#include "passes/substitute_dims.h"

namespace treadle {
namespace {

struct Unknown {};  // no rule says that padding is right

bool has(const Integers& axes, std::int64_t axis) {
  return std::find(axes.begin(), axes.end(), axis) != axes.end();
}

// Of a value with padding, along its ragged axis.
struct Padding {
  bool zeros = false;    // the padding is
  bool uniform = false;  // all entries are equal, those of the padding too
};

class Padder {
 public:
  Padder(const ScanView& view, const std::function<Dim(const std::string&)>& longest)
      : view_(view), step_(*view.body), map_(step_), padding_(step_.size()) {
    std::set<std::string> symbols;
    for (const Node& node : step_.nodes()) {
      for (const Type& type : node.types) collect(type.dims, symbols);
      if (node.op == Op::dimension) collect({node.attributes.dim("dim")}, symbols);
    }
    for (const std::string& symbol : symbols) longest_.emplace(symbol, longest(symbol));
    out_.symbols.assign(symbols.begin(), symbols.end());
  }

  PaddedStep run() {
    for (std::size_t i = 0; i < view_.first_count(); ++i) {
      if (i == view_.constants)
        for (const std::string& symbol : out_.symbols)
          counts_[symbol] = b_.argument({DType::i32, {}});
      argument(i);
    }
    for (NodeId id = 0; id < step_.size(); ++id) {
      const Node& n = step_.node(id);
      if (n.op == Op::argument) continue;
      const LocationScope scope(b_, n.location);
      node(id);
    }
    for (const Output& output : step_.outputs()) {
      if (has_ragged(step_.type(output.value).dims)) throw Unknown{};
      body_.add_output(output.name, map_[output.value]);
    }
    out_.body = std::make_shared<const Graph>(std::move(body_));
    return std::move(out_);
  }

 private:
  static void collect(const Dims& dims, std::set<std::string>& symbols) {
    for (const Dim& dim : dims)
      if (dim.is_ragged()) dim.collect_symbols(symbols);
  }

  void argument(std::size_t i) {
    const Value v = step_.input_value(i);
    const Type& type = step_.type(v);
    const int axis = ragged_axis(type);
    if (axis > 0 || (axis == 0 && i >= view_.constants)) throw Unknown{};
    padding_[v.node].zeros = axis == 0;
    map_.set(v, b_.argument({type.dtype, substitute(type.dims, longest_)}));
  }

  // The one axis that is ragged, by one symbol; -1 without any.
  static int ragged_axis(const Type& type) {
    int out = -1;
    for (std::size_t i = 0; i < type.dims.size(); ++i) {
      if (!type.dims[i].is_ragged()) continue;
      if (out >= 0 || !type.dims[i].bare_symbol()) throw Unknown{};
      out = static_cast<int>(i);
    }
    return out;
  }
  int ragged_axis(Value v) const { return ragged_axis(step_.type(v)); }

  Value count(const Dim& dim) const {
    const auto symbol = dim.bare_symbol();
    if (!symbol) throw Unknown{};
    return counts_.at(*symbol);
  }

  // The value with `fill` where it has padding.
  Value filled(Value v, double fill) {
    const Type& type = step_.type(v);
    const int axis = ragged_axis(type);
    const Value x = map_[v];
    const Dims dims = b_.type(x).dims;
    const Value there =
        b_.lt(b_.iota(dims, axis, DType::i32),
              b_.broadcast_scalar(count(type.dims[static_cast<std::size_t>(axis)]), dims));
    return b_.select(there, x, b_.constant({type.dtype, dims}, fill));
  }

  void node(NodeId id) {
    const Node& n = step_.node(id);
    if (!n.regions.empty() && mentions_ragged(n)) throw Unknown{};
    for (const Type& type : n.types) ragged_axis(type);
    bool ragged = mentions_ragged(n);
    for (const Value v : n.operands) ragged = ragged || ragged_axis(v) >= 0;
    if (!ragged) {
      copy_node(b_, n, id, map_);
      return;
    }
    if (n.types.size() != 1) throw Unknown{};
    map_.set({id, 0}, padded(id, n));
  }

  bool mentions_ragged(const Node& n) const {
    return mentions(n, [&](const std::string& symbol) { return longest_.contains(symbol); });
  }

  Value same(const Node& n, std::vector<Value> operands) {
    return clone_with_dims(b_, n, std::move(operands), longest_);
  }

  Value padded(NodeId id, const Node& n) {
    Padding& padding = padding_[id];
    const auto operand = [&](std::size_t i) { return padding_[n.operands[i].node]; };
    const auto is_uniform = [&](std::size_t i) {
      return ragged_axis(n.operands[i]) < 0 || operand(i).uniform;
    };
    const std::vector<Value> operands = map_.all(n.operands);
    if (op_def(n.op).pointwise()) {
      padding = pointwise(n);
      return same(n, operands);
    }
    switch (n.op) {
      case Op::constant: padding.uniform = true; return same(n, {});
      case Op::iota:
        padding.uniform = n.attributes.integer("axis") != ragged_axis(n.types[0]);
        return same(n, {});
      case Op::dimension: return b_.cast(count(n.attributes.dim("dim")), n.types[0].dtype);
      case Op::broadcast:
        padding.uniform = is_uniform(0);
        padding.zeros = operand(0).zeros;
        return same(n, operands);
      case Op::transpose: padding = operand(0); return same(n, operands);
      case Op::reshape:
        if (ragged_axis(n.operands[0]) != 0 || ragged_axis(n.types[0]) != 0) throw Unknown{};
        padding = operand(0);
        return same(n, operands);
      case Op::reduce_sum:
      case Op::reduce_max:
      case Op::mean: return reduction(n, padding);
      case Op::logsumexp:
        if (n.attributes.integer("axis") == ragged_axis(n.operands[0]))
          return same(n, {filled(n.operands[0], -std::numeric_limits<double>::infinity())});
        padding.uniform = operand(0).uniform;
        return same(n, operands);
      case Op::softmax:
        if (n.attributes.integer("axis") != ragged_axis(n.operands[0])) {
          padding.uniform = operand(0).uniform;
          return same(n, operands);
        }
        padding.zeros = true;
        return same(n, {filled(n.operands[0], -std::numeric_limits<double>::infinity())});
      case Op::matmul: return product(n, padding);
      default: throw Unknown{};
    }
  }

  // Functions that are finite wherever they are asked; the others may only see
  // in the padding what they see elsewhere.
  static bool finite(Op op) {
    switch (op) {
      case Op::log:
      case Op::log1p:
      case Op::sqrt:
      case Op::rsqrt:
      case Op::reciprocal:
      case Op::pow: return false;
      default: return true;
    }
  }

  Padding pointwise(const Node& n) const {
    const auto operand = [&](std::size_t i) { return padding_[n.operands[i].node]; };
    Padding out{false, true};
    for (std::size_t i = 0; i < n.operands.size(); ++i) {
      const bool uniform = operand(i).uniform;
      out.uniform = out.uniform && uniform;
      if (!uniform && (!finite(n.op) || (n.op == Op::div && i == 1))) throw Unknown{};
    }
    switch (n.op) {
      case Op::add:
      case Op::sub: out.zeros = operand(0).zeros && operand(1).zeros; break;
      case Op::mul: out.zeros = operand(0).zeros || operand(1).zeros; break;
      case Op::div:
      case Op::neg:
      case Op::cast:
      case Op::stop_gradient: out.zeros = operand(0).zeros; break;
      default: break;
    }
    return out;
  }

  Value reduction(const Node& n, Padding& padding) {
    const Value x = n.operands[0];
    const int axis = ragged_axis(x);
    const Integers& axes = n.attributes.integers("axes");
    if (!has(axes, axis)) {
      padding = padding_[x.node];
      if (n.op == Op::reduce_max) padding.zeros = false;
      return same(n, {map_[x]});
    }
    if (n.op == Op::reduce_max)
      return same(n, {filled(x, -std::numeric_limits<double>::infinity())});
    const Value sum = b_.reduce_sum(padding_[x.node].zeros ? map_[x] : filled(x, 0), axes);
    if (n.op == Op::reduce_sum) return sum;
    const Dims& dims = step_.type(x).dims;
    Value number = count(dims[static_cast<std::size_t>(axis)]);
    for (const std::int64_t other : axes)
      if (other != axis)
        number = b_.mul(number, b_.dimension(dims[static_cast<std::size_t>(other)], DType::i32));
    number = b_.maximum(number, b_.constant({DType::i32, {}}, 1));
    return b_.div(sum, b_.broadcast_scalar(b_.cast(number, n.types[0].dtype), b_.type(sum).dims));
  }

  Value product(const Node& n, Padding& padding) {
    std::vector<Value> operands = map_.all(n.operands);
    bool summed = false, zeros = false;
    std::size_t last = 0;
    padding.uniform = true;
    for (std::size_t i = 0; i < 2; ++i) {
      const int axis = ragged_axis(n.operands[i]);
      if (axis < 0) continue;
      const Padding& own = padding_[n.operands[i].node];
      if (has(n.attributes.integers(i == 0 ? "contract_a" : "contract_b"), axis)) {
        summed = true;
        zeros = zeros || own.zeros;
        last = i;
      } else {
        padding.zeros = padding.zeros || own.zeros;
        padding.uniform = padding.uniform && own.uniform;
      }
    }
    // Nothing times something finite is nothing.
    if (summed && !zeros) operands[last] = filled(n.operands[last], 0);
    return same(n, std::move(operands));
  }

  const ScanView& view_;
  const Graph& step_;
  ValueMap map_;
  std::vector<Padding> padding_;  // by node
  DimMap longest_;
  std::map<std::string, Value> counts_;
  Graph body_;
  Builder b_{body_};
  PaddedStep out_;
};

}  // namespace

std::optional<PaddedStep> padded_step(const Node& scan,
                                      const std::function<Dim(const std::string&)>& longest) {
  const ScanView view(scan);
  try {
    return Padder(view, longest).run();
  } catch (const Unknown&) {
    return std::nullopt;
  }
}

}  // namespace treadle
