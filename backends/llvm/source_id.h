// Which compiler this is, for the keys of what is kept between runs.
#pragma once
#include <string_view>

namespace treadle {

// A hash of the sources that code depends on: ir/, passes/, backends/.
std::string_view compiler_source_id();

}  // namespace treadle
