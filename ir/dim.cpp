#include "ir/dim.h"

#include <fmt/format.h>

#include <algorithm>
#include <cctype>
#include <limits>
#include <utility>

#include "ir/diagnostic.h"

namespace treadle {
namespace {

std::int64_t checked_add(std::int64_t a, std::int64_t b) {
  std::int64_t out = 0;
  if (__builtin_add_overflow(a, b, &out))
    throw_user_error("T0391", "a dimension overflows 64 bits");
  return out;
}

std::int64_t checked_mul(std::int64_t a, std::int64_t b) {
  std::int64_t out = 0;
  if (__builtin_mul_overflow(a, b, &out))
    throw_user_error("T0391", "a dimension overflows 64 bits");
  return out;
}

std::int64_t floor_divide(std::int64_t a, std::int64_t b) {
  const std::int64_t q = a / b;
  return a % b != 0 && (a < 0) != (b < 0) ? q - 1 : q;
}

// More atoms first, so that the constant term comes last.
std::strong_ordering compare_atoms(const std::vector<Dim::Atom>& a,
                                   const std::vector<Dim::Atom>& b) {
  if (a.size() != b.size()) return b.size() <=> a.size();
  for (std::size_t i = 0; i < a.size(); ++i)
    if (const auto order = a[i] <=> b[i]; order != 0) return order;
  return std::strong_ordering::equal;
}

}  // namespace

std::strong_ordering operator<=>(const Dim::Atom& a, const Dim::Atom& b) {
  if (a.kind != b.kind) return a.kind <=> b.kind;
  if (a.kind == Dim::AtomKind::symbol) {
    if (const auto order = a.name.compare(b.name); order != 0) return order <=> 0;
    return a.ragged <=> b.ragged;
  }
  if (a.k != b.k) return a.k <=> b.k;
  return *a.arg <=> *b.arg;
}
bool operator==(const Dim::Atom& a, const Dim::Atom& b) { return (a <=> b) == 0; }

std::strong_ordering operator<=>(const Dim& a, const Dim& b) {
  for (std::size_t i = 0; i < a.terms_.size() && i < b.terms_.size(); ++i) {
    if (const auto order = compare_atoms(a.terms_[i].atoms, b.terms_[i].atoms); order != 0)
      return order;
    if (const auto order = a.terms_[i].coefficient <=> b.terms_[i].coefficient; order != 0)
      return order;
  }
  return a.terms_.size() <=> b.terms_.size();
}
bool operator==(const Dim& a, const Dim& b) { return (a <=> b) == 0; }

Dim::Dim(std::int64_t constant) {
  if (constant != 0) terms_.push_back({{}, constant});
}

Dim Dim::from_atom(Atom atom) {
  Dim out;
  out.terms_.push_back({{std::move(atom)}, 1});
  return out;
}

Dim Dim::symbol(std::string name, bool ragged) {
  Atom atom;
  atom.name = std::move(name);
  atom.ragged = ragged;
  return from_atom(std::move(atom));
}

void Dim::normalise() {
  for (Term& term : terms_) std::sort(term.atoms.begin(), term.atoms.end());
  std::sort(terms_.begin(), terms_.end(),
            [](const Term& a, const Term& b) { return compare_atoms(a.atoms, b.atoms) < 0; });
  std::vector<Term> merged;
  for (Term& term : terms_) {
    if (!merged.empty() && compare_atoms(merged.back().atoms, term.atoms) == 0)
      merged.back().coefficient = checked_add(merged.back().coefficient, term.coefficient);
    else
      merged.push_back(std::move(term));
  }
  std::erase_if(merged, [](const Term& term) { return term.coefficient == 0; });
  terms_ = std::move(merged);
}

Dim operator+(const Dim& a, const Dim& b) {
  Dim out = a;
  out.terms_.insert(out.terms_.end(), b.terms_.begin(), b.terms_.end());
  out.normalise();
  return out;
}

Dim operator-(const Dim& a, const Dim& b) { return a + b * Dim(-1); }

Dim operator*(const Dim& a, const Dim& b) {
  Dim out;
  for (const Dim::Term& x : a.terms_) {
    for (const Dim::Term& y : b.terms_) {
      Dim::Term term{x.atoms, checked_mul(x.coefficient, y.coefficient)};
      term.atoms.insert(term.atoms.end(), y.atoms.begin(), y.atoms.end());
      out.terms_.push_back(std::move(term));
    }
  }
  out.normalise();
  return out;
}

std::optional<std::int64_t> Dim::constant() const {
  if (terms_.empty()) return 0;
  if (terms_.size() == 1 && terms_[0].atoms.empty()) return terms_[0].coefficient;
  return std::nullopt;
}

Dim Dim::floor_div(std::int64_t divisor) const {
  ensure(divisor > 0, "dim", "floor division by a number that is not positive");
  if (divisor == 1) return *this;
  // floor((k*X + r) / k) = X + floor(r / k)
  Dim whole, rest;
  for (const Term& term : terms_) {
    const std::int64_t q = floor_divide(term.coefficient, divisor);
    const std::int64_t r = term.coefficient - q * divisor;
    const bool keep_together = !term.atoms.empty() && r != 0;
    if (keep_together) {
      rest.terms_.push_back(term);
      continue;
    }
    if (q != 0) whole.terms_.push_back({term.atoms, q});
    if (r != 0) rest.terms_.push_back({term.atoms, r});
  }
  whole.normalise();
  rest.normalise();
  if (const auto value = rest.constant()) return whole + Dim(floor_divide(*value, divisor));
  Atom atom;
  atom.kind = AtomKind::floor_div;
  atom.arg = std::make_shared<const Dim>(std::move(rest));
  atom.k = divisor;
  return whole + from_atom(std::move(atom));
}

Dim Dim::at_least(std::int64_t bound) const {
  if (const auto value = constant()) return Dim(std::max(*value, bound));
  // Symbols are never negative, so a sum with non-negative coefficients is at
  // least its constant term.
  std::int64_t least = 0;
  bool bounded = true;
  for (const Term& term : terms_) {
    if (term.atoms.empty()) {
      least = term.coefficient;
      continue;
    }
    if (term.coefficient < 0) bounded = false;
    for (const Atom& atom : term.atoms)
      if (atom.kind != AtomKind::symbol && !(atom.kind == AtomKind::at_least && atom.k >= 0))
        bounded = false;
  }
  if (bounded && least >= bound) return *this;
  if (terms_.size() == 1 && terms_[0].coefficient == 1 && terms_[0].atoms.size() == 1 &&
      terms_[0].atoms[0].kind == AtomKind::at_least) {
    if (terms_[0].atoms[0].k >= bound) return *this;
    return terms_[0].atoms[0].arg->at_least(bound);
  }
  Atom atom;
  atom.kind = AtomKind::at_least;
  atom.arg = std::make_shared<const Dim>(*this);
  atom.k = bound;
  return from_atom(std::move(atom));
}

std::optional<Dim> Dim::exact_div(const Dim& divisor) const {
  if (divisor.terms_.size() != 1) return std::nullopt;
  const Term& by = divisor.terms_[0];
  Dim out;
  for (const Term& term : terms_) {
    if (term.coefficient % by.coefficient != 0) return std::nullopt;
    Term quotient{{}, term.coefficient / by.coefficient};
    std::vector<Atom> left = by.atoms;
    for (const Atom& atom : term.atoms) {
      const auto found = std::find(left.begin(), left.end(), atom);
      if (found == left.end())
        quotient.atoms.push_back(atom);
      else
        left.erase(found);
    }
    if (!left.empty()) return std::nullopt;
    out.terms_.push_back(std::move(quotient));
  }
  out.normalise();
  return out;
}

bool Dim::is_ragged() const {
  for (const Term& term : terms_)
    for (const Atom& atom : term.atoms)
      if (atom.kind == AtomKind::symbol ? atom.ragged : atom.arg->is_ragged()) return true;
  return false;
}

void Dim::collect_symbols(std::set<std::string>& into) const {
  for (const Term& term : terms_)
    for (const Atom& atom : term.atoms) {
      if (atom.kind == AtomKind::symbol)
        into.insert(atom.name);
      else
        atom.arg->collect_symbols(into);
    }
}

bool Dim::mentions(const std::string& symbol) const {
  std::set<std::string> symbols;
  collect_symbols(symbols);
  return symbols.contains(symbol);
}

std::optional<std::string> Dim::bare_symbol() const {
  const bool bare = terms_.size() == 1 && terms_[0].coefficient == 1 &&
                    terms_[0].atoms.size() == 1 && terms_[0].atoms[0].kind == AtomKind::symbol;
  if (!bare) return std::nullopt;
  return terms_[0].atoms[0].name;
}

Dim Dim::substitute(const std::map<std::string, Dim>& replacements) const {
  Dim out;
  for (const Term& term : terms_) {
    Dim factor(term.coefficient);
    for (const Atom& atom : term.atoms) {
      switch (atom.kind) {
        case AtomKind::symbol: {
          const auto found = replacements.find(atom.name);
          factor = factor * (found == replacements.end() ? from_atom(atom) : found->second);
          break;
        }
        case AtomKind::floor_div:
          factor = factor * atom.arg->substitute(replacements).floor_div(atom.k);
          break;
        case AtomKind::at_least:
          factor = factor * atom.arg->substitute(replacements).at_least(atom.k);
          break;
      }
    }
    out = out + factor;
  }
  return out;
}

std::int64_t Dim::evaluate(const DimEnv& env) const {
  std::int64_t sum = 0;
  for (const Term& term : terms_) {
    std::int64_t value = term.coefficient;
    for (const Atom& atom : term.atoms) {
      std::int64_t factor = 0;
      if (atom.kind == AtomKind::symbol) {
        const auto found = env.find(atom.name);
        ensure(found != env.end(), "dim", "dimension '" + atom.name + "' has no value");
        factor = found->second;
      } else {
        const std::int64_t arg = atom.arg->evaluate(env);
        factor =
            atom.kind == AtomKind::floor_div ? floor_divide(arg, atom.k) : std::max(arg, atom.k);
      }
      value = checked_mul(value, factor);
    }
    sum = checked_add(sum, value);
  }
  return sum;
}

std::string Dim::to_string() const {
  if (terms_.empty()) return "0";
  std::string out;
  for (const Term& term : terms_) {
    std::string text;
    const std::int64_t magnitude = term.coefficient < 0 ? -term.coefficient : term.coefficient;
    if (term.atoms.empty() || magnitude != 1) text = std::to_string(magnitude);
    for (const Atom& atom : term.atoms) {
      if (!text.empty()) text += "*";
      switch (atom.kind) {
        case AtomKind::symbol: text += (atom.ragged ? "~" : "") + atom.name; break;
        // A product in front of '/' would be divided too: keep it apart.
        case AtomKind::floor_div:
          text += fmt::format("(({})/{})", atom.arg->to_string(), atom.k);
          break;
        case AtomKind::at_least:
          text += fmt::format("max({}, {})", atom.arg->to_string(), atom.k);
          break;
      }
    }
    if (out.empty())
      out = (term.coefficient < 0 ? "-" : "") + text;
    else
      out += (term.coefficient < 0 ? " - " : " + ") + text;
  }
  return out;
}

namespace {

class DimParser {
 public:
  explicit DimParser(std::string_view text) : text_(text) {}
  Dim parse() {
    Dim out = sum();
    skip();
    if (at_ != text_.size()) fail();
    return out;
  }

