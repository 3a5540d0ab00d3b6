#include "ir/dtype.h"

#include <array>
#include <utility>

namespace treadle {
namespace {
constexpr std::array<std::pair<DType, std::string_view>, 6> names{{{DType::f32, "f32"},
                                                                   {DType::f64, "f64"},
                                                                   {DType::bf16, "bf16"},
                                                                   {DType::i32, "i32"},
                                                                   {DType::i64, "i64"},
                                                                   {DType::b1, "bool"}}};
}

std::string_view to_string(DType d) { return names[static_cast<std::size_t>(d)].second; }

std::optional<DType> dtype_from_string(std::string_view text) {
  for (const auto& [dtype, name] : names)
    if (name == text) return dtype;
  return std::nullopt;
}

}  // namespace treadle
