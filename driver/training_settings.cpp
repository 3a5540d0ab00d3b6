#include "driver/training_settings.h"

#include <fmt/format.h>

#include "ir/source.h"

namespace treadle {

OptimizerSettings optimizer_settings(const OptimizerSpec& spec) {
  OptimizerSettings out;
  out.kind = spec.name == "sgd"    ? OptimizerSettings::Kind::sgd
             : spec.name == "adam" ? OptimizerSettings::Kind::adam
                                   : OptimizerSettings::Kind::adamw;
  out.beta1 = spec.setting("beta1", out.beta1);
  out.beta2 = spec.setting("beta2", out.beta2);
  out.epsilon = spec.setting("epsilon", out.epsilon);
  out.weight_decay = spec.setting("weight_decay", 0);
  out.decay_matrices_only = spec.decay_matrices_only;
  out.momentum = spec.setting("momentum", 0);
  out.clip_norm = spec.clip_norm;
  out.proximal_l1 = spec.proximal_l1;
  out.proximal_l2 = spec.proximal_l2;
  return out;
}

DimEnv batch_sizes(const Graph& one_example, const Batch& batch) {
  DimEnv out{{"B", batch.examples}};
  for (const NodeId id : one_example.inputs()) {
    const Node& node = one_example.node(id);
    const auto found = batch.fields.find(node.attributes.string("name"));
    if (found == batch.fields.end()) continue;
    const Dims& dims = node.types[0].dims;
    const Shape& shape = found->second.shape();
    if (shape.size() != dims.size() + 1) continue;
    for (std::size_t i = 0; i < dims.size(); ++i) {
      std::set<std::string> symbols;
      dims[i].collect_symbols(symbols);
      if (symbols.size() == 1 && dims[i] == Dim::symbol(*symbols.begin(), dims[i].is_ragged()))
        out.try_emplace(*symbols.begin(), shape[i + 1]);
    }
  }
  return out;
}

std::string recompute_text(const RecomputeChoice& choice) {
  std::string place;
  if (choice.location) {
    const LineColumn at = line_column(*choice.location.file, choice.location.begin);
    place = fmt::format("{}:{}:{}: ", choice.location.file->path, at.line, at.column);
  }
  if (choice.chunk == 0)
    return fmt::format("{}remat keeps all {}: they fit", place, size_text(choice.whole));
  if (choice.steps == 1)
    return fmt::format("{}remat computes {} again", place, size_text(choice.whole));
  return fmt::format("{}remat keeps {} of {}, {} of {} steps in chunks of {}", place,
                     size_text(choice.kept), size_text(choice.whole), choice.chunked, choice.steps,
                     choice.chunk);
}

}  // namespace treadle
