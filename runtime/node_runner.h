// A node that a library runs inside a compiled program.
#pragma once
#include <cstddef>
#include <functional>
#include <memory>

#include "ir/dtype.h"
#include "ir/strided_view.h"

namespace treadle {

// C = A B for each matrix of a batch; C is dense: [batch, m, n].
struct MatmulClaim {
  DType dtype = DType::f32;
  MatmulShape shape;
  MatrixView a, b;  // strides in elements; their offsets are added by the caller
};

// All threads of a team call `prepare` and `run` together, each with its own
// number, with a barrier of the caller's between the two. The work is cut into
// pieces that depend on the extents alone, so the bits do not depend on the
// number of threads.
class NodeRunner {
 public:
  virtual ~NodeRunner() = default;
  // Fixes the extents of the calls that follow; by one thread.
  virtual void bind(const DimEnv& env, int threads) = 0;
  // Memory of its own that calls with those extents take.
  virtual std::size_t working_bytes(const DimEnv& env, int threads) const = 0;
  // Takes operand B in the form that the library wants.
  virtual void prepare(int thread, const std::byte* b) = 0;
  virtual void run(int thread, const std::byte* a, std::byte* c) = 0;
};

using NodeRunnerFactory = std::function<std::unique_ptr<NodeRunner>(const MatmulClaim&)>;

}  // namespace treadle
