// Checks and record parts that the pointwise ops share.
#pragma once
#include "ir/ops/support.h"

namespace treadle::ops {

std::vector<Type> infer_float(const InferContext& c);    // floats of one type -> that type
std::vector<Type> infer_number(const InferContext& c);   // numbers of one type -> that type
std::vector<Type> infer_any(const InferContext& c);      // one type -> that type
std::vector<Type> infer_order(const InferContext& c);    // two numbers of one type -> bool
std::vector<Type> infer_equal(const InferContext& c);    // two of one type -> bool
std::vector<Type> infer_logical(const InferContext& c);  // bools of one shape -> bool

// A record with what all pointwise ops have.
OpDef pointwise_record(std::string_view doc, int operands,
                       std::vector<Type> (*infer)(const InferContext&), ScalarRule scalar);

// Probes: one operand (or two, of one shape) of 3x5 with elements in [-2, 2];
// positive ones; a scalar; and nothing.
std::vector<Probe> probes_unary();
std::vector<Probe> probes_unary_positive();
std::vector<Probe> probes_binary();
std::vector<Probe> probes_logical_unary();
std::vector<Probe> probes_logical_binary();

}  // namespace treadle::ops
