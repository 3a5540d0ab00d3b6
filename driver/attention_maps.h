// The attention weights of one example as heat maps.
#pragma once
#include <cstdint>
#include <map>
#include <string>
#include <vector>

#include "driver/compile.h"
#include "driver/plot/chart.h"
#include "ir/graph.h"
#include "ir/tensor.h"

namespace treadle {

struct AttentionChoice {
  std::vector<std::string> which;   // numbers of the list, or parts of names; empty: all
  std::vector<std::int64_t> heads;  // empty: all
};

// One group for each attention of `model`, a one-example graph: "0: layer[1].cross
// (std/attention.tdl:17)"; one map in it for each head, and for each step of a scan
// where a step compares rows with rows. Rows are queries (of a scan whose step
// is one query, its steps), columns are keys, colours run from 0 to 1. `tensors`
// holds all that the model reads, `labels` the tokens of token inputs, which name
// the rows and columns of the same extent. T0884 when the model has no attention,
// T0885 when there is none such as `choice` says.
std::vector<HeatMapGroup> attention_maps(
    const Graph& model, const std::map<std::string, Tensor>& tensors,
    const std::map<std::string, std::vector<std::string>>& labels, const AttentionChoice& choice,
    const CompileOptions& options, int threads);

}  // namespace treadle
