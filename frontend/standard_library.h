// The standard library, written in Treadle (frontend/std/*.tdl) and carried in
// the binary, so that `treadle` needs no files of its own at run time.
#pragma once
#include <span>
#include <string_view>

namespace treadle {

// One file of the standard library: its name without a folder ("recurrent.tdl")
// and its whole text. Both live as long as the program.
struct EmbeddedFile {
  std::string_view name;
  std::string_view text;
};

// All files, sorted by name.
std::span<const EmbeddedFile> standard_library_files();

}  // namespace treadle
