// UTF-8, as far as reading a source file needs it.
#pragma once
#include <cstddef>
#include <string_view>

namespace treadle {

// Bytes of the well-formed UTF-8 sequence at `at`; 0 when there is none.
std::size_t utf8_length(std::string_view text, std::size_t at);

// Offset of the first byte that is not UTF-8; text.size() when all is well.
std::size_t first_invalid_utf8(std::string_view text);

}  // namespace treadle
