// Elaboration: a parsed file becomes an Experiment, whose models, losses and
// tests are graphs of one example, and whose clauses are plain records.
#pragma once
#include <cstdint>
#include <map>
#include <memory>
#include <optional>
#include <string>
#include <string_view>
#include <variant>
#include <vector>

#include "frontend/syntax.h"
#include "ir/diagnostic.h"
#include "ir/graph.h"

namespace treadle {

struct ElaborateOptions {
  DType real = DType::f32;                   // what `real` means: -p
  std::map<std::string, std::int64_t> dims;  // overrides of `dim`: -D H=64
};

enum class Mode : std::uint8_t { train, eval };  // dropout is on in `train` only

// ---- what the clauses say --------------------------------------------------

using SettingValue = std::variant<bool, std::int64_t, double, std::string>;
struct Setting {
  SettingValue value;
  SourceRange range;
};

// Of a csv file: column("price") / 100, columns(from: 1, to: -2), columns(1, 3).
// An input reads value * scale + shift.
struct ColumnSpec {
  std::vector<std::string> columns;  // names, or numbers from 1 (-1 is the last)
  bool is_range = false;             // `columns` is the first and the last
  bool is_single = false;            // one number an example, not a row of one
  double scale = 1, shift = 0;
  SourceRange range;
};

// data text("input.txt"), window 128, lanes 32, image: pixels
struct DataSpec {
  std::string kind;                         // "text", "lines", "csv", ...: see data_kinds()
  std::vector<Setting> arguments;           // positional ones of the call
  std::map<std::string, Setting> settings;  // named ones, and the clause's words
  // Input of the graph -> field of the data set; same names are listed too.
  std::map<std::string, std::string> fields;
  std::map<std::string, ColumnSpec> columns;  // csv: input of the graph -> its columns
  SourceRange range;

