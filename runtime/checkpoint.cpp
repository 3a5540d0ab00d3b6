#include "runtime/checkpoint.h"

#include <fmt/format.h>
#include <zlib.h>

#include <algorithm>
#include <bit>
#include <nlohmann/json.hpp>
#include <vector>

#include "ir/diagnostic.h"
#include "runtime/random.h"
#include "runtime/safetensors.h"

namespace treadle {
namespace {

using Json = nlohmann::ordered_json;

constexpr int version = 1;
constexpr const char* version_key = "treadle.checkpoint";
constexpr const char* state_key = "treadle.state";
constexpr const char* checksum_key = "treadle.checksum";
constexpr std::string_view optimizer_prefix = "optimizer/";
constexpr std::string_view carried_prefix = "carried/";
constexpr std::size_t most_differences = 10;

// A double as its bits: JSON has no nan, and decimal text would need care.
Json number_bits(const std::map<std::string, double>& numbers) {
  Json out = Json::object();
  for (const auto& [name, value] : numbers) out[name] = std::bit_cast<std::uint64_t>(value);
  return out;
}

std::map<std::string, double> numbers_from_bits(const Json& bits) {
  std::map<std::string, double> out;
  for (const auto& [name, value] : bits.items())
    out[name] = std::bit_cast<double>(value.get<std::uint64_t>());
  return out;
}

std::string state_text(const Checkpoint& c) {
  Json out;
  out["step"] = c.step;
  out["epoch"] = c.epoch;
  out["position"] = c.position;
  out["seeds"] = c.seeds;
  out["numbers"] = number_bits(c.numbers);
  out["texts"] = c.texts;
  out["signature"] = c.signature;
  out["placement"] = c.placement;
  return out.dump();
}

void parse_state(const std::string& text, Checkpoint& c) {
  const Json state = Json::parse(text);
  c.step = state.at("step").get<std::int64_t>();
  c.epoch = state.at("epoch").get<std::int64_t>();
  c.position = state.at("position").get<std::int64_t>();
  c.seeds = state.at("seeds").get<std::map<std::string, std::uint64_t>>();
  c.numbers = numbers_from_bits(state.at("numbers"));
  c.texts = state.at("texts").get<std::map<std::string, std::string>>();
  c.signature = state.at("signature").get<std::string>();
  c.placement = state.at("placement").get<std::string>();
}

uLong checksum(uLong sum, std::string_view bytes) {
  while (!bytes.empty()) {
    const auto count = static_cast<uInt>(std::min<std::size_t>(bytes.size(), 1U << 30));
    sum = crc32(sum, reinterpret_cast<const Bytef*>(bytes.data()), count);
    bytes.remove_prefix(count);
  }
  return sum;
}

// Of the names, the tensors and the state, in the order of the names.
std::string content_checksum(const NamedTensors& content, const std::string& state) {
  std::map<std::string_view, const Tensor*> sorted;
  for (const auto& [name, tensor] : content.tensors) sorted[name] = &tensor;
  uLong sum = checksum(0, state);
  for (const auto& [name, tensor] : sorted) {
    sum = checksum(sum, name);
    sum = checksum(sum, {reinterpret_cast<const char*>(tensor->data()), tensor->bytes()});
  }
  return fmt::format("{:08x}", sum);
}

void append(NamedTensors& out, std::string_view prefix,
            const std::map<std::string, Tensor>& tensors) {
  for (const auto& [name, tensor] : tensors)
    out.tensors.emplace_back(std::string(prefix) + name, tensor);
}

void sort_into(NamedTensors content, Checkpoint& out) {
  for (auto& [name, tensor] : content.tensors) {
    if (name.starts_with(optimizer_prefix))
      out.optimizer[name.substr(optimizer_prefix.size())] = std::move(tensor);
    else if (name.starts_with(carried_prefix))
      out.carried[name.substr(carried_prefix.size())] = std::move(tensor);
    else
      out.parameters[name] = std::move(tensor);
  }
}

const std::string& metadata(const NamedTensors& content, const char* key, const std::string& file) {
  const auto found = content.metadata.find(key);
  if (found == content.metadata.end())
    throw_user_error("T0970",
                     fmt::format("{} is not a checkpoint of Treadle: it lacks '{}'", file, key),
                     "weights alone can be loaded, but a run can only go on from a checkpoint");
  return found->second;
}

std::string type_text(DType dtype, const Shape& shape) {
  return fmt::format("{}[{}]", to_string(dtype), fmt::join(shape, ", "));
}

}  // namespace

void save_checkpoint(const std::filesystem::path& path, const Checkpoint& checkpoint) {
  for (const auto& [name, tensor] : checkpoint.parameters)
    ensure(name.find('/') == std::string::npos, "checkpoint", "a parameter's path holds a '/'");
  NamedTensors content;
  append(content, "", checkpoint.parameters);
  append(content, optimizer_prefix, checkpoint.optimizer);
  append(content, carried_prefix, checkpoint.carried);
  const std::string state = state_text(checkpoint);
  content.metadata[version_key] = std::to_string(version);
  content.metadata[checksum_key] = content_checksum(content, state);
  content.metadata[state_key] = state;
  write_safetensors(path, content);
}

Checkpoint load_checkpoint(const std::filesystem::path& path) {
  NamedTensors content = read_safetensors(path);
  const std::string file = path.string();
  if (metadata(content, version_key, file) != std::to_string(version))
    throw_user_error("T0970", fmt::format("{} is a checkpoint of version {}, this is version {}",
                                          file, content.metadata[version_key], version));
  const std::string& state = metadata(content, state_key, file);
  if (metadata(content, checksum_key, file) != content_checksum(content, state))
    throw_user_error("T0975", fmt::format("{} is damaged: its checksum does not fit", file),
                     "go on from an earlier checkpoint");
  Checkpoint out;
  try {
    parse_state(state, out);
  } catch (const nlohmann::json::exception&) {
    throw_user_error("T0970", fmt::format("{} is not a checkpoint of Treadle: its state cannot be "
                                          "read",
                                          file));
  }
  sort_into(std::move(content), out);
  return out;
}

std::map<std::string, Tensor> load_parameters(const std::filesystem::path& path) {
  Checkpoint out;
  sort_into(read_safetensors(path), out);
  return std::move(out.parameters);
}

void check_compatible(const std::map<std::string, Tensor>& found,
                      const std::map<std::string, ExpectedTensor>& expected,
                      const std::string& file) {
  std::vector<Diagnostic> differences;
  const auto differ = [&](const char* code, std::string message, const char* hint) {
    Diagnostic diagnostic;
    diagnostic.code = code;
    diagnostic.message = std::move(message);
    diagnostic.hints.emplace_back(hint);
    if (differences.size() < most_differences) differences.push_back(std::move(diagnostic));
  };
  for (const auto& [name, want] : expected) {
    const auto have = found.find(name);
    if (have == found.end())
      differ("T0971", fmt::format("{} has no parameter '{}', which the model has", file, name),
             "the file belongs to another model");
    else if (have->second.shape() != want.shape || have->second.dtype() != want.dtype)
      differ("T0973",
             fmt::format("parameter '{}' is {} in {}, the model has {}", name,
                         type_text(have->second.dtype(), have->second.shape()), file,
                         type_text(want.dtype, want.shape)),
             "was the file written with other dims (-D) or another precision (-p)?");
  }
  for (const auto& [name, tensor] : found)
    if (!expected.contains(name))
      differ("T0972", fmt::format("{} has a parameter '{}', which the model lacks", file, name),
             "the file belongs to another model");
  if (!differences.empty()) throw UserError(std::move(differences));
}

std::string text_signature(std::string_view text) {
  return fmt::format("{:016x}", hash_text(text));
}

}  // namespace treadle
