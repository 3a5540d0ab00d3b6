// The page's own style and script (driver/inspect/page), carried in the binary.
#pragma once
#include <span>

#include "frontend/embedded_file.h"

namespace treadle {

// "page.css", "page.html", ...
std::span<const EmbeddedFile> inspection_page_files();

}  // namespace treadle
