#include "backends/onednn/matmul.h"

#include <fmt/format.h>

#include <algorithm>
#include <cstring>
#include <dnnl.hpp>
#include <map>
#include <unordered_map>

#include "ir/diagnostic.h"

// oneDNN asks its OpenMP runtime how many threads to use; it is the runtime
// that the library was linked with, whatever compiler builds this file.
extern "C" {
void omp_set_num_threads(int);
int omp_get_max_threads();
}

namespace treadle {
namespace {

using dnnl::memory;

// Calls of this thread stay on this thread.
class OneThread {
 public:
  OneThread() : before_(omp_get_max_threads()) {
    if (before_ != 1) omp_set_num_threads(1);
  }
  ~OneThread() {
    if (before_ != 1) omp_set_num_threads(before_);
  }
  OneThread(const OneThread&) = delete;
  OneThread& operator=(const OneThread&) = delete;

 private:
  int before_;
};

const dnnl::engine& cpu() {
  static const dnnl::engine engine(dnnl::engine::kind::cpu, 0);
  return engine;
}

struct Extents {
  std::int64_t batch, m, n, k;
  std::int64_t a_batch, a_free, a_contract, b_batch, b_free, b_contract;
  friend auto operator<=>(const Extents&, const Extents&) = default;
};

// A piece of the result: rows m0 ... m0 + m - 1, columns n0 ... n0 + n - 1.
struct Piece {
  std::int64_t batch, m0, m, n0, n;
};

// Aligned memory that belongs to nobody else.
class Block {
 public:
  explicit Block(std::size_t bytes = 0) : bytes_(bytes + alignment) {}
  std::byte* data() {
    const auto at = reinterpret_cast<std::uintptr_t>(bytes_.data());
    return bytes_.data() + (alignment - at % alignment) % alignment;
  }

 private:
  static constexpr std::size_t alignment = 64;
  std::vector<std::byte> bytes_;
};

// What one thread calls oneDNN with; nothing of it is shared.
struct Caller {
  dnnl::stream stream{cpu()};
  Block scratch;
  std::map<std::pair<std::int64_t, std::int64_t>, std::unordered_map<int, memory>> products;
  std::map<std::int64_t, std::unordered_map<int, memory>> reorders;
};

// The primitives for one set of extents.
class Bound {
 public:
  Bound(const Extents& x, int threads) : x_(x), callers_(static_cast<std::size_t>(threads)) {
    if (empty()) return;
    cut();
    for (const auto& [batch, m0, m, n0, n] : pieces_) {
      if (!reorders_.contains(n)) make_weights(m, n);
      if (!products_.contains({m, n})) make_product(m, n);
    }
    for (const Piece& piece : columns_) {
      offsets_.push_back(weight_bytes_);
      weight_bytes_ += (weights_.at(piece.n).get_size() + 63) / 64 * 64;
    }
    weights_memory_ = Block(weight_bytes_);
    for (Caller& caller : callers_) prepare_caller(caller);
  }

  // Thread i of all takes the pieces i * count / threads ...
  void prepare(int thread, const float* b) {
    if (empty()) return;
    Caller& caller = callers_[static_cast<std::size_t>(thread)];
    share(thread, columns_.size(), [&](std::size_t i) {
      const Piece& piece = columns_[i];
      auto& arguments = caller.reorders.at(piece.n);
      const float* from = b + piece.batch * x_.b_batch + piece.n0 * x_.b_free;
      arguments.at(DNNL_ARG_FROM).set_data_handle(const_cast<float*>(from));
      arguments.at(DNNL_ARG_TO).set_data_handle(weights_memory_.data() + offsets_[i]);
      reorders_.at(piece.n).execute(caller.stream, arguments);
    });
  }

