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

// A piece of the result: rows m0 ... m0 + m - 1.
struct Piece {
  std::int64_t batch, m0, m;
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
using Arguments = std::unordered_map<int, memory>;
struct Caller {
  dnnl::stream stream{cpu()};
  Block scratch;
  std::map<std::int64_t, Arguments> products;  // by their rows
  Arguments reorder;
};

// The primitives for one set of extents.
class Bound {
 public:
  explicit Bound(const Extents& x) : x_(x) {
    if (empty()) return;
    const OneThread alone;  // a primitive is made for so many threads
    cut();
    make_weights(pieces_.front().m);
    for (const Piece& piece : pieces_)
      if (!products_.contains(piece.m)) make_product(piece.m);
    weights_bytes_ = (weights_.get_size() + 63) / 64 * 64;
  }

  // What `allocate` takes.
  std::size_t bytes(int threads) const {
    return weights_bytes_ * static_cast<std::size_t>(x_.batch) +
           scratch_bytes_ * static_cast<std::size_t>(threads);
  }

  // Before `prepare` and `run`.
  void allocate(int threads) {
    callers_.resize(static_cast<std::size_t>(threads));
    if (empty()) return;
    weights_memory_ = Block(weights_bytes_ * static_cast<std::size_t>(x_.batch));
    for (Caller& caller : callers_) prepare_caller(caller);
  }

  void prepare(int thread, const float* b) {
    if (empty()) return;
    Caller& caller = callers_[static_cast<std::size_t>(thread)];
    share(thread, static_cast<std::size_t>(x_.batch), [&](std::size_t i) {
      const float* from = b + static_cast<std::int64_t>(i) * x_.b_batch;
      caller.reorder.at(DNNL_ARG_FROM).set_data_handle(const_cast<float*>(from));
      caller.reorder.at(DNNL_ARG_TO).set_data_handle(weights_of(i));
      reorder_.execute(caller.stream, caller.reorder);
    });
  }

  void run(int thread, const float* a, float* c) {
    if (x_.k == 0 && thread == 0 && !none())
      std::memset(c, 0, sizeof(float) * static_cast<std::size_t>(x_.batch * x_.m * x_.n));
    if (empty()) return;
    Caller& caller = callers_[static_cast<std::size_t>(thread)];
    share(thread, pieces_.size(), [&](std::size_t i) {
      const Piece& piece = pieces_[i];
      Arguments& arguments = caller.products.at(piece.m);
      const float* from = a + piece.batch * x_.a_batch + piece.m0 * x_.a_free;
      arguments.at(DNNL_ARG_SRC).set_data_handle(const_cast<float*>(from));
      arguments.at(DNNL_ARG_WEIGHTS)
          .set_data_handle(weights_of(static_cast<std::size_t>(piece.batch)));
      arguments.at(DNNL_ARG_DST).set_data_handle(c + (piece.batch * x_.m + piece.m0) * x_.n);
      products_.at(piece.m).execute(caller.stream, arguments);
    });
  }

 private:
  bool none() const { return x_.batch == 0 || x_.m == 0 || x_.n == 0; }
  bool empty() const { return none() || x_.k == 0; }
  std::byte* weights_of(std::size_t batch) {
    return weights_memory_.data() + batch * weights_bytes_;
  }

  // Thread i of all takes the items i * count / threads ...
  template <typename Call>
  void share(int thread, std::size_t count, const Call& call) {
    const OneThread alone;
    const std::size_t threads = callers_.size(), i = static_cast<std::size_t>(thread);
    for (std::size_t at = count * i / threads; at < count * (i + 1) / threads; ++at) call(at);
  }

  void cut() {
    const std::int64_t height = onednn_piece_rows(x_.batch, x_.m);
    for (std::int64_t batch = 0; batch < x_.batch; ++batch)
      for (std::int64_t m0 = 0; m0 < x_.m; m0 += height)
        pieces_.push_back({batch, m0, std::min(height, x_.m - m0)});
  }

  memory::desc a_desc(std::int64_t m) const {
    return {{m, x_.k}, memory::data_type::f32, memory::dims{x_.a_free, x_.a_contract}};
  }
  memory::desc b_desc() const {
    return {{x_.k, x_.n}, memory::data_type::f32, memory::dims{x_.b_contract, x_.b_free}};
  }
  memory::desc c_desc(std::int64_t m) const {
    return {{m, x_.n}, memory::data_type::f32, memory::dims{x_.n, 1}};
  }
  static dnnl::primitive_attr own_scratch() {
    dnnl::primitive_attr attributes;
    attributes.set_scratchpad_mode(dnnl::scratchpad_mode::user);
    return attributes;
  }
  memory::desc noted(const memory::desc& scratch) {
    scratch_bytes_ = std::max(scratch_bytes_, scratch.get_size());
    return scratch;
  }

  // The layout that the first product asks for.
  void make_weights(std::int64_t m) {
    const memory::desc any({x_.k, x_.n}, memory::data_type::f32, memory::format_tag::any);
    const dnnl::matmul::primitive_desc product(cpu(), a_desc(m), any, c_desc(m), own_scratch());
    weights_ = product.weights_desc();
    const dnnl::reorder::primitive_desc reorder(cpu(), b_desc(), cpu(), weights_, own_scratch());
    reorder_scratch_ = noted(reorder.scratchpad_desc());
    reorder_ = dnnl::reorder(reorder);
  }

