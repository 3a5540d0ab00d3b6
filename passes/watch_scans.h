// How a loss depends on the state of a loop at every step.
#pragma once
#include <string>
#include <vector>

#include "ir/builder.h"

namespace treadle {

// One top-level scan whose state is made of floats.
struct WatchedScan {
  SourceRange location;
  std::string symbol_prefix;           // "scan0": what the names below begin with
  std::vector<std::string> probes;     // inputs [length, ...], one a float carry
  std::vector<std::string> constants;  // outputs: what each step is given besides
  std::vector<std::string> carries;    // outputs [length, ...]: as step t received them
  std::vector<std::string> rows;       // outputs: the sequences it runs over
  Dim length;
  bool reverse = false;
  Region step;  // the body as it was
};

struct WatchedGraph {
  Graph graph;
  std::vector<WatchedScan> scans;
};

// The graph with a probe added to each float carry that a step computes,
// wherever that value goes (into the next step, into the rows that are yielded):
// with probes of zero every value is as before, and the gradient by row t of a
// probe is d loss / d h_t, the whole effect of the state that step t leaves.
//
//   %4 = scan(%W, %h0, %x)  {...}            %4 = scan(%W, %h0, %x, %probe)  {...}
//     %3 = tanh(...)                   =>       %3 = tanh(...)
//     yield %3, %3                              %5 = add(%3, %probe_row)
//                                               yield %5, %5, %h (as received)
//
// Accepts the stage one-example. Scans inside scans are not watched.
WatchedGraph watch_scans(const Graph& loss_graph);

// One step of the power iteration for the largest singular value of
// J = d (float carries out) / d (float carries in) of a scan's step (Golub and
// Van Loan, Matrix Computations, 8.2): inputs "constant.i", "carry.i", "row.i"
// and, for each float carry i, "direction.i" v; outputs "forward.i" = J v and
// "back.i" = J^T J v. `shared[i]` says which constants do not differ between
// examples. The step holds no scan.
Graph step_jacobian(const WatchedScan& scan, const std::vector<bool>& shared);

// Whether step_jacobian can be had: no scan inside the step.
bool has_step_jacobian(const WatchedScan& scan);

}  // namespace treadle