  std::int64_t integer(std::string_view name, std::int64_t otherwise) const;
  double real(std::string_view name, double otherwise) const;
  std::string string(std::string_view name, std::string otherwise) const;
};

// A value that each kind of data set gives for one example.
struct DataField {
  std::string name;
  std::string type;  // as a user would write it: "token(V)[T]"
};
// Kinds of data sets and their fields; the runtime's readers give the same.
//   text    text: token(V)[T], next: token(V)[T]      (next[t] = text[t+1])
//   idx     image: real[rows, columns] in 0..1, label: token(classes)
//   digits  the same, generated
//   csv     the columns that the clause names for an input (image:
//           columns(from: 1, to: 64) / 16); else the column of the input's name;
//           else target and label are the last column, and features: real[F]
//           the columns that nothing else reads. With `window K` example i is
//           rows i .. i + K - 1 for inputs of one more dimension than a row of
//           their columns, and row i + K for the others.
//   npy     x and y, in order; or by name: npy(image: "a.npy", label: "b.npy")
//   lines   a line an example: text: token(V)[T], its tokens. Of a folder,
//           every line of its files NAME.txt, and label: token(classes), the
//           number of the file in alphabetical order. Where the loss reads
//           next: token(V)[T], text begins with the line's end before it.
//   pairs   line i of two files an example: source: token(V)[S], target:
//           token(W)[T], which begins with <s>, and next: token(W)[T], the same
//           without it, ended by </s>.
// Of text, lines and pairs `tokens` says what a token is (words, characters or
// bytes); a vocabulary is a file, or is made of the data: of tokens that occur
// `min_count` times, at most `max_tokens`.
//   frames  rows of numbers, sequences between blank lines or rows of 1.0:
//           frames: real[T, columns], and label: token(classes) from the
//           setting counts: "30 31" (30 examples of class 0, then 31 of 1)
//   chords  what sounds at each step, from a part of a JSON file:
//           notes: real[T, 88], 0 or 1 for each key of a piano. Where the loss
//           reads next: real[T, 88], that is the step that follows.
//   adding  numbers: real[T, 2], target: real         (generated)
//   copy    symbols: token(10)[T], answer: token(10)[T]  (generated)
//   pronouns  text: token(V)[T], refers: token(V)[T], words of a sentence and
//           what each stands for                      (generated)
//   sparse  x: real[N], target: real, truth: real[N]  (generated)
//   wave    x: real, target: real                     (generated)
struct DataKind {
  std::string name;
  std::vector<DataField> fields;
  std::vector<std::string> settings;  // those that it has; npy's are names of inputs
};
const std::vector<DataKind>& data_kinds();

// lr: 1e-3 | cosine(2e-3, warmup: 100, final: 0) | one_cycle(3e-3, warmup: 0.3)
struct ScheduleSpec {
  std::string kind = "constant";  // "constant", "cosine", "one_cycle", "linear"
  double peak = 1e-3;
  double warmup = 0;  // steps when >= 1, else a fraction of all steps
  double final = 0;   // the last learning rate, as a fraction of the peak
};
struct OptimizerSpec {
  std::string name = "adamw";  // "adamw", "adam", "sgd"
  ScheduleSpec learning_rate;
  std::map<std::string, double>
      settings;                      // "beta1", "beta2", "epsilon", "weight_decay", "momentum"
  bool decay_matrices_only = false;  // decay: matrices
  std::optional<double> clip_norm;   // of all gradients together
  // proximal l1(0.01), proximal l2(0.01): the penalty's proximal step follows
  // each update instead of its gradient entering it.
  double proximal_l1 = 0, proximal_l2 = 0;
  double setting(std::string_view setting_name, double otherwise) const;
};

struct TruncationSpec {
  enum class Kind : std::uint8_t { none, window, carry };
  Kind kind = Kind::none;
  std::int64_t window = 0;
  std::string output;  // carry: the output whose value enters the next window
};

struct Report {
  std::string name;  // of the loss graph's output: "report.NAME"
  SourceRange range;
};

// A `train` or `eval` block. An eval block says at least its data; what else it
// leaves out is as in the train block of its model:
//   eval CharLM "on letters" { data text("letters.txt"), window 128, lanes 4 }
struct TrainSpec {
  std::string model;
  std::string title;  // of an eval block; may be empty
  DataSpec data;
  std::optional<DataSpec> validation_data;  // validation text("valid.txt")
  double validation_split = 0;              // validation 0.1: this share of the data
  bool per_token = false;                   // the loss of a batch weights examples by their length
  TruncationSpec truncation;
  OptimizerSpec optimizer;
  std::int64_t epochs = 1, batch = 32, seed = 0;
  std::int64_t steps = 0;  // training ends behind so many, within an epoch too; 0: by `epochs`
  std::vector<Report> reports;
  SourceRange range;
};

// generate M { from "\n"; temperature 0.8; top_k 40; max 500 }
struct GenerateSpec {
  std::string model;
  std::vector<std::string> from;  // the texts to continue
  double temperature = 1;
  std::int64_t top_k = 0;  // 0: all
  double top_p = 1;
  std::int64_t max = 256, seed = 0;
  bool greedy = false;
  std::string stop;       // ends a continuation; empty: nothing does
  std::int64_t beam = 0;  // 0: sampling
  double length_penalty = 1;
  SourceRange range;
};

struct TestCheck {
  enum class Kind : std::uint8_t { gradcheck, step_equals_full, values_equal };
  Kind kind = Kind::gradcheck;
  std::string model;                         // gradcheck, step_equals_full
  std::map<std::string, std::int64_t> dims;  // symbols and dims of this check: T: 5
  std::int64_t order = 1;                    // gradcheck
  // values_equal: a graph without inputs but parameters, outputs "left" and
  // "right". Equal when |left - right| <= tolerance * max(1, |right|).
  std::shared_ptr<const Graph> graph;
  double tolerance = 0;
  SourceRange range;
};
struct TestSpec {
  std::string title;
  std::vector<TestCheck> checks;
  SourceRange range;
};

// ---- graphs ------------------------------------------------------------------

// Every graph of an Experiment holds one example and has, in this order of
// meaning (the node order may differ):
//
// inputs      `input` nodes. A model's argument `text: token(V)[T]` is an i32
//             input "text" {classes = <V>}. A `state` argument s is one input a
//             leaf, "s.0", "s.1" or just "s", with {role = "state", successor =
//             NAME of the output that follows it}; its default is zeros.
//             Random ops read "random.seed", "random.step" {shared = true: the
//             same for all examples} and "random.example", all i64 scalars
//             {role = "seed" | "step" | "example"}; they exist only when used.
// parameters  `parameter` nodes, named by their path: "lstm.W", "layer[0].b".
// outputs     of a model: the names of its `return`; a tuple has one a leaf:
//             "state.0". One nameless result is "output".
//             A loss graph also has
//               loss         scalar of this example, penalties left out
//               penalty      scalar of the parameters alone; counts once a step
//                            (missing when there is none)
//               loss.weight  with `loss per token`: this example's length, that of
//                            `next` where the loss reads it
//               report.NAME  scalar of this example
//
// scan nodes carry {unroll = K} (0: all steps) and, in a loss graph under
// `tbptt window K`, {tbptt = K}; those with remat(budget: N) have {remat = N},
// in bytes.
class Elaborator;

struct ModelInfo {
  std::string name;
  std::string doc;
  SourceRange range;
};

class Experiment {
 public:
  // All graphs are made afresh at each call, under the given further overrides
  // of dims (a test's `T: 5`, which may also fix a symbol). They throw
  // UserError; after a successful `elaborate` that happens only for overrides
  // that do not fit.
  Graph model(std::string_view name, Mode mode,
              const std::map<std::string, std::int64_t>& dims = {}) const;
  // The graph of a train or eval block: the model, the further inputs that its
  // loss names (targets such as `next`), and the loss.
  Graph loss(const TrainSpec& spec, Mode mode,
             const std::map<std::string, std::int64_t>& dims = {}) const;
  // The train block of that model (or the first one); null when there is none.
  const TrainSpec* find_train(std::string_view model = {}) const;