  void make_product(std::int64_t m) {
    const dnnl::matmul::primitive_desc product(cpu(), a_desc(m), weights_, c_desc(m),
                                               own_scratch());
    product_scratch_.emplace(m, noted(product.scratchpad_desc()));
    products_.emplace(m, dnnl::matmul(product));
  }

  void prepare_caller(Caller& caller) const {
    caller.scratch = Block(scratch_bytes_);
    const auto empty_memory = [](const memory::desc& desc) { return memory(desc, cpu(), nullptr); };
    const auto scratch = [&](const memory::desc& desc) {
      return memory(desc, cpu(), caller.scratch.data());
    };
    caller.reorder = {{DNNL_ARG_FROM, empty_memory(b_desc())},
                      {DNNL_ARG_TO, empty_memory(weights_)},
                      {DNNL_ARG_SCRATCHPAD, scratch(reorder_scratch_)}};
    for (const auto& [m, product] : products_)
      caller.products[m] = {{DNNL_ARG_SRC, empty_memory(a_desc(m))},
                            {DNNL_ARG_WEIGHTS, empty_memory(weights_)},
                            {DNNL_ARG_DST, empty_memory(c_desc(m))},
                            {DNNL_ARG_SCRATCHPAD, scratch(product_scratch_.at(m))}};
  }

  Extents x_;
  std::vector<Caller> callers_;
  std::vector<Piece> pieces_;
  memory::desc weights_, reorder_scratch_;
  dnnl::reorder reorder_;
  std::map<std::int64_t, memory::desc> product_scratch_;
  std::map<std::int64_t, dnnl::matmul> products_;
  std::size_t weights_bytes_ = 0, scratch_bytes_ = 0;
  Block weights_memory_;
};

class OneDnnMatmul final : public NodeRunner {
 public:
  explicit OneDnnMatmul(MatmulClaim claim) : claim_(std::move(claim)) {}

  void bind(const DimEnv& env, int threads) override {
    const std::pair key(extents_of(env), threads);
    if (const auto found = bound_.find(key); found != bound_.end()) {
      current_ = &found->second;
      return;
    }
    if (bound_.size() >= 64) bound_.clear();
    current_ = &bound_.emplace(key, bound_to(key.first)).first->second;
    current_->allocate(threads);
  }

  std::size_t working_bytes(const DimEnv& env, int threads) const override {
    return bound_to(extents_of(env)).bytes(threads);
  }

  // Other threads wait at the next barrier, so nothing may be thrown from here.
  void prepare(int thread, const std::byte* b) noexcept override {
    current_->prepare(thread, reinterpret_cast<const float*>(b));
  }
  void run(int thread, const std::byte* a, std::byte* c) noexcept override {
    current_->run(thread, reinterpret_cast<const float*>(a), reinterpret_cast<float*>(c));
  }

 private:
  Extents extents_of(const DimEnv& env) const {
    const auto of = [&](const Dim& dim) { return dim.evaluate(env); };
    const MatmulShape& s = claim_.shape;
    const MatrixView &a = claim_.a, &b = claim_.b;
    return {of(s.batch),
            of(s.m),
            of(s.n),
            of(s.k),
            of(a.batch_stride),
            of(a.free_stride),
            of(a.contract_stride),
            of(b.batch_stride),
            of(b.free_stride),
            of(b.contract_stride)};
  }

  static Bound bound_to(const Extents& extents) {
    try {
      return Bound(extents);
    } catch (const dnnl::error& error) {
      internal_error("onednn", fmt::format("no product [{}, {}] x [{}, {}]: {}", extents.m,
                                           extents.k, extents.k, extents.n, error.what()));
    }
  }

  MatmulClaim claim_;
  std::map<std::pair<Extents, int>, Bound> bound_;
  Bound* current_ = nullptr;
};

// oneDNN generates its code, 6 MiB with the pages of the library, when it is called
// first: not in a step.
void call_once_before_steps() {
  static const bool called = [] {
    constexpr std::int64_t n = 16;
    const std::vector<float> ones(n * n, 1.0F);
    std::vector<float> out(n * n);
    Bound product({1, n, n, n, 0, n, 1, 0, n, 1});
    product.allocate(1);
    product.prepare(0, ones.data());
    product.run(0, ones.data(), out.data());
    return true;
  }();
  static_cast<void>(called);
}

}  // namespace

std::int64_t onednn_piece_rows(std::int64_t batch, std::int64_t m) {
  constexpr std::int64_t most = 128, unit = 16;
  const std::int64_t quarter = (m + 4 * unit - 1) / (4 * unit) * unit;
  return batch > 1 ? m : std::min(quarter, most);
}

std::unique_ptr<NodeRunner> make_onednn_runner(const MatmulClaim& claim) {
  call_once_before_steps();
  return std::make_unique<OneDnnMatmul>(claim);
}

std::string onednn_version() {
  const dnnl_version_t* version = dnnl_version();
  return fmt::format("{}.{}.{}", version->major, version->minor, version->patch);
}

}  // namespace treadle
