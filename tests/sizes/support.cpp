#include "tests/sizes/support.h"

#include <numeric>
#include <random>
#include <set>

#include "backends/llvm/target.h"
#include "driver/compile.h"
#include "runtime/team.h"
#include "tests/support/graphs.h"

namespace treadle::test {

std::vector<std::string> feature_masks() {
  std::vector<std::string> out;
  std::set<std::string> known;
  for (const char* mask : {"", "avx2", "sse"})
    if (known.insert(make_target(mask).features).second) out.emplace_back(mask);
  return out;
}

std::map<std::string, std::unique_ptr<Program>> programs_for_features(const Graph& graph) {
  std::map<std::string, std::unique_ptr<Program>> out;
  for (const std::string& mask : feature_masks())
    out.emplace(mask, compile(graph, {}, {"llvm", mask, {}}));
  return out;
}

std::vector<std::vector<std::int64_t>> size_sample(std::size_t places, int rounds,
                                                   std::uint64_t seed) {
  std::mt19937_64 engine(seed);
  std::vector<std::vector<std::int64_t>> out;
  for (int round = 0; round < rounds; ++round) {
    const std::size_t begin = out.size();
    out.resize(begin + largest_size);
    for (std::size_t place = 0; place < places; ++place) {
      std::vector<std::int64_t> sizes(largest_size);
      std::iota(sizes.begin(), sizes.end(), 1);
      for (std::size_t i = sizes.size(); i > 1; --i) std::swap(sizes[i - 1], sizes[engine() % i]);
      for (std::size_t i = 0; i < sizes.size(); ++i) out[begin + i].push_back(sizes[i]);
    }
  }
  return out;
}

void require_same_for_threads(Program& program, const std::vector<Tensor>& inputs,
                              const std::vector<Tensor>& alone) {
  static Team two(2), three(3);
  for (Team* team : {&two, &three}) {
    const std::vector<Tensor> together = run_with(program, inputs, *team);
    REQUIRE(together.size() == alone.size());
    for (std::size_t i = 0; i < alone.size(); ++i) REQUIRE(same_bits(together[i], alone[i]));
  }
}

}  // namespace treadle::test
