// The blocks that say how to train, generate and test.
#include "frontend/elaborate/clauses.h"

#include <fmt/format.h>

#include <algorithm>

#include "frontend/elaborate/elaborator.h"
#include "frontend/suggest.h"

namespace treadle::elaboration {

using namespace syntax;

namespace {

[[noreturn]] void fail(std::string code, const SourceRange& range, std::string message,
                       std::string hint = {}) {
  Diagnostic out;
  out.code = std::move(code);
  out.range = range;
  out.message = std::move(message);
  if (!hint.empty()) out.hints.push_back(std::move(hint));
  throw UserError(std::move(out));
}

[[noreturn]] void unknown(const Identifier& word, std::string_view what,
                          std::vector<std::string> known) {
  const std::string near = closest_word(word.text, std::span<const std::string>(known));
  std::string hint =
      near.empty() ? "known are " : fmt::format("did you mean '{}'? known are ", near);
  for (std::size_t i = 0; i < known.size(); ++i) hint += (i > 0 ? ", " : "") + known[i];
  fail("T0401", word.range, fmt::format("'{}' is no {}", word.text, what), hint);
}

SettingValue setting_value(const Expr& expr, const ElaborateOptions& options,
                           const ModuleScope& names) {
  if (const auto* number = as<Number>(expr))
    return number->is_integer ? SettingValue{number->integer} : SettingValue{number->value};
  if (const auto* text = as<String>(expr)) return text->value;
  if (const auto* flag = as<Bool>(expr)) return flag->value;
  if (const auto* unary = as<Unary>(expr); unary && unary->op == UnaryOp::negate) {
    const SettingValue inner = setting_value(*unary->operand, options, names);
    if (const auto* i = std::get_if<std::int64_t>(&inner)) return -*i;
    if (const auto* d = std::get_if<double>(&inner)) return -*d;
  }
  if (const auto* name = as<Name>(expr)) {
    if (const auto found = options.dims.find(name->text); found != options.dims.end())
      return found->second;
    if (const auto dim = names.dims.find(name->text); dim != names.dims.end() && dim->second.value)
      return setting_value(*dim->second.value, options, *dim->second.module);
    return name->text;
  }
  fail("T0402", expr.range, "a setting is a number, a word or a string");
}

double real_of(const SettingValue& value, const SourceRange& range) {
  if (const auto* i = std::get_if<std::int64_t>(&value)) return static_cast<double>(*i);
  if (const auto* d = std::get_if<double>(&value)) return *d;
  fail("T0403", range, "a number is expected here");
}
std::int64_t integer_of(const SettingValue& value, const SourceRange& range) {
  if (const auto* i = std::get_if<std::int64_t>(&value)) return *i;
  fail("T0403", range, "a whole number is expected here");
}

class ClauseReader {
 public:
  ClauseReader(const ModuleScope& names, const ElaborateOptions& options)
      : names_(names), options_(options) {}

  SettingValue value(const Expr& expr) const { return setting_value(expr, options_, names_); }
  double real(const Expr& expr) const { return real_of(value(expr), expr.range); }
  double not_negative(const Expr& expr) const {
    const double out = real(expr);
    if (!(out >= 0)) fail("T0403", expr.range, "a number that is not negative is expected here");
    return out;
  }
  std::string text(const Expr& expr) const {
    if (const auto* string = as<String>(expr)) return string->value;
    fail("T0403", expr.range, "a text in quotes is expected here");
  }
  std::int64_t positive(const Expr& expr) const {
    const std::int64_t out = integer_of(value(expr), expr.range);
    if (out < 1) fail("T0403", expr.range, "a positive number is expected here");
    return out;
  }

  const ClauseItem& only(const Clause& clause) const {
    if (clause.items.size() != 1)
      fail("T0404", clause.range, fmt::format("'{}' takes one value", clause.keyword.text));
    return clause.items[0];
  }

