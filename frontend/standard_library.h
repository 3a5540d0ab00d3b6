// The standard library, written in Treadle (frontend/std/*.tdl) and carried in
// the binary, so that `treadle` needs no files of its own at run time.
#pragma once
#include <span>

#include "frontend/embedded_file.h"

namespace treadle {

// All files, sorted by name.
std::span<const EmbeddedFile> standard_library_files();

}  // namespace treadle
