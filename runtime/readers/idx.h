// The idx format of the MNIST files (yann.lecun.com/exdb/mnist), plain or gzip.
#pragma once
#include <filesystem>
#include <string>
#include <string_view>

#include "ir/tensor.h"

namespace treadle {

// A tensor of the file's shape, its elements converted to `dtype` (f32 or i32
// for bytes; any element type of ours). Values are not scaled.
// T0911 truncated; T0914 not an idx file; T0915 unknown element type; T0916
// bytes after the last element; T0917 a size that overflows;
// T0918 real numbers where `dtype` is an integer type.
Tensor read_idx(const std::filesystem::path& path, DType dtype);

// The same from bytes in memory; `name` is what messages call the file.
Tensor parse_idx(std::string_view bytes, DType dtype, const std::string& name);

}  // namespace treadle
