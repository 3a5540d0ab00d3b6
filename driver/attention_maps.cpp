#include "driver/attention_maps.h"

#include <fmt/format.h>

#include <algorithm>
#include <memory>
#include <optional>

#include "driver/compile.h"
#include "ir/diagnostic.h"
#include "passes/watch_attention.h"
#include "runtime/team.h"

namespace treadle {
namespace {

using Tensors = std::map<std::string, Tensor>;
using Labels = std::map<std::string, std::vector<std::string>>;

std::string title_of(const WatchedAttention& attention, std::size_t number) {
  std::string place;
  if (attention.location)
    place = fmt::format(" ({}:{})", attention.location.file->path,
                        line_column(*attention.location.file, attention.location.begin).line);
  return fmt::format("{}: {}{}", number, attention.path.empty() ? "attention" : attention.path,
                     place);
}

class Maps {
 public:
  Maps(const Graph& model, const WatchedAttention& attention, const Type& type,
       const Tensor& weights, const Labels& labels)
      : model_(model), attention_(attention), dims_(type.dims), weights_(weights), labels_(labels) {
    rows_ = row_axis();
    for (std::size_t axis = 0; axis < dims_.size(); ++axis)
      if (axis != attention.keys && axis != rows_) panel_axes_.push_back(axis);
  }

  std::int64_t heads() const {
    std::int64_t out = 1;
    for (const std::size_t axis : panel_axes_)
      if (axis >= attention_.scans) out *= extent(axis);
    return out;
  }

  // Of the chosen heads; no choice is all of them.
  std::vector<HeatMap> maps(const std::vector<std::int64_t>& heads) const {
    std::vector<HeatMap> out;
    std::vector<std::int64_t> at(dims_.size(), 0);
    do {
      const std::int64_t head = head_at(at);
      if (heads.empty() || std::find(heads.begin(), heads.end(), head) != heads.end())
        out.push_back(map(at));
    } while (advance(at));
    return out;
  }

 private:
  std::int64_t extent(std::size_t axis) const { return weights_.shape()[axis]; }

  // Heads are as many as the program says; rows are as many as the data says, or
  // as there are tokens or keys.
  bool counts_rows(std::size_t axis) const {
    if (!dims_[axis].is_constant() || dims_[axis] == dims_[attention_.keys]) return true;
    return std::any_of(labels_.begin(), labels_.end(),
                       [&](const auto& input) { return token_dim(input.first) == dims_[axis]; });
  }

  std::optional<std::size_t> row_axis() const {
    std::vector<std::size_t> own, steps;
    for (std::size_t axis = 0; axis < dims_.size(); ++axis) {
      if (axis == attention_.keys) continue;
      if (axis >= attention_.scans)
        own.push_back(axis);
      else if (dims_[axis].constant() != 1)  // a part under remat is a scan of one step
        steps.push_back(axis);
    }
    if (!own.empty() && (own.size() > 1 || steps.empty() || counts_rows(own.back())))
      return own.back();
    if (!steps.empty()) return steps.back();
    return std::nullopt;
  }

  std::int64_t head_at(const std::vector<std::int64_t>& at) const {
    std::int64_t out = 0;
    for (const std::size_t axis : panel_axes_)
      if (axis >= attention_.scans) out = out * extent(axis) + at[axis];
    return out;
  }

  // The next place along the axes of the panels.
  bool advance(std::vector<std::int64_t>& at) const {
    for (std::size_t i = panel_axes_.size(); i-- > 0;) {
      const std::size_t axis = panel_axes_[i];
      if (++at[axis] < extent(axis)) return true;
      at[axis] = 0;
    }
    return false;
  }

  HeatMap map(std::vector<std::int64_t> at) const {
    HeatMap out;
    const auto add = [&](const std::string& part) {
      out.title += (out.title.empty() ? "" : ", ") + part;
    };
    for (const std::size_t axis : panel_axes_)
      if (axis < attention_.scans && extent(axis) > 1) add(fmt::format("step {}", at[axis]));
    if (heads() > 1) add(fmt::format("head {}", head_at(at)));
    out.low = 0, out.high = 1;
    out.x_label = "looked at", out.y_label = rows_ && *rows_ < attention_.scans ? "step" : "";
    out.columns = labels_of(attention_.keys, &attention_.value_inputs);
    out.rows = rows_ ? labels_of(*rows_, nullptr) : std::vector<std::string>{"all"};
    for (std::size_t r = 0; r < out.rows.size(); ++r) {
      if (rows_) at[*rows_] = static_cast<std::int64_t>(r);
      for (std::size_t c = 0; c < out.columns.size(); ++c) {
        at[attention_.keys] = static_cast<std::int64_t>(c);
        out.values.push_back(weights_.get(index(at)));
      }
      out.notes.push_back(strongest(out, r));
    }
    return out;
  }

