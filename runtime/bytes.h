// Bounded reading and writing of binary fields, for the file formats.
#pragma once
#include <bit>
#include <cstdint>
#include <cstring>
#include <string>
#include <string_view>

namespace treadle {

static_assert(std::endian::native == std::endian::little,
              "tensor files are mapped byte for byte: a little-endian machine is assumed");

// Walks over the bytes of one file. Every read that would pass the end throws
// UserError T0911 naming the file, the field and both byte counts.
class ByteReader {
 public:
  ByteReader(std::string_view bytes, std::string file) : bytes_(bytes), file_(std::move(file)) {}

  std::size_t position() const { return position_; }
  std::size_t remaining() const { return bytes_.size() - position_; }
  const std::string& file() const { return file_; }

  std::string_view take(std::uint64_t count, std::string_view what);
  std::uint8_t u8(std::string_view what) { return static_cast<std::uint8_t>(take(1, what)[0]); }
  std::uint16_t u16(std::string_view what) { return little<std::uint16_t>(what); }
  std::uint32_t u32(std::string_view what) { return little<std::uint32_t>(what); }
  std::uint64_t u64(std::string_view what) { return little<std::uint64_t>(what); }
  std::uint32_t u32_big_endian(std::string_view what);

 private:
  template <typename T>
  T little(std::string_view what) {
    T value;
    std::memcpy(&value, take(sizeof(T), what).data(), sizeof(T));
    return value;
  }

  std::string_view bytes_;
  std::string file_;
  std::size_t position_ = 0;
};

// Appends the little-endian bytes of a number.
template <typename T>
void append_bytes(std::string& out, T value) {
  char raw[sizeof(T)];
  std::memcpy(raw, &value, sizeof(T));
  out.append(raw, sizeof(T));
}

// a * b and a + b; throw UserError T0917 naming the file when 64 bits do not
// hold the result.
std::uint64_t checked_multiply(std::uint64_t a, std::uint64_t b, std::string_view file);
std::uint64_t checked_add(std::uint64_t a, std::uint64_t b, std::string_view file);

// IEEE 754 binary16 to f32, exact.
float half_to_float(std::uint16_t bits);

}  // namespace treadle
