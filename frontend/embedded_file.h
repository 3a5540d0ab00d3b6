// A text file that the binary carries; cmake/embed_files.cmake writes them.
#pragma once
#include <string_view>

namespace treadle {

// Its name without a folder ("recurrent.tdl") and its whole text. Both live as
// long as the program.
struct EmbeddedFile {
  std::string_view name;
  std::string_view text;
};

}  // namespace treadle
