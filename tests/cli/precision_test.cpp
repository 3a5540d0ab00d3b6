// -p bf16 of the commands: f32 outside, products of bfloat16 operands inside.
#include <filesystem>
#include <string>

#include "backends/llvm/compile.h"
#include "runtime/safetensors.h"
#include "tests/catch.h"
#include "tests/cli/run.h"

using namespace treadle;
using treadle::test::example;
using treadle::test::fresh_folder;
using treadle::test::Run;
using treadle::test::run;

namespace {
const std::string demo = example("demo") + " -D H=8";
}

TEST_CASE("a model trains in bf16, on any number of threads, and says how they are computed") {
  const std::filesystem::path folder = fresh_folder("bf16");
  const std::string train = "train " + demo + " --epochs 2 -p bf16 -o ";
  const Run trained = run(train + folder.string() + " 2>&1");
  CHECK(trained.status == 0);
  CHECK(trained.output.starts_with(
      multiplies_bfloat16()
          ? "note: products of bfloat16 operands are computed by this processor's own "
          : "note: products of bfloat16 operands are computed in f32, which is slower than"));
  const std::string held_back = "held back: ";
  const std::size_t at = trained.output.rfind(held_back);
  REQUIRE(at != std::string::npos);
  const std::string numbers =
      "Reader: " + trained.output.substr(at + held_back.size(),
                                         trained.output.find('\n', at) - at - held_back.size());

  const std::string evaluate = "eval " + demo + " --run " + folder.string() + " 2> /dev/null";
  CHECK(run(evaluate + " -p bf16").output == numbers + "  (300 examples)\n");
  // What is saved is f32, so that f32 reads it, and rounds less.
  CHECK(run(evaluate + " -p f32").status == 0);
  CHECK(run(evaluate + " -p f32 --json").output != run(evaluate + " -p bf16 --json").output);

  const std::filesystem::path again = fresh_folder("bf16_again");
  REQUIRE(run(train + again.string() + " --threads 3 2> /dev/null").status == 0);
  int compared = 0;
  for (const auto& entry : std::filesystem::directory_iterator(folder)) {
    if (entry.path().extension() != ".safetensors") continue;
    const NamedTensors first = read_safetensors(entry.path().string());
    const NamedTensors second = read_safetensors((again / entry.path().filename()).string());
    REQUIRE(first.tensors.size() == second.tensors.size());
    for (std::size_t i = 0; i < first.tensors.size(); ++i) {
      CHECK(same_bits(first.tensors[i].second, second.tensors[i].second));
      CHECK(first.tensors[i].second.dtype() != DType::bf16);
      ++compared;
    }
  }
  CHECK(compared > 0);
}

TEST_CASE("bf16 is looked at and timed as it runs") {
  const std::string gradient = "dump " + demo + " -p bf16 2> /dev/null --after ";
  CHECK(run(gradient + "bf16-products").output.find(" = bf16") != std::string::npos);
  CHECK(run(gradient + "fuse-attention").output.find("bf16") == std::string::npos);
  CHECK(run("dump " + demo + " --after bf16-products 2>&1").output.find("T0843") !=
        std::string::npos);
  const Run bench = run("bench " + demo + " -p bf16 -D B=4 --rounds 2 --profile 2> /dev/null");
  CHECK(bench.status == 0);
  CHECK(run("memory " + demo + " -p bf16 2> /dev/null").status == 0);
  CHECK(run("diagnose " + demo + " -p bf16 2> /dev/null").status != 0);
}
