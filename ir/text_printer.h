// The text form of graphs. print -> parse -> print is the identity.
//
//   graph @main stage(batched) {
//     %0 = parameter {dims = <8, 4>, dtype = f32, ...} : f32[8, 4]
//     %1 = input {...} : f32[B, 8]
//     %2 = matmul(%1, %0) {contract_a = [1], contract_b = [0], ...} : f32[B, 4]
//     %3, %4 = scan(%2) {...} : f32[B, 4], f32[T, B, 4] {
//       ^(%0: f32[B, 4])
//       %1 = tanh(%0) : f32[B, 4]
//       return %1, %1
//     }
//     return logits = %2
//   }
//
// A value has one number; a region numbers its own from %0 and sees nothing of
// what is around it.
#pragma once
#include <string>

#include "ir/graph.h"

namespace treadle {

struct PrintOptions {
  bool locations = false;  // "  # lm.tdl:7:3" behind a node
};

std::string print(const Graph& graph, const PrintOptions& options = {});

// One attribute's value in the text form: true, 3, [1, 2], <T, 4*H>, f32, ...
std::string print_attribute(const Attribute& value);

// A double that reads back to the same bits, always with a '.', an 'e', or
// "inf"/"nan".
std::string print_real(double value);

}  // namespace treadle
