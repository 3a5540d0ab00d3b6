// remat(EXPRESSION, budget: SIZE): what the gradient of a part needs may be
// computed again. The part becomes a scan of one step, a region that later passes
// keep or compute again as a whole.
#include <fmt/format.h>

#include "frontend/elaborate/elaborator.h"

namespace treadle::elaboration {

using namespace syntax;

std::int64_t GraphMaker::byte_budget(const Expr& expr) {
  const auto* size = as<Number>(expr);
  if (!size || !size->is_byte_size || size->integer <= 0)
    fail("T0376", expr.range, "a budget is a number of bytes", {}, {"remat(budget: 64 MiB)"});
  return size->integer;
}

Any GraphMaker::remat(const Call& call, const Expr& expr, Scope& scope) {
  const Argument* part = nullptr;
  const Argument* budget = nullptr;
  for (const Argument& argument : call.arguments) {
    if (argument.name && argument.name->text == "budget") budget = &argument;
    if (!argument.name) part = &argument;
  }
  if (!part || !budget || call.arguments.size() != 2)
    fail("T0334", expr.range, "'remat' takes an expression and a budget", {},
         {"remat(feed_forward(x), budget: 64 MiB)"});
  const std::int64_t bytes = byte_budget(*budget->value);
  // Without gradients nothing is kept in any case. (A state's default value is
  // made outside of the step that is open; it has no region of its own.)
  if (options_.mode == Mode::eval || levels_.size() != current_ + 1)
    return eval(*part->value, scope);

  OpenLevel open(*this);
  Level& level = open.level();
  level.length = Dim(1);
  level.loops = false;
  level.b.set_location(expr.range);
  Any value;
  std::vector<TensorValue> leaves;
  {
    const LevelScope inside(*this, current_ + 1);
    value = eval(*part->value, scope);
    for_each_leaf(value, [&](const TensorValue& leaf) { leaves.push_back(leaf); });
    for (const TensorValue& leaf : leaves) level.graph.add_output("", use(leaf));
  }
  if (leaves.empty()) return value;
  Builder::ScanSpec spec;
  for (const Level::Capture& capture : level.captures) spec.constants.push_back(capture.outer);
  spec.length = Dim(1);
  spec.body = std::make_shared<const Graph>(std::move(level.graph));
  spec.more.set("remat", bytes);
  return guarded(expr.range, [&]() -> Any {
    const std::vector<Value> rows = b().scan(std::move(spec));
    std::size_t next = 0;
    const std::function<Any(const Any&)> outside = [&](const Any& inner) -> Any {
      if (const auto* leaf = inner.as<TensorValue>()) {
        TensorValue out = *leaf;
        out.level = current_;
        out.value = b().reshape(rows[next++], leaf->type.dims);
        return {out};
      }
      const auto* tuple = inner.as<TupleValue>();
      if (!tuple) return inner;
      TupleValue out;
      for (const Any& element : tuple->elements) out.elements.push_back(outside(element));
      return {std::move(out)};
    };
    return outside(value);
  });
}

}  // namespace treadle::elaboration
