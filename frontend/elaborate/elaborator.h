// One graph being made from the syntax tree. Internal to frontend/elaborate.
#pragma once
#include <functional>
#include <map>
#include <memory>
#include <set>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "frontend/elaborate.h"
#include "frontend/elaborate/value.h"
#include "ir/builder.h"

namespace treadle::elaboration {

// Thrown after a mistake was reported: the statement around it is given up and
// what it would have assigned becomes Poison.
struct Failure {};

// Collects diagnostics; the same code at the same place is reported once.
class Reporter {
 public:
  void add(Diagnostic diagnostic);
  bool has_errors() const { return errors_ > 0; }
  const std::vector<Diagnostic>& all() const { return all_; }

 private:
  std::vector<Diagnostic> all_;
  std::set<std::string> seen_;
  std::size_t errors_ = 0;
};

// The names of one activation of a definition (or of a clause block).
struct Scope {
  const ModuleScope* module = nullptr;
  const syntax::Definition* definition = nullptr;
  std::string path;  // of its parameters: "encoder.lstm", "" in a model
  std::map<std::string, Binding> names;
  std::map<std::string, int> segments;  // call sites so far, by path segment
};

// The graph of a scan's step while it is being made; level 0 is the whole graph.
struct Level {
  Graph graph;
  Builder b{graph};
  struct Capture {
    Value outer;  // in the level around
    Value inner;  // an argument node
  };
  std::vector<Capture> captures;
  Dim length;  // of the scan
  Value time;  // argument: the step's index, i64; invalid until asked for
  bool reverse = false;
  bool loops = true;  // false: a part under remat, whose one step is no step of time
};

// The carried values of a scan in the making.
struct ScanFrame {
  struct Carry {
    Value initial;  // in the level around
    Value argument;
    Value final;  // in the step
    Type type;
  };
  std::size_t level = 0;  // of the step
  std::vector<Carry> carries;
};

struct ArgumentValue {
  std::string name;  // empty: by position
  Any value;
  SourceRange range;
};

// What a body gave back.
struct Results {
  std::vector<std::string> names;
  std::vector<Any> values;
  std::vector<SourceRange> ranges;
};

struct GraphOptions {
  DType real = DType::f32;
  Mode mode = Mode::eval;
  std::map<std::string, std::int64_t> dims;
  std::int64_t truncate = 0;  // tbptt window; 0: none
};

class GraphMaker {
 public:
  GraphMaker(const ModuleScope& module, GraphOptions options, Reporter& reporter);
  ~GraphMaker();

  // ---- entry points (definitions.cpp) ----
  // Inputs, body and outputs of a model. `scope` receives its inputs, results
  // and symbols, for the loss. The outputs are added to the graph.
  void model(const ModuleScope::Definition& model, Scope& scope);
  // The body of a cell or block on arguments of unknown sizes. What it reports of
  // names is true of every use; what it reports of dimensions may not be.
  void definition_alone(const ModuleScope::Definition& definition);
  Graph finish();

  // ---- expressions (expressions.cpp) ----
  Any eval(const syntax::Expr& expr, Scope& scope);
  Any eval_or_poison(const syntax::Expr& expr, Scope& scope);
  TensorValue eval_tensor(const syntax::Expr& expr, Scope& scope);
  bool eval_condition(const syntax::Expr& expr, Scope& scope);  // known before running
  void statements(const std::vector<syntax::Statement>& body, Scope& scope, Results& results);
  void bind(const syntax::Pattern& pattern, Any value, Scope& scope, Binding::Kind kind);

  // ---- dims and types (dims.cpp) ----
  Dim eval_dim(const syntax::Expr& expr, Scope& scope);
  std::optional<Dim> try_dim(const syntax::Expr& expr, Scope& scope);
  Dim named_dim(const std::string& name, const ModuleScope& module, const SourceRange& at);
  std::optional<DType> element_type(const std::string& word) const;

  // Meets a declared type with a value: binds names that have no value yet,
  // reports what does not fit, gives `zeros` and numbers their type. Dims that
  // cannot be decided yet are kept for `settle`.
  struct Unification {
    struct Pending {
      const syntax::Expr* expr;
      Dim found;
      Any value;
      const syntax::TypeExpr* type;
      SourceRange range;
      std::string name;
    };
    std::vector<Pending> pending;
    std::map<std::string, Dims> leading;  // what `...` stands for
  };
  Any meet(const syntax::TypeExpr& type, Any value, Scope& scope, Unification& u,
           const SourceRange& range, const std::string& name);
  void settle(Scope& scope, Unification& u);
  // A fresh value of the declared type, leaf by leaf.
  using MakeLeaf =
      std::function<TensorValue(const Type&, const std::vector<Origin>&,
                                const std::optional<Dim>& classes, const std::string& suffix)>;
  Any fresh(const syntax::TypeExpr& type, Scope& scope, const MakeLeaf& leaf,
            const std::string& suffix = {});
  Any fresh_state(const Callable& callable, Scope& scope, const MakeLeaf& leaf,
                  const std::string& suffix, const SourceRange& range);
  // Is `value` the `none` that this parameter has as its default?
  static bool is_left_out(const syntax::Parameter& parameter, const Any& value);
  // Every free name in a type becomes a symbol of that name (or its override).
  void bind_free_symbols(const syntax::TypeExpr& type, Scope& scope);

