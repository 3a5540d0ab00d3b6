// A program on its way to native code, stage by stage: what `treadle dump` shows.
#pragma once
#include <string>
#include <vector>

#include "driver/options.h"
#include "ir/graph.h"
#include "passes/training_step.h"
#include "runtime/program.h"

namespace treadle {

// A program as its `train` block would compile it; without one, or where training
// is not asked for, a model as `run` would.
struct InspectedProgram {
  std::string title;  // "my_cell.tdl: train Mine"
  std::string path, text;
  Graph graph;  // of one example
  bool trains = false;
  bool bf16_products = false;
  OptimizerSettings optimizer;
  // Values of symbols, for the numbers beside the expressions: those of -D, then
  // the batch or the lanes of the train block, and its window where one symbol is left.
  DimEnv extents;
};

// `dims` are -D NAME=VALUE: a `dim` of the program gets that value, any other
// name is the value of a symbol. Throws UserError T0892 for a name that is
// neither.
InspectedProgram load_inspected(const std::string& path, const LanguageOptions& language,
                                bool training = true);

struct CompileStage {
  std::string name;  // "one example", "batched", "training step", or the pass: "hoist-scan"
  std::string doc;   // one line
  Graph graph;
};

struct CompiledStages {
  std::vector<CompileStage> stages;    // the last one is what the backends are given
  std::vector<InPlaceUpdate> updates;  // of the last one
};
CompiledStages compile_stages(const InspectedProgram& program);

}  // namespace treadle
