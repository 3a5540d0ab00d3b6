// Functions that the language itself cannot express.
#include <fmt/format.h>

#include <algorithm>
#include <map>

#include "frontend/elaborate/elaborator.h"
#include "frontend/suggest.h"
#include "ir/eval/evaluate.h"
#include "ir/op_def.h"

namespace treadle::elaboration {

namespace {

constexpr std::string_view other_functions[] = {
    "sum",   "mean",   "max",       "min",     "argmax",  "softmax", "log_softmax", "logsumexp",
    "split", "concat", "transpose", "reshape", "reverse", "one_hot", "iota",        "length",
    "size",  "real",   "where",     "uniform", "l1",      "l2",      "pow",         "spread",
    "grad",  "jvp",    "hvp",       "remat",   "pad",     "windows", "contract"};

// A pointwise op from one real number to one is a function under its own name.
bool is_function(Op op) {
  const OpDef& def = op_def(op);
  if (def.family != Family::pointwise || def.operands != 1 || !def.attributes.empty()) return false;
  const Type real{DType::f32, {}};
  try {
    return def.infer({std::span(&real, 1), {}, {}}) == std::vector<Type>{real};
  } catch (const InferError&) {
    return false;
  }
}

std::span<const std::string_view> unary_functions() {
  static const std::vector<std::string_view> names = [] {
    std::vector<std::string_view> out;
    for (const Op op : all_ops())
      if (is_function(op)) out.push_back(to_string(op));
    return out;
  }();
  return names;
}

bool in(std::span<const std::string_view> list, std::string_view name) {
  return std::find(list.begin(), list.end(), name) != list.end();
}

// The arguments of one call, by name or position.
class Arguments {
 public:
  Arguments(GraphMaker& maker, std::string name, std::vector<ArgumentValue> values,
            SourceRange range)
      : maker_(maker),
        name_(std::move(name)),
        values_(std::move(values)),
        range_(std::move(range)) {}

  const ArgumentValue* find(std::size_t position, std::string_view name) const {
    if (std::find(names_.begin(), names_.end(), name) == names_.end()) names_.emplace_back(name);
    if (position != SIZE_MAX) positions_ = std::max(positions_, position + 1);
    std::size_t i = 0;
    for (const ArgumentValue& value : values_) {
      if (value.name.empty() ? i++ == position : value.name == name) return &value;
    }
    return nullptr;
  }
  const ArgumentValue& need(std::size_t position, std::string_view name) const {
    const ArgumentValue* out = find(position, name);
    if (!out) maker_.fail("T0334", range_, fmt::format("'{}' needs a value for '{}'", name_, name));
    return *out;
  }
  TensorValue tensor(std::size_t position, std::string_view name, DType dtype) const {
    const ArgumentValue& value = need(position, name);
    return maker_.to_tensor(value.value, dtype, value.range);
  }
  std::optional<std::int64_t> integer(std::size_t position, std::string_view name) const {
    const ArgumentValue* value = find(position, name);
    if (!value) return std::nullopt;
    const auto* dim = value->value.as<DimValue>();
    const auto out = dim ? dim->dim.constant() : std::nullopt;
    if (!out)
      maker_.fail("T0350", value->range,
                  fmt::format("'{}' of '{}' is a known integer", name, name_),
                  fmt::format("this is {}", maker_.show(value->value)));
    return out;
  }
  // An axis of x; negative ones count from the end.
  std::int64_t axis(std::size_t position, const TensorValue& x, std::int64_t otherwise) const {
    const auto rank = static_cast<std::int64_t>(x.type.rank());
    std::int64_t out = integer(position, "axis").value_or(otherwise);
    if (out < 0) out += rank;
    if (out < 0 || out >= rank)
      maker_.fail("T0351", range_, fmt::format("'{}' has no such axis to work along", name_),
                  fmt::format("the argument is {}", maker_.show_type(x)));
    return out;
  }
  // The arguments from `position` on, which are dimensions.
  Dims dims_from(std::size_t position) const {
    Dims out;
    positions_ = values_.size();
    for (std::size_t i = position; i < values_.size(); ++i) {
      const auto* dim = values_[i].value.as<DimValue>();
      if (!dim) maker_.fail("T0302", values_[i].range, "a dimension is expected");
      out.push_back(dim->dim);
    }
    return out;
  }
  // transpose(x, 1, 0, 2): every axis once.
  Integers permutation(const TensorValue& x) const {
    Integers out;
    std::vector<bool> seen(x.type.rank(), false);
    for (const Dim& dim : dims_from(1)) {
      const auto axis = dim.constant();
      const auto rank = static_cast<std::int64_t>(x.type.rank());
      const std::int64_t at = axis.value_or(rank) < 0 ? *axis + rank : axis.value_or(rank);
      if (at < 0 || at >= rank || seen[static_cast<std::size_t>(at)]) break;
      seen[static_cast<std::size_t>(at)] = true;
      out.push_back(at);
    }
    if (out.size() != x.type.rank() || values_.size() != out.size() + 1)
      maker_.fail("T0351", range_, "'transpose' needs each axis once, in their new order",
                  fmt::format("the argument is {}", maker_.show_type(x)));
    return out;
  }
  Dim extent(std::size_t position, std::string_view name) const {
    const ArgumentValue& value = need(position, name);
    const auto* dim = value.value.as<DimValue>();
    if (!dim)
      maker_.fail("T0302", value.range, fmt::format("'{}' of '{}' is a dimension", name, name_),
                  fmt::format("this is {}", maker_.show(value.value)));
    return dim->dim;
  }
  std::size_t size() const { return values_.size(); }
  // Any number of values without a name.
  const std::vector<ArgumentValue>& all() const {
    positions_ = values_.size();
    return values_;
  }
  // What nobody asked for is a mistake.
  void refuse_others() const {
    std::size_t position = 0;
    for (const ArgumentValue& value : values_) {
      const auto asked = std::find(names_.begin(), names_.end(), value.name);
      if (value.name.empty() ? position++ < positions_ : asked != names_.end()) continue;
      std::string known;
      for (const std::string& name : names_) known += (known.empty() ? "" : ", ") + name;
      const std::string near = closest_word(value.name, std::span<const std::string>(names_));
      std::vector<std::string> hints;
      if (!near.empty()) hints.push_back(fmt::format("did you mean '{}'?", near));
      if (!known.empty()) hints.push_back(fmt::format("'{}' takes {}", name_, known));
      maker_.fail("T0334", value.range,
                  value.name.empty()
                      ? fmt::format("'{}' takes {}, here are {}", name_,
                                    ordinal_plural(positions_, "argument"), values_.size())
                      : fmt::format("'{}' has no argument '{}'", name_, value.name),
                  {}, std::move(hints));
    }
  }

