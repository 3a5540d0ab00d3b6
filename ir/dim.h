// Symbolic dimensions: integer expressions over named, non-negative symbols.
#pragma once
#include <compare>
#include <cstdint>
#include <map>
#include <memory>
#include <optional>
#include <set>
#include <string>
#include <string_view>
#include <vector>

namespace treadle {

// Values of the symbols when a graph is run.
using DimEnv = std::map<std::string, std::int64_t>;

// A dimension in normal form: a polynomial with integer coefficients over
// atoms, an atom being a symbol, `floor(e / k)` or `max(e, k)` for a constant
// k. Two dimensions are equal for all symbol values that the language can
// write if and only if their normal forms are equal.
//
// A symbol may be *ragged*: its value differs from example to example of a
// batch. It prints as `~T`. A batched type `f32[B, ~T, 8]` means, logically,
// [B, T_i, 8], and is stored as dense rows: the examples one after another,
// sum(T_i) rows of 8, plus offsets.
class Dim {
 public:
  Dim(std::int64_t constant = 0);  // NOLINT: an integer is a dimension
  static Dim symbol(std::string name, bool ragged = false);
  // The text form: + - * / with the usual precedence, max(e, k), ~T.
  // Throws UserError T0190 on anything else.
  static Dim parse(std::string_view text);

  friend Dim operator+(const Dim& a, const Dim& b);
  friend Dim operator-(const Dim& a, const Dim& b);
  friend Dim operator*(const Dim& a, const Dim& b);
  Dim floor_div(std::int64_t divisor) const;  // divisor > 0
  Dim at_least(std::int64_t bound) const;     // max(*this, bound)
  // *this / divisor when the division is exact for all symbol values.
  std::optional<Dim> exact_div(const Dim& divisor) const;

  std::optional<std::int64_t> constant() const;
  bool is_constant() const { return constant().has_value(); }
  bool is_ragged() const;  // contains a ragged symbol
  void collect_symbols(std::set<std::string>& into) const;
  bool mentions(const std::string& symbol) const;
  std::optional<std::string> bare_symbol() const;  // the name, when it is one symbol alone

  Dim substitute(const std::map<std::string, Dim>& replacements) const;
  // Throws InternalError when a symbol has no value; floor division is towards
  // minus infinity.
  std::int64_t evaluate(const DimEnv& env) const;
  std::string to_string() const;  // parses back to an equal dimension

  friend bool operator==(const Dim& a, const Dim& b);
  friend std::strong_ordering operator<=>(const Dim& a, const Dim& b);

  enum class AtomKind : std::uint8_t { symbol, floor_div, at_least };
  struct Atom {
    AtomKind kind = AtomKind::symbol;
    std::string name;                // symbol
    bool ragged = false;             // symbol
    std::shared_ptr<const Dim> arg;  // floor_div, at_least
    std::int64_t k = 0;              // divisor or bound
    friend std::strong_ordering operator<=>(const Atom& a, const Atom& b);
    friend bool operator==(const Atom& a, const Atom& b);
  };
  struct Term {
    std::vector<Atom> atoms;  // sorted, repeated for powers
    std::int64_t coefficient = 0;
  };
  // Sorted by atoms, no zero coefficients, the constant term last.
  const std::vector<Term>& terms() const { return terms_; }

 private:
  static Dim from_atom(Atom atom);
  void normalise();
  std::vector<Term> terms_;
};

using Dims = std::vector<Dim>;
Dim product(const Dims& dims);
std::string to_string(const Dims& dims);  // "B, T, 4*H"

}  // namespace treadle
