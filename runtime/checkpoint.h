// The state of a training run, as a file from which it goes on with the same bits.
#pragma once
#include <cstdint>
#include <filesystem>
#include <map>
#include <string>
#include <string_view>

#include "ir/tensor.h"

namespace treadle {

struct Checkpoint {
  std::map<std::string, Tensor> parameters;  // by path
  std::map<std::string, Tensor> optimizer;   // moments, by a name of the optimizer's choice
  std::map<std::string, Tensor> carried;     // state that crosses windows (tbptt carry)

  std::int64_t step = 0;      // steps done
  std::int64_t epoch = 0;     // epochs done
  std::int64_t position = 0;  // examples (or windows) of this epoch's order that are done
  std::map<std::string, std::uint64_t> seeds;  // "shuffle", "dropout", ...
  std::map<std::string, double> numbers;       // best validation loss, sums of this epoch, ...
  std::map<std::string, std::string> texts;    // vocabulary, learning-rate schedule, ...
  std::string signature;                       // of the model: text_signature of its graph
  std::string placement;  // which backend runs what; the same bits need the same
};

// A safetensors file, written atomically (errors as AtomicFile): parameters
// under their own names, so that other programs can load them; the rest under
// "optimizer/" and "carried/"; everything else, and a checksum of all tensors,
// in the metadata. `double`s keep their bits, nan and infinities too.
void save_checkpoint(const std::filesystem::path& path, const Checkpoint& checkpoint);

// Errors as read_safetensors; T0970: not a Treadle checkpoint, or one of
// another version; T0975: the checksum does not fit the tensors.
Checkpoint load_checkpoint(const std::filesystem::path& path);

// The parameters of any safetensors file, a checkpoint or not: what is not
// under "optimizer/" or "carried/".
std::map<std::string, Tensor> load_parameters(const std::filesystem::path& path);

struct ExpectedTensor {
  DType dtype = DType::f32;
  Shape shape;
};

// Throws one UserError with a diagnostic for each difference, at most ten:
// T0971 a parameter that `found` lacks, T0972 one that the model lacks, T0973
// another shape or element type. `file` is what messages call the file.
void check_compatible(const std::map<std::string, Tensor>& found,
                      const std::map<std::string, ExpectedTensor>& expected,
                      const std::string& file);

// 16 hexadecimal digits of a 64-bit hash.
std::string text_signature(std::string_view text);

}  // namespace treadle
