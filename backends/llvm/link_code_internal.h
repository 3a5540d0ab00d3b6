// From an object file to code that runs anywhere. Included only by
// backends/llvm/*.cpp.
#pragma once
#include <string>

#include "backends/llvm/compiled_program.h"

namespace treadle {

// All sections of the object, one behind the other, with the references between
// them in place. What the object refers to outside itself becomes imports; it is
// an internal error if the code holds other addresses, or variables.
CodeImage link_code(const std::string& object, const std::string& entry_name);

}  // namespace treadle
