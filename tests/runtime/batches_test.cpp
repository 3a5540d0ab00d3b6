// Windows of a text as examples.
#include "runtime/batches.h"

#include <set>

#include "tests/catch.h"

using namespace treadle;

namespace {

constexpr std::int64_t window = 4;

Tensor counted(std::int64_t size) {
  Tensor out(DType::i32, {size});
  for (std::int64_t i = 0; i < size; ++i) out.set_integer(i, i);
  return out;
}

// The first tokens of all windows of an epoch, in order.
std::vector<std::int64_t> starts(const BatchSource& source, std::int64_t epoch) {
  std::vector<std::int64_t> out;
  for (std::int64_t i = 0; i < source.batches(); ++i) {
    const Batch batch = source.batch(epoch, i);
    const Tensor &text = batch.fields.at("text"), &next = batch.fields.at("next");
    REQUIRE(text.shape() == Shape{batch.examples, window});
    for (std::int64_t k = 0; k < text.size(); ++k) {
      CHECK(next.get(k) == text.get(k) + 1);
      CHECK(text.get(k) == text.get(k / window * window) + static_cast<double>(k % window));
    }
    for (std::int64_t row = 0; row < batch.examples; ++row)
      out.push_back(static_cast<std::int64_t>(text.get(row * window)));
  }
  return out;
}

}  // namespace

TEST_CASE("windows stand side by side, each once an epoch, and epochs cut at other places") {
  const auto source = text_windows(counted(100), window, {5, true, 7});
  CHECK(source->examples() == 24);
  CHECK(source->batches() == 5);
  std::set<std::int64_t> shifts;
  for (std::int64_t epoch = 0; epoch < 20; ++epoch) {
    const std::vector<std::int64_t> order = starts(*source, epoch);
    const std::set<std::int64_t> all(order.begin(), order.end());
    REQUIRE(all.size() == 24);
    const std::int64_t shift = *all.begin();
    CHECK(shift < window);
    for (std::int64_t i = 0; i < 24; ++i) CHECK(all.contains(shift + i * window));
    shifts.insert(shift);
    CHECK(order != std::vector<std::int64_t>(all.begin(), all.end()));
    // A batch is a function of epoch and index.
    CHECK(starts(*text_windows(counted(100), window, {5, true, 7}), epoch) == order);
  }
  CHECK(shifts.size() == 4);
}

TEST_CASE("without shuffling the windows begin at the start, in order") {
  const auto source = text_windows(counted(22), window, {2, false, 0});
  CHECK(starts(*source, 0) == std::vector<std::int64_t>{0, 4, 8, 12, 16});
  CHECK(starts(*source, 1) == starts(*source, 0));
}

TEST_CASE("a text of one window is that window; a shorter one is refused") {
  CHECK(starts(*text_windows(counted(5), window, {1, true, 3}), 2) == std::vector<std::int64_t>{0});
  CHECK_THROWS(text_windows(counted(4), window, {1, true, 3}));
}
