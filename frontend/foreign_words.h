// Words of other languages and libraries.
#pragma once
#include <string>
#include <string_view>

namespace treadle {

// How what other libraries call `word` is said here ("the product is x @ y"), or
// "" for words that are none of theirs.
std::string said_here(std::string_view word);

}  // namespace treadle
