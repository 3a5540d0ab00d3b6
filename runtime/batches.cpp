#include "runtime/batches.h"

#include <fmt/format.h>

#include <algorithm>
#include <cstring>
#include <numeric>
#include <utility>

#include "ir/diagnostic.h"
#include "runtime/random.h"
#include "runtime/shuffle.h"

namespace treadle {
namespace {

std::size_t row_bytes(const Tensor& tensor) {
  return tensor.shape()[0] == 0 ? 0 : tensor.bytes() / static_cast<std::size_t>(tensor.shape()[0]);
}

Tensor pick_rows(const Tensor& from, const std::vector<std::int64_t>& indices) {
  Shape shape = from.shape();
  shape[0] = static_cast<std::int64_t>(indices.size());
  Tensor out(from.dtype(), std::move(shape));
  const std::size_t bytes = row_bytes(from);
  for (std::size_t i = 0; i < indices.size(); ++i)
    std::memcpy(out.data() + i * bytes, from.data() + static_cast<std::size_t>(indices[i]) * bytes,
                bytes);
  return out;
}

class ArrayBatches final : public BatchSource {
 public:
  ArrayBatches(NamedFields fields, const ArrayBatchesOptions& options)
      : fields_(std::move(fields)), options_(options) {
    for (const auto& [name, tensor] : fields_) {
      const std::int64_t count = tensor.shape().empty() ? 0 : tensor.shape()[0];
      if (count_ >= 0 && count != count_)
        throw_user_error("T0966", fmt::format("field '{}' has {} examples, another has {}", name,
                                              count, count_));
      count_ = count;
    }
    if (count_ <= 0) throw_user_error("T0965", "the data set has no examples");
    if (options_.batch <= 0) throw_user_error("T0968", "a batch has at least one example");
    order_ = EpochOrder(count_, options_.seed, options_.shuffle);
  }

  std::int64_t batches() const override { return (count_ + options_.batch - 1) / options_.batch; }
  std::int64_t examples() const override { return count_; }

  Batch batch(std::int64_t epoch, std::int64_t index) const override {
    Batch out;
    const std::int64_t begin = index * options_.batch;
    const std::int64_t end = std::min(begin + options_.batch, count_);
    out.indices = order_.range(epoch, begin, end);
    out.examples = end - begin;
    for (const auto& [name, tensor] : fields_)
      out.fields.emplace(name, pick_rows(tensor, out.indices));
    return out;
  }

 private:
  NamedFields fields_;
  ArrayBatchesOptions options_;
  std::int64_t count_ = -1;
  EpochOrder order_;
};

// The window at `begin`, and the one a token on, as row `row` of the two.
void copy_window(const Tensor& tokens, std::int64_t begin, std::int64_t window, std::int64_t row,
                 Tensor& text, Tensor& next) {
  const std::size_t width = size_of(tokens.dtype());
  const std::size_t bytes = static_cast<std::size_t>(window) * width;
  const std::byte* from = tokens.data() + static_cast<std::size_t>(begin) * width;
  std::memcpy(text.data() + static_cast<std::size_t>(row) * bytes, from, bytes);
  std::memcpy(next.data() + static_cast<std::size_t>(row) * bytes, from + width, bytes);
}

class TextLanes final : public BatchSource {
 public:
  TextLanes(Tensor tokens, std::int64_t window, std::int64_t lanes)
      : tokens_(std::move(tokens)), window_(window), lanes_(lanes) {
    if (window <= 0 || lanes <= 0) throw_user_error("T0968", "window and lanes are at least one");
    lane_length_ = (tokens_.size() - 1) / lanes;
    if (lane_length_ < window)
      throw_user_error("T0967",
                       fmt::format("{} tokens are too few for {} lanes of a window of {}",
                                   tokens_.size(), lanes, window),
                       "use fewer lanes, a shorter window, or more text");
  }

  std::int64_t batches() const override { return lane_length_ / window_; }
  std::int64_t examples() const override { return batches() * lanes_; }