  // ---- arithmetic (arithmetic.cpp) ----
  Any binary(syntax::BinaryOp op, const Any& a, const Any& b, const syntax::Binary& at,
             const SourceRange& range);
  Any unary_minus(const Any& x, const SourceRange& range);
  TensorValue matmul(const TensorValue& a, const TensorValue& b, const syntax::Binary& at,
                     const SourceRange& range);
  // Both under one type; numbers and dims take the tensor's.
  std::pair<TensorValue, TensorValue> align(const Any& a, const Any& b, std::string_view what,
                                            const SourceRange& range, const SourceRange& a_range,
                                            const SourceRange& b_range);
  TensorValue pointwise(Op op, const std::vector<TensorValue>& operands);
  TensorValue broadcast_to(const TensorValue& x, const Dims& dims,
                           const std::vector<Origin>& origins);
  // A tensor of `like`'s element type: numbers, dims and fills become constants.
  TensorValue to_tensor(const Any& x, DType dtype, const SourceRange& range);
  TensorValue constant(const Type& type, double value);

  // ---- windows.cpp ----
  // `axis` becomes windows of `size` elements.
  TensorValue windows(const TensorValue& x, std::int64_t axis, const Dim& size, std::int64_t stride,
                      std::int64_t dilation, const SourceRange& range);
  // `value` (a scalar, or nothing for zero) before and behind the elements of
  // `axis`.
  TensorValue pad(const TensorValue& x, std::int64_t axis, const Dim& low, const Dim& high,
                  const std::optional<TensorValue>& value, const SourceRange& range);
  // Sums of products over the last `axes` dimensions of x and the first of y.
  TensorValue contract(const TensorValue& x, const TensorValue& y, std::int64_t axes,
                       const SourceRange& range);

  // ---- calls (calls.cpp, builtins.cpp, scan.cpp) ----
  Any call(const syntax::Call& call, const syntax::Expr& expr, Scope& scope);
  Any call_value(const Callable& callable, std::vector<ArgumentValue> arguments, Scope& caller,
                 const SourceRange& range);
  Any call_builtin(const std::string& name, std::vector<ArgumentValue> arguments,
                   const SourceRange& range);
  // grad, jvp, hvp (derivatives.cpp)
  Any derivative(const std::string& name, const std::vector<ArgumentValue>& arguments,
                 const SourceRange& range);
  Any instantiate(const syntax::Index& index, const Callable& callable, Scope& scope,
                  const SourceRange& range);
  Any index(const syntax::Index& index, const syntax::Expr& expr, Scope& scope);
  Any scan(const syntax::Scan& scan, const syntax::Expr& expr, Scope& scope);
  // remat(EXPRESSION, budget: SIZE) (remat.cpp)
  Any remat(const syntax::Call& call, const syntax::Expr& expr, Scope& scope);
  std::int64_t byte_budget(const syntax::Expr& expr);
  Any make_stack(const syntax::Stack& stack, const syntax::Expr& expr, Scope& scope);
  static bool is_builtin(std::string_view name);
  static std::vector<std::string_view> builtin_names();

  // One step of a cell: (inputs, carry) -> (outputs, new carry). `state` is
  // the carry; with a frame it is the scan's initial state, in the level around
  // the step, and may be absent (the cell's default).
  struct Step {
    std::vector<Any> outputs;
    Any carry;
  };
  Step step(const Callable& callable, std::vector<ArgumentValue> inputs, const Any* state,
            const SourceRange& state_range, ScanFrame* frame, Scope& caller,
            const SourceRange& range);

  struct Activation {
    Scope scope;
    Unification u;
  };
  // Binds generics and arguments; with `without_last` the last parameter (a
  // cell's carry) is left out.
  Activation activate(const Callable& callable, std::vector<ArgumentValue> arguments, Scope& caller,
                      bool without_last, const SourceRange& range);
  void check_where(const Callable& callable, Scope& scope, const SourceRange& range);
  Results run(const Callable& callable, Activation& activation, const SourceRange& range);
  Any resolve_callable(const syntax::Expr& expr, Scope& scope);
  std::string call_path(const Callable& callable, Scope& caller, const std::string& segment = {});

  // ---- names (names.cpp) ----
  Any lookup(const std::string& name, Scope& scope, const SourceRange& range);
  [[noreturn]] void unknown_name(const std::string& name, Scope& scope, const SourceRange& range);