  // What a row looks at most: "kite 0.97".
  static std::string strongest(const HeatMap& map, std::size_t row) {
    if (map.columns.empty()) return "";
    const auto first = map.values.begin() + static_cast<std::ptrdiff_t>(row * map.columns.size());
    const auto most = std::max_element(first, map.values.end());
    return fmt::format("{} {:.2f}", map.columns[static_cast<std::size_t>(most - first)], *most);
  }

  std::int64_t index(const std::vector<std::int64_t>& at) const {
    std::int64_t out = 0;
    for (std::size_t axis = 0; axis < at.size(); ++axis) out = out * extent(axis) + at[axis];
    return out;
  }

  std::optional<Dim> token_dim(const std::string& input) const {
    const Value v = model_.input(input);
    if (!v.valid() || model_.type(v).rank() != 1) return std::nullopt;
    return model_.type(v).dims[0];
  }

  // The tokens of an input with that dimension, if possible one that the values
  // come from; else numbers.
  std::vector<std::string> labels_of(std::size_t axis, const std::set<std::string>* inputs) const {
    const std::vector<std::string>* found = nullptr;
    for (const auto& [name, tokens] : labels_) {
      const bool fits = token_dim(name) == dims_[axis] &&
                        static_cast<std::int64_t>(tokens.size()) == extent(axis);
      if (fits && (found == nullptr || (inputs != nullptr && inputs->contains(name))))
        found = &tokens;
    }
    if (found != nullptr) return *found;
    std::vector<std::string> out;
    for (std::int64_t i = 0; i < extent(axis); ++i) out.push_back(fmt::format("{}", i));
    return out;
  }

  const Graph& model_;
  const WatchedAttention& attention_;
  Dims dims_;
  const Tensor& weights_;
  const Labels& labels_;
  std::optional<std::size_t> rows_;
  std::vector<std::size_t> panel_axes_;
};

bool is_number(const std::string& word) {
  return !word.empty() &&
         std::all_of(word.begin(), word.end(), [](char c) { return c >= '0' && c <= '9'; });
}

// Which attentions are meant; `titles` names them all.
std::vector<bool> chosen(const std::vector<WatchedAttention>& attentions,
                         const std::vector<std::string>& titles,
                         const std::vector<std::string>& which) {
  std::vector<bool> out(attentions.size(), which.empty());
  for (const std::string& word : which) {
    bool found = false;
    for (std::size_t i = 0; i < attentions.size(); ++i) {
      const bool meant = is_number(word) ? word == fmt::format("{}", i)
                                         : attentions[i].path.find(word) != std::string::npos;
      if (meant) out[i] = found = true;
    }
    if (!found) {
      std::string known;
      for (const std::string& title : titles) known += (known.empty() ? "" : ", ") + title;
      throw_user_error("T0885", fmt::format("the model has no attention '{}'", word),
                       "it has " + known);
    }
  }
  return out;
}

void require_heads(std::int64_t heads, const std::string& title,
                   const std::vector<std::int64_t>& wanted) {
  for (const std::int64_t head : wanted)
    if (head >= heads)
      throw_user_error("T0885", fmt::format("there is no head {} in {}", head, title),
                       heads == 1 ? "it has one, head 0"
                                  : fmt::format("it has {}, from 0 to {}", heads, heads - 1));
}

}  // namespace

std::vector<HeatMapGroup> attention_maps(const Graph& model, const Tensors& tensors,
                                         const Labels& labels, const AttentionChoice& choice,
                                         const CompileOptions& options, int threads) {
  const WatchedAttentions watched = watch_attention(model);
  const std::vector<WatchedAttention>& all = watched.attentions;
  if (all.empty())
    throw_user_error("T0884", "the model has no attention: no softmax in it weighs rows",
                     "attention is softmax(scores) @ values, as attention(q, k, v) has it");
  std::vector<std::string> titles;
  for (std::size_t i = 0; i < all.size(); ++i) titles.push_back(title_of(all[i], i));
  const std::vector<bool> wanted = chosen(all, titles, choice.which);
  const std::unique_ptr<Program> program = compile(watched.graph, {}, options);
  std::vector<const Tensor*> given;
  for (const Slot& slot : program->inputs()) given.push_back(&tensors.at(slot.name));
  Team team(threads);
  const std::vector<Tensor> results = run(*program, given, team);
  std::vector<HeatMapGroup> out;
  for (std::size_t i = 0; i < all.size(); ++i) {
    if (!wanted[i]) continue;
    const Maps maps(model, all[i], watched.graph.output_type(i), results[i], labels);
    require_heads(maps.heads(), titles[i], choice.heads);
    out.push_back({titles[i], maps.maps(choice.heads)});
  }
  return out;
}

}  // namespace treadle
