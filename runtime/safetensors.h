// The safetensors format (huggingface/safetensors, README "Format").
#pragma once
#include <filesystem>
#include <map>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "ir/tensor.h"

namespace treadle {

struct NamedTensors {
  std::vector<std::pair<std::string, Tensor>> tensors;
  std::map<std::string, std::string> metadata;

  // nullptr when there is none of that name.
  const Tensor* find(std::string_view name) const;
};

// The tensors in the order of their data. Types that we lack are widened (F16
// to f32, narrow integers to i32, U32 to i64). Before memory is allocated the
// file's own size bounds every length, and every mistake is a UserError:
// T0911 truncated; T0956 the header's length is not plausible; T0951 the
// header is not the JSON it must be; T0952 unsupported element type; T0953 an
// offset outside the data, or that its type and shape contradict; T0954
// tensors overlap or leave a gap; T0955 a name twice.
NamedTensors read_safetensors(const std::filesystem::path& path);
NamedTensors parse_safetensors(std::string_view bytes, const std::string& name);

// Written atomically (errors as AtomicFile). Data is sorted by element width,
// widest first, so that every tensor is aligned; equal widths keep the order
// given. Names are distinct and UTF-8.
void write_safetensors(const std::filesystem::path& path, const NamedTensors& content);
std::string safetensors_bytes(const NamedTensors& content);

}  // namespace treadle
