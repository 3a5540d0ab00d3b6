// The type of a value: element type and dimensions.
#pragma once
#include <string>
#include <string_view>

#include "ir/dim.h"
#include "ir/dtype.h"
#include "ir/tensor.h"

namespace treadle {

struct Type {
  DType dtype = DType::f32;
  Dims dims;  // empty: a scalar

  std::size_t rank() const { return dims.size(); }
  Dim count() const { return product(dims); }
  Type with_dtype(DType d) const { return {d, dims}; }
  friend bool operator==(const Type&, const Type&) = default;
};

std::string to_string(const Type& type);  // "f32[B, 4*H]", a scalar is "f32[]"
// Throws UserError T0190.
Type parse_type(std::string_view text);
// The extents once the symbols have values; throws UserError T0392 when one is
// negative.
Shape evaluate_shape(const Type& type, const DimEnv& env);

}  // namespace treadle