  void run(int thread, const float* a, float* c) {
    if (x_.k == 0) {
      if (thread == 0 && !none())
        std::memset(c, 0, sizeof(float) * static_cast<std::size_t>(x_.batch * x_.m * x_.n));
      return;
    }
    if (empty()) return;
    Caller& caller = callers_[static_cast<std::size_t>(thread)];
    share(thread, pieces_.size(), [&](std::size_t i) {
      const Piece& piece = pieces_[i];
      auto& arguments = caller.products.at({piece.m, piece.n});
      const float* from = a + piece.batch * x_.a_batch + piece.m0 * x_.a_free;
      float* to = c + (piece.batch * x_.m + piece.m0) * x_.n + piece.n0;
      const auto column =
          static_cast<std::size_t>(piece.batch * column_pieces_ + piece.n0 / column_width_);
      arguments.at(DNNL_ARG_SRC).set_data_handle(const_cast<float*>(from));
      arguments.at(DNNL_ARG_WEIGHTS).set_data_handle(weights_memory_.data() + offsets_[column]);
      arguments.at(DNNL_ARG_DST).set_data_handle(to);
      products_.at({piece.m, piece.n}).execute(caller.stream, arguments);
    });
  }

 private:
  bool none() const { return x_.batch == 0 || x_.m == 0 || x_.n == 0; }
  bool empty() const { return none() || x_.k == 0; }

  template <typename Call>
  void share(int thread, std::size_t count, const Call& call) {
    const OneThread alone;
    const std::size_t threads = callers_.size(), i = static_cast<std::size_t>(thread);
    for (std::size_t at = count * i / threads; at < count * (i + 1) / threads; ++at) call(at);
  }

  // Of many rows, a piece is some rows; of few, some columns. Pieces are large
  // enough to pay for a call and small enough to share out, and they do not
  // depend on the number of threads.
  void cut() {
    constexpr std::int64_t rows = 128, columns = 128;
    const bool by_rows = x_.m >= 2 * rows || x_.batch > 1;
    const std::int64_t height = by_rows && x_.batch == 1 ? rows : x_.m;
    column_width_ = by_rows ? x_.n : columns;
    column_pieces_ = (x_.n + column_width_ - 1) / column_width_;
    for (std::int64_t batch = 0; batch < x_.batch; ++batch) {
      for (std::int64_t n0 = 0; n0 < x_.n; n0 += column_width_)
        columns_.push_back({batch, 0, x_.m, n0, std::min(column_width_, x_.n - n0)});
      for (std::int64_t m0 = 0; m0 < x_.m; m0 += height)
        for (std::int64_t n0 = 0; n0 < x_.n; n0 += column_width_)
          pieces_.push_back(
              {batch, m0, std::min(height, x_.m - m0), n0, std::min(column_width_, x_.n - n0)});
    }
  }

  memory::desc a_desc(std::int64_t m) const {
    return {{m, x_.k}, memory::data_type::f32, memory::dims{x_.a_free, x_.a_contract}};
  }
  memory::desc b_desc(std::int64_t n) const {
    return {{x_.k, n}, memory::data_type::f32, memory::dims{x_.b_contract, x_.b_free}};
  }
  memory::desc c_desc(std::int64_t m, std::int64_t n) const {
    return {{m, n}, memory::data_type::f32, memory::dims{x_.n, 1}};
  }
  static dnnl::primitive_attr own_scratch() {
    dnnl::primitive_attr attributes;
    attributes.set_scratchpad_mode(dnnl::scratchpad_mode::user);
    return attributes;
  }
  void note_scratch(const memory::desc& desc) {
    scratch_bytes_ = std::max(scratch_bytes_, desc.get_size());
  }

  // The layout that the first product of this width asks for.
  void make_weights(std::int64_t m, std::int64_t n) {
    const memory::desc any({x_.k, n}, memory::data_type::f32, memory::format_tag::any);
    const dnnl::matmul::primitive_desc product(cpu(), a_desc(m), any, c_desc(m, n), own_scratch());
    weights_.emplace(n, product.weights_desc());
    const dnnl::reorder::primitive_desc reorder(cpu(), b_desc(n), cpu(), weights_.at(n),
                                                own_scratch());
    note_scratch(reorder.scratchpad_desc());
    reorder_scratch_.emplace(n, reorder.scratchpad_desc());
    reorders_.emplace(n, dnnl::reorder(reorder));
  }

