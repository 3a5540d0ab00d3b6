#include "runtime/packing.h"

#include <fmt/format.h>

#include <algorithm>
#include <cstring>
#include <numeric>
#include <set>

#include "ir/diagnostic.h"

namespace treadle {
namespace {

Tensor indices(const std::vector<std::int64_t>& values) {
  Tensor out(DType::i32, {static_cast<std::int64_t>(values.size())});
  for (std::size_t i = 0; i < values.size(); ++i)
    out.set_integer(static_cast<std::int64_t>(i), values[i]);
  return out;
}

std::vector<std::int64_t> inverse(const std::vector<std::int64_t>& permutation) {
  std::vector<std::int64_t> out(permutation.size());
  for (std::size_t i = 0; i < permutation.size(); ++i)
    out[static_cast<std::size_t>(permutation[i])] = static_cast<std::int64_t>(i);
  return out;
}

// For each row of the examples one after another, its place time by time.
std::vector<std::int64_t> by_example(const RaggedLayout& layout) {
  const std::vector<std::int64_t> rank = inverse(layout.order());
  std::vector<std::int64_t> out;
  for (std::size_t i = 0; i < layout.lengths().size(); ++i)
    for (std::int64_t t = 0; t < layout.lengths()[i]; ++t)
      out.push_back(layout.position(t, rank[i]));
  return out;
}

// Where row t of each example stands; there is none at the number of all rows.
Tensor padded(const RaggedLayout& layout) {
  const std::vector<std::int64_t> rank = inverse(layout.order());
  const auto longest = static_cast<std::int64_t>(layout.counts().size());
  Tensor out(DType::i32, {static_cast<std::int64_t>(rank.size()), longest});
  for (std::size_t i = 0; i < rank.size(); ++i)
    for (std::int64_t t = 0; t < longest; ++t)
      out.set_integer(static_cast<std::int64_t>(i) * longest + t,
                      t < layout.lengths()[i] ? layout.position(t, rank[i]) : layout.rows());
  return out;
}

}  // namespace

RaggedLayout::RaggedLayout(std::vector<std::int64_t> lengths) : lengths_(std::move(lengths)) {
  order_.resize(lengths_.size());
  std::iota(order_.begin(), order_.end(), 0);
  std::stable_sort(order_.begin(), order_.end(), [&](std::int64_t a, std::int64_t b) {
    return lengths_[static_cast<std::size_t>(a)] > lengths_[static_cast<std::size_t>(b)];
  });
  const std::int64_t longest =
      lengths_.empty() ? 0 : *std::max_element(lengths_.begin(), lengths_.end());
  counts_.assign(static_cast<std::size_t>(longest), 0);
  for (const std::int64_t length : lengths_)
    for (std::int64_t t = 0; t < length; ++t) ++counts_[static_cast<std::size_t>(t)];
  starts_.push_back(0);
  for (const std::int64_t count : counts_) starts_.push_back(starts_.back() + count);
}

std::vector<RaggedLayout::Row> RaggedLayout::list() const {
  std::vector<Row> out;
  out.reserve(static_cast<std::size_t>(rows()));
  for (std::size_t t = 0; t < counts_.size(); ++t)
    for (std::int64_t k = 0; k < counts_[t]; ++k)
      out.push_back({order_[static_cast<std::size_t>(k)], static_cast<std::int64_t>(t)});
  return out;
}

Tensor RaggedLayout::pack(const Tensor& from, const std::vector<std::int64_t>& first) const {
  Shape shape = from.shape();
  std::size_t bytes = size_of(from.dtype());
  for (std::size_t i = 1; i < shape.size(); ++i) bytes *= static_cast<std::size_t>(shape[i]);
  shape[0] = rows();
  Tensor out(from.dtype(), std::move(shape));
  std::byte* to = out.data();
  for (const Row& row : list()) {
    const std::int64_t at = first[static_cast<std::size_t>(row.example)] + row.time;
    std::memcpy(to, from.data() + static_cast<std::size_t>(at) * bytes, bytes);
    to += bytes;
  }
  return out;
}

std::vector<std::int64_t> extents_of(const Dim& dim, const Lengths& lengths) {
  std::set<std::string> symbols;
  dim.collect_symbols(symbols);
  ensure(!symbols.empty() && lengths.contains(*symbols.begin()), "packing",
         "no lengths for " + dim.to_string());
  std::vector<std::int64_t> out;
  for (std::size_t i = 0; i < lengths.at(*symbols.begin()).size(); ++i) {
    DimEnv env;
    for (const std::string& symbol : symbols) env[symbol] = lengths.at(symbol).at(i);
    out.push_back(dim.evaluate(env));
    if (out.back() < 0)
      throw_user_error("T0392", fmt::format("dimension {} of an example is negative: {}",
                                            dim.to_string(), out.back()));
  }
  return out;
}

std::optional<Tensor> ragged_input(const std::string& name, const Lengths& lengths) {
  const std::size_t open = name.find('(');
  if (lengths.empty() || open == std::string::npos || name.back() != ')') return std::nullopt;
  static const std::set<std::string> kinds{"lengths", "counts", "order",    "ranks",     "padded",
                                           "by_time", "times",  "examples", "by_example"};
  const std::string what = name.substr(0, open);
  if (!kinds.contains(what)) return std::nullopt;
  const Dim dim = Dim::parse(std::string_view(name).substr(open + 1, name.size() - open - 2));
  std::vector<std::int64_t> extents = extents_of(dim, lengths);
  if (what == "lengths") return indices(extents);
  const RaggedLayout layout(std::move(extents));
  if (what == "counts") return indices(layout.counts());
  if (what == "order") return indices(layout.order());
  if (what == "ranks") return indices(inverse(layout.order()));
  if (what == "padded") return padded(layout);
  if (what == "by_example") return indices(by_example(layout));
  if (what == "by_time") return indices(inverse(by_example(layout)));
  std::vector<std::int64_t> values;
  for (const RaggedLayout::Row& row : layout.list())
    values.push_back(what == "examples" ? row.example : row.time);
  return indices(values);
}

}  // namespace treadle