  DataSpec data(const Clause& clause) const {
    if (clause.items.empty()) fail("T0404", clause.range, "what data? data text(\"input.txt\")");
    DataSpec out;
    out.range = clause.range;
    const Expr& source = *clause.items[0].argument.value;
    const auto* call = as<Call>(source);
    const auto* name = call ? as<Name>(call->callee) : as<Name>(source);
    if (!name) fail("T0405", source.range, "the kind of data is expected: text(\"input.txt\")");
    out.kind = name->text;
    std::vector<std::string> kinds, settings;
    for (const DataKind& kind : data_kinds()) {
      kinds.push_back(kind.name);
      if (kind.name == out.kind) settings = kind.settings;
    }
    if (std::find(kinds.begin(), kinds.end(), out.kind) == kinds.end())
      unknown({name->text, source.range}, "kind of data", kinds);
    const auto known = [&](const Identifier& word) {
      if (std::find(settings.begin(), settings.end(), word.text) != settings.end()) return;
      if (settings.empty())
        fail("T0401", word.range,
             fmt::format("'{}' data has no setting '{}'", out.kind, word.text));
      unknown(word, "setting of '" + out.kind + "' data", settings);
    };
    if (call)
      for (const Argument& argument : call->arguments) {
        const Setting setting{value(*argument.value), argument.range};
        if (argument.name && out.kind != "npy") known(*argument.name);
        if (argument.name)
          out.settings[argument.name->text] = setting;
        else
          out.arguments.push_back(setting);
      }
    for (std::size_t i = 1; i < clause.items.size(); ++i) {
      const ClauseItem& item = clause.items[i];
      if (item.argument.name && mentions_columns(*item.argument.value)) {
        if (out.kind != "csv")
          fail("T0415", item.range, fmt::format("'{}' data has no columns", out.kind));
        out.columns[item.argument.name->text] = columns(*item.argument.value);
        continue;
      }
      const SettingValue v = value(*item.argument.value);
      if (!item.words.empty()) {
        known(item.words[0]);
        out.settings[item.words[0].text] = {v, item.range};
      } else if (item.argument.name && std::holds_alternative<std::string>(v))
        out.fields[item.argument.name->text] = std::get<std::string>(v);
      else
        fail("T0406", item.range, "a data setting is a word and a value: window 128");
    }
    if (const auto tokens = out.settings.find("tokens"); tokens != out.settings.end()) {
      const std::vector<std::string> units{"words", "characters", "bytes"};
      const auto* word = std::get_if<std::string>(&tokens->second.value);
      if (word == nullptr || std::find(units.begin(), units.end(), *word) == units.end())
        unknown({word != nullptr ? *word : "?", tokens->second.range}, "kind of token", units);
    }
    for (const char* setting : {"max_tokens", "min_count"})
      if (const auto found = out.settings.find(setting); found != out.settings.end())
        if (integer_of(found->second.value, found->second.range) < 1)
          fail("T0403", found->second.range, "a positive number is expected here");
    return out;
  }

  static const Call* column_call(const Expr& expr) {
    const auto* call = as<Call>(expr);
    const auto* name = call ? as<Name>(call->callee) : nullptr;
    return name && (name->text == "columns" || name->text == "column") ? call : nullptr;
  }
  static bool mentions_columns(const Expr& expr) {
    if (const auto* binary = as<Binary>(expr)) return mentions_columns(*binary->left);
    return column_call(expr) != nullptr;
  }

