// How long a product takes on a backend, measured in a compiled program.
#pragma once
#include <array>
#include <map>
#include <memory>
#include <string>

#include "ir/product_cost.h"
#include "runtime/program.h"
#include "runtime/team.h"

namespace treadle {

class ProductTimer {
 public:
  // "llvm" or "onednn".
  explicit ProductTimer(std::string backend) : backend_(std::move(backend)) {}

  // Seconds of one program, on one core, that lays B out and multiplies `runs`
  // matrices A with it, as a loop over steps does. f32; `size.batch` is 1.
  double seconds(const ProductSize& size, std::int64_t runs);

 private:
  Program& program(bool a_turned, bool b_turned);

  std::string backend_;
  std::map<std::array<bool, 2>, std::unique_ptr<Program>> programs_;
  Team team_{1};
};

}  // namespace treadle
