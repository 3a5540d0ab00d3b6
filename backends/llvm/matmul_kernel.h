// The register tile of the matrix multiplication kernels, and how operand B is
// packed for them. matmul_kernel_internal.h emits the kernels.
#pragma once
#include <cstdint>

#include "ir/dtype.h"

namespace treadle {

struct WorkShare;

struct Target;
class Dim;
struct MatmulShape;

// A tile holds rows x columns sums in vector registers. B [k, n] is packed in
// panels of `columns` columns; panel p is [k][columns], its missing columns
// are zero, and it starts at element p * k * columns.
//
// A tile of pairs multiplies bfloat16 operands: a lane of B holds two of them, (2l, 2l + 1)
// of k, the second in the upper half, and so does a lane of what is copied of A. Panel p is
// [depth(k)][columns] lanes then; what is missing is zero.
struct MatmulTile {
  DType dtype = DType::f32;
  int rows = 0;     // most rows of C in registers at a time
  int columns = 0;  // of a panel: `vectors` * `lanes`
  int vectors = 0;
  int lanes = 0;
  bool pairs = false;  // of bfloat16; `dtype`, that of A, B and C in memory, is f32
  // 16 x 16 sums in each of four tile registers of AMX, which take 32 k at a time, so that
  // depth(k) is a multiple of 16. `vectors` and `lanes` are those of one row then.
  bool amx = false;

