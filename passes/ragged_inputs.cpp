#include "passes/ragged_inputs.h"

#include <algorithm>
#include <cctype>
#include <set>

namespace treadle {
namespace {

// A dimension's text as part of a symbol's name: "max(T - 1, 0)" becomes
// "max_T_minus_1__0_".
std::string as_name(const std::string& text) {
  std::string out;
  for (const char c : text) {
    if (std::isalnum(static_cast<unsigned char>(c)) || c == '_' || c == '.')
      out += c;
    else if (c == '-')
      out += "minus";
    else if (c == '+')
      out += "plus";
    else if (c == '*')
      out += "_times_";
    else if (c == '/')
      out += "_over_";
    else
      out += '_';
  }
  // A name does not begin with a digit: 3*T.
  return !out.empty() && std::isdigit(static_cast<unsigned char>(out[0])) ? "_" + out : out;
}

// Larger where its symbols are larger.
bool grows(const Dim& e) {
  return std::all_of(e.terms().begin(), e.terms().end(), [](const Dim::Term& term) {
    if (!term.atoms.empty() && term.coefficient < 0) return false;
    return std::all_of(term.atoms.begin(), term.atoms.end(), [](const Dim::Atom& atom) {
      return atom.kind == Dim::AtomKind::symbol || grows(*atom.arg);
    });
  });
}

}  // namespace

std::vector<std::string> ragged_symbols(const Graph& graph) {
  std::vector<std::string> out;
  for (const NodeId id : graph.inputs()) {
    for (const Dim& dim : graph.node(id).types[0].dims) {
      if (!dim.is_ragged()) continue;
      std::set<std::string> symbols;
      dim.collect_symbols(symbols);
      for (const std::string& name : symbols)
        if (std::find(out.begin(), out.end(), name) == out.end()) out.push_back(name);
    }
  }
  return out;
}

Dim for_one_example(const Dim& dim) {
  std::set<std::string> symbols;
  dim.collect_symbols(symbols);
  std::map<std::string, Dim> plain;
  for (const std::string& name : symbols) plain.emplace(name, Dim::symbol(name));
  return dim.substitute(plain);
}

Dim RaggedInputs::symbol(const Dim& e, const char* what) {
  return Dim::symbol(as_name(for_one_example(e).to_string()) + "." + what);
}

Dim RaggedInputs::active(const Dim& e) { return symbol(e, "active"); }

// The inputs that give the symbols their values stand in the graph too.
Dim RaggedInputs::rows(const Dim& e) {
  examples(e);
  return symbol(e, "rows");
}
Dim RaggedInputs::longest(const Dim& e) {
  counts(e);
  return symbol(e, "longest");
}

Value RaggedInputs::input(const std::string& what, const Dim& e, Dims dims) {
  const std::string name = what + "(" + for_one_example(e).to_string() + ")";
  const auto found = made_.find(name);
  if (found != made_.end()) return found->second;
  const Value v = b_.input(name, {DType::i32, std::move(dims)},
                           {{"shared", true}, {"role", std::string("ragged")}});
  made_.emplace(name, v);
  return v;
}

Value RaggedInputs::padded(Value rows, const Dim& e) {
  const Dim most = longest(e);
  return b_.gather(b_.pad(rows, 0, 0, 1), input("padded", e, Dims{size_, most}));
}

bool RaggedInputs::in_order(const Dim& e) const {
  std::set<std::string> symbols;
  e.collect_symbols(symbols);
  return symbols == std::set<std::string>{first_symbol_} && grows(e);
}

Value RaggedInputs::ordered(Value x, const Dim& e) {
  return in_order(e) ? x : b_.gather(x, input("order", e, size_));
}
Value RaggedInputs::restored(Value x, const Dim& e) {
  return in_order(e) ? x : b_.gather(x, input("ranks", e, size_));
}

}  // namespace treadle
