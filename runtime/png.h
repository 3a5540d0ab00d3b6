// PNG files (ISO/IEC 15948), and sheets of images made of arrays.
#pragma once
#include <cstdint>
#include <filesystem>
#include <string>
#include <vector>

#include "ir/tensor.h"

namespace treadle {

// 8-bit grey (one channel) or RGB (three), row by row from the top.
struct Pixels {
  std::int64_t width = 0, height = 0;
  int channels = 1;
  std::vector<std::uint8_t> bytes;
};

// One IDAT chunk, rows without a filter. Both sides are 1 to 65,535.
std::string png_bytes(const Pixels& pixels);
// Written atomically; errors as AtomicFile.
void write_png(const std::filesystem::path& path, const Pixels& pixels);

// An array as a picture: [H, W] and [H, W, 3] are one image, [N, H, W] and
// [N, H, W, 3] are N of them, in rows of about the square root of N, with one
// pixel between. (A last dimension of 3 is always colour.) Small images are
// drawn larger by a whole factor. 0 is black, or the least element where that
// is negative; 1 is white, or the largest element where that is more.
// T0895: another shape, nothing to draw, an element that is not finite, or
// more than 65,535 pixels on a side.
Pixels image_sheet(const Tensor& images);

}  // namespace treadle
