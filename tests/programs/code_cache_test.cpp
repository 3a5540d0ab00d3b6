// Compiled code kept between runs.
#include <filesystem>
#include <vector>

#include "backends/llvm/compile.h"
#include "driver/compile.h"
#include "runtime/file.h"
#include "runtime/team.h"
#include "tests/catch.h"
#include "tests/support/graphs.h"
#include "tests/support/temporary_folder.h"

using namespace treadle;
using namespace treadle::test;
namespace fs = std::filesystem;

namespace {

// Compiles and runs with that cache: the results, and whether code was generated.
class Cached {
 public:
  explicit Cached(const Graph& graph)
      : graph_(graph), inputs_(inputs_for(graph, {{"B", 3}, {"T", 4}})) {}

  std::vector<Tensor> run(const CompileOptions& options) {
    const CompileStats before = llvm_compile_stats();
    const auto program = compile(graph_, {}, options);
    const CompileStats after = llvm_compile_stats();
    compiled = after.compilations > before.compilations;
    CHECK(after.cache_hits - before.cache_hits == (compiled || !options.cache ? 0 : 1));
    return run_with(*program, inputs_, team_);
  }

  bool compiled = false;

 private:
  Graph graph_;
  std::vector<Tensor> inputs_;
  Team team_{2};
};

void check_same_bits(const std::vector<Tensor>& a, const std::vector<Tensor>& b) {
  REQUIRE(a.size() == b.size());
  for (std::size_t i = 0; i < a.size(); ++i) CHECK(same_bits(a[i], b[i]));
}

std::vector<fs::path> entries(const fs::path& folder) {
  std::vector<fs::path> out;
  for (const fs::directory_entry& file : fs::directory_iterator(folder)) out.push_back(file.path());
  return out;
}

}  // namespace

TEST_CASE("code from the cache is the same program, with either backend's products") {
  for (const Graph& loss : {lstm_loss(), token_loss()})
    for (const char* backend : {"llvm", "onednn", "auto"}) {
      const TemporaryFolder folder;
      Cached work(batched_gradient(loss));
      const std::vector<Tensor> without = work.run({backend, {}, {}});
      CHECK(work.compiled);
      const CompileOptions options{backend, {}, folder.path()};
      const std::vector<Tensor> first = work.run(options);
      CHECK(work.compiled);
      const std::vector<Tensor> second = work.run(options);
      CHECK(!work.compiled);
      check_same_bits(first, without);
      check_same_bits(second, first);
    }
}

TEST_CASE("a program from the cache takes as much memory as one that is compiled") {
  // With rows for two threads its product with the inputs is computed in turns.
  const TemporaryFolder folder;
  const Graph graph = batched_gradient(lstm_loss());
  const CompileOptions options{"llvm", {}, folder.path()};
  const auto bytes = [&](int threads) {
    return compile(graph, {}, options)->workspace_bytes({{"B", 40}, {"T", 100}}, threads);
  };
  const std::size_t compiled = bytes(2);
  CHECK(bytes(2) == compiled);
  CHECK(bytes(3) > compiled);
}

TEST_CASE("a damaged entry is compiled anew, and mended") {
  const TemporaryFolder folder;
  Cached work(batched_gradient(lstm_loss()));
  const CompileOptions options{"llvm", {}, folder.path()};
  const std::vector<Tensor> expected = work.run(options);
  const fs::path file = entries(folder.path()).at(0);
  const std::string whole = read_file(file);
  std::string changed = whole;
  changed[changed.size() / 2] = static_cast<char>(changed[changed.size() / 2] ^ 4);
  for (const std::string& damaged : {std::string(), whole.substr(0, whole.size() / 2), changed}) {
    std::ofstream(file, std::ios::binary | std::ios::trunc) << damaged;
    check_same_bits(work.run(options), expected);
    CHECK(work.compiled);
    check_same_bits(work.run(options), expected);
    CHECK(!work.compiled);
  }
}

TEST_CASE("a cache that cannot be written is no reason to fail") {
  const TemporaryFolder folder;
  Cached work(batched_gradient(lstm_loss()));
  const CompileOptions options{"llvm", {}, folder.file("file", "") / "cache"};
  const std::vector<Tensor> expected = work.run({"llvm", {}, {}});
  for (int i = 0; i < 2; ++i) {
    check_same_bits(work.run(options), expected);
    CHECK(work.compiled);
  }
}

TEST_CASE("what makes other code shares no entry") {
  const TemporaryFolder folder;
  Graph product;  // that oneDNN takes
  Builder b(product);
  product.add_output("next", b.matmul(b.input("x", {DType::f32, {8, 8}}),
                                      b.input("w", {DType::f32, {8, 8}}), {1}, {0}));
  Cached work(product), other(batched_gradient(token_loss()));
  for (const char* backend : {"llvm", "onednn"})
    for (const char* features : {"sse", "avx2"}) {
      (void)work.run({backend, features, folder.path()});
      CHECK(work.compiled);
      (void)work.run({backend, features, folder.path()});
      CHECK(!work.compiled);
    }
  (void)other.run({"llvm", "sse", folder.path()});
  CHECK(other.compiled);
  CHECK(entries(folder.path()).size() == 5);
  // An update in place is other code too.
  const CompileStats before = llvm_compile_stats();
  (void)compile(product, std::vector<InPlaceUpdate>{{"next", "x"}}, {"llvm", "sse", folder.path()});
  CHECK(llvm_compile_stats().compilations == before.compilations + 1);
}