  // columns(...), shifted and scaled by numbers behind it.
  ColumnSpec columns(const Expr& expr) const {
    if (const auto* binary = as<Binary>(expr)) {
      ColumnSpec out = columns(*binary->left);
      const double by = real(*binary->right);
      out.range = expr.range;
      switch (binary->op) {
        case BinaryOp::add: out.shift += by; break;
        case BinaryOp::subtract: out.shift -= by; break;
        case BinaryOp::multiply: out.scale *= by, out.shift *= by; break;
        case BinaryOp::divide: out.scale /= by, out.shift /= by; break;
        default: fail("T0415", binary->op_range, "columns are scaled by + - * / and a number");
      }
      return out;
    }
    const Call* call = column_call(expr);
    ensure(call != nullptr, "clauses", "columns without columns");
    ColumnSpec out;
    out.range = expr.range;
    out.is_single = as<Name>(call->callee)->text == "column";
    std::map<std::string, std::string> bounds;
    for (const Argument& argument : call->arguments) {
      const SettingValue v = value(*argument.value);
      std::string column;
      if (const auto* text = std::get_if<std::string>(&v))
        column = *text;
      else
        column = std::to_string(integer_of(v, argument.range));
      if (!argument.name)
        out.columns.push_back(column);
      else if (argument.name->text == "from" || argument.name->text == "to")
        bounds[argument.name->text] = column;
      else
        unknown(*argument.name, "bound of columns", {"from", "to"});
    }
    if (!bounds.empty()) {
      out.is_range = true;
      if (!out.columns.empty() || bounds.size() != 2 || out.is_single)
        fail("T0415", expr.range, "a range of columns has two ends",
             "columns(from: 1, to: -2) is all but the last");
      out.columns = {bounds["from"], bounds["to"]};
    }
    if (out.columns.empty() || (out.is_single && out.columns.size() != 1))
      fail("T0415", expr.range, "which columns?",
           "column(-1), columns(\"a\", \"b\"), columns(from: 1, to: 64)");
    return out;
  }

  ScheduleSpec schedule(const Expr& expr) const {
    ScheduleSpec out;
    const auto* call = as<Call>(expr);
    if (!call) {
      out.peak = real(expr);
      return out;
    }
    const auto* name = as<Name>(call->callee);
    const std::vector<std::string> kinds{"constant", "cosine", "one_cycle", "linear"};
    if (!name || std::find(kinds.begin(), kinds.end(), name->text) == kinds.end())
      unknown({name ? name->text : "?", call->callee->range}, "learning-rate schedule", kinds);
    out.kind = name->text;
    for (const Argument& argument : call->arguments) {
      const double v = real(*argument.value);
      if (!argument.name || argument.name->text == "peak")
        out.peak = v;
      else if (argument.name->text == "warmup")
        out.warmup = v;
      else if (argument.name->text == "final")
        out.final = v;
      else
        unknown(*argument.name, "setting of a schedule", {"peak", "warmup", "final"});
    }
    return out;
  }

  OptimizerSpec optimizer(const Clause& clause) const {
    OptimizerSpec out;
    for (std::size_t i = 0; i < clause.items.size(); ++i) {
      const ClauseItem& item = clause.items[i];
      if (!item.words.empty()) {
        if (item.words[0].text == "clip_norm")
          out.clip_norm = real(*item.argument.value);
        else if (item.words[0].text == "proximal")
          proximal(*item.argument.value, out);
        else
          unknown(item.words[0], "setting of the optimizer", {"clip_norm", "proximal"});
        continue;
      }
      const Expr& expr = *item.argument.value;
      const auto* call = as<Call>(expr);
      const auto* name = call ? as<Name>(call->callee) : as<Name>(expr);
      const std::vector<std::string> known{"adamw", "adam", "sgd"};
      if (!name || std::find(known.begin(), known.end(), name->text) == known.end())
        unknown({name ? name->text : "?", expr.range}, "optimizer", known);
      out.name = name->text;
      if (!call) continue;
      for (const Argument& argument : call->arguments) {
        if (!argument.name || argument.name->text == "lr") {
          out.learning_rate = schedule(*argument.value);
          continue;
        }
        if (argument.name->text == "decay") {
          const auto* what = as<Name>(argument.value);
          if (!what || (what->text != "all" && what->text != "matrices"))
            unknown({source_text(argument.value->range), argument.value->range},
                    "choice of what decays", {"all", "matrices"});
          out.decay_matrices_only = what->text == "matrices";
          continue;
        }
        const std::vector<std::string> settings{"lr",           "beta1", "beta2",   "epsilon",
                                                "weight_decay", "decay", "momentum"};
        if (std::find(settings.begin(), settings.end(), argument.name->text) == settings.end())
          unknown(*argument.name, "setting of the optimizer", settings);
        out.settings[argument.name->text] = real(*argument.value);
      }
    }
    return out;
  }

