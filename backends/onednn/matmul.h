// Products run by oneDNN inside the compiled step.
#pragma once
#include <memory>

#include "ir/product_cost.h"
#include "runtime/node_runner.h"

namespace treadle {

// Claims f32 products whose operands have a dimension of stride one. On AVX2 it
// copies B again for each of its pieces, on AVX-512 it keeps B laid out.
std::shared_ptr<const ProductModel> make_onednn_model(int vector_bytes, StepSeconds seconds);
// What is known of processors with vectors of that length.
StepSeconds onednn_step_seconds(int vector_bytes);
// For what it claims.
const BackendModel& onednn_model();

// A product is run in pieces of rows: with a piece of the columns the result is
// not dense, and oneDNN then takes a slower kernel. Pieces are large enough to
// pay for a call, small enough to share out, and do not depend on the number of
// threads. A batch is not cut further.
std::int64_t onednn_piece_rows(std::int64_t batch, std::int64_t m);

// Of a node that the model claims. Each thread of the team runs oneDNN on
// pieces of its own, on that thread alone: oneDNN makes no threads. Operand B is
// kept in the layout that oneDNN asks for and is laid out anew by each
// `prepare`.
std::unique_ptr<NodeRunner> make_onednn_runner(const MatmulClaim& claim);

// "3.2.0"
std::string onednn_version();

}  // namespace treadle