  void make_product(std::int64_t m, std::int64_t n) {
    const dnnl::matmul::primitive_desc product(cpu(), a_desc(m), weights_.at(n), c_desc(m, n),
                                               own_scratch());
    note_scratch(product.scratchpad_desc());
    product_scratch_.emplace(std::pair(m, n), product.scratchpad_desc());
    products_.emplace(std::pair(m, n), dnnl::matmul(product));
  }

  void prepare_caller(Caller& caller) const {
    caller.scratch = Block(scratch_bytes_);
    const auto at = [&](const memory::desc& desc, void* data) { return memory(desc, cpu(), data); };
    for (const auto& [n, reorder] : reorders_)
      caller.reorders[n] = {
          {DNNL_ARG_FROM, at(b_desc(n), nullptr)},
          {DNNL_ARG_TO, at(weights_.at(n), nullptr)},
          {DNNL_ARG_SCRATCHPAD, at(reorder_scratch_.at(n), caller.scratch.data())}};
    for (const auto& [shape, product] : products_)
      caller.products[shape] = {
          {DNNL_ARG_SRC, at(a_desc(shape.first), nullptr)},
          {DNNL_ARG_WEIGHTS, at(weights_.at(shape.second), nullptr)},
          {DNNL_ARG_DST, at(c_desc(shape.first, shape.second), nullptr)},
          {DNNL_ARG_SCRATCHPAD, at(product_scratch_.at(shape), caller.scratch.data())}};
  }

  using MN = std::pair<std::int64_t, std::int64_t>;
  Extents x_;
  std::vector<Caller> callers_;
  std::vector<Piece> pieces_, columns_;
  std::int64_t column_width_ = 1, column_pieces_ = 1;
  std::map<std::int64_t, memory::desc> weights_, reorder_scratch_;
  std::map<std::int64_t, dnnl::reorder> reorders_;
  std::map<MN, memory::desc> product_scratch_;
  std::map<MN, dnnl::matmul> products_;
  std::vector<std::size_t> offsets_;
  std::size_t weight_bytes_ = 0, scratch_bytes_ = 0;
  Block weights_memory_;
};

class OneDnnMatmul final : public NodeRunner {
 public:
  explicit OneDnnMatmul(MatmulClaim claim) : claim_(std::move(claim)) {}

  void bind(const DimEnv& env, int threads) override {
    const auto of = [&](const Dim& dim) { return dim.evaluate(env); };
    const MatmulShape& s = claim_.shape;
    const MatrixView &a = claim_.a, &b = claim_.b;
    const Extents extents{of(s.batch),
                          of(s.m),
                          of(s.n),
                          of(s.k),
                          of(a.batch_stride),
                          of(a.free_stride),
                          of(a.contract_stride),
                          of(b.batch_stride),
                          of(b.free_stride),
                          of(b.contract_stride)};
    const std::pair key(extents, threads);
    if (const auto found = bound_.find(key); found != bound_.end()) {
      current_ = &found->second;
      return;
    }
    if (bound_.size() >= 64) bound_.clear();
    try {
      current_ = &bound_.try_emplace(key, extents, threads).first->second;
    } catch (const dnnl::error& error) {
      internal_error("onednn", fmt::format("no product [{}, {}] x [{}, {}]: {}", extents.m,
                                           extents.k, extents.k, extents.n, error.what()));
    }
  }

  // Other threads wait at the next barrier, so nothing may be thrown from here.
  void prepare(int thread, const std::byte* b) noexcept override {
    current_->prepare(thread, reinterpret_cast<const float*>(b));
  }
  void run(int thread, const std::byte* a, std::byte* c) noexcept override {
    current_->run(thread, reinterpret_cast<const float*>(a), reinterpret_cast<float*>(c));
  }

 private:
  MatmulClaim claim_;
  std::map<std::pair<Extents, int>, Bound> bound_;
  Bound* current_ = nullptr;
};

}  // namespace

std::unique_ptr<NodeRunner> make_onednn_runner(const MatmulClaim& claim) {
  return std::make_unique<OneDnnMatmul>(claim);
}

std::string onednn_version() {
  const dnnl_version_t* version = dnnl_version();
  return fmt::format("{}.{}.{}", version->major, version->minor, version->patch);
}

}  // namespace treadle