  // ---- the graph ----
  Builder& b() { return levels_[current_]->b; }
  Value use(const TensorValue& x);  // in the current level
  TensorValue tensor(Value v) const;
  TensorValue parameter(const std::string& path, const Type& type, std::vector<Origin> origins,
                        const std::string& initialiser, const SourceRange& range);
  // What stands behind `~`, as text of `parse_initialiser`; its numbers are
  // computed.
  std::string initialiser(const syntax::Expr& expr, std::size_t rank, const std::string& path,
                          Scope& scope);
  TensorValue extra_input(const std::string& name, const Type& type, Attributes attributes);
  TensorValue uniform(const Dims& dims, Scope& scope);
  const std::map<std::string, TensorValue>& parameters() const { return parameters_; }
  DType real() const { return options_.real; }
  const GraphOptions& options() const { return options_; }

  // ---- messages (messages.cpp) ----
  [[noreturn]] void fail(std::string code, const SourceRange& range, std::string message,
                         std::string label = {}, std::vector<std::string> hints = {},
                         std::vector<RelatedPlace> related = {});
  void report(Diagnostic diagnostic);
  // Like a mistake, a warning inside the standard library is one of the call.
  void warn(std::string code, const SourceRange& range, std::string message,
            std::vector<std::string> hints = {});
  std::string show(const Any& value) const;  // "real[T, 4*H]", "the number 0.5", "cell LSTM"
  std::string show_type(const TensorValue& x) const;
  std::string show_dtype(DType dtype) const;
  // "H is 256 (line 3)" for each dim whose spelling says more than its value.
  std::vector<std::string> dim_notes(const std::vector<const TensorValue*>& tensors) const;

  // A call into a definition: mistakes inside the standard library are
  // reported at the call in the user's file.
  struct CallSite {
    SourceRange range;
    std::string name;
    bool into_standard = false;
  };
  class CallSiteScope {
   public:
    CallSiteScope(std::vector<CallSite>& sites, CallSite site) : sites_(sites) {
      sites_.push_back(std::move(site));
    }
    ~CallSiteScope() { sites_.pop_back(); }
    CallSiteScope(const CallSiteScope&) = delete;
    CallSiteScope& operator=(const CallSiteScope&) = delete;

   private:
    std::vector<CallSite>& sites_;
  };
  std::vector<CallSite>& call_sites() { return call_sites_; }

  // Runs something that uses the Builder; what it refuses reads as a
  // Diagnostic of the language.
  template <typename F>
  auto guarded(const SourceRange& range, F&& f) {
    const LocationScope location(b(), range);
    try {
      return f();
    } catch (const UserError& error) {
      for (Diagnostic diagnostic : error.diagnostics()) {
        if (!diagnostic.range) diagnostic.range = range;
        report(std::move(diagnostic));
      }
      throw Failure{};
    }
  }

  // Warns where x is select(mask, ..., -inf), the mask follows from sizes alone,
  // and a row of it is false throughout along `axis` (masks.cpp).
  void warn_empty_rows(const TensorValue& x, std::int64_t axis, const SourceRange& range);
  // The warnings at the end of a definition's body.
  void warn_unused(const Scope& scope);

 private:
  friend class LevelScope;
  friend class OpenLevel;
  const ModuleScope& module_;
  GraphOptions options_;
  Reporter& reporter_;
  std::vector<std::unique_ptr<Level>> levels_;
  std::size_t current_ = 0;
  std::map<std::string, TensorValue> parameters_;
  std::map<std::string, TensorValue> extra_inputs_;
  std::map<std::string, Dim> dim_values_;
  std::set<std::string> dims_in_progress_;
  std::vector<CallSite> call_sites_;
  std::size_t random_sites_ = 0;
  std::size_t steps_ = 0;
};

// Works in another level for a scope.
class LevelScope {
 public:
  LevelScope(GraphMaker& maker, std::size_t level) : maker_(maker), before_(maker.current_) {
    maker.current_ = level;
  }
  ~LevelScope() { maker_.current_ = before_; }
  LevelScope(const LevelScope&) = delete;
  LevelScope& operator=(const LevelScope&) = delete;

 private:
  GraphMaker& maker_;
  std::size_t before_;
};

// A further level, until the end of a scope.
class OpenLevel {
 public:
  explicit OpenLevel(GraphMaker& maker) : maker_(maker) {
    maker.levels_.push_back(std::make_unique<Level>());
  }
  ~OpenLevel() { maker_.levels_.pop_back(); }
  OpenLevel(const OpenLevel&) = delete;
  OpenLevel& operator=(const OpenLevel&) = delete;
  Level& level() { return *maker_.levels_.back(); }

 private:
  GraphMaker& maker_;
};

// ---- helpers without state ----
std::string source_text(const SourceRange& range);
std::optional<double> number_of(const Any& value);  // what is known before anything runs
// Calls f for every name in a dimension or condition.
void visit_names(const syntax::Expr& expr,
                 const std::function<void(const syntax::Name&, const syntax::Expr&)>& f);
std::string snake_case(std::string_view name);
std::string_view kind_word(syntax::Definition::Kind kind);
Any make_tuple(std::vector<Any> values);  // one value stands for itself
void for_each_leaf(const Any& value, const std::function<void(const TensorValue&)>& f);
std::string ordinal_plural(std::size_t n, std::string_view noun);  // "1 argument", "2 arguments"

}  // namespace treadle::elaboration
