// What an expression means while a definition is being elaborated.
#pragma once
#include <map>
#include <memory>
#include <optional>
#include <string>
#include <variant>
#include <vector>

#include "frontend/syntax.h"
#include "ir/graph.h"

namespace treadle::elaboration {

// How the source spells a dimension, and where: for messages only.
struct Origin {
  std::string text;
  SourceRange range;
};

// A value of the graph. `level` counts the scan bodies around its node.
struct TensorValue {
  std::size_t level = 0;
  Value value;
  Type type;
  std::vector<Origin> origins;  // one a dim, or none at all; an empty text where unknown
  std::optional<Dim> classes;   // of tokens: they lie in [0, classes)
};

// A number that is not an integer; takes the type of what it meets.
struct NumberValue {
  double value = 0;
};
// An integer made of dims and numbers alone.
struct DimValue {
  Dim dim;
};
struct BoolValue {
  bool value = false;
};
struct StringValue {
  std::string value;
};
// `zeros` or `ones` without dims: every element the same, of whatever type is
// asked for.
struct FillValue {
  double value = 0;
};
// `params`: every parameter, for penalties.
struct ParametersValue {};
// `none`: an argument that was left out and whose default says so.
struct NoneValue {};
// The result of an expression that was already reported.
struct Poison {};

struct Any;
struct TupleValue {
  std::vector<Any> elements;
};

struct ModuleScope;

// Something that can be called or scanned: a definition with (some of) its
// generics, a stack of such, or a built-in function.
struct Callable {
  enum class Kind : std::uint8_t { definition, stack, builtin };
  Kind kind = Kind::definition;
  const syntax::Definition* definition = nullptr;
  const ModuleScope* module = nullptr;  // where the definition stands
  std::string builtin;
  std::vector<Any> generics;  // in order; fewer than declared: the rest is inferred
  std::vector<Any> layers;    // of a stack
  // An instance named by `let` has the path of its parameters; others get one
  // at each call.
  std::optional<std::string> path;
};
using CallablePtr = std::shared_ptr<const Callable>;

struct Any {
  std::variant<Poison, TensorValue, NumberValue, DimValue, BoolValue, StringValue, FillValue,
               ParametersValue, NoneValue, TupleValue, CallablePtr>
      node;

  template <typename T>
  const T* as() const {
    return std::get_if<T>(&node);
  }
  bool is_poison() const { return as<Poison>() != nullptr; }
  const Callable* callable() const {
    const auto* pointer = as<CallablePtr>();
    return pointer ? pointer->get() : nullptr;
  }
};

// What a name means in a scope.
struct Binding {
  enum class Kind : std::uint8_t { local, argument, parameter, dim, instance, generic };
  Any value;
  Kind kind = Kind::local;
  SourceRange range;  // of its declaration
  bool used = false;
  bool unbound = false;  // a generic whose value is still to be inferred
};

// The names that a file sees; those of the standard library are behind them.
struct ModuleScope {
  std::shared_ptr<const syntax::Module> syntax;
  bool is_standard = false;
  struct Definition {
    const syntax::Definition* syntax = nullptr;
    const ModuleScope* module = nullptr;
  };
  struct NamedDim {
    SourceRange range;
    const syntax::Expr* value = nullptr;  // null: a free symbol
    const ModuleScope* module = nullptr;  // where it is declared
  };
  // Its own and those of the files that it imports, not what those import.
  std::map<std::string, Definition> definitions;
  std::vector<std::string> dim_order;
  std::map<std::string, NamedDim> dims;
  const ModuleScope* standard = nullptr;  // null for the standard library itself
};

}  // namespace treadle::elaboration
