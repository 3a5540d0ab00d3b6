#include "runtime/readers/npy.h"

#include <fmt/format.h>

#include <cctype>
#include <cstring>
#include <limits>
#include <vector>

#include "ir/diagnostic.h"
#include "runtime/atomic_file.h"
#include "runtime/bytes.h"
#include "runtime/elements.h"
#include "runtime/file.h"

namespace treadle {
namespace {

constexpr std::string_view magic = "\x93NUMPY";

struct NpyHeader {
  std::string descr;
  bool fortran_order = false;
  Shape shape;
};

// The header is a Python dict literal with three known keys.
class HeaderParser {
 public:
  HeaderParser(std::string_view text, const std::string& name) : text_(text), name_(name) {}

  NpyHeader parse() {
    NpyHeader out;
    bool has_descr = false;
    bool has_order = false;
    bool has_shape = false;
    expect('{');
    while (!accept('}')) {
      const std::string key = string();
      expect(':');
      if (key == "descr" && !has_descr) {
        out.descr = string();
        has_descr = true;
      } else if (key == "fortran_order" && !has_order) {
        out.fortran_order = boolean();
        has_order = true;
      } else if (key == "shape" && !has_shape) {
        out.shape = tuple();
        has_shape = true;
      } else {
        malformed(fmt::format("unexpected key '{}'", key));
      }
      if (!accept(',')) {
        expect('}');
        break;
      }
    }
    skip_space();
    if (at_ != text_.size()) malformed("text after the dict");
    if (!has_descr || !has_order || !has_shape) malformed("a key is missing");
    return out;
  }

 private:
  [[noreturn]] void malformed(const std::string& why) const {
    throw_user_error("T0940", fmt::format("{}: malformed npy header: {}", name_, why));
  }
  void skip_space() {
    while (at_ < text_.size() && std::isspace(static_cast<unsigned char>(text_[at_])) != 0) ++at_;
  }
  bool accept(char c) {
    skip_space();
    if (at_ >= text_.size() || text_[at_] != c) return false;
    ++at_;
    return true;
  }
  void expect(char c) {
    if (!accept(c)) malformed(fmt::format("expected '{}' at byte {}", c, at_));
  }
  std::string string() {
    skip_space();
    if (at_ >= text_.size() || (text_[at_] != '\'' && text_[at_] != '"'))
      malformed(fmt::format("expected a string at byte {}", at_));
    const std::size_t end = text_.find(text_[at_], at_ + 1);
    if (end == std::string_view::npos) malformed("a string does not end");
    std::string out(text_.substr(at_ + 1, end - at_ - 1));
    at_ = end + 1;
    return out;
  }
  bool boolean() {
    skip_space();
    for (const bool value : {true, false}) {
      const std::string_view word = value ? "True" : "False";
      if (!text_.substr(at_).starts_with(word)) continue;
      at_ += word.size();
      return value;
    }
    malformed("fortran_order is neither True nor False");
  }
  Shape tuple() {
    Shape out;
    expect('(');
    while (!accept(')')) {
      out.push_back(extent());
      if (!accept(',')) {
        expect(')');
        break;
      }
    }
    return out;
  }
  std::int64_t extent() {
    skip_space();
    std::int64_t value = 0;
    const std::size_t begin = at_;
    for (; at_ < text_.size() && text_[at_] >= '0' && text_[at_] <= '9'; ++at_)
      if (__builtin_mul_overflow(value, std::int64_t{10}, &value) ||
          __builtin_add_overflow(value, std::int64_t{text_[at_] - '0'}, &value))
        malformed("an extent overflows 64 bits");
    if (at_ == begin) malformed(fmt::format("expected an extent at byte {}", at_));
    return value;
  }