 private:
  GraphMaker& maker_;
  std::string name_;
  std::vector<ArgumentValue> values_;
  SourceRange range_;
  mutable std::vector<std::string> names_;  // that were asked for, by position too
  mutable std::size_t positions_ = 0;
};

double compute(Op op, double x) {
  Graph graph;
  Builder b(graph);
  b.output("", b.add_node(op, {b.constant({DType::f64, {}}, x)}));
  return evaluate(graph, std::span<const Tensor>{})[0].get(0);
}

std::vector<Origin> without(const TensorValue& x, std::int64_t axis) {
  std::vector<Origin> out = x.origins;
  if (out.size() > static_cast<std::size_t>(axis))
    out.erase(out.begin() + static_cast<std::ptrdiff_t>(axis));
  return out;
}

}  // namespace

bool GraphMaker::is_builtin(std::string_view name) {
  return in(unary_functions(), name) || in(other_functions, name);
}

std::vector<std::string_view> GraphMaker::builtin_names() {
  std::vector<std::string_view> out(unary_functions().begin(), unary_functions().end());
  out.insert(out.end(), std::begin(other_functions), std::end(other_functions));
  return out;
}

Any GraphMaker::call_builtin(const std::string& name, std::vector<ArgumentValue> values,
                             const SourceRange& range) {
  if (name == "grad" || name == "jvp" || name == "hvp") return derivative(name, values, range);
  const Arguments a(*this, name, std::move(values), range);
  const DType real = options_.real;
  const auto call = [&]() -> Any {
    if (in(unary_functions(), name)) {
      if (const auto number = number_of(a.need(0, "x").value))
        return {NumberValue{compute(*op_from_name(name), *number)}};
      return {pointwise(*op_from_name(name), {a.tensor(0, "x", real)})};
    }
    if (name == "l1" || name == "l2") {
      const Any& of = a.need(0, "parameters").value;
      const bool all = of.as<ParametersValue>() != nullptr;
      std::vector<TensorValue> parts;
      if (all)
        for (const auto& [path, parameter] : parameters_) parts.push_back(parameter);
      else if (of.as<TupleValue>())  // grad(y, params)
        for_each_leaf(of, [&](const TensorValue& leaf) { parts.push_back(leaf); });
      else
        fail("T0352", range, fmt::format("'{}' is a norm of parameters: {}(params)", name, name));
      const LevelScope whole(*this, all ? 0 : current_);
      Value sum;
      for (const TensorValue& part : parts) {
        const Value p = use(part);
        Value term = name == "l1" ? b().abs(p) : b().square(p);
        Integers axes;
        for (std::size_t i = 0; i < part.type.rank(); ++i)
          axes.push_back(static_cast<std::int64_t>(i));
        if (!axes.empty()) term = b().reduce_sum(term, axes);
        sum = sum.valid() ? b().add(sum, term) : term;
      }
      return sum.valid() ? Any{tensor(sum)} : Any{constant({real, {}}, 0)};
    }
    if (name == "uniform") {
      const TensorValue like = a.tensor(0, "like", real);
      Scope none;
      TensorValue out = uniform(like.type.dims, none);
      out.origins = like.origins;
      return {out};
    }
    if (name == "concat") {
      std::vector<TensorValue> parts;
      for (const ArgumentValue& value : a.all()) {
        if (!value.name.empty()) continue;
        if (const auto* tuple = value.value.as<TupleValue>()) {
          for (const Any& element : tuple->elements)
            parts.push_back(to_tensor(element, real, value.range));
        } else {
          parts.push_back(to_tensor(value.value, real, value.range));
        }
      }
      if (parts.empty()) fail("T0334", range, "'concat' needs something to join");
      const std::int64_t axis = a.axis(SIZE_MAX, parts[0], -1);
      std::vector<Value> joined;
      for (const TensorValue& part : parts) joined.push_back(use(part));
      return {tensor(b().concat(std::move(joined), axis))};
    }
    if (name == "max" || name == "min" || name == "pow") {
      const bool two = a.size() == 2 && a.all()[1].name.empty();
      if (two) {
        const auto [x, y] = align(a.all()[0].value, a.all()[1].value, name, range, a.all()[0].range,
                                  a.all()[1].range);
        const Op op = name == "max" ? Op::maximum : name == "min" ? Op::minimum : Op::pow;
        return {pointwise(op, {x, y})};
      }
    }
    const TensorValue x = a.tensor(0, "x", real);
    const auto all_axes = [&] {
      Integers out;
      for (std::size_t i = 0; i < x.type.rank(); ++i) out.push_back(static_cast<std::int64_t>(i));
      return out;
    };
    if (name == "sum" || name == "mean" || name == "max" || name == "min") {
      const bool one = a.find(1, "axis") != nullptr;
      const Integers axes = one ? Integers{a.axis(1, x, -1)} : all_axes();
      if (axes.empty()) return {x};
      TensorValue out;
      if (name == "sum") out = tensor(b().reduce_sum(use(x), axes));
      if (name == "mean") out = tensor(b().mean(use(x), axes));
      if (name == "max") out = tensor(b().reduce_max(use(x), axes));
      if (name == "min") out = tensor(b().neg(b().reduce_max(b().neg(use(x)), axes)));
      if (one) out.origins = without(x, axes[0]);
      return {out};
    }
    if (name == "argmax" || name == "logsumexp") {
      const std::int64_t axis = a.axis(1, x, -1);
      TensorValue out =
          tensor(name == "argmax" ? b().argmax(use(x), axis) : b().logsumexp(use(x), axis));
      out.origins = without(x, axis);
      if (name == "argmax") out.classes = x.type.dims[static_cast<std::size_t>(axis)];
      return {out};
    }
    if (name == "softmax" || name == "log_softmax") {
      const std::int64_t axis = a.axis(1, x, -1);
      if (name == "softmax") warn_empty_rows(x, axis, range);
      TensorValue out =
          tensor(name == "softmax" ? b().softmax(use(x), axis) : b().log_softmax(use(x), axis));
      out.origins = x.origins;
      return {out};
    }
    if (name == "split") {
      const std::int64_t parts = a.integer(1, "parts").value_or(2);
      const std::int64_t axis = a.axis(2, x, -1);
      const Dim& size = x.type.dims[static_cast<std::size_t>(axis)];
      const auto part = parts > 0 ? size.exact_div(Dim(parts)) : std::nullopt;
      if (!part)
        fail("T0353", range,
             fmt::format("{} cannot be split into {} equal parts", size.to_string(), parts),
             fmt::format("the argument is {}", show_type(x)));
      TupleValue out;
      for (std::int64_t i = 0; i < parts; ++i) {
        TensorValue piece = tensor(b().slice(use(x), axis, *part * Dim(i), *part));
        piece.origins = x.origins;
        if (piece.origins.size() > static_cast<std::size_t>(axis))
          piece.origins[static_cast<std::size_t>(axis)] = {};
        out.elements.push_back({piece});
      }
      return {std::move(out)};
    }
    if (name == "transpose") {
      if (x.type.rank() < 2) fail("T0351", range, "'transpose' needs two dimensions");
      Integers order = all_axes();
      if (a.size() == 1)
        std::swap(order[order.size() - 1], order[order.size() - 2]);
      else
        order = a.permutation(x);
      TensorValue out = tensor(b().transpose(use(x), order));
      if (x.origins.size() == x.type.rank())
        for (const std::int64_t axis : order)
          out.origins.push_back(x.origins[static_cast<std::size_t>(axis)]);
      return {out};
    }
    if (name == "windows")
      return {windows(x, a.axis(2, x, 0), a.extent(1, "size"), a.integer(3, "stride").value_or(1),
                      a.integer(4, "dilation").value_or(1), range)};
    if (name == "pad") {
      std::optional<TensorValue> value;
      if (const ArgumentValue* given = a.find(4, "value"))
        value = to_tensor(given->value, x.type.dtype, given->range);
      return {pad(x, a.axis(3, x, 0), a.extent(1, "low"), a.extent(2, "high"), value, range)};
    }
    if (name == "contract")
      return {contract(x, a.tensor(1, "y", real), a.integer(2, "axes").value_or(1), range)};
    if (name == "reshape") {
      return {tensor(b().reshape(use(x), a.dims_from(1)))};
    }
    if (name == "spread") {
      Dims dims = x.type.dims;
      for (const Dim& dim : a.dims_from(1)) dims.push_back(dim);
      TensorValue out = tensor(b().broadcast(use(x), dims, all_axes()));
      out.origins = x.origins;
      out.origins.resize(dims.size());
      out.classes = x.classes;
      return {out};
    }
    if (name == "reverse") {
      TensorValue out = tensor(b().reverse(use(x), a.axis(1, x, 0)));
      out.origins = x.origins;
      out.classes = x.classes;
      return {out};
    }
    if (name == "one_hot") {
      Dim classes = x.classes.value_or(Dim(0));
      if (const ArgumentValue* given = a.find(1, "classes"))
        if (const auto* dim = given->value.as<DimValue>()) classes = dim->dim;
      if (classes == Dim(0)) fail("T0354", range, "how many classes? one_hot(x, classes)");
      TensorValue out = tensor(b().one_hot(use(x), classes, real));
      if (!x.origins.empty() || x.type.rank() == 0) {
        out.origins = x.origins;
        out.origins.push_back({});
      }
      return {out};
    }
    if (name == "length" || name == "size") {
      return {DimValue{x.type.dims.at(static_cast<std::size_t>(a.axis(1, x, 0)))}};
    }
    if (name == "real") {
      TensorValue out = tensor(b().cast(use(x), real));
      out.origins = x.origins;
      return {out};
    }
    if (name == "where") {
      const ArgumentValue &yes = a.need(1, "then"), &no = a.need(2, "else");
      const auto [y, z] = align(yes.value, no.value, "where", range, yes.range, no.range);
      const bool wider = x.type.rank() > y.type.rank();
      const Dims dims = wider ? x.type.dims : y.type.dims;
      const std::vector<Origin> origins = wider ? x.origins : y.origins;
      return {pointwise(Op::select, {broadcast_to(x, dims, origins), broadcast_to(y, dims, origins),
                                     broadcast_to(z, dims, origins)})};
    }
    fail("T0334", range, fmt::format("'{}' cannot be called like this", name));
  };
  const auto checked = [&]() -> Any {
    Any out = call();
    a.refuse_others();
    return out;
  };
  if (name == "iota") {
    const ArgumentValue& count = a.need(0, "count");
    const auto* dim = count.value.as<DimValue>();
    if (!dim) fail("T0302", count.range, "a dimension is expected");
    a.refuse_others();
    return guarded(range, [&]() -> Any {
      TensorValue out = tensor(b().iota({dim->dim}, 0, DType::i32));
      out.classes = dim->dim;
      return {out};
    });
  }
  return guarded(range, checked);
}

}  // namespace treadle::elaboration
