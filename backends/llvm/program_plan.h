// What a program does, step by step, before any code is emitted: which value
// stands in which memory, which steps run in which order, where the threads
// must meet.
#pragma once
#include <cstdint>
#include <optional>
#include <set>
#include <span>
#include <string>
#include <vector>

#include "backends/llvm/matmul_kernel.h"
#include "ir/graph.h"
#include "ir/strided_view.h"
#include "runtime/node_runner.h"
#include "runtime/program.h"

namespace treadle {

// Memory of its own: an input's or output's, or a piece of the arena. Two
// pieces may share bytes when the phases (between barriers) in which they are
// used do not overlap. What is kept from run to run shares with nothing.
struct BufferPlan {
  enum class Kind : std::uint8_t { input, output, arena, kept };
  Kind kind = Kind::arena;
  int slot = -1;  // of an input or output
  DType dtype = DType::f32;
  Dim elements;
  bool per_thread = false;  // each thread has one
  // Of a product that a loop may compute in its turns (deferred_products.h): where each
  // thread has `least` or more of `rows`, it holds the `elements` of one turn. And of what
  // only a run uses (row_runs.h): then it holds a block's for each thread.
  struct Turn {
    Dim rows, least, elements;
    bool each_thread = false;
  };
  std::optional<Turn> turn;
  int first_phase = INT32_MAX, last_phase = -1;
};

// Where a value stands: dense and row-major from a pointer on that may depend
// on the counters of the loops around.
struct Location {
  int buffer = -1;
  // A carried value alternates between two buffers: `alternate` is the one of
  // odd steps. The step is the counter of loop `parity_loop`, plus one with
  // `next`; or, behind the loop, its whole length `parity_length`.
  int alternate = -1;
  int parity_loop = -1;
  bool next = false;
  Dim parity_length;
  // Row t of a stacked value, t counted by a loop; with loop -1, row `start`.
  struct Row {
    int loop = 0;
    bool reverse = false;
    Dim length, stride;  // stride in elements
    Dim start = 0;
  };
  std::vector<Row> rows;
  // A carried value may stand in its stack instead, one row longer than the loop:
  // what a turn writes, with `next`, is the row that the next turn reads. To the
  // barriers that row is a buffer of its own, this one, which has no elements.
  int next_row = -1;
  int level = 0;  // loops around the place where it is defined
  friend bool operator==(const Location& a, const Location& b);
};

// A bound of a scan. Its extent, where its rows start, and how many rows fewer
// than the step before the step has are symbols that have other values at each
// step.
struct PlannedBound {
  Dim dim, start, fewer;
  Dim rows;  // of all steps
  Location counts;
};

// Who computes which columns of a value that has one row: of each run of `width`
// columns, thread i of n does blocks of `block` columns, as FusedKernel's units
// are shared out. Steps of equal shares hand each thread's own columns on
// without a barrier.
struct ColumnShare {
  Dim rows;  // the share is this one where `rows` is 1
  Dim width;
  std::int64_t block = 0;  // 0: none
  friend bool operator==(const ColumnShare&, const ColumnShare&) = default;
};

// So many rows of each thread are enough for it to do all turns of them, where no
// deferred product wants more.
constexpr std::int64_t own_rows_at_least = 16;

// A product of another A with the same B: `in[2]` of its step and the last of `out`.
struct SecondProduct {
  NodeId node = 0;  // in the step's graph
  Dim m;
  MatrixView view_a;
  std::optional<ProductView::Loop> a_run;
};

// So many steps, from this one on, are done for a block of rows, all of them, before the
// next block, by a thread that has so many rows at least.
struct RowRun {
  Dim rows;
  int steps = 0;
  std::int64_t block = 0, least = 0;
  int shared = -1;  // as Step::shared
};

// Of what a kernel reads or writes behind a product: this thread's rows, so many bytes each,
// at this turn of the loop around or so many turns later.
struct RowsAhead {
  Location place;
  DType dtype = DType::f32;
  Dim row_bytes;
  std::uint64_t turns = 0;
};

struct Step;

// A product in front of a loop that computes it in its turns (interleaved_products.h), where
// these have one row each, are many and read many bytes of weights; the first ones' rows are
// computed in front all the same.
struct Interleaved {
  Dim rows, length;
  Dim depth;         // of the product
  Dim weight_bytes;  // that products of one row read in a turn
  bool reverse = false;
  std::vector<Step> product;  // of the loop: that one
  // Weights that the first-level cache holds are read as fast as they are multiplied.
  static constexpr std::int64_t length_at_least = 16, bytes_of_a_thread = 64 * 1024;
  bool in_turns(const DimEnv& env, int threads) const;
};

struct Step {
  enum class Kind : std::uint8_t {
    fused,
    copy,
    pack,
    matmul,
    prepare,  // operand B of a claimed product, for its runner
    claimed,  // a product that another backend runs
    scatter_add,
    argmax,
    attention,  // or its gradient
    scan
  };
  Kind kind = Kind::copy;
  const Graph* graph = nullptr;  // where the node stands; null for a copy
  NodeId node = 0;
  Type type;  // copy: of what is copied
  // Operands; a matmul's: A, packed B (or B itself, `direct`).
  std::vector<Location> in;
  std::vector<Location>
      out;  // places to write; `out_index` says which output, past the last: scratch
  std::vector<std::uint32_t> out_index;
  int loops = 0;    // around it
  int kernel = -1;  // its number among the steps that are no scans, in the order of the code
  bool barrier_before = false;
  // With `barrier_before`, or of a scan at the end of a turn: none is needed where
  // this dimension is 1.
  std::optional<Dim> unless_one;
  // pack and matmul
  MatmulShape shape;
  // Of its kernels: that of the product, or bf16 where its operands are rounded to it.
  DType product_dtype = DType::f32;
  MatrixView view_a, view_b;
  std::vector<ProductView::Loop> row_loops, sum_loops;
  // attention: of its row operands, and of its results but lse.
  std::vector<RowsView> rows;
  int runner = -1;    // prepare and claimed: index into ProgramPlan::claims
  ColumnShare share;  // of a matmul that is one product
  // B is read where it stands. A second output is the sum of its rows.
  bool direct = false;
  std::vector<RowsAhead> ahead;         // rows_ahead.h
  std::optional<SecondProduct> second;  // of such a product
  // Of such a product whose A is read as a [run, rows] matrix's transpose, turned once
  // more (transposed_inputs.h): run and stride of the runs.
  std::optional<ProductView::Loop> a_run;
  // A deferred product stands in two places (deferred_products.h): whole in front of its
  // loop, where it is not deferred, and the part of a turn inside, A's rows of which
  // start so many elements behind those of the turn before.
  bool turn = false;
  Dim turn_stride;
  // Of a product whose sums start from a deferred one that only it reads: that one, of a turn.
  // Both are one kernel then, unless they are profiled.
  std::vector<Step> chained;
  bool in_chain = false;     // of that one
  int unless_deferred = -1;  // not where the product in that buffer is
  // Reads and writes other elements than the steps around it.
  bool apart = false;
  // scan
  Dim length;
  bool reverse = false;
  std::vector<PlannedBound> bounds;
  // Nothing is carried from turn to turn: each turn is one thread's alone, and
  // the threads meet behind the loop only.
  bool parallel = false;
  // Each thread may do all turns of some of so many rows (row_shares.h), where it has
  // so many of them at least; and so many steps from this one on, the loop perhaps not
  // the first of them, without meeting the others between.
  std::optional<Dim> own_rows;
  Dim own_rows_least = own_rows_at_least;
  int together = 1;
  // Of a loop which half of the threads may run beside the next one (loop_pairs.h).
  bool beside = false;
  // Of two loops, of which one may be some turns behind the other, and of what stands between
  // them (loop_layers.h): what comes in front of both then, in turns with them, and behind.
  enum class Layer : std::uint8_t { none, first, front, between, back, second };
  Layer layer = Layer::none;
  // Of a kernel in turns with them: what it computes in one stands in so many rows, as far
  // apart as the loop is long.
  std::optional<Dim> rows_of_turn;
  // Of the first step of a run that is done in blocks of rows (row_runs.h).
  std::optional<RowRun> run;
  // Of a step that runs once and is large enough, its number among those that threads share
  // out while they do them (runtime/work_share.h); else -1.
  int shared = -1;
  std::optional<Interleaved> interleaved;  // of such a product, and of the loop
  std::vector<Step> before;                // once, in front of the loop
  std::vector<Step> body;
};

// Two loops that an even number of threads run at the same time, in halves, where each thread
// has fewer rows than `rows_below`, a tile's: with more it shares no columns with others, and
// LSTMs of 128 units take 1.05 of the time in halves. What is in use in one of these phases is
// then in use in all of them.
struct LayersPlan {
  Dim rows, length;
  int first_phase = 0, last_phase = 0;
  static constexpr std::int64_t rows_below = 8, length_at_least = 8;
  bool at_once(const DimEnv& env, int threads) const;
};

// What a product reads that a loop may compute in its turns stays till the loop's last phase,
// where a turn has one row.
struct InterleavedPlan {
  Dim rows;
  std::vector<int> read;
  int last_phase = 0;
};

struct ProgramPlan {
  std::vector<BufferPlan> buffers;
  std::vector<InterleavedPlan> interleaved;
  std::vector<LayersPlan> layers;
  // In front of the steps, in runs that are told to: what follows from the inputs in
  // the slots `fixed` alone (preparation.h).
  std::vector<Step> preparation;
  std::vector<int> fixed;
  bool training_step = false;  // it updates parameters in place: only read while code is generated
  bool prepares_runners = false;  // which keep it for the last extents alone
  std::vector<Step> steps;
  int kernels = 0;  // the steps that are no scans
  int shared = 0;   // Step::shared
  std::vector<MatmulClaim> claims;
  // Symbols that have no value before a scan's step gives them one.
  std::set<std::string> bound_symbols;
  bool is_bound(const Dim& dim) const;

  // Offsets of the arena's buffers, in bytes, and its size. A thread's own
  // buffers stand one behind the other, bytes_of apart.
  std::vector<std::size_t> arena_offsets(const DimEnv& env, int threads, std::size_t* size) const;
  // The same of the buffers that are kept.
  std::vector<std::size_t> kept_offsets(std::size_t* size) const;
  static constexpr std::size_t alignment = 64;
};

// `tiles` say how B is packed; `fixed` names inputs that keep their values.
ProgramPlan plan_program(const Graph& graph, std::span<const InPlaceUpdate> updates,
                         const MatmulTiles& tiles, std::span<const std::string> fixed = {});

}  // namespace treadle