  std::int64_t panels(std::int64_t n) const { return (n + columns - 1) / columns; }
  // Rows of B in a block of a DirectGemmFunction. Deeper than a block of two copied operands where
  // the L2 cache has 1 MiB: each tile begins and ends with its sums in memory.
  int direct_k_block() const { return lanes * static_cast<int>(size_of(dtype)) == 64 ? 448 : 256; }
  // Rows of a panel.
  std::int64_t depth(std::int64_t k) const {
    return amx ? (k + 31) / 32 * 16 : pairs ? (k + 1) / 2 : k;
  }
  std::int64_t packed_elements(std::int64_t k, std::int64_t n) const {
    return panels(n) * depth(k) * columns;
  }
};

// AVX-512: 8 x 48 in f32, 8 x 24 in f64; AVX2: 6 x 16 and 6 x 8; NEON: 8 x 12
// and 8 x 6. `dtype` is f32 or f64, or bf16 for the tile of pairs: that of f32, of eight
// or four rows; with AMX 32 x 32.
MatmulTile matmul_tile(const Target& target, DType dtype);

struct MatmulTiles {
  MatmulTile f32, f64, pairs;
  // bf16 means the pairs.
  const MatmulTile& of(DType dtype) const;
};
MatmulTiles matmul_tiles(const Target& target);

// The C signatures of the kernels (T is float or double; all strides are in
// elements; packed B is best aligned to 64 bytes):
//
// Writes panels panel_begin ... panel_end - 1 of B [k, n] to
// packed + p * k * columns. B's element (i, j) is b[i * b_k + j * b_n]. Unless `sums`
// is null, B's rows are added to it, in order, as far as those panels go.
template <typename T>
using PackFunction = void(const T* b, std::int64_t b_k, std::int64_t b_n, std::int64_t k,
                          std::int64_t n, std::int64_t panel_begin, std::int64_t panel_end,
                          T* packed, T* sums);

// C = initial + A B for rows m_begin ... m_end - 1 and the columns of panels
// panel_begin ... panel_end - 1 below n. A's element (i, l) is
// a[i * a_m + l * a_k]; C's element (i, j) is c[i * c_m + j]; `initial` is
//   null: zero;   initial_m == 0: a row that is added to all (a bias);
//   otherwise a matrix, element (i, j) at initial[i * initial_m + j]. It may
//   be C itself (C += A B) and otherwise does not overlap it.
//
// Element (i, j) is fma(a(i, k-1), b(k-1, j), ... fma(a(i, 0), b(0, j),
// initial)): its bits depend on no other row, on no range, on no tile. With pairs A and B
// are rounded to the nearest bfloat16 and k rises in steps of two, of which the second comes
// first; numbers below 2^-126 count as 0, as VDPBF16PS has it. With AMX 32 k are summed from
// 0, the first and the second of the pairs apart, and those two sums are added to each other
// and then to the element (TDPBF16PS).
// With k = 0, C = initial.
template <typename T>
using GemmFunction = void(const T* a, std::int64_t a_m, std::int64_t a_k, const T* packed, T* c,
                          std::int64_t c_m, const T* initial, std::int64_t initial_m,
                          std::int64_t m_begin, std::int64_t m_end, std::int64_t n, std::int64_t k,
                          std::int64_t panel_begin, std::int64_t panel_end);

// Bytes of memory that are read or written soon behind a product, asked for while it runs, so
// that they come while little else does.
struct AskedAhead {
  const void* from;
  std::int64_t bytes;
};
// The same as GemmFunction; takes a list of AskedAhead, which it changes and which ends with one
// whose `from` is null, and the sum of their bytes.
template <typename T>
using AskingGemmFunction = void(const T* a, std::int64_t a_m, std::int64_t a_k, const T* packed,
                                T* c, std::int64_t c_m, const T* initial, std::int64_t initial_m,
                                std::int64_t m_begin, std::int64_t m_end, std::int64_t n,
                                std::int64_t k, std::int64_t panel_begin, std::int64_t panel_end,
                                AskedAhead* ahead, std::int64_t ahead_bytes);

// Two products, the first of which the second one's sums start from: C = initial + A2 B2 + A B,
// with the bits of two calls of GemmFunction, C's being what the second starts from. Strides of
// A2 are a2_m and a2_k, it has k2 columns.
template <typename T>
using ChainedGemmFunction = void(const T* a, std::int64_t a_m, std::int64_t a_k, const T* packed,
                                 T* c, std::int64_t c_m, const T* initial, std::int64_t initial_m,
                                 std::int64_t m_begin, std::int64_t m_end, std::int64_t n,
                                 std::int64_t k, std::int64_t panel_begin, std::int64_t panel_end,
                                 AskedAhead* ahead, std::int64_t ahead_bytes, const T* a2,
                                 std::int64_t a2_m, std::int64_t a2_k, const T* packed2,
                                 std::int64_t k2);

// GemmFunction with B where it stands, rows of n dense elements that are b_k apart: each
// block of a panel is copied before it is used, once for each 256 rows of A. `initial`
// is zero. B's columns make `panels` panels, at least as many as they fill, of numbers of
// vectors as even as can be: panel p begins with vector ceil(p * vectors / panels), so that
// threads that have as many panels each have as many columns. Unless `sums` is null, sums[j]
// becomes the sum of B's column j, by the call whose m_begin is 0. A's columns stand in runs
// of `run`: element (i, l) is a[i * a_m + l / run * a_run + l % run * a_k]; where k is more
// than `run`, a_m is 1.
// Unless m2 is 0, a second A of m2 rows is multiplied by the same B, whose blocks are then
// copied once for both; C is c2, as far apart as c. The two have rows_of_two at the most.
// Panels may be given away while it runs, those of `share`: each block of rows and k is a
// turn. Panels that were taken begin at `first_turn`.
constexpr std::int64_t rows_of_two = 256;
template <typename T>
using DirectGemmFunction = void(const T* a, std::int64_t a_m, std::int64_t a_k, const T* b, T* c,
                                std::int64_t c_m, std::int64_t m_begin, std::int64_t m_end,
                                std::int64_t n, std::int64_t k, std::int64_t panel_begin,
                                std::int64_t panel_end, std::int64_t panels, std::int64_t b_k,
                                T* sums, std::int64_t run, std::int64_t a_run, const T* a2,
                                std::int64_t a2_m, std::int64_t a2_k, std::int64_t run2,
                                std::int64_t a2_run, T* c2, std::int64_t m2, WorkShare* share,
                                std::int64_t first_turn);

// A loop that computes a product in its turns (interleaved_products.h) does the rows of so
// many turns at a time.
constexpr int interleaved_rows = 8;

// How many rows a panel of packed B has, and how many elements the B of all batches.
Dim packed_depth(const MatmulTile& tile, const Dim& k);
Dim packed_elements(const MatmulTile& tile, const MatmulShape& shape);

}  // namespace treadle
