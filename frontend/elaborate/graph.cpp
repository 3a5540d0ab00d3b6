// The graph in the making: levels, captures, parameters, inputs.
#include <fmt/format.h>
#include <fmt/ranges.h>

#include "frontend/elaborate/elaborator.h"
#include "frontend/suggest.h"
#include "ir/initialiser.h"

namespace treadle::elaboration {

using namespace syntax;

GraphMaker::GraphMaker(const ModuleScope& module, GraphOptions options, Reporter& reporter)
    : module_(module), options_(std::move(options)), reporter_(reporter) {
  levels_.push_back(std::make_unique<Level>());
}

GraphMaker::~GraphMaker() = default;

Graph GraphMaker::finish() { return std::move(levels_.front()->graph); }

TensorValue GraphMaker::tensor(Value v) const {
  TensorValue out;
  out.level = current_;
  out.value = v;
  out.type = levels_[current_]->graph.type(v);
  return out;
}

// A value from around a scan enters each step on the way as an argument.
Value GraphMaker::use(const TensorValue& x) {
  ensure(x.level <= current_, "elaborate", "a value of a scan's step is used outside of it");
  Value v = x.value;
  for (std::size_t level = x.level + 1; level <= current_; ++level) {
    Level& here = *levels_[level];
    Value inner;
    for (const Level::Capture& capture : here.captures)
      if (capture.outer == v) inner = capture.inner;
    if (!inner.valid()) {
      inner = here.b.argument(x.type);
      here.captures.push_back({v, inner});
    }
    v = inner;
  }
  return v;
}

TensorValue GraphMaker::parameter(const std::string& path, const Type& type,
                                  std::vector<Origin> origins, const std::string& initialiser,
                                  const SourceRange& range) {
  if (const auto found = parameters_.find(path); found != parameters_.end()) {
    if (found->second.type != type)
      fail("T0210", range,
           fmt::format("the parameter '{}' is used as {} and as {}", path,
                       to_string(found->second.type), to_string(type)),
           {}, {"instances share their weights, so all uses need the same dimensions"});
    return found->second;
  }
  const LevelScope whole(*this, 0);
  const LocationScope location(b(), range);
  TensorValue out = tensor(b().parameter(path, type, initialiser));
  out.origins = std::move(origins);
  parameters_.emplace(path, out);
  return out;
}

std::string GraphMaker::initialiser(const Expr& expr, std::size_t rank, const std::string& path,
                                    Scope& scope) {
  const auto* call = as<Call>(expr);
  const Expr& callee = call ? *call->callee : expr;
  const auto* name = as<Name>(callee);
  const auto kind = name ? initialiser_from_string(name->text) : std::nullopt;
  if (!kind) {
    const std::vector<std::string_view> known = initialiser_names();
    const std::string near =
        name ? closest_word(name->text, std::span<const std::string_view>(known)) : std::string();
    std::vector<std::string> hints;
    if (!near.empty()) hints.push_back(fmt::format("did you mean '{}'?", near));
    hints.push_back(fmt::format("the initialisers are {}", fmt::join(known, ", ")));
    fail("T0834", callee.range, fmt::format("'{}' is no initialiser", source_text(callee.range)),
         {}, std::move(hints));
  }
  const std::size_t count = call ? call->arguments.size() : 0;
  if (count != static_cast<std::size_t>(argument_count(*kind)))
    fail("T0834", expr.range,
         fmt::format("'{}' takes {}, here {} {}", name->text,
                     ordinal_plural(static_cast<std::size_t>(argument_count(*kind)), "number"),
                     count == 1 ? "is" : "are", count),
         {}, {fmt::format("write {}", usage(*kind))});
  InitialiserSpec spec{*kind, 0, 0};
  for (std::size_t i = 0; i < count; ++i) {
    const Argument& argument = call->arguments[i];
    if (argument.name)
      fail("T0834", argument.range, fmt::format("the numbers of '{}' have no names", name->text),
           {}, {fmt::format("write {}", usage(*kind))});
    const Any value = eval(*argument.value, scope);
    double& number = i == 0 ? spec.a : spec.b;
    if (const auto* real = value.as<NumberValue>())
      number = real->value;
    else if (const auto* dim = value.as<DimValue>(); dim && dim->dim.is_constant())
      number = static_cast<double>(*dim->dim.constant());
    else
      fail("T0340", argument.range,
           fmt::format("'{}' takes numbers, this is {}", name->text, show(value)));
  }
  return guarded(expr.range, [&] {
    check_initialiser(spec, rank, path);
    return to_string(spec);
  });
}

TensorValue GraphMaker::extra_input(const std::string& name, const Type& type,
                                    Attributes attributes) {
  if (const auto found = extra_inputs_.find(name); found != extra_inputs_.end())
    return found->second;
  const LevelScope whole(*this, 0);
  const TensorValue out = tensor(b().input(name, type, std::move(attributes)));
  extra_inputs_.emplace(name, out);
  return out;
}

// Uniform in [0, 1), a function of seed, site, step, example, time and element.
TensorValue GraphMaker::uniform(const Dims& dims, Scope&) {
  const Type scalar{DType::i64, {}};
  const auto site = static_cast<double>(++random_sites_);
  const TensorValue seed =
      extra_input("random.seed", scalar, {{"role", std::string("seed")}, {"shared", true}});
  const TensorValue step =
      extra_input("random.step", scalar, {{"role", std::string("step")}, {"shared", true}});
  const TensorValue example =
      extra_input("random.example", scalar, {{"role", std::string("example")}});
  Builder& g = b();
  const auto times = [&](Value x, double factor) { return g.mul(x, g.constant(scalar, factor)); };
  const Value key = g.add(times(use(seed), 1000003), g.constant(scalar, site));
  Value high = times(use(example), 1 << 20);
  for (std::size_t level = 1; level <= current_; ++level) {
    Level& scan = *levels_[level];
    if (!scan.loops) continue;
    if (!scan.time.valid()) scan.time = scan.b.argument(scalar);
    TensorValue time;
    time.level = level;
    time.value = scan.time;
    time.type = scalar;
    high = g.add(times(high, 1031), use(time));
  }
  // Its number in row-major order, from its indices: no flat value stands between.
  Value element = g.broadcast_scalar(times(use(step), 4294967296.0), dims);
  Dim stride(1);
  for (std::size_t axis = dims.size(); axis-- > 0;) {
    const Value index = g.iota(dims, static_cast<std::int64_t>(axis), DType::i64);
    const auto scaled = [&](Value by) { return g.mul(index, g.broadcast_scalar(by, dims)); };
    if (stride == Dim(1))
      element = g.add(element, index);
    else if (const auto constant = stride.constant())
      element = g.add(element, scaled(g.constant(scalar, static_cast<double>(*constant))));
    else
      element = g.add(element, scaled(g.dimension(stride, DType::i64)));
    stride = stride * dims[axis];
  }
  const Value bits =
      g.philox(g.broadcast_scalar(key, dims), element, g.broadcast_scalar(high, dims));
  return tensor(g.uniform_from_bits(bits, options_.real));
}

}  // namespace treadle::elaboration
