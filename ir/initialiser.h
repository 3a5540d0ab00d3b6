// How a parameter begins: what stands behind `~`, and what it means.
#pragma once
#include <cstdint>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

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
std::vector<std::string_view> initialiser_names();
// How many of a and b it takes.
int argument_count(Initialiser kind);
// How it is written: "normal(mean, deviation)".
std::string_view usage(Initialiser kind);

// "orthogonal", "normal(0, 0.02)": as text, and from it (nothing when the name
// is unknown or the numbers are too few or too many).
std::string to_string(const InitialiserSpec& spec);
std::optional<InitialiserSpec> parse_initialiser(std::string_view text);

// UserError T0981 when xavier, kaiming or orthogonal is asked for less than a
// matrix; T0982 for uniform with a > b, normal with b < 0, or a number that is
// not finite. `path` is the parameter's, for the message.
void check_initialiser(const InitialiserSpec& spec, std::size_t rank, std::string_view path);

}  // namespace treadle
