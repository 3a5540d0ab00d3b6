// Where a thing stands in the user's source.
#pragma once
#include <cstdint>
#include <memory>
#include <string>
#include <vector>

namespace treadle {

// One source file held in memory. `path` is what diagnostics print.
struct SourceFile {
  std::string path;
  std::string text;
};
using SourceFilePtr = std::shared_ptr<const SourceFile>;

// A half-open byte range of one file. A default-made range means "nowhere"
// (nodes that passes or tests make without a source line).
struct SourceRange {
  SourceFilePtr file;
  std::uint32_t begin = 0;
  std::uint32_t end = 0;
  explicit operator bool() const { return file != nullptr; }
};

// 1-based line and column (column counts bytes) of a byte offset.
struct LineColumn {
  std::uint32_t line = 0;
  std::uint32_t column = 0;
};
LineColumn line_column(const SourceFile& file, std::uint32_t offset);

// "lm.tdl:7:31", or "" for a range that is nowhere.
std::string to_string(const SourceRange& range);

}  // namespace treadle
