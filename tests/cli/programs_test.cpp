// The examples through the command line.
#include <filesystem>
#include <fstream>
#include <string>

#include "tests/catch.h"
#include "tests/cli/run.h"

using treadle::test::example;
using treadle::test::Run;
using treadle::test::run;

namespace {}  // namespace

TEST_CASE("every example's gradients hold, in both orders, before and after every pass") {
  for (const std::string& arguments :
       {example("demo") + " -D H=3", example("mnist_rows") + " -D H=2",
        example("char_lm") + " -D V=5 -D E=3 -D H=2 -D T=4", example("adding") + " -D H=3 -D T=5",
        example("my_cell") + " -D H=3", example("char_gpt") + " -D V=5 -D M=4 -D L=1 -D T=4",
        example("which_word") + " -D V=5 -D M=4 -D T=4",
        example("names_classify") + " -D V=5 -D E=3 -D H=2 -D C=3 -D T=4",
        example("japanese_vowels") + " -D H=2 -D C=3 -D T=4",
        example("jsb_chorales") + " -D K=3 -D H=2 -D T=4",
        example("names_generate") + " -D V=5 -D M=4 -D L=1 -D T=4",
        example("translate_jaen") + " -D V=4 -D W=3 -D M=4 -D S=3 -D T=2"}) {
    INFO(arguments);
    const Run result = run("gradcheck " + arguments + " --order 2 --after-each-pass");
    CHECK(result.status == 0);
    for (const char* pass : {"batch", "unroll(3)", "simplify", "hoist-scan", "fuse-gates",
                             "join-stacks", "expand-composites", "sink-transposes", "carry-sums",
                             "chain-products", "fuse-pointwise", "place", "compiling"})
      CHECK(result.output.find(std::string("after ") + pass) != std::string::npos);
    CHECK(result.output.find("WRONG") == std::string::npos);
  }
}

TEST_CASE("the examples' own tests pass") {
  const Run result = run("test " + example("char_lm") + " " + example("adding") + " " +
                         example("char_gpt") + " " + example("double_backprop") + " " +
                         example("jsb_chorales") + " " + example("names_generate"));
  CHECK(result.status == 0);
  CHECK(result.output.find("decoding: ok") != std::string::npos);
  CHECK(result.output.find("8 passed, 0 failed") != std::string::npos);
}

TEST_CASE("check shows every parameter") {
  const Run result = run("check " + example("char_lm"));
  CHECK(result.status == 0);
  CHECK(result.output.find(
            "lstm.U                       f32[256, 1024]         262144  ~ orthogonal") !=
        std::string::npos);
  CHECK(result.output.find("349569") != std::string::npos);
}

TEST_CASE("the demo learns, with either backend, and prints the same for any number of threads") {
  const Run one = run("train " + example("demo") + " --epochs 3 --threads 1");
  CHECK(one.status == 0);
  CHECK(one.output.find("epoch 3/3") != std::string::npos);
  CHECK(run("train " + example("demo") + " --epochs 3 --threads 3").output == one.output);
  const Run reference = run("train " + example("demo") + " --epochs 1 --backend reference");
  const Run compiled = run("train " + example("demo") + " --epochs 1");
  CHECK(reference.output.substr(0, 30) == compiled.output.substr(0, 30));
}

TEST_CASE("my_cell has one product with its recurrent weights in each loop") {
  const Run result = run("dump " + example("my_cell") + " --after fuse-gates");
  REQUIRE(result.status == 0);
  std::size_t scans = 0, products = 0, at = 0;
  bool inside = false;
  while (at < result.output.size()) {
    const std::size_t end = result.output.find('\n', at);
    const std::string line = result.output.substr(at, end - at);
    if (line.find(" = scan(") != std::string::npos) {
      inside = true;
      ++scans;
    } else if (line == "  }") {
      inside = false;
    }
    if (inside && line.find("= matmul(") != std::string::npos) ++products;
    at = end + 1;
  }
  CHECK(scans == 2);
  CHECK(products == 2);
}

TEST_CASE("dump shows the step with the program's own optimizer") {
  const std::filesystem::path folder = treadle::test::fresh_folder("dump_sgd");
  const std::string plain = (folder / "sgd.tdl").string();
  REQUIRE(treadle::test::shell("sed s/adamw/sgd/ " + example("demo") + " > " + plain).status == 0);
  for (const char* stage : {" --stage grad", " --after fuse-gates"}) {
    CHECK(run("dump " + example("demo") + stage).output.find("\"v:") != std::string::npos);
    const Run step = run("dump " + plain + stage);
    REQUIRE(step.status == 0);
    CHECK(step.output.find("\"v:") == std::string::npos);
  }
}

TEST_CASE("a program's mistakes have exit status 1 and name the place") {
  const Run missing = run("train " + example("mnist_rows") + " --data /nowhere 2>&1");
  CHECK(missing.status == 1);
  CHECK(missing.output.find("T09") != std::string::npos);
  CHECK(run("check no-such-file.tdl 2>/dev/null").status == 1);
  const Run pass = run("dump " + example("demo") + " --after weave 2>&1");
  CHECK(pass.status == 1);
  CHECK(pass.output.find("T0843") != std::string::npos);
}

TEST_CASE("dump --why says what became of each softmax") {
  const std::string file = std::filesystem::temp_directory_path() / "treadle_why.tdl";
  std::ofstream(file) << "model M(x: real[T, 4]) {\n"
                         "  y = MultiHead[2](x, mask: causal_mask[T]())\n"
                         "  weights = softmax(y @ transpose(x))\n"
                         "  return loss: sum(square(weights @ y)) + sum(square(weights))\n}\n";
  const Run result = run("dump " + file + " --why");
  std::filesystem::remove(file);
  CHECK(result.status == 0);
  CHECK(result.output.find("attention in tiles: forward and backward\n") != std::string::npos);
  CHECK(result.output.find(file + ":3:13: softmax stays: ") != std::string::npos);
  CHECK(run("dump " + example("demo") + " --why").output ==
        "there is no softmax in the training step\n");
}

TEST_CASE("assembly shows one entry function for the step") {
  const Run result = run("dump " + example("demo") + " --stage asm");
  REQUIRE(result.status == 0);
  CHECK(result.output.find("treadle_step:") != std::string::npos);
  std::size_t globals = 0;
  for (std::size_t at = 0; (at = result.output.find(".globl", at)) != std::string::npos; ++at)
    ++globals;
  CHECK(globals == 1);
}

TEST_CASE("a step that is not finite names its op and its line") {
  const std::string path = (treadle::test::fresh_folder("not_finite") / "not_finite.tdl").string();
  std::ofstream(path) << "model M(image: real[16, 16]) {\n"
                         "  x = image[0]\n"
                         "  return logits: dense[10](log(x - 2))\n"
                         "}\n"
                         "train M {\n"
                         "  data digits(examples: 40)\n"
                         "  loss cross_entropy(logits, label)\n"
                         "}\n";
  const Run result = run("train " + path + " 2>&1");
  CHECK(result.status == 1);
  CHECK(result.output.find("not_finite.tdl:3:28: error[T0835]") != std::string::npos);
  CHECK(result.output.find("at step 1: 'log' was the first to give nan") != std::string::npos);
}
