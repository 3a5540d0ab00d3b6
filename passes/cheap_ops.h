// Ops that are cheaper to repeat than to store and load.
#pragma once
#include "ir/op_def.h"

namespace treadle {

// An instruction or two for each element.
inline bool is_cheap(Op op) {
  switch (op) {
    case Op::add:
    case Op::sub:
    case Op::mul:
    case Op::neg:
    case Op::abs:
    case Op::square:
    case Op::relu:
    case Op::minimum:
    case Op::maximum:
    case Op::select:
    case Op::cast:
    case Op::stop_gradient: return true;
    default: return false;
  }
}

// Needs no memory of its own to be read cheaply at any index.
inline bool is_generated(Op op) {
  return op == Op::constant || op == Op::iota || op == Op::dimension || op == Op::broadcast;
}

}  // namespace treadle