  // l1(0.01) or l2(0.01)
  void proximal(const Expr& expr, OptimizerSpec& out) const {
    const auto* call = as<Call>(expr);
    const auto* name = call ? as<Name>(call->callee) : nullptr;
    if (!name || (name->text != "l1" && name->text != "l2") || call->arguments.size() != 1)
      fail("T0440", expr.range, "proximal is followed by l1(STRENGTH) or l2(STRENGTH)");
    const double strength = real(*call->arguments[0].value);
    if (!(strength >= 0))
      fail("T0403", call->arguments[0].range, "the strength of a penalty is not negative");
    (name->text == "l1" ? out.proximal_l1 : out.proximal_l2) = strength;
  }

  TruncationSpec truncation(const Clause& clause) const {
    const ClauseItem& item = only(clause);
    TruncationSpec out;
    const auto* name = as<Name>(item.argument.value);
    if (item.words.size() == 1 && item.words[0].text == "window") {
      out.kind = TruncationSpec::Kind::window;
      out.window = positive(*item.argument.value);
    } else if (item.words.size() == 1 && item.words[0].text == "carry" && name) {
      out.kind = TruncationSpec::Kind::carry;
      out.output = name->text;
    } else {
      fail("T0407", item.range, "tbptt is followed by window K or carry OUTPUT");
    }
    return out;
  }

  TrainBlock train(const ClauseBlock& block, const Expr& model, const SourceRange& range) const {
    TrainBlock out = started(block, model, range);
    bool has_data = false, has_epochs = false;
    for (const Clause& clause : block.clauses) {
      const std::string& word = clause.keyword.text;
      if (word == "data") {
        out.spec.data = data(clause);
        has_data = true;
      } else if (word == "optimizer") {
        out.spec.optimizer = optimizer(clause);
      } else if (word == "epochs") {
        out.spec.epochs = positive(*only(clause).argument.value);
        has_epochs = true;
      } else if (word == "steps") {
        out.spec.steps = positive(*only(clause).argument.value);
      } else if (word == "validation") {
        const Expr& expr = *clause.items.at(0).argument.value;
        if (as<Call>(expr))
          out.spec.validation_data = data(clause);
        else
          out.spec.validation_split = share(expr);
      } else if (!measured(clause, out)) {
        unknown(clause.keyword, "clause of a train block",
                {"data", "validation", "loss", "optimizer", "tbptt", "epochs", "steps", "batch",
                 "seed", "report"});
      }
    }
    if (has_epochs && out.spec.steps > 0)
      fail("T0416", range, "a train block has either epochs or steps",
           "steps 2000 ends in the middle of an epoch where it must");
    if (out.spec.validation_data) inherit(*out.spec.validation_data, out.spec.data);
    if (!out.loss)
      fail("T0410", range, "a train block needs a loss", "loss cross_entropy(logits, label)");
    if (!has_data)
      fail("T0411", range, "a train block needs data",
           "data text(\"input.txt\"), window 128, lanes 32");
    return out;
  }

