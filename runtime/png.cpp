#include "runtime/png.h"

#include <fmt/format.h>
#include <fmt/ranges.h>
#include <zlib.h>

#include <algorithm>
#include <cmath>
#include <string_view>

#include "ir/diagnostic.h"
#include "runtime/atomic_file.h"

namespace treadle {
namespace {

constexpr std::int64_t longest_side = 65535;
// Images whose longer side is less than this are enlarged.
constexpr std::int64_t small_side = 64;
constexpr std::uint8_t gap_colour = 96;

std::string big_endian(std::uint32_t value) {
  std::string out(4, '\0');
  for (int i = 3; i >= 0; --i, value >>= 8)
    out[static_cast<std::size_t>(i)] = static_cast<char>(value & 0xff);
  return out;
}

std::string chunk(std::string_view kind, std::string_view data) {
  std::string body(kind);
  body += data;
  const auto sum =
      crc32(0, reinterpret_cast<const Bytef*>(body.data()), static_cast<uInt>(body.size()));
  return big_endian(static_cast<std::uint32_t>(data.size())) + body +
         big_endian(static_cast<std::uint32_t>(sum));
}

std::string deflated(const std::string& bytes) {
  uLongf size = compressBound(bytes.size());
  std::string out(size, '\0');
  const int status = compress2(reinterpret_cast<Bytef*>(out.data()), &size,
                               reinterpret_cast<const Bytef*>(bytes.data()), bytes.size(), 9);
  ensure(status == Z_OK, "png", "zlib refuses to compress");
  out.resize(size);
  return out;
}

[[noreturn]] void fail(const std::string& message, const std::string& hint) {
  throw_user_error("T0895", message, hint);
}

// What an array holds, and where image n's pixel stands.
struct Images {
  explicit Images(const Tensor& tensor) {
    const Shape& shape = tensor.shape();
    const bool colour = shape.size() >= 3 && shape.back() == 3;
    const std::size_t rank = shape.size() - (colour ? 1 : 0);
    if (rank != 2 && rank != 3)
      fail(fmt::format("an array of the shape [{}] is no image", fmt::join(shape, ", ")),
           "images are [H, W] or [N, H, W], with a last dimension of 3 for colour");
    channels = colour ? 3 : 1;
    count = rank == 3 ? shape[0] : 1;
    height = shape[rank - 2];
    width = shape[rank - 1];
    if (count * height * width == 0)
      fail(fmt::format("an array of the shape [{}] has no pixels", fmt::join(shape, ", ")), {});
  }
  std::int64_t count = 1, height = 0, width = 0;
  int channels = 1;
};

struct Range {
  double low = 0, high = 1;
};

Range range_of(const Tensor& tensor) {
  Range out;
  for (std::int64_t i = 0; i < tensor.size(); ++i) {
    const double value = tensor.get(i);
    if (!std::isfinite(value))
      fail(fmt::format("element {} is {}, which has no shade", i, value), {});
    out.low = std::min(out.low, value);
    out.high = std::max(out.high, value);
  }
  return out;
}

}  // namespace

std::string png_bytes(const Pixels& pixels) {
  const bool fits = pixels.width >= 1 && pixels.height >= 1 && pixels.width <= longest_side &&
                    pixels.height <= longest_side;
  ensure(fits && (pixels.channels == 1 || pixels.channels == 3), "png", "a picture without a size");
  const auto row = static_cast<std::size_t>(pixels.width * pixels.channels);
  ensure(pixels.bytes.size() == row * static_cast<std::size_t>(pixels.height), "png",
         "the number of pixels does not fit the size");
  std::string lines;
  lines.reserve(pixels.bytes.size() + static_cast<std::size_t>(pixels.height));
  for (std::size_t y = 0; y < static_cast<std::size_t>(pixels.height); ++y) {
    lines += '\0';  // no filter
    lines.append(reinterpret_cast<const char*>(pixels.bytes.data()) + y * row, row);
  }
  std::string header = big_endian(static_cast<std::uint32_t>(pixels.width)) +
                       big_endian(static_cast<std::uint32_t>(pixels.height));
  // Depth; colour type; compression, filter and interlace methods.
  header += {8, static_cast<char>(pixels.channels == 3 ? 2 : 0), 0, 0, 0};
  return "\x89PNG\r\n\x1a\n" + chunk("IHDR", header) + chunk("IDAT", deflated(lines)) +
         chunk("IEND", "");
}

void write_png(const std::filesystem::path& path, const Pixels& pixels) {
  write_file_atomically(path, png_bytes(pixels));
}

Pixels image_sheet(const Tensor& tensor) {
  const Images images(tensor);
  const Range range = range_of(tensor);
  const auto columns =
      static_cast<std::int64_t>(std::ceil(std::sqrt(static_cast<double>(images.count))));
  const std::int64_t rows = (images.count + columns - 1) / columns;
  const std::int64_t zoom =
      std::max<std::int64_t>(1, small_side / std::max(images.height, images.width));
  const std::int64_t across = images.width * zoom + 1, down = images.height * zoom + 1;
  if (across > longest_side || down > longest_side || columns * across - 1 > longest_side ||
      rows * down - 1 > longest_side)
    fail(fmt::format("{} images of {} x {} make a picture of more than {} pixels on a side",
                     images.count, images.height, images.width, longest_side),
         "draw fewer of them");
  Pixels out;
  out.width = columns * across - 1;
  out.height = rows * down - 1;
  out.channels = images.channels;
  out.bytes.assign(static_cast<std::size_t>(out.width * out.height * out.channels), gap_colour);
  for (std::int64_t n = 0; n < images.count; ++n) {
    const std::int64_t left = n % columns * across, top = n / columns * down;
    for (std::int64_t y = 0; y < images.height * zoom; ++y)
      for (std::int64_t x = 0; x < images.width * zoom; ++x)
        for (int c = 0; c < images.channels; ++c) {
          const std::int64_t pixel = (n * images.height + y / zoom) * images.width + x / zoom;
          const double value = tensor.get(pixel * images.channels + c);
          const double shade = (value - range.low) / (range.high - range.low);
          const std::int64_t place = ((top + y) * out.width + left + x) * out.channels + c;
          out.bytes[static_cast<std::size_t>(place)] =
              static_cast<std::uint8_t>(std::lround(255 * shade));
        }
  }
  return out;
}

}  // namespace treadle
