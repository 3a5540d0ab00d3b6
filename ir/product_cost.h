// What a product costs, as steps of a kernel that take a machine a fixed time each.
#pragma once
#include <cstdint>
#include <map>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "ir/placement.h"

namespace treadle {

// A product C[m, n] = A[m, k] B[k, n], `batch` times. An operand is turned when
// it is not its rows that stand in memory one element after the other.
struct ProductSize {
  std::int64_t batch = 1, m = 1, n = 1, k = 1;
  bool a_turned = false, b_turned = false;
  // B is an argument of a loop's step, which is the same in all its turns.
  bool b_kept = false;
};
ProductSize product_size(const Graph& graph, const Node& matmul, const DimEnv& env);

// How often one core does something that takes a machine a fixed time.
struct CostTerm {
  std::string_view step;  // "multiply_add", "call", ...
  double count = 0;
};
struct ProductTerms {
  // Laying out operand B: once for all products with the same B.
  std::vector<CostTerm> prepare;
  std::vector<CostTerm> run;
};
// Seconds of each step: what is known of a machine.
using StepSeconds = std::map<std::string, double, std::less<>>;

struct ProductSeconds {
  double prepare = 0, run = 0;
  // Of each of so many runs with the same B.
  double each(double runs) const { return run + prepare / runs; }
};

class ProductModel : public BackendModel {
 public:
  // Holds every step that `terms` names.
  explicit ProductModel(StepSeconds seconds) : seconds_(std::move(seconds)) {}
  virtual ProductTerms terms(const ProductSize& size) const = 0;
  ProductSeconds seconds(const ProductSize& size) const;
  // With B laid out, unless it is kept.
  double seconds(const Graph& graph, NodeId node, const DimEnv& env) const final;

 private:
  StepSeconds seconds_;
};

}  // namespace treadle
