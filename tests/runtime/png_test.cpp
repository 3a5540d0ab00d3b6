// PNG files, read back by a small reader of this test's own.
#include "runtime/png.h"

#include <zlib.h>

#include <limits>

#include "ir/tensor.h"
#include "runtime/file.h"
#include "tests/catch.h"
#include "tests/runtime/support.h"

using namespace treadle;
using namespace treadle::test;

namespace {

std::uint32_t number_at(const std::string& bytes, std::size_t at) {
  std::uint32_t out = 0;
  for (std::size_t i = 0; i < 4; ++i) out = out << 8 | static_cast<unsigned char>(bytes.at(at + i));
  return out;
}

// Checks signature, lengths and checksums; undoes the compression.
Pixels read_png(const std::string& bytes) {
  REQUIRE(bytes.substr(0, 8) == "\x89PNG\r\n\x1a\n");
  Pixels out;
  std::string packed, kinds;
  for (std::size_t at = 8; at < bytes.size();) {
    const std::size_t length = number_at(bytes, at);
    const std::string body = bytes.substr(at + 4, length + 4);
    REQUIRE(body.size() == length + 4);
    const auto sum =
        crc32(0, reinterpret_cast<const Bytef*>(body.data()), static_cast<uInt>(body.size()));
    CHECK(number_at(bytes, at + 8 + length) == sum);
    const std::string kind = body.substr(0, 4), data = body.substr(4);
    kinds += kind;
    if (kind == "IHDR") {
      REQUIRE(data.size() == 13);
      out.width = number_at(data, 0);
      out.height = number_at(data, 4);
      CHECK(data[8] == 8);
      REQUIRE((data[9] == 0 || data[9] == 2));
      out.channels = data[9] == 2 ? 3 : 1;
      CHECK(data.substr(10) == std::string(3, '\0'));
    }
    if (kind == "IDAT") packed += data;
    at += 12 + length;
  }
  CHECK(kinds == "IHDRIDATIEND");
  const auto row = static_cast<std::size_t>(out.width * out.channels) + 1;
  std::vector<std::uint8_t> lines(row * static_cast<std::size_t>(out.height));
  uLongf size = lines.size();
  REQUIRE(uncompress(lines.data(), &size, reinterpret_cast<const Bytef*>(packed.data()),
                     packed.size()) == Z_OK);
  REQUIRE(size == lines.size());
  for (std::size_t i = 0; i < lines.size(); ++i) {
    if (i % row == 0)
      CHECK(lines[i] == 0);  // no filter
    else
      out.bytes.push_back(lines[i]);
  }
  return out;
}

}  // namespace

TEST_CASE("a PNG file holds the pixels that were written") {
  const TemporaryFolder folder;
  for (const int channels : {1, 3}) {
    Pixels pixels{5, 3, channels, {}};
    for (int i = 0; i < 15 * channels; ++i)
      pixels.bytes.push_back(static_cast<std::uint8_t>(i * 37));
    write_png(folder.path() / "out.png", pixels);
    const Pixels back = read_png(read_file(folder.path() / "out.png"));
    CHECK(back.width == 5);
    CHECK(back.height == 3);
    CHECK(back.channels == channels);
    CHECK(back.bytes == pixels.bytes);
  }
}

TEST_CASE("a sheet has the images side by side, enlarged, one pixel apart") {
  // Three images of one row and two columns, 32 times as large, in two columns.
  const Pixels sheet = image_sheet(tensor_of(DType::f32, {3, 1, 2}, {0, 1, 0.5, 0.25, 1, 0}));
  CHECK(sheet.channels == 1);
  CHECK(sheet.width == 2 * 64 + 1);
  CHECK(sheet.height == 2 * 32 + 1);
  const auto at = [&](std::int64_t x, std::int64_t y) {
    return int{sheet.bytes[static_cast<std::size_t>(y * sheet.width + x)]};
  };
  CHECK(at(0, 0) == 0);
  CHECK(at(31, 31) == 0);
  CHECK(at(32, 0) == 255);
  CHECK(at(64, 0) == 96);
  CHECK(at(65, 0) == 128);
  CHECK(at(97, 31) == 64);
  CHECK(at(0, 32) == 96);
  CHECK(at(0, 33) == 255);
  CHECK(at(32, 33) == 0);
  CHECK(at(65, 33) == 96);  // there is no fourth
}

TEST_CASE("shades go from the least to the largest element, zero and one at least") {
  const auto shades = [](std::initializer_list<double> values) {
    const Pixels sheet =
        image_sheet(tensor_of(DType::f64, {1, static_cast<std::int64_t>(values.size())}, values));
    const auto zoom = static_cast<std::size_t>(sheet.height);
    std::vector<int> out;
    for (std::size_t i = 0; i < values.size(); ++i) out.push_back(sheet.bytes[i * zoom]);
    return out;
  };
  CHECK(shades({0, 0.5}) == std::vector<int>{0, 128});
  CHECK(shades({0, 8, 16}) == std::vector<int>{0, 128, 255});
  CHECK(shades({-1, 0, 1}) == std::vector<int>{0, 128, 255});
}

TEST_CASE("a last dimension of three is colour") {
  const Pixels one = image_sheet(tensor_of(DType::i32, {1, 1, 3}, {1, 0, 1}));
  CHECK(one.channels == 3);
  CHECK(one.width == 64);
  CHECK(std::vector<std::uint8_t>(one.bytes.end() - 3, one.bytes.end()) ==
        std::vector<std::uint8_t>{255, 0, 255});
  CHECK(image_sheet(Tensor(DType::f32, {4, 80, 70, 3})).width == 2 * 71 - 1);
}

TEST_CASE("what is no image is refused") {
  for (const Shape& shape :
       {Shape{}, Shape{4}, Shape{2, 0}, Shape{0, 4, 4}, Shape{2, 2, 4, 4}, Shape{1, 70000}})
    CHECK(error_code([&] { image_sheet(Tensor(DType::f32, shape)); }) == "T0895");
  const double infinite = std::numeric_limits<double>::infinity();
  CHECK(error_code([&] { image_sheet(tensor_of(DType::f32, {1, 2}, {0, infinite})); }) == "T0895");
}
