#pragma once
#include <string>
#include <string_view>
#include <vector>

#include "ir/graph.h"
#include "ir/placement.h"
#include "ir/product_cost.h"

namespace treadle {

// The attribute of a node that another backend than the first one runs.
inline constexpr const char* backend_attribute = "backend";

// A product leaves the first backend, which needs no memory of its own, for one that
// is predicted to take at most this part of its time. Predictions are of a product
// alone: in a plain cell's step two that were to take 0.94 of the time in oneDNN, and
// share an operand that our own kernels lay out once, made the step 1.1 times as long.
inline constexpr double worth_leaving = 0.9;

// What became of one product, for `dump --stage placement`. Its size and the seconds
// of a run are those of the typical extents.
struct PlacementReport {
  struct Prediction {
    std::string_view backend;
    double seconds = 0;
  };
  SourceRange location;
  ProductSize size;
  std::vector<Prediction> predictions;  // of those that can run it
  std::string_view chosen;
  std::string reason;  // why there was no choice; else empty
};

// Gives every product that another backend than the first of `models` is
// predicted to run faster by `worth_leaving` the attribute backend = "its name". The
// prediction is made for typical extents of the symbols: 32 for the batch, 64 for the others.
// A library makes code for extents, which costs more than it saves where they are
// new in each batch: products of rows of examples of different lengths stay with
// the first. Runs last: passes that rebuild products drop the attribute.
Graph place(const Graph& graph, BackendModels models,
            std::vector<PlacementReport>* reports = nullptr);

// Gives every product that `model` claims to it, whatever the prediction says.
Graph place_all(const Graph& graph, const BackendModel& model);

}  // namespace treadle
