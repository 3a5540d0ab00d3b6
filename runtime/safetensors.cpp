#include "runtime/safetensors.h"

#include <fmt/format.h>

#include <algorithm>
#include <nlohmann/json.hpp>
#include <optional>
#include <set>

#include "ir/diagnostic.h"
#include "runtime/atomic_file.h"
#include "runtime/bytes.h"
#include "runtime/elements.h"
#include "runtime/file.h"

namespace treadle {
namespace {

// As the reference implementation: no honest header comes near it.
constexpr std::uint64_t header_limit = 100'000'000;

struct Entry {
  std::string name;
  StoredType type = StoredType::f32;
  Shape shape;
  std::uint64_t begin = 0;
  std::uint64_t end = 0;
};

std::optional<StoredType> stored_type(const std::string& text) {
  static const std::map<std::string, StoredType> types = {
      {"F64", StoredType::f64},   {"F32", StoredType::f32}, {"F16", StoredType::f16},
      {"BF16", StoredType::bf16}, {"I64", StoredType::i64}, {"I32", StoredType::i32},
      {"I16", StoredType::i16},   {"I8", StoredType::i8},   {"U32", StoredType::u32},
      {"U16", StoredType::u16},   {"U8", StoredType::u8},   {"BOOL", StoredType::b1}};
  const auto found = types.find(text);
  if (found == types.end()) return std::nullopt;
  return found->second;
}

std::string_view type_name(DType dtype) {
  switch (dtype) {
    case DType::f32: return "F32";
    case DType::f64: return "F64";
    case DType::bf16: return "BF16";
    case DType::i32: return "I32";
    case DType::i64: return "I64";
    case DType::b1: return "BOOL";
  }
  return "";
}

class HeaderReader {
 public:
  explicit HeaderReader(const std::string& file) : file_(file) {}

  nlohmann::json parse(std::string_view text) const {
    // JSON lets the last of two equal keys win in silence; here it is an error.
    std::vector<std::set<std::string>> keys;
    const auto check = [&](int, nlohmann::json::parse_event_t event, nlohmann::json& value) {
      if (event == nlohmann::json::parse_event_t::object_start) {
        keys.emplace_back();
      } else if (event == nlohmann::json::parse_event_t::object_end) {
        keys.pop_back();
      } else if (event == nlohmann::json::parse_event_t::key) {
        const auto key = value.get<std::string>();
        if (!keys.back().insert(key).second)
          throw_user_error("T0955", fmt::format("{}: the header names '{}' twice", file_, key));
      }
      return true;
    };
    nlohmann::json out = nlohmann::json::parse(text, check, false);
    if (!out.is_object()) malformed("it is not a JSON object");
    return out;
  }

  std::map<std::string, std::string> metadata(const nlohmann::json& value) const {
    if (!value.is_object()) malformed("__metadata__ is not an object");
    std::map<std::string, std::string> out;
    for (const auto& [key, text] : value.items()) {
      if (!text.is_string()) malformed(fmt::format("metadata '{}' is not a string", key));
      out[key] = text.get<std::string>();
    }
    return out;
  }

  Entry entry(const std::string& name, const nlohmann::json& value) const {
    if (!value.is_object() || !value.contains("dtype") || !value.contains("shape") ||
        !value.contains("data_offsets"))
      malformed(fmt::format("'{}' lacks dtype, shape or data_offsets", name));
    Entry out;
    out.name = name;
    if (!value["dtype"].is_string())
      malformed(fmt::format("the dtype of '{}' is not a string", name));
    const auto dtype = value["dtype"].get<std::string>();
    const std::optional<StoredType> type = stored_type(dtype);
    if (!type)
      throw_user_error(
          "T0952",
          fmt::format("{}: '{}' has the unsupported element type '{}'", file_, name, dtype),
          "save it as F32, F64, BF16, F16, I32 or I64");
    out.type = *type;
    for (const std::uint64_t extent : naturals(value["shape"], name, "shape")) {
      if (extent > static_cast<std::uint64_t>(INT64_MAX))
        malformed(fmt::format("an extent of '{}' is too large", name));
      out.shape.push_back(static_cast<std::int64_t>(extent));
    }
    const std::vector<std::uint64_t> offsets =
        naturals(value["data_offsets"], name, "data_offsets");
    if (offsets.size() != 2) malformed(fmt::format("'{}' has not two data_offsets", name));
    out.begin = offsets[0];
    out.end = offsets[1];
    return out;
  }

  void check(const Entry& entry, std::uint64_t data_size) const {
    std::uint64_t wanted = size_of(entry.type);
    for (const std::int64_t extent : entry.shape)
      wanted = checked_multiply(wanted, static_cast<std::uint64_t>(extent), file_);
    if (entry.begin > entry.end || entry.end > data_size)
      throw_user_error("T0953",
                       fmt::format("{}: '{}' claims bytes {} to {} of {} bytes of data", file_,
                                   entry.name, entry.begin, entry.end, data_size),
                       "the file is truncated or its header lies");
    if (entry.end - entry.begin != wanted)
      throw_user_error(
          "T0953",
          fmt::format("{}: '{}' has {} bytes, but its type and shape [{}] take {}", file_,
                      entry.name, entry.end - entry.begin, fmt::join(entry.shape, ", "), wanted));
  }

