#include "runtime/tensorboard.h"

#include <fcntl.h>
#include <fmt/format.h>
#include <unistd.h>

#include <array>
#include <bit>
#include <cerrno>
#include <cstring>
#include <optional>

#include "ir/diagnostic.h"
#include "runtime/atomic_file.h"
#include "runtime/bytes.h"
#include "runtime/file.h"

namespace treadle {
namespace {

constexpr std::string_view file_version = "brain.Event:2";
constexpr std::size_t flush_size = 1 << 16;

constexpr std::array<std::uint32_t, 256> make_crc_table() {
  std::array<std::uint32_t, 256> table{};
  for (std::uint32_t i = 0; i < 256; ++i) {
    std::uint32_t crc = i;
    for (int bit = 0; bit < 8; ++bit) crc = crc >> 1 ^ ((crc & 1) != 0 ? 0x82F63B78 : 0);
    table[i] = crc;
  }
  return table;
}
constexpr std::array<std::uint32_t, 256> crc_table = make_crc_table();

// Protocol buffers' wire format: a field is a key (number and kind), then its
// value.
enum Wire : std::uint8_t { varint = 0, fixed64 = 1, bytes = 2, fixed32 = 5 };

void append_varint(std::string& out, std::uint64_t value) {
  for (; value >= 0x80; value >>= 7) out += static_cast<char>(value | 0x80);
  out += static_cast<char>(value);
}

void append_key(std::string& out, int field, Wire wire) {
  append_varint(out, static_cast<std::uint64_t>(field) << 3 | wire);
}

void append_text(std::string& out, int field, std::string_view text) {
  append_key(out, field, Wire::bytes);
  append_varint(out, text.size());
  out += text;
}

// event.proto: wall_time = 1, step = 2, file_version = 3, summary = 5;
// summary.proto: value = 1, in it tag = 1 and simple_value = 2.
std::string event_head(std::int64_t step) {
  std::string out;
  append_key(out, 1, Wire::fixed64);
  append_bytes(out, static_cast<double>(step));
  append_key(out, 2, Wire::varint);
  append_varint(out, static_cast<std::uint64_t>(step));
  return out;
}

std::string scalar_event(std::string_view tag, std::int64_t step, float value) {
  std::string item;
  append_text(item, 1, tag);
  append_key(item, 2, Wire::fixed32);
  append_bytes(item, value);
  std::string summary;
  append_text(summary, 1, item);
  std::string out = event_head(step);
  append_text(out, 5, summary);
  return out;
}

void append_record(std::string& out, std::string_view data) {
  std::string length;
  append_bytes(length, static_cast<std::uint64_t>(data.size()));
  out += length;
  append_bytes(out, masked_crc32c(length));
  out += data;
  append_bytes(out, masked_crc32c(data));
}

std::string version_record() {
  std::string event = event_head(0);
  append_text(event, 3, file_version);
  std::string out;
  append_record(out, event);
  return out;
}

// One field of a message; what it holds depends on the wire kind.
struct Field {
  std::uint64_t number = 0;
  std::uint64_t integer = 0;  // varint, fixed32 or fixed64
  std::string_view text;      // bytes
};

class MessageReader {
 public:
  MessageReader(std::string_view data, const std::string& file) : in_(data, file) {}
  std::optional<Field> next() {
    if (in_.remaining() == 0) return std::nullopt;
    const std::uint64_t key = read_varint();
    Field out;
    out.number = key >> 3;
    switch (key & 7) {
      case Wire::varint: out.integer = read_varint(); break;
      case Wire::fixed64: out.integer = in_.u64("a field"); break;
      case Wire::fixed32: out.integer = in_.u32("a field"); break;
      case Wire::bytes: out.text = in_.take(read_varint(), "a field"); break;
      default: throw_user_error("T0990", fmt::format("{} holds a malformed event", in_.file()));
    }
    return out;
  }

