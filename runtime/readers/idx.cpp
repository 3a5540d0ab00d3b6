#include "runtime/readers/idx.h"

#include <fmt/format.h>

#include "ir/diagnostic.h"
#include "runtime/bytes.h"
#include "runtime/elements.h"
#include "runtime/file.h"

namespace treadle {
namespace {

StoredType element_type(std::uint8_t code, const std::string& name) {
  switch (code) {
    case 0x08: return StoredType::u8;
    case 0x09: return StoredType::i8;
    case 0x0B: return StoredType::i16;
    case 0x0C: return StoredType::i32;
    case 0x0D: return StoredType::f32;
    case 0x0E: return StoredType::f64;
    default: break;
  }
  throw_user_error("T0915", fmt::format("{}: unknown idx element type 0x{:02x}", name, code),
                   "idx knows 08 (byte), 09, 0b, 0c (integers), 0d, 0e (floats)");
}

}  // namespace

Tensor parse_idx(std::string_view bytes, DType dtype, const std::string& name) {
  ByteReader in(bytes, name);
  const std::string_view zeros = in.take(2, "the idx header");
  if (zeros[0] != 0 || zeros[1] != 0)
    throw_user_error("T0914",
                     fmt::format("{} is not an idx file: it must begin with two zero bytes", name));
  const StoredType type = element_type(in.u8("the idx element type"), name);
  if (is_integer(dtype) && (type == StoredType::f32 || type == StoredType::f64))
    throw_user_error("T0918",
                     fmt::format("{} holds real numbers where integers are expected", name));
  const std::uint8_t rank = in.u8("the idx rank");
  Shape shape;
  std::uint64_t total = size_of(type);
  for (int i = 0; i < rank; ++i) {
    const std::uint32_t extent = in.u32_big_endian("an idx dimension");
    shape.push_back(extent);
    total = checked_multiply(total, extent, name);
  }
  const std::string_view elements = in.take(total, "the elements");
  if (in.remaining() != 0)
    throw_user_error("T0916",
                     fmt::format("{} has {} bytes after its last element", name, in.remaining()),
                     "the header and the content do not belong together");
  Tensor out(dtype, std::move(shape));
  decode_elements(elements, type, true, out);
  return out;
}

Tensor read_idx(const std::filesystem::path& path, DType dtype) {
  return parse_idx(read_file_or_gzip(path), dtype, path.string());
}

}  // namespace treadle
