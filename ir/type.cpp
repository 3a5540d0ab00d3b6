#include "ir/type.h"

#include <fmt/format.h>

#include "ir/diagnostic.h"

namespace treadle {

std::string to_string(const Type& type) {
  return fmt::format("{}[{}]", to_string(type.dtype), to_string(type.dims));
}

Type parse_type(std::string_view text) {
  const std::size_t open = text.find('[');
  const auto dtype = dtype_from_string(text.substr(0, open));
  if (open == std::string_view::npos || text.back() != ']' || !dtype)
    throw_user_error("T0190", fmt::format("'{}' is not a type", text),
                     "a type reads f32[B, 4*H]; a scalar is f32[]");
  Type out{*dtype, {}};
  const std::string_view inside = text.substr(open + 1, text.size() - open - 2);
  if (inside.find_first_not_of(' ') == std::string_view::npos) return out;
  int depth = 0;
  std::size_t begin = 0;
  for (std::size_t i = 0; i <= inside.size(); ++i) {
    if (i < inside.size() && inside[i] == '(') ++depth;
    if (i < inside.size() && inside[i] == ')') --depth;
    if (i == inside.size() || (inside[i] == ',' && depth == 0)) {
      out.dims.push_back(Dim::parse(inside.substr(begin, i - begin)));
      begin = i + 1;
    }
  }
  return out;
}

Shape evaluate_shape(const Type& type, const DimEnv& env) {
  Shape out;
  for (const Dim& dim : type.dims) {
    out.push_back(dim.evaluate(env));
    if (out.back() < 0)
      throw_user_error("T0392", fmt::format("dimension {} of {} is negative: {}", dim.to_string(),
                                            to_string(type), out.back()));
  }
  return out;
}

}  // namespace treadle