  // What it does not say is as in the train block of its model.
  TrainBlock eval(const ClauseBlock& block, const Expr& model, const SourceRange& range,
                  const std::vector<TrainBlock>& trains) const {
    TrainBlock out = started(block, model, range);
    for (const TrainBlock& train : trains)
      if (train.spec.model == out.spec.model) {
        const TrainSpec own = out.spec;
        out = train;
        out.spec.title = own.title;
        out.spec.range = own.range;
        out.spec.validation_data.reset();
        out.spec.validation_split = 0;
        break;
      }
    bool has_data = false, has_reports = false;
    for (const Clause& clause : block.clauses) {
      if (clause.keyword.text == "data") {
        const DataSpec trained_on = out.spec.data;
        out.spec.data = data(clause);
        inherit(out.spec.data, trained_on);
        has_data = true;
        continue;
      }
      if (clause.keyword.text == "report" && !has_reports) {
        out.spec.reports.clear();
        out.reports.clear();
        has_reports = true;
      }
      if (!measured(clause, out))
        unknown(clause.keyword, "clause of an eval block",
                {"data", "loss", "tbptt", "batch", "seed", "report"});
    }
    if (!out.loss)
      fail("T0410", range, "an eval block needs a loss where its model has no train block",
           "loss cross_entropy(logits, label)");
    if (!has_data)
      fail("T0411", range, "an eval block needs data",
           "data idx(\"test-images.gz\", \"test-labels.gz\")");
    return out;
  }

  GenerateSpec generate(const ClauseBlock& block, const Expr& model,
                        const SourceRange& range) const {
    GenerateSpec out;
    out.range = range;
    out.model = name_of(model);
    for (const Clause& clause : block.clauses) {
      const std::string& word = clause.keyword.text;
      if (word == "greedy") {
        out.greedy = true;
        continue;
      }
      if (word == "from") {
        for (const ClauseItem& item : clause.items) out.from.push_back(text(*item.argument.value));
        continue;
      }
      const Expr& expr = *only(clause).argument.value;
      if (word == "stop")
        out.stop = text(expr);
      else if (word == "beam")
        out.beam = positive(expr);
      else if (word == "length_penalty")
        out.length_penalty = not_negative(expr);
      else if (word == "temperature")
        out.temperature = not_negative(expr);
      else if (word == "top_k")
        out.top_k = positive(expr);
      else if (word == "top_p")
        out.top_p = real(expr);
      else if (word == "max")
        out.max = positive(expr);
      else if (word == "seed")
        out.seed = integer_of(value(expr), expr.range);
      else
        unknown(clause.keyword, "clause of a generate block",
                {"from", "temperature", "top_k", "top_p", "max", "seed", "greedy", "stop", "beam",
                 "length_penalty"});
    }
    return out;
  }

  TestSpec test(const ClauseBlock& block, const SourceRange& range) const {
    TestSpec out;
    out.range = range;
    out.title = block.title ? block.title->text : "";
    for (const Clause& clause : block.clauses) {
      TestCheck check;
      check.range = clause.range;
      const auto model_of = [&](const Expr& expr) {
        const auto* call = as<Call>(expr);
        const auto* name = call ? as<Name>(call->callee) : as<Name>(expr);
        if (!name) fail("T0408", expr.range, "the name of a model is expected here");
        if (call)
          for (const Argument& argument : call->arguments) {
            if (!argument.name) fail("T0412", argument.range, "a dim is given by name: T: 5");
            check.dims[argument.name->text] = integer_of(value(*argument.value), argument.range);
          }
        return name->text;
      };
      if (clause.items.empty()) fail("T0404", clause.range, "what is to be tested?");
      const Expr& first = *clause.items[0].argument.value;
      if (clause.keyword.text == "gradcheck") {
        check.model = model_of(first);
        for (std::size_t i = 1; i < clause.items.size(); ++i) {
          const Argument& argument = clause.items[i].argument;
          if (!argument.name || argument.name->text != "order")
            fail("T0413", clause.items[i].range, "gradcheck takes order: 1 or order: 2");
          check.order = integer_of(value(*argument.value), argument.range);
        }
      } else if (clause.keyword.text == "expect") {
        const auto* equal = as<Binary>(first);
        const auto* step = equal ? as<Call>(equal->left) : nullptr;
        const auto* name = step ? as<Name>(step->callee) : nullptr;
        if (!equal || equal->op != BinaryOp::equal || !name || name->text != "step" ||
            step->arguments.size() != 1)
          fail("T0414", first.range, "what can be expected is step(MODEL) == full(MODEL)");
        check.kind = TestCheck::Kind::step_equals_full;
        check.model = model_of(*step->arguments[0].value);
      } else {
        unknown(clause.keyword, "check of a test", {"gradcheck", "expect"});
      }
      out.checks.push_back(std::move(check));
    }
    return out;
  }

