// What `place` predicts of products, and what they take: for each row the
// seconds of both backends, predicted and measured, the choice, and whether it
// is within 5 % of the better one. One core, with each product's share of laying
// out operand B. Uses what `treadle calibrate` measured, where it did. Status 1 when a
// choice is worse.
#include <fmt/core.h>

#include <algorithm>
#include <array>

#include "driver/calibration.h"
#include "driver/product_timer.h"
#include "passes/place.h"

namespace {

using namespace treadle;

struct Row {
  ProductSize size;
  std::int64_t runs;  // with the same operand B
  const char* what;
};

// Steps of recurrent layers, and products that run once.
const std::array<Row, 23> rows = {{
    {{1, 1, 1024, 256}, 64, "batch 1"},
    {{1, 1, 512, 256}, 64, "batch 1, half"},
    {{1, 2, 1024, 256}, 64, ""},
    {{1, 4, 1024, 256}, 64, ""},
    {{1, 8, 1024, 256}, 64, ""},
    {{1, 16, 1024, 256}, 64, ""},
    {{1, 32, 1024, 256}, 64, ""},
    {{1, 32, 512, 256}, 64, "half"},
    {{1, 64, 1024, 256}, 64, ""},
    {{1, 64, 512, 256}, 64, "half"},
    {{1, 64, 256, 1024, false, true}, 64, "backward"},
    {{1, 32, 256, 1024, false, true}, 64, "backward"},
    {{1, 128, 512, 128}, 28, ""},
    {{1, 3200, 1024, 256}, 1, "projection"},
    {{1, 256, 1024, 3200, true, false}, 1, "weight gradient"},
    {{1, 28, 512, 3584, true, false}, 1, "weight gradient"},
    {{1, 256, 65, 4096, true, false}, 1, "weight gradient"},
    {{1, 512, 512, 512}, 1, ""},
    {{1, 128, 65, 256}, 1, "logits"},
    {{1, 4096, 65, 256}, 1, "logits"},
    {{1, 4096, 256, 65, false, true}, 1, "logits, backward"},
    {{1, 4096, 64, 1024, false, true}, 1, "embedding, backward"},
    {{1, 128, 128, 512, false, true}, 1, "backward"},
}};

}  // namespace

int main() {
  const PlacementModels owned(machine_calibration());
  const std::array models{owned.llvm.get(), owned.onednn.get()};
  std::array<ProductTimer, 2> timers{ProductTimer("llvm"), ProductTimer("onednn")};
  int right = 0;
  for (const Row& row : rows) {
    const ProductSize& x = row.size;
    std::array<double, 2> measured{1e9, 1e9}, predicted{};
    // In turns: others share the machine.
    for (int round = 0; round < 5; ++round)
      for (std::size_t i = 0; i < 2; ++i)
        measured[i] =
            std::min(measured[i], timers[i].seconds(x, row.runs) / static_cast<double>(row.runs));
    for (std::size_t i = 0; i < 2; ++i)
      predicted[i] = models[i]->seconds(x).each(static_cast<double>(row.runs));
    const std::size_t chosen = predicted[1] < worth_leaving * predicted[0] ? 1 : 0;
    const double more = measured[chosen] / std::min(measured[0], measured[1]) - 1;
    right += more <= 0.05 ? 1 : 0;
    fmt::print("{:5} {:5} {:5} {}{} x{:<3} {:20}", x.m, x.n, x.k, x.a_turned ? 'T' : '-',
               x.b_turned ? 'T' : '-', row.runs, row.what);
    for (std::size_t i = 0; i < 2; ++i)
      fmt::print(" {:6} {:10.2f} us, predicted {:10.2f};", models[i]->name(), 1e6 * measured[i],
                 1e6 * predicted[i]);
    fmt::print(" {:6} {:5.1f} % behind the better{}\n", models[chosen]->name(), 100 * more,
               more <= 0.05 ? "" : ": WRONG");
  }
  fmt::print("{} of {} rows within 5 %\n", right, rows.size());
  return right == static_cast<int>(rows.size()) ? 0 : 1;
}
