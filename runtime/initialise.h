// The first values of parameters.
#pragma once
#include <cstdint>
#include <optional>
#include <string>
#include <string_view>

#include "ir/tensor.h"

namespace treadle {

enum class Initialiser : std::uint8_t {
  zeros,
  ones,
  constant,    // a
  uniform,     // in [a, b)
  normal,      // mean a, standard deviation b
  xavier,      // uniform in +-sqrt(6 / (fan_in + fan_out)) (Glorot and Bengio 2010, eq. 16)
  kaiming,     // normal, standard deviation sqrt(2 / fan_in) (He et al. 2015, eq. 10)
  orthogonal,  // orthonormal rows or columns, whichever are fewer (Saxe et al. 2014)
};

struct InitialiserSpec {
  Initialiser kind = Initialiser::zeros;
  double a = 0;
  double b = 0;
};

// "xavier" and so on; nothing for an unknown name.
std::optional<Initialiser> initialiser_from_string(std::string_view name);
std::string_view to_string(Initialiser kind);
// How many of a and b it takes.
int argument_count(Initialiser kind);

// A tensor drawn from (seed, path): what another parameter draws, or whether
// it exists, changes nothing. Element i is a function of (seed, path, i), but
// for orthogonal. Draws are made in f64 and rounded to `dtype`, a float type.
// A matrix is [fan_in, fan_out], as in x @ W; leading dimensions of a higher
// rank count as a window (fan_in and fan_out times their product), and for
// orthogonal as rows. T0981 when xavier, kaiming or orthogonal is asked for
// less than a matrix; T0982 for uniform with a > b, normal with b < 0, or a
// number that is not finite.
Tensor initialise(const InitialiserSpec& spec, Shape shape, DType dtype, std::uint64_t seed,
                  std::string_view path);

}  // namespace treadle
