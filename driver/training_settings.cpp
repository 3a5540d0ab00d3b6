#include "driver/training_settings.h"

#include <fmt/format.h>

#include <array>
#include <sstream>

#include "ir/source.h"
#include "ir/text_printer.h"

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

std::string settings_text(const OptimizerSettings& optimizer, const TrainerOptions& trainer,
                          const BatchSource& data) {
  constexpr std::array kinds{"adamw", "adam", "sgd"};
  constexpr std::array schedules{"constant", "linear", "cosine", "one_cycle"};
  const Schedule& rate = trainer.schedule;
  std::string out;
  const auto line = [&](std::string_view name, const std::string& value) {
    out += fmt::format("{} {}\n", name, value);
  };
  line("optimizer", kinds.at(static_cast<std::size_t>(optimizer.kind)));
  line("beta1", print_real(optimizer.beta1));
  line("beta2", print_real(optimizer.beta2));
  line("epsilon", print_real(optimizer.epsilon));
  line("weight_decay", print_real(optimizer.weight_decay));
  line("decay", optimizer.decay_matrices_only ? "matrices" : "all");
  line("momentum", print_real(optimizer.momentum));
  line("clip_norm", optimizer.clip_norm ? print_real(*optimizer.clip_norm) : "none");
  line("proximal_l1", print_real(optimizer.proximal_l1));
  line("proximal_l2", print_real(optimizer.proximal_l2));
  line("schedule", schedules.at(static_cast<std::size_t>(rate.kind)));
  line("learning_rate", print_real(rate.peak));
  line("warmup", print_real(rate.warmup));
  line("final", print_real(rate.final));
  line("epochs", std::to_string(trainer.epochs));
  line("steps", std::to_string(trainer.steps));
  line("seed", std::to_string(trainer.seed));
  line("examples", std::to_string(data.examples()));
  line("batch", std::to_string(data.batch(0, 0).examples));
  return out;
}

std::string differing_settings(const std::string& before, const std::string& now) {
  if (before == now) return "";
  std::map<std::string, std::string> known;
  std::istringstream old_lines(before), lines(now);
  std::string name, value;
  while (old_lines >> name && std::getline(old_lines >> std::ws, value)) known[name] = value;
  while (lines >> name && std::getline(lines >> std::ws, value)) {
    const auto found = known.find(name);
    if (found == known.end()) return fmt::format("{} was not noted, is {}", name, value);
    if (found->second != value) return fmt::format("{} was {}, is {}", name, found->second, value);
  }
  return "they were noted in another way";
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