 private:
  [[noreturn]] void malformed(const std::string& why) const {
    throw_user_error("T0951", fmt::format("{}: malformed safetensors header: {}", file_, why));
  }

  std::vector<std::uint64_t> naturals(const nlohmann::json& value, const std::string& name,
                                      const char* what) const {
    if (!value.is_array()) malformed(fmt::format("{} of '{}' is not a list", what, name));
    std::vector<std::uint64_t> out;
    for (const nlohmann::json& number : value) {
      if (!number.is_number_unsigned())
        malformed(fmt::format("{} of '{}' holds what is not a natural number", what, name));
      out.push_back(number.get<std::uint64_t>());
    }
    return out;
  }

  const std::string& file_;
};

// The data must be covered exactly once (the format's own rule).
void check_cover(const std::vector<Entry>& entries, std::uint64_t data_size,
                 const std::string& file) {
  std::uint64_t expected = 0;
  for (const Entry& entry : entries) {
    if (entry.begin != expected)
      throw_user_error("T0954", fmt::format("{}: '{}' begins at byte {} of the data, {} expected: "
                                            "tensors {}",
                                            file, entry.name, entry.begin, expected,
                                            entry.begin < expected ? "overlap" : "leave a gap"));
    expected = entry.end;
  }
  if (expected != data_size)
    throw_user_error("T0954", fmt::format("{}: {} bytes of data belong to no tensor", file,
                                          data_size - expected));
}

}  // namespace

const Tensor* NamedTensors::find(std::string_view name) const {
  for (const auto& [key, tensor] : tensors)
    if (key == name) return &tensor;
  return nullptr;
}

NamedTensors parse_safetensors(std::string_view bytes, const std::string& name) {
  ByteReader in(bytes, name);
  const std::uint64_t length = in.u64("the header length");
  if (length < 2 || length > header_limit)
    throw_user_error("T0956", fmt::format("{} is not a safetensors file: it claims a header of {} "
                                          "bytes",
                                          name, length));
  const HeaderReader reader(name);
  const nlohmann::json header = reader.parse(in.take(length, "the header"));
  const std::string_view data = in.take(in.remaining(), "the data");
  NamedTensors out;
  std::vector<Entry> entries;
  for (const auto& [key, value] : header.items()) {
    if (key == "__metadata__")
      out.metadata = reader.metadata(value);
    else
      entries.push_back(reader.entry(key, value));
  }
  for (const Entry& entry : entries) reader.check(entry, data.size());
  std::stable_sort(entries.begin(), entries.end(), [](const Entry& a, const Entry& b) {
    return std::pair(a.begin, a.end) < std::pair(b.begin, b.end);
  });
  check_cover(entries, data.size(), name);
  for (Entry& entry : entries) {
    Tensor tensor(widened(entry.type), entry.shape);
    decode_elements(data.substr(entry.begin, entry.end - entry.begin), entry.type, false, tensor);
    out.tensors.emplace_back(std::move(entry.name), std::move(tensor));
  }
  return out;
}

NamedTensors read_safetensors(const std::filesystem::path& path) {
  return parse_safetensors(read_file(path, std::uint64_t{64} << 30), path.string());
}

namespace {

std::vector<const std::pair<std::string, Tensor>*> by_width(const NamedTensors& content) {
  std::vector<const std::pair<std::string, Tensor>*> out;
  for (const auto& item : content.tensors) out.push_back(&item);
  std::stable_sort(out.begin(), out.end(), [](const auto* a, const auto* b) {
    return size_of(a->second.dtype()) > size_of(b->second.dtype());
  });
  return out;
}

std::string header_bytes(const NamedTensors& content) {
  nlohmann::ordered_json header = nlohmann::ordered_json::object();
  if (!content.metadata.empty()) header["__metadata__"] = content.metadata;
  std::uint64_t offset = 0;
  for (const auto* item : by_width(content)) {
    const auto& [name, tensor] = *item;
    ensure(!header.contains(name), "safetensors", "two tensors of one name");
    const std::uint64_t end = offset + tensor.bytes();
    header[name] = {{"dtype", type_name(tensor.dtype())},
                    {"shape", tensor.shape()},
                    {"data_offsets", {offset, end}}};
    offset = end;
  }
  std::string text = header.dump();
  text.append((8 - text.size() % 8) % 8, ' ');
  std::string out;
  append_bytes(out, static_cast<std::uint64_t>(text.size()));
  return out + text;
}

std::string_view data_of(const Tensor& tensor) {
  return {reinterpret_cast<const char*>(tensor.data()), tensor.bytes()};
}

}  // namespace

void write_safetensors(const std::filesystem::path& path, const NamedTensors& content) {
  AtomicFile file(path);
  file.write(header_bytes(content));
  for (const auto* item : by_width(content)) file.write(data_of(item->second));
  file.commit();
}

std::string safetensors_bytes(const NamedTensors& content) {
  std::string out = header_bytes(content);
  for (const auto* item : by_width(content)) out += data_of(item->second);
  return out;
}

}  // namespace treadle
