#include "runtime/initialise.h"

#include <cmath>
#include <vector>

#include "ir/diagnostic.h"
#include "runtime/random.h"

namespace treadle {
namespace {

struct Fans {
  double in = 1;
  double out = 1;
};

Fans fans_of(const Shape& shape) {
  double window = 1;
  for (std::size_t i = 0; i + 2 < shape.size(); ++i) window *= static_cast<double>(shape[i]);
  return {window * static_cast<double>(shape[shape.size() - 2]),
          window * static_cast<double>(shape.back())};
}

template <typename Function>
void fill(Tensor& out, const Function& value) {
  for (std::int64_t i = 0; i < out.size(); ++i) out.set(i, value(static_cast<std::uint64_t>(i)));
}

// Orthonormalises `count` vectors of `length` >= `count` in place: modified
// Gram-Schmidt, twice, which is enough (Giraud et al. 2005). It is the QR
// decomposition with a positive diagonal of R, so that normal vectors give a
// uniformly distributed result (Mezzadri 2007).
void orthonormalise(std::vector<double>& vectors, std::size_t count, std::size_t length) {
  for (std::size_t i = 0; i < count; ++i) {
    double* v = vectors.data() + i * length;
    for (int pass = 0; pass < 2; ++pass) {
      for (std::size_t j = 0; j < i; ++j) {
        const double* u = vectors.data() + j * length;
        double dot = 0;
        for (std::size_t k = 0; k < length; ++k) dot += u[k] * v[k];
        for (std::size_t k = 0; k < length; ++k) v[k] -= dot * u[k];
      }
    }
    double square = 0;
    for (std::size_t k = 0; k < length; ++k) square += v[k] * v[k];
    const double scale = 1.0 / std::sqrt(square);
    for (std::size_t k = 0; k < length; ++k) v[k] *= scale;
  }
}

void fill_orthogonal(Tensor& out, const RandomStream& random) {
  if (out.size() == 0) return;
  const auto columns = static_cast<std::size_t>(out.shape().back());
  const auto rows_count = static_cast<std::size_t>(out.size()) / columns;
  const bool wide = rows_count <= columns;  // then rows are the vectors, else columns
  const std::size_t count = wide ? rows_count : columns;
  const std::size_t length = wide ? columns : rows_count;
  std::vector<double> vectors(count * length);
  for (std::size_t i = 0; i < vectors.size(); ++i) vectors[i] = random.normal_at(i);
  orthonormalise(vectors, count, length);
  for (std::size_t r = 0; r < rows_count; ++r)
    for (std::size_t c = 0; c < columns; ++c)
      out.set(static_cast<std::int64_t>(r * columns + c),
              wide ? vectors[r * length + c] : vectors[c * length + r]);
}

}  // namespace

Tensor initialise(const InitialiserSpec& spec, Shape shape, DType dtype, std::uint64_t seed,
                  std::string_view path) {
  ensure(is_float(dtype), "initialise", "a parameter is of a float type");
  check_initialiser(spec, shape.size(), path);
  Tensor out(dtype, std::move(shape));
  const RandomStream random(seed, mix(hash_text("parameter"), hash_text(path)));
  switch (spec.kind) {
    case Initialiser::zeros: break;
    case Initialiser::ones: fill(out, [](std::uint64_t) { return 1.0; }); break;
    case Initialiser::constant: fill(out, [&](std::uint64_t) { return spec.a; }); break;
    case Initialiser::uniform:
      fill(out, [&](std::uint64_t i) { return spec.a + (spec.b - spec.a) * random.uniform_at(i); });
      break;
    case Initialiser::normal:
      fill(out, [&](std::uint64_t i) { return spec.a + spec.b * random.normal_at(i); });
      break;
    case Initialiser::xavier: {
      const Fans fans = fans_of(out.shape());
      const double bound = std::sqrt(6.0 / (fans.in + fans.out));
      fill(out, [&](std::uint64_t i) { return bound * (2.0 * random.uniform_at(i) - 1.0); });
      break;
    }
    case Initialiser::kaiming: {
      const double deviation = std::sqrt(2.0 / fans_of(out.shape()).in);
      fill(out, [&](std::uint64_t i) { return deviation * random.normal_at(i); });
      break;
    }
    case Initialiser::orthogonal: fill_orthogonal(out, random); break;
  }
  return out;
}

}  // namespace treadle