 private:
  [[noreturn]] void fail() const {
    throw_user_error("T0190", fmt::format("'{}' is not a dimension", text_),
                     "a dimension is made of names, integers, + - * /, and max(e, k)");
  }
  void skip() {
    while (at_ < text_.size() && std::isspace(static_cast<unsigned char>(text_[at_]))) ++at_;
  }
  bool accept(char c) {
    skip();
    if (at_ >= text_.size() || text_[at_] != c) return false;
    ++at_;
    return true;
  }
  Dim sum() {
    if (++depth_ > 100) fail();
    Dim out = accept('-') ? Dim(0) - product() : product();
    for (;;) {
      if (accept('+'))
        out = out + product();
      else if (accept('-'))
        out = out - product();
      else
        break;
    }
    --depth_;
    return out;
  }
  Dim product() {
    Dim out = atom();
    for (;;) {
      if (accept('*')) {
        out = out * atom();
      } else if (accept('/')) {
        const auto divisor = atom().constant();
        if (!divisor || *divisor <= 0) fail();
        out = out.floor_div(*divisor);
      } else {
        return out;
      }
    }
  }
  Dim atom() {
    skip();
    if (accept('(')) {
      Dim out = sum();
      if (!accept(')')) fail();
      return out;
    }
    const bool ragged = accept('~');
    skip();
    const std::size_t begin = at_;
    while (at_ < text_.size() && (std::isalnum(static_cast<unsigned char>(text_[at_])) ||
                                  text_[at_] == '_' || text_[at_] == '.'))
      ++at_;
    const std::string word(text_.substr(begin, at_ - begin));
    if (word.empty()) fail();
    if (std::isdigit(static_cast<unsigned char>(word[0]))) {
      std::int64_t value = 0;
      for (const char c : word) {
        if (!std::isdigit(static_cast<unsigned char>(c))) fail();
        value = checked_add(checked_mul(value, 10), c - '0');
      }
      return ragged ? (fail(), Dim()) : Dim(value);
    }
    if (word == "max" && accept('(')) {
      Dim arg = sum();
      if (!accept(',')) fail();
      const auto bound = sum().constant();
      if (!bound || !accept(')')) fail();
      return arg.at_least(*bound);
    }
    return Dim::symbol(word, ragged);
  }
  std::string_view text_;
  std::size_t at_ = 0;
  int depth_ = 0;
};

}  // namespace

Dim Dim::parse(std::string_view text) { return DimParser(text).parse(); }

Dim product(const Dims& dims) {
  Dim out(1);
  for (const Dim& dim : dims) out = out * dim;
  return out;
}

std::string to_string(const Dims& dims) {
  std::string out;
  for (const Dim& dim : dims) out += (out.empty() ? "" : ", ") + dim.to_string();
  return out;
}

}  // namespace treadle
