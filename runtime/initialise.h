// The first values of parameters.
#pragma once
#include <cstdint>
#include <string_view>

#include "ir/initialiser.h"
#include "ir/tensor.h"

namespace treadle {

// A tensor drawn from (seed, path): what another parameter draws, or whether
// it exists, changes nothing. Element i is a function of (seed, path, i), but
// for orthogonal. Draws are made in f64 and rounded to `dtype`, a float type.
// A matrix is [fan_in, fan_out], as in x @ W; leading dimensions of a higher
// rank count as a window (fan_in and fan_out times their product), and for
// orthogonal as rows. Errors as check_initialiser.
Tensor initialise(const InitialiserSpec& spec, Shape shape, DType dtype, std::uint64_t seed,
                  std::string_view path);

}  // namespace treadle
