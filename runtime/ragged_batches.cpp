#include "runtime/ragged_batches.h"

#include <fmt/format.h>

#include <algorithm>
#include <cstring>
#include <numeric>
#include <set>

#include "ir/diagnostic.h"
#include "runtime/shuffle.h"

namespace treadle {
namespace {

std::size_t row_bytes(const Tensor& tensor) {
  std::size_t bytes = size_of(tensor.dtype());
  for (std::size_t i = 1; i < tensor.shape().size(); ++i)
    bytes *= static_cast<std::size_t>(tensor.shape()[i]);
  return bytes;
}

void copy_rows(Tensor& to, std::int64_t to_row, const Tensor& from, std::int64_t from_row,
               std::int64_t count) {
  const std::size_t bytes = row_bytes(from);
  std::memcpy(to.data() + static_cast<std::size_t>(to_row) * bytes,
              from.data() + static_cast<std::size_t>(from_row) * bytes,
              static_cast<std::size_t>(count) * bytes);
}

Tensor with_rows(const Tensor& like, std::int64_t count) {
  Shape shape = like.shape();
  shape[0] = count;
  return {like.dtype(), std::move(shape)};
}

RaggedField picked(const RaggedField& field, const std::vector<std::int64_t>& order) {
  RaggedField out;
  out.symbol = field.symbol;
  out.offsets.push_back(0);
  for (const std::int64_t i : order) out.offsets.push_back(out.offsets.back() + field.length(i));
  out.rows = with_rows(field.rows, out.offsets.back());
  for (std::size_t k = 0; k < order.size(); ++k)
    copy_rows(out.rows, out.offsets[k], field.rows,
              field.offsets[static_cast<std::size_t>(order[k])], field.length(order[k]));
  return out;
}

// Symbols of which all examples have the same value lose their fields to the
// dense ones.
void make_dense(ExampleFields& fields) {
  std::set<std::string> differs;
  for (const auto& [name, field] : fields.ragged)
    for (std::size_t i = 2; i < field.offsets.size(); ++i)
      if (field.offsets[i] - field.offsets[i - 1] != field.offsets[1]) differs.insert(field.symbol);
  for (auto& [name, field] : fields.ragged) {
    if (differs.contains(field.symbol)) continue;
    Shape shape = field.rows.shape();
    shape[0] = field.offsets.size() < 2 ? 0 : field.offsets[1];
    shape.insert(shape.begin(), static_cast<std::int64_t>(field.offsets.size()) - 1);
    fields.dense.emplace(name, field.rows.reshaped(std::move(shape)));
  }
  std::erase_if(fields.ragged,
                [&](const auto& entry) { return !differs.contains(entry.second.symbol); });
}

class RaggedBatches final : public BatchSource {
 public:
  RaggedBatches(ExampleFields fields, std::string first_symbol, const ArrayBatchesOptions& options)
      : fields_(std::move(fields)), first_(std::move(first_symbol)), options_(options) {
    count_ = fields_.examples();
    if (count_ <= 0) throw_user_error("T0965", "the data set has no examples");
    if (options_.batch <= 0) throw_user_error("T0968", "a batch has at least one example");
    order_ = EpochOrder(count_, options_.seed, options_.shuffle);
    for (const auto& [name, field] : fields_.ragged) by_symbol_.emplace(field.symbol, &field);
    if (!by_symbol_.contains(first_)) first_ = by_symbol_.begin()->first;
  }

  std::int64_t batches() const override { return (count_ + options_.batch - 1) / options_.batch; }
  std::int64_t examples() const override { return count_; }
  std::vector<std::string> ragged_symbols() const override {
    std::vector<std::string> out;
    for (const auto& [symbol, field] : by_symbol_) out.push_back(symbol);
    return out;
  }