  std::string_view text_;
  const std::string& name_;
  std::size_t at_ = 0;
};

StoredType element_type(const std::string& descr, const std::string& name) {
  const std::string kind = descr.empty() ? "" : descr.substr(1);
  if (kind == "f2") return StoredType::f16;
  if (kind == "f4") return StoredType::f32;
  if (kind == "f8") return StoredType::f64;
  if (kind == "i1") return StoredType::i8;
  if (kind == "i2") return StoredType::i16;
  if (kind == "i4") return StoredType::i32;
  if (kind == "i8") return StoredType::i64;
  if (kind == "u1") return StoredType::u8;
  if (kind == "u2") return StoredType::u16;
  if (kind == "u4") return StoredType::u32;
  if (kind == "b1") return StoredType::b1;
  throw_user_error("T0941", fmt::format("{}: unsupported npy element type '{}'", name, descr),
                   "save it as float32, float64, int32 or int64");
}

std::string_view descr_of(DType dtype) {
  switch (dtype) {
    case DType::f32:
    case DType::bf16: return "<f4";
    case DType::f64: return "<f8";
    case DType::i32: return "<i4";
    case DType::i64: return "<i8";
    case DType::b1: return "|b1";
  }
  return "";
}

// `columns` holds the elements in Fortran order of `shape`.
Tensor from_fortran_order(const Tensor& columns, const Shape& shape) {
  Tensor out(columns.dtype(), shape);
  const std::size_t width = size_of(out.dtype());
  std::vector<std::int64_t> index(shape.size(), 0);
  for (std::int64_t i = 0; i < out.size(); ++i) {
    std::int64_t from = 0;
    for (std::size_t axis = shape.size(); axis-- > 0;) from = from * shape[axis] + index[axis];
    std::memcpy(out.data() + static_cast<std::size_t>(i) * width,
                columns.data() + static_cast<std::size_t>(from) * width, width);
    for (std::size_t axis = shape.size(); axis-- > 0;) {
      if (++index[axis] < shape[axis]) break;
      index[axis] = 0;
    }
  }
  return out;
}

}  // namespace

Tensor parse_npy(std::string_view bytes, const std::string& name) {
  ByteReader in(bytes, name);
  if (in.take(magic.size(), "the npy magic") != magic)
    throw_user_error("T0914", fmt::format("{} is not an npy file", name));
  const std::uint8_t version = in.u8("the npy version");
  in.u8("the npy version");
  if (version < 1 || version > 3)
    throw_user_error("T0914", fmt::format("{}: npy version {} is unknown", name, version));
  const std::uint64_t length =
      version == 1 ? in.u16("the header length") : in.u32("the header length");
  const NpyHeader header = HeaderParser(in.take(length, "the npy header"), name).parse();
  const StoredType type = element_type(header.descr, name);
  std::uint64_t total = size_of(type);
  for (const std::int64_t extent : header.shape)
    total = checked_multiply(total, static_cast<std::uint64_t>(extent), name);
  const std::string_view elements = in.take(total, "the elements");
  if (in.remaining() != 0)
    throw_user_error("T0916",
                     fmt::format("{} has {} bytes after its last element", name, in.remaining()),
                     "the header and the content do not belong together");
  Tensor out(widened(type), header.shape);
  decode_elements(elements, type, header.descr[0] == '>', out);
  return header.fortran_order && header.shape.size() > 1 ? from_fortran_order(out, header.shape)
                                                         : out;
}

Tensor read_npy(const std::filesystem::path& path) {
  return parse_npy(read_file(path), path.string());
}

std::string npy_bytes(const Tensor& tensor) {
  if (tensor.dtype() == DType::bf16) return npy_bytes(tensor.cast(DType::f32));
  std::string header =
      fmt::format("{{'descr': '{}', 'fortran_order': False, 'shape': (", descr_of(tensor.dtype()));
  for (const std::int64_t extent : tensor.shape()) header += fmt::format("{}, ", extent);
  header += "), }";
  const std::size_t unpadded = magic.size() + 4 + header.size() + 1;
  header.append((64 - unpadded % 64) % 64, ' ');
  header += '\n';
  ensure(header.size() <= std::numeric_limits<std::uint16_t>::max(), "npy", "header too long");
  std::string out(magic);
  out += '\x01';
  out += '\0';
  append_bytes(out, static_cast<std::uint16_t>(header.size()));
  out += header;
  out.append(reinterpret_cast<const char*>(tensor.data()), tensor.bytes());
  return out;
}

void write_npy(const std::filesystem::path& path, const Tensor& tensor) {
  write_file_atomically(path, npy_bytes(tensor));
}

}  // namespace treadle
