// The syntax tree of a Treadle source file: what the parser builds, the
// formatter prints and the elaborator turns into a Graph. Plain data; names are
// not resolved and nothing is typed. Every node knows its source range.
//
// Grammar, in short (brackets hide newlines; `;` or a newline ends a statement;
// a line that ends in a comma or a binary operator goes on):
//
//   module     = { import | dim | definition | clauses }
//   import     = "import" STRING
//   dim        = "dim" NAME [ "=" expr ] { "," ... }
//   definition = ( "cell" | "block" | "model" ) NAME [ "[" generics "]" ]
//                "(" parameters ")" [ "where" expr ] "{" statements "}"
//   generic    = [ "cell" | "block" ] NAME [ "=" expr ]
//   parameter  = ( NAME | "(" patterns ")" ) ":" type [ "=" expr ]
//   clauses    = ( "train" | "eval" | "generate" ) subject [ STRING ] "{" clause... "}"
//              | "test" STRING "{" clause... "}"
//   clause     = WORD item { "," item }        item = { WORD } [ NAME ( ":" | "=" ) ] expr
//   statement  = "param" NAME {"," NAME} ":" type [ "~" initialiser ]
//              | "let" NAME "=" expr
//              | target {"," target} "=" expr {"," expr}
//              | "return" result {"," result}         result = [ NAME ":" ] expr
//              | "yield" result {"," result}
//              | expr
//   dim        = expr | "..." [ NAME ]
//   type       = NAME [ "(" arguments ")" ] [ "[" dims "]" ]    real[T, H], token(V)[T], mask[T, S]
//              | "(" types ")" | "state" callable
//
// Operators, loosest first: `a if c else b`; `or`; `and`; `not`; comparisons
// (they do not chain); `+ -`; `* / % @`; unary `-`; `**` (groups to the right);
// calls, subscripts and members. `scan` and `stack` are operands.
#pragma once
#include <cstdint>
#include <memory>
#include <optional>
#include <string>
#include <string_view>
#include <variant>
#include <vector>

#include "ir/source.h"