 private:
  static std::string name_of(const Expr& model) {
    if (const auto* name = as<Name>(model)) return name->text;
    fail("T0408", model.range, "the name of a model is expected here");
  }

  static TrainBlock started(const ClauseBlock& block, const Expr& model, const SourceRange& range) {
    TrainBlock out;
    out.spec.range = range;
    out.spec.model = name_of(model);
    if (block.title) out.spec.title = block.title->text;
    return out;
  }

  // Another file of the same form need not say its form again.
  static void inherit(DataSpec& data, const DataSpec& from) {
    if (data.kind != "csv" || from.kind != "csv") return;
    data.columns.insert(from.columns.begin(), from.columns.end());
    data.settings.insert(from.settings.begin(), from.settings.end());
  }

  double share(const Expr& expr) const {
    const double out = real(expr);
    if (!(out >= 0 && out < 1))
      fail("T0403", expr.range, "a share of the data is at least 0 and less than 1");
    return out;
  }

  // The clauses that train and eval blocks share; false for any other.
  bool measured(const Clause& clause, TrainBlock& out) const {
    const std::string& word = clause.keyword.text;
    if (word == "loss") {
      const ClauseItem& item = only(clause);
      out.spec.per_token = per_row(item);
      out.loss = item.argument.value.get();
    } else if (word == "tbptt") {
      out.spec.truncation = truncation(clause);
    } else if (word == "batch") {
      out.spec.batch = positive(*only(clause).argument.value);
    } else if (word == "seed") {
      out.spec.seed = integer_of(value(*only(clause).argument.value), clause.range);
    } else if (word == "report") {
      for (const ClauseItem& item : clause.items) report(item, out);
    } else {
      return false;
    }
    return true;
  }

  // `per token` and `per step` mean the same.
  static bool per_row(const ClauseItem& item) {
    if (item.words.empty()) return false;
    const Identifier& first = item.words[0];
    if (first.text != "per" || item.words.size() == 1)
      unknown(first, "way to take the mean", {"per token", "per step"});
    const Identifier& unit = item.words[1];
    if (item.words.size() > 2 || (unit.text != "token" && unit.text != "step"))
      unknown(item.words.back(), "unit of a loss", {"token", "step"});
    return true;
  }

  static void report(const ClauseItem& item, TrainBlock& out) {
    std::string name;
    const auto* call = as<Call>(item.argument.value);
    const auto* callee = call ? as<Name>(call->callee) : nullptr;
    if (item.argument.name)
      name = item.argument.name->text;
    else if (callee)
      name = callee->text;
    else
      fail("T0409", item.range, "a report needs a name: report NAME = VALUE");
    out.spec.reports.push_back({name, item.range});
    out.reports.push_back(item.argument.value.get());
  }

  const ModuleScope& names_;
  const ElaborateOptions& options_;
};

}  // namespace

TrainBlock read_train(const ClauseBlock& block, const Expr& model, const SourceRange& range,
                      const ModuleScope& names, const ElaborateOptions& options) {
  return ClauseReader(names, options).train(block, model, range);
}
TrainBlock read_eval(const ClauseBlock& block, const Expr& model, const SourceRange& range,
                     const ModuleScope& names, const ElaborateOptions& options,
                     const std::vector<TrainBlock>& trains) {
  return ClauseReader(names, options).eval(block, model, range, trains);
}
GenerateSpec read_generate(const ClauseBlock& block, const Expr& model, const SourceRange& range,
                           const ModuleScope& names, const ElaborateOptions& options) {
  return ClauseReader(names, options).generate(block, model, range);
}
TestSpec read_test(const ClauseBlock& block, const SourceRange& range, const ModuleScope& names,
                   const ElaborateOptions& options) {
  return ClauseReader(names, options).test(block, range);
}

}  // namespace treadle::elaboration
