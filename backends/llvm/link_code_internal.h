// From object files to code that runs anywhere. Included only by
// backends/llvm/*.cpp.
#pragma once
#include <string>
#include <vector>

#include "backends/llvm/compiled_program.h"

namespace treadle {

// All sections of the objects, one behind the other, with the references between
// them in place. What the objects refer to outside themselves becomes imports; it
// is an internal error if the code holds other addresses, or variables. The image
// follows from the objects and their order.
CodeImage link_code(const std::vector<std::string>& objects, const std::string& entry_name);

}  // namespace treadle