  Batch batch(std::int64_t epoch, std::int64_t index) const override {
    Batch out;
    const std::int64_t begin = index * options_.batch;
    const std::int64_t end = std::min(begin + options_.batch, count_);
    out.indices = order_.range(epoch, begin, end);
    const RaggedField& first = *by_symbol_.at(first_);
    std::stable_sort(out.indices.begin(), out.indices.end(), [&](std::int64_t a, std::int64_t b) {
      return first.length(a) > first.length(b);
    });
    out.examples = end - begin;
    for (const auto& [symbol, field] : by_symbol_)
      for (const std::int64_t i : out.indices) out.lengths[symbol].push_back(field->length(i));
    std::map<std::string, RaggedLayout> layouts;
    for (const auto& [symbol, lengths] : out.lengths) layouts.emplace(symbol, lengths);
    for (const auto& [name, field] : fields_.ragged) {
      std::vector<std::int64_t> starts;
      for (const std::int64_t i : out.indices)
        starts.push_back(field.offsets[static_cast<std::size_t>(i)]);
      out.fields.emplace(name, layouts.at(field.symbol).pack(field.rows, starts));
    }
    for (const auto& [name, tensor] : fields_.dense) {
      Tensor rows = with_rows(tensor, out.examples);
      for (std::size_t k = 0; k < out.indices.size(); ++k)
        copy_rows(rows, static_cast<std::int64_t>(k), tensor, out.indices[k], 1);
      out.fields.emplace(name, std::move(rows));
    }
    return out;
  }

 private:
  ExampleFields fields_;
  std::string first_;
  ArrayBatchesOptions options_;
  std::map<std::string, const RaggedField*> by_symbol_;
  std::int64_t count_ = 0;
  EpochOrder order_;
};

}  // namespace

std::int64_t ExampleFields::examples() const {
  std::int64_t count = -1;
  const auto agree = [&](const std::string& name, std::int64_t own) {
    if (count >= 0 && own != count)
      throw_user_error("T0966",
                       fmt::format("field '{}' has {} examples, another has {}", name, own, count));
    count = own;
  };
  for (const auto& [name, tensor] : dense)
    agree(name, tensor.shape().empty() ? 0 : tensor.shape()[0]);
  for (const auto& [name, field] : ragged)
    agree(name, static_cast<std::int64_t>(field.offsets.size()) - 1);
  for (const auto& [name, field] : ragged)
    for (const auto& [other, second] : ragged)
      for (std::int64_t i = 0; second.symbol == field.symbol && i < count; ++i)
        if (field.length(i) != second.length(i))
          throw_user_error(
              "T0966", fmt::format("example {} has {} rows of '{}' and {} of '{}': both are {}", i,
                                   field.length(i), name, second.length(i), other, field.symbol));
  return std::max<std::int64_t>(count, 0);
}

ExampleFields picked(const ExampleFields& fields, const std::vector<std::int64_t>& order) {
  ExampleFields out;
  for (const auto& [name, tensor] : fields.dense) {
    Tensor rows = with_rows(tensor, static_cast<std::int64_t>(order.size()));
    for (std::size_t k = 0; k < order.size(); ++k)
      copy_rows(rows, static_cast<std::int64_t>(k), tensor, order[k], 1);
    out.dense.emplace(name, std::move(rows));
  }
  for (const auto& [name, field] : fields.ragged) out.ragged.emplace(name, picked(field, order));
  return out;
}

ExampleFields rows(const ExampleFields& fields, std::int64_t begin, std::int64_t end) {
  std::vector<std::int64_t> order(static_cast<std::size_t>(std::max<std::int64_t>(end - begin, 0)));
  std::iota(order.begin(), order.end(), begin);
  return picked(fields, order);
}

std::unique_ptr<BatchSource> ragged_batches(ExampleFields fields, const std::string& first_symbol,
                                            const ArrayBatchesOptions& options) {
  make_dense(fields);
  if (fields.ragged.empty()) return array_batches(std::move(fields.dense), options);
  return std::make_unique<RaggedBatches>(std::move(fields), first_symbol, options);
}

}  // namespace treadle
