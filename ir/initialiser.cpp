#include "ir/initialiser.h"

#include <fmt/format.h>

#include <cmath>
#include <cstdio>

#include "ir/diagnostic.h"

namespace treadle {
namespace {

struct Row {
  Initialiser kind;
  std::string_view name, usage;
  int arguments;
  bool matrix;  // its numbers follow from how many inputs and outputs there are
};
constexpr Row rows[] = {
    {Initialiser::zeros, "zeros", "zeros", 0, false},
    {Initialiser::ones, "ones", "ones", 0, false},
    {Initialiser::constant, "constant", "constant(value)", 1, false},
    {Initialiser::uniform, "uniform", "uniform(low, high)", 2, false},
    {Initialiser::normal, "normal", "normal(mean, deviation)", 2, false},
    {Initialiser::xavier, "xavier", "xavier", 0, true},
    {Initialiser::kaiming, "kaiming", "kaiming", 0, true},
    {Initialiser::orthogonal, "orthogonal", "orthogonal", 0, true},
};

const Row& row_of(Initialiser kind) { return rows[static_cast<int>(kind)]; }

}  // namespace

std::optional<Initialiser> initialiser_from_string(std::string_view name) {
  for (const Row& row : rows)
    if (row.name == name) return row.kind;
  return std::nullopt;
}

std::string_view to_string(Initialiser kind) { return row_of(kind).name; }

std::vector<std::string_view> initialiser_names() {
  std::vector<std::string_view> out;
  for (const Row& row : rows) out.push_back(row.name);
  return out;
}

int argument_count(Initialiser kind) { return row_of(kind).arguments; }

std::string_view usage(Initialiser kind) { return row_of(kind).usage; }

std::string to_string(const InitialiserSpec& spec) {
  switch (argument_count(spec.kind)) {
    case 0: return std::string(to_string(spec.kind));
    case 1: return fmt::format("{}({})", to_string(spec.kind), spec.a);
    default: return fmt::format("{}({}, {})", to_string(spec.kind), spec.a, spec.b);
  }
}

std::optional<InitialiserSpec> parse_initialiser(std::string_view text) {
  const std::size_t open = text.find('(');
  const auto kind = initialiser_from_string(text.substr(0, open));
  if (!kind) return std::nullopt;
  InitialiserSpec out{*kind, 0, 0};
  int count = 0;
  if (open != std::string_view::npos) {
    const std::string numbers(text.substr(open));
    int end = 0;
    if (std::sscanf(numbers.c_str(), "( %lf )%n", &out.a, &end) == 1 && end > 0)
      count = 1;
    else if (std::sscanf(numbers.c_str(), "( %lf , %lf )%n", &out.a, &out.b, &end) == 2 && end > 0)
      count = 2;
    if (static_cast<std::size_t>(end) != numbers.size()) return std::nullopt;
  }
  if (count != argument_count(*kind)) return std::nullopt;
  return out;
}

void check_initialiser(const InitialiserSpec& spec, std::size_t rank, std::string_view path) {
  const auto wrong = [&](std::string_view why) {
    throw_user_error("T0982", fmt::format("{}: {}: {}", path, to_string(spec), why));
  };
  if (!std::isfinite(spec.a) || !std::isfinite(spec.b)) wrong("a number is not finite");
  if (spec.kind == Initialiser::uniform && spec.a > spec.b)
    wrong("the lower end is above the upper");
  if (spec.kind == Initialiser::normal && spec.b < 0) wrong("the standard deviation is negative");
  if (row_of(spec.kind).matrix && rank < 2)
    throw_user_error("T0981",
                     fmt::format("{}: '{}' needs a matrix, the parameter has {} dimension{}", path,
                                 to_string(spec.kind), rank, rank == 1 ? "" : "s"),
                     "use zeros, ones, constant, uniform or normal");
}

}  // namespace treadle