  Batch batch(std::int64_t, std::int64_t index) const override {
    Tensor text(tokens_.dtype(), {lanes_, window_});
    Tensor next(tokens_.dtype(), {lanes_, window_});
    Batch out;
    for (std::int64_t lane = 0; lane < lanes_; ++lane) {
      copy_window(tokens_, lane * lane_length_ + index * window_, window_, lane, text, next);
      out.indices.push_back(lane);
    }
    out.fields.emplace("text", std::move(text));
    out.fields.emplace("next", std::move(next));
    out.examples = lanes_;
    out.starts_sequence = index == 0;
    return out;
  }

 private:
  Tensor tokens_;
  std::int64_t window_, lanes_;
  std::int64_t lane_length_ = 0;
};

class TextWindows final : public BatchSource {
 public:
  TextWindows(Tensor tokens, std::int64_t window, const ArrayBatchesOptions& options)
      : tokens_(std::move(tokens)), window_(window), options_(options) {
    if (window <= 0 || options_.batch <= 0)
      throw_user_error("T0968", "window and batch are at least one");
    if (tokens_.size() <= window)
      throw_user_error(
          "T0967", fmt::format("{} tokens are too few for a window of {}", tokens_.size(), window));
    // As many windows wherever an epoch begins.
    const std::int64_t room = tokens_.size() - 1;
    shifts_ = options_.shuffle ? std::min(window, room - window + 1) : 1;
    count_ = (room - shifts_ + 1) / window;
    order_ = EpochOrder(count_, options_.seed, options_.shuffle);
  }

  std::int64_t batches() const override { return (count_ + options_.batch - 1) / options_.batch; }
  std::int64_t examples() const override { return count_; }

  Batch batch(std::int64_t epoch, std::int64_t index) const override {
    const std::int64_t shift = options_.shuffle ? shift_of(epoch) : 0;
    Batch out;
    const std::int64_t begin = index * options_.batch;
    out.examples = std::min(options_.batch, count_ - begin);
    out.indices = order_.range(epoch, begin, begin + out.examples);
    Tensor text(tokens_.dtype(), {out.examples, window_});
    Tensor next(tokens_.dtype(), {out.examples, window_});
    for (std::int64_t i = 0; i < out.examples; ++i)
      copy_window(tokens_, shift + out.indices[static_cast<std::size_t>(i)] * window_, window_, i,
                  text, next);
    out.fields.emplace("text", std::move(text));
    out.fields.emplace("next", std::move(next));
    return out;
  }

 private:
  // How far from the start of the text the windows of an epoch begin.
  std::int64_t shift_of(std::int64_t epoch) const {
    RandomStream stream(options_.seed, mix(hash_text("window"), static_cast<std::uint64_t>(epoch)));
    return static_cast<std::int64_t>(stream.next_below(static_cast<std::uint64_t>(shifts_)));
  }

  Tensor tokens_;
  std::int64_t window_;
  ArrayBatchesOptions options_;
  std::int64_t count_ = 0, shifts_ = 1;
  EpochOrder order_;
};

}  // namespace

std::unique_ptr<BatchSource> array_batches(NamedFields fields, const ArrayBatchesOptions& options) {
  return std::make_unique<ArrayBatches>(std::move(fields), options);
}

NamedFields rows(const NamedFields& fields, std::int64_t begin, std::int64_t end) {
  std::vector<std::int64_t> indices(
      static_cast<std::size_t>(std::max<std::int64_t>(end - begin, 0)));
  std::iota(indices.begin(), indices.end(), begin);
  NamedFields out;
  for (const auto& [name, tensor] : fields) out.emplace(name, pick_rows(tensor, indices));
  return out;
}

std::unique_ptr<BatchSource> text_lanes(Tensor tokens, std::int64_t window, std::int64_t lanes) {
  return std::make_unique<TextLanes>(std::move(tokens), window, lanes);
}

std::unique_ptr<BatchSource> text_windows(Tensor tokens, std::int64_t window,
                                          const ArrayBatchesOptions& options) {
  return std::make_unique<TextWindows>(std::move(tokens), window, options);
}

}  // namespace treadle
