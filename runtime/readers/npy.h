// NumPy's .npy format, versions 1 to 3 (numpy.lib.format).
#pragma once
#include <filesystem>
#include <string>
#include <string_view>

#include "ir/tensor.h"

namespace treadle {

// The array of a file. Types that we lack are widened (f16 to f32, 8- and
// 16-bit integers to i32, u32 to i64); Fortran order is transposed to
// row-major. T0911 truncated; T0914 not an npy file; T0916 bytes after the
// last element; T0917 a size that overflows; T0940 malformed header; T0941
// unsupported element type.
Tensor read_npy(const std::filesystem::path& path);
Tensor parse_npy(std::string_view bytes, const std::string& name);

// Version 1.0, little-endian, row-major; bf16, which NumPy lacks, as f32.
// Written atomically; errors as AtomicFile.
void write_npy(const std::filesystem::path& path, const Tensor& tensor);
std::string npy_bytes(const Tensor& tensor);

}  // namespace treadle