 private:
  std::uint64_t read_varint() {
    std::uint64_t value = 0;
    for (int shift = 0; shift < 64; shift += 7) {
      const std::uint8_t byte = in_.u8("a number");
      value |= std::uint64_t{byte & 0x7FU} << shift;
      if (byte < 0x80) return value;
    }
    throw_user_error("T0990", fmt::format("{} holds a malformed event", in_.file()));
  }
  ByteReader in_;
};

void read_summary(std::string_view data, const std::string& file, std::vector<ScalarEvent>& out) {
  MessageReader summary(data, file);
  while (const auto item = summary.next()) {
    if (item->number != 1) continue;
    ScalarEvent event;
    bool is_scalar = false;
    MessageReader value(item->text, file);
    while (const auto field = value.next()) {
      if (field->number == 1) event.tag = std::string(field->text);
      if (field->number != 2) continue;
      is_scalar = true;
      event.value = std::bit_cast<float>(static_cast<std::uint32_t>(field->integer));
    }
    if (is_scalar) out.push_back(std::move(event));
  }
}

std::vector<ScalarEvent> read_event(std::string_view data, const std::string& file) {
  std::vector<ScalarEvent> out;
  std::int64_t step = 0;
  MessageReader event(data, file);
  while (const auto field = event.next()) {
    if (field->number == 2) step = static_cast<std::int64_t>(field->integer);
    if (field->number == 5) read_summary(field->text, file, out);
  }
  for (ScalarEvent& scalar : out) scalar.step = step;
  return out;
}

std::vector<ScalarEvent> parse_events(std::string_view content, const std::string& file) {
  std::vector<ScalarEvent> out;
  ByteReader in(content, file);
  while (in.remaining() >= 12) {
    const std::string_view length_bytes = in.take(8, "a record's length");
    std::uint64_t length = 0;
    std::memcpy(&length, length_bytes.data(), sizeof(length));
    if (in.u32("a checksum") != masked_crc32c(length_bytes))
      throw_user_error(
          out.empty() && in.position() == 12 ? "T0914" : "T0990",
          fmt::format("{} is no event file, or damaged: a checksum does not fit", file));
    if (in.remaining() < 4 || length > in.remaining() - 4) break;
    const std::string_view data = in.take(length, "a record");
    if (in.u32("a checksum") != masked_crc32c(data))
      throw_user_error("T0990", fmt::format("{} is damaged: a checksum does not fit", file));
    for (ScalarEvent& event : read_event(data, file)) out.push_back(std::move(event));
  }
  return out;
}

std::string kept_content(const std::filesystem::path& path, std::int64_t first_step) {
  std::string out = version_record();
  std::error_code error;
  if (first_step <= 0 || !std::filesystem::exists(path, error)) return out;
  for (const ScalarEvent& event : read_events(path))
    if (event.step < first_step)
      append_record(out, scalar_event(event.tag, event.step, event.value));
  return out;
}

}  // namespace

std::uint32_t crc32c(std::string_view bytes) {
  std::uint32_t crc = ~0U;
  for (const char c : bytes)
    crc = crc >> 8 ^ crc_table[(crc ^ static_cast<std::uint8_t>(c)) & 0xFF];
  return ~crc;
}

std::uint32_t masked_crc32c(std::string_view bytes) {
  return std::rotr(crc32c(bytes), 15) + 0xA282EAD8;
}

EventWriter::EventWriter(const std::filesystem::path& folder, std::string_view run,
                         std::int64_t first_step)
    : path_(folder / fmt::format("events.out.tfevents.{}.treadle", run)) {
  create_folders(folder);
  write_file_atomically(path_, kept_content(path_, first_step));
  fd_ = ::open(path_.c_str(), O_WRONLY | O_APPEND | O_CLOEXEC);
  if (fd_ < 0)
    throw_user_error("T0960",
                     fmt::format("cannot write {}: {}", path_.string(), std::strerror(errno)));
}

EventWriter::~EventWriter() {
  try {
    flush();
  } catch (const UserError&) {
    // A destructor has nobody to tell; flush() before it does.
  }
  ::close(fd_);
}

void EventWriter::scalar(std::string_view tag, std::int64_t step, double value) {
  append_record(buffer_, scalar_event(tag, step, static_cast<float>(value)));
  if (buffer_.size() >= flush_size) flush();
}

void EventWriter::flush() {
  std::string_view rest = buffer_;
  while (!rest.empty()) {
    const ssize_t count = ::write(fd_, rest.data(), rest.size());
    if (count < 0 && errno == EINTR) continue;
    if (count < 0) {
      const int error = errno;
      buffer_.erase(0, buffer_.size() - rest.size());
      throw_user_error(error == ENOSPC || error == EDQUOT || error == EFBIG ? "T0961" : "T0960",
                       fmt::format("cannot write {}: {}", path_.string(), std::strerror(error)));
    }
    rest.remove_prefix(static_cast<std::size_t>(count));
  }
  buffer_.clear();
}

std::vector<ScalarEvent> read_events(const std::filesystem::path& path) {
  return parse_events(read_file(path), path.string());
}

}  // namespace treadle