namespace treadle::syntax {

struct Expr;
using ExprPtr = std::unique_ptr<Expr>;

// A name where it is written.
struct Identifier {
  std::string text;
  SourceRange range;
};

// `value` or `name: value` (in a clause also `name = value`). In a call, a
// `return` or a clause.
struct Argument {
  std::optional<Identifier> name;
  ExprPtr value;
  SourceRange range;
};

// ---- expressions ---------------------------------------------------------

// 65, 0.02, 1e-5, 64 MiB. A byte size is an integer of that many bytes.
struct Number {
  std::string spelling;      // as written, with the unit: "1_000", "64 MiB"
  double value = 0;          // always set
  std::int64_t integer = 0;  // set when is_integer
  bool is_integer = false;
  bool is_byte_size = false;
};

struct String {
  std::string value;  // escapes resolved; may hold any byte
};

struct Bool {
  bool value = false;
};

// A variable, parameter, dim, definition or built-in: the elaborator decides.
struct Name {
  std::string text;
};

// callee(arguments). The callee of `dense[V](hs)` is an Index over `dense`.
struct Call {
  ExprPtr callee;
  std::vector<Argument> arguments;
};

// One subscript: `value`, or a slice `begin:end` of which both may be absent.
struct Subscript {
  bool is_slice = false;
  ExprPtr value;       // when not a slice
  ExprPtr begin, end;  // when a slice; null where left out
  SourceRange range;
};

// base[subscripts]: generic arguments (`LSTM[E, H]`), rows of a table
// (`embedding[text]`), an element or a slice (`x[1:]`). Which one depends on
// what the base names, so the elaborator decides.
struct Index {
  ExprPtr base;
  std::vector<Subscript> subscripts;  // never empty
};

// base.name
struct Member {
  ExprPtr base;
  Identifier name;
};

enum class UnaryOp : std::uint8_t { negate, logical_not };
struct Unary {
  UnaryOp op;
  ExprPtr operand;
};

enum class BinaryOp : std::uint8_t {
  logical_or,
  logical_and,
  equal,
  not_equal,
  less,
  less_equal,
  greater,
  greater_equal,
  add,
  subtract,
  multiply,
  divide,
  modulo,
  matmul,
  power,
};
struct Binary {
  BinaryOp op;
  ExprPtr left, right;
  SourceRange op_range;  // the operator itself
};

// then_value if condition else else_value
struct Conditional {
  ExprPtr condition, then_value, else_value;
};

// (a, b). Also the right side of `x, y = a, b`, without parentheses.
struct Tuple {
  std::vector<ExprPtr> elements;  // (a,) has one; () has none
};

// scan [reverse] CELL over SEQUENCE [from STATE] [unroll [COUNT]] [remat(budget: SIZE)]
// Its value is (outputs, final state).
struct Scan {
  bool reverse = false;
  ExprPtr cell;                    // Name, Index, Stack, or a Call with constant arguments
  std::vector<ExprPtr> sequences;  // `over x`: one; `over (x, y)`: two, stepped together
  ExprPtr from;                    // null: the cell's default state
  bool unroll = false;
  ExprPtr unroll_count;  // null with unroll: unroll all steps
  ExprPtr budget;        // of what is kept for the gradient, a byte size; null: everything is kept
};

// A callable made of layers, each with its own parameters:
//   stack 3 of LSTM[H, H]               count and one layer
//   stack (LSTM[E, H], LSTM[H, H])      no count, the layers in order
// Layer i is fed by layer i-1. As a cell its state is the tuple of its layers'
// states; as a block the first argument runs through and the others go to all.
struct Stack {
  ExprPtr count;  // null in the second form
  std::vector<ExprPtr> layers;
};

struct Expr {
  std::variant<Number, String, Bool, Name, Call, Index, Member, Unary, Binary, Conditional, Tuple,
               Scan, Stack>
      node;
  SourceRange range;
  std::uint32_t height = 1;  // of the tree; the parser bounds it by max_tree_height
};

// No tree that the parser returns is higher: recursion over it is safe.
inline constexpr std::uint32_t max_tree_height = 500;

// The node as `T`, or null: `if (const auto* call = as<Call>(expr))`.
template <typename T>
const T* as(const Expr& expr) {
  return std::get_if<T>(&expr.node);
}
template <typename T>
const T* as(const ExprPtr& expr) {
  return expr ? std::get_if<T>(&expr->node) : nullptr;
}

std::string_view to_string(BinaryOp op);  // "+", "and", "**"
std::string_view to_string(UnaryOp op);   // "-", "not"

// ---- types ---------------------------------------------------------------

struct TypeExpr;
using TypePtr = std::unique_ptr<TypeExpr>;

// real[T, 4*H], f32, i64[T], bool, token(V)[T], mask[T, S]
struct ElementType {
  Identifier element;               // any word: the elaborator knows which exist
  std::vector<Argument> arguments;  // the V of token(V)
  std::vector<ExprPtr> dims;        // empty: a scalar; the Name "..." or "...A": any leading ones
};
struct TupleType {
  std::vector<TypePtr> elements;
};
// state CALLABLE: the type of what that cell, stack or model carries.
struct StateType {
  ExprPtr of;
};
struct TypeExpr {
  std::variant<ElementType, TupleType, StateType> node;
  SourceRange range;
};

// ---- statements ----------------------------------------------------------

// What is bound: a name, `_` (nothing), or a tuple of patterns.
struct Pattern {
  std::string name;               // empty for a tuple
  std::vector<Pattern> elements;  // of a tuple
  bool is_tuple = false;
  SourceRange range;
};

// param W, U: real[I, H] ~ xavier
struct Param {
  std::vector<Identifier> names;
  TypePtr type;
  ExprPtr initialiser;  // Name or Call; null: the elaborator's default
};
// a, (b, c) = value. Several targets take the value apart; `x, y = a, b` holds
// a Tuple value.
struct Assign {
  std::vector<Pattern> targets;
  ExprPtr value;
};
// let shared = LSTM[E, H]: an instance whose parameters all its uses share.
struct Let {
  Identifier name;
  ExprPtr value;
};
// yield output..., carry: of a cell; the last value is the carried state.
struct Yield {
  std::vector<Argument> values;
};
// return logits: a, state: b
struct Return {
  std::vector<Argument> values;
};
struct ExprStatement {
  ExprPtr value;
};
struct Statement {
  std::variant<Param, Assign, Let, Yield, Return, ExprStatement> node;
  SourceRange range;
};

// ---- declarations --------------------------------------------------------

struct DimDecl {
  struct Entry {
    Identifier name;
    ExprPtr value;  // null: a symbol that stays free
  };
  std::vector<Entry> entries;
};

struct Import {
  Identifier path;  // the string's value
};

// A generic of a definition: a dim, or a cell or block to build from.
struct Generic {
  enum class Kind : std::uint8_t { dim, cell, block };
  Kind kind = Kind::dim;
  Identifier name;
  ExprPtr default_value;  // may be null
};

struct Parameter {
  Pattern pattern;  // x, or (h, c)
  TypePtr type;
  ExprPtr default_value;  // may be null
  SourceRange range;
};

struct Definition {
  enum class Kind : std::uint8_t { cell, block, model };
  Kind kind = Kind::cell;
  Identifier name;
  std::vector<Generic> generics;
  std::vector<Parameter> parameters;
  ExprPtr where;  // a condition on dims; may be null
  std::vector<Statement> body;
  SourceRange header;  // from the keyword to before `{`
};

// One item of a clause: bare words, then a value. `window 128` is the word
// `window` and the value 128; `per token f(x)` has the words `per` and `token`;
// a word that nothing follows is a value, the Name of that word.
struct ClauseItem {
  std::vector<Identifier> words;
  Argument argument;         // name set for `order: 2` and `perplexity = exp(loss)`
  bool name_equals = false;  // `=` was written, not `:`
  SourceRange range;
};
// keyword item, item, ...: `data text("input.txt"), window 128, lanes 32` or
// `shuffle` alone. Which keywords and words exist is the elaborator's to say.
struct Clause {
  Identifier keyword;
  std::vector<ClauseItem> items;  // may be empty
  SourceRange range;
};
struct ClauseBlock {
  enum class Kind : std::uint8_t { train, eval, generate, test };
  Kind kind = Kind::train;
  std::vector<ExprPtr> subjects;    // the models, each under these clauses; none for a test
  std::optional<Identifier> title;  // the string's value; a test always has one
  std::vector<Clause> clauses;
};

struct Declaration {
  std::variant<DimDecl, Import, Definition, ClauseBlock> node;
  std::string doc;  // the `##` lines right above, without the marks; may be empty
  SourceRange range;
};

// A comment in the source, in order. The formatter puts it back.
struct Comment {
  std::string text;  // from its '#' to the end of the line, trailing blanks removed
  SourceRange range;
  bool own_line = false;  // nothing but blanks before it
  bool doc = false;       // "## ..."
};

struct Module {
  SourceFilePtr file;
  std::vector<Declaration> declarations;
  std::vector<Comment> comments;
};

// A dump that shows the structure and leaves out ranges and comments: two
// modules are the same program when their dumps are equal.
std::string dump(const Module& module);
std::string dump(const Expr& expr);

}  // namespace treadle::syntax
