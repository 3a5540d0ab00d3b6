// The kernels of a compiled step and what each costs.
#pragma once
#include <optional>
#include <span>
#include <string>
#include <vector>

#include "backends/llvm/program_plan.h"
#include "ir/graph.h"
#include "runtime/program.h"

namespace treadle {

struct KernelRow {
  // A place that it comes from, and what of its flops is computed for it.
  struct Source {
    SourceRange range;
    Dim flops;
  };
  std::string kind;         // "fused", "matmul", "pack", "copy", "scatter_add", "argmax", ...
  std::string description;  // "sigmoid, tanh, mul + 4", "[B, 24] x [24, 72]"
  // Paths of its nodes, "52/8": node 8 in the body of node 52. A copy has none, two
  // products of one matrix two.
  std::vector<std::string> nodes;
  std::string backend;          // "llvm" or another one that runs it
  std::vector<Source> sources;  // each once
  Dim times;                    // how often a step runs it
  Dim flops, bytes;             // of one run: what it computes, reads and writes
  bool alone = false;           // a run is one thread's, not all threads' together
  // Of a loop that half of the threads run while the others run the next one, where there
  // are few rows, and of that one: the number of the pair.
  std::optional<int> pair;
  bool layers = false;  // of a pair with steps between, one loop some turns behind the other
  // Of a product that a loop may compute in its turns: where it does, and beside which kernel.
  struct Beside {
    Interleaved where;
    std::size_t kernel = 0;
  };
  std::optional<Beside> beside;
  bool prepares = false;  // before the first step, once: `times` is 0
};

// In the order in which they run. `graph` is the last stage of compile_stages, `fixed`
// that of the options with which it is compiled.
std::vector<KernelRow> compiled_kernels(const Graph& graph, std::span<const InPlaceUpdate> updates,
                                        std::span<const std::string> fixed = {});

// "lm.tdl:3,7": the lines that a kernel comes from, or "-".
std::string lines_of(const KernelRow& row);

// Flops a byte, when the dimensions have values and there are bytes.
std::optional<double> intensity(const KernelRow& row, const DimEnv& extents);

// The table that `dump --stage kernels` prints: expressions, and numbers where
// `extents` binds all that a row needs.
std::string kernel_table(std::span<const KernelRow> rows, const DimEnv& extents);

// "1.2 M", "340", three digits at most; what numbers on a page look like.
std::string short_number(double value);
// The value of an expression, when all its symbols have one.
std::optional<double> value_of(const Dim& dim, const DimEnv& extents);

// What a fused node or a scan does, in a few words: its ops by how often they
// occur, constants and views left out: "mul, add, sigmoid +3".
std::string body_summary(const Graph& body);

}  // namespace treadle