  std::vector<ModelInfo> models;
  std::vector<TrainSpec> trains;
  std::vector<TrainSpec> evals;
  std::vector<GenerateSpec> generates;
  std::vector<TestSpec> tests;
  std::map<std::string, Dim> dims;   // all `dim`s; those without value are symbols
  std::vector<Diagnostic> warnings;  // T05xx

 private:
  friend class Elaborator;
  friend Experiment elaborate(std::shared_ptr<const syntax::Module>, const ElaborateOptions&,
                              std::vector<Diagnostic>&);
  struct Source;
  std::shared_ptr<const Source> source_;
};

// Checks everything: every model in both modes, every loss, report and test;
// of cells and blocks that nothing uses the names. Mistakes are appended to
// `diagnostics` (several a file; T02xx names, T03xx dimensions and types, T04xx
// clauses), warnings too (T05xx). With errors the Experiment is incomplete.
Experiment elaborate(std::shared_ptr<const syntax::Module> module, const ElaborateOptions& options,
                     std::vector<Diagnostic>& diagnostics);
// The same; throws UserError when there is an error.
Experiment elaborate_or_throw(std::shared_ptr<const syntax::Module> module,
                              const ElaborateOptions& options = {});
// Reads, parses and elaborates a file; throws UserError.
Experiment load_experiment(const std::string& path, const ElaborateOptions& options = {});

// One row of `treadle check`'s table.
struct ParameterRow {
  std::string name;
  Type type;
  std::string initialiser;
};
std::vector<ParameterRow> parameter_table(const Graph& graph);

}  // namespace treadle
