// The examples of images through the command line: vit_mnist, and
// digits_generate: one file, two models to train, a third that draws.
#include <fstream>

#include "ir/tensor.h"
#include "runtime/file.h"
#include "runtime/readers/npy.h"
#include "tests/catch.h"
#include "tests/cli/run.h"

using namespace treadle;
using treadle::test::check_fails;
using treadle::test::fresh_folder;
using treadle::test::run;

namespace {

const std::string program =
    std::string(TREADLE_SOURCE_DIR) + "/examples/digits_generate.tdl -D N=2 -D H=2 -D LAYERS=1";

// Rows as those of the data: 64 points, then the digit.
std::filesystem::path folder_with_digits(const std::string& name) {
  const std::filesystem::path folder = fresh_folder(name);
  for (const char* file : {"optdigits.tra", "optdigits.tes"}) {
    std::ofstream out(folder / file);
    for (int i = 0; i < 64; ++i) out << "Block " << i + 1 << ",";
    out << "Class\n";
    for (int row = 0; row < 40; ++row) {
      for (int i = 0; i < 64; ++i) out << (i / 6 == row % 10 ? 16 : i % 5) << ",";
      out << row % 10 << "\n";
    }
  }
  return folder;
}

}  // namespace

TEST_CASE("the vision transformer's gradients hold, in both orders, before and after every pass") {
  const test::Run result = run("gradcheck " + std::string(TREADLE_SOURCE_DIR) +
                               "/examples/vit_mnist.tdl -D N=2 -D H=2 -D LAYERS=1 --order 2 "
                               "--after-each-pass");
  CHECK(result.status == 0);
  CHECK(result.output.find("after compiling") != std::string::npos);
  CHECK(result.output.find("WRONG") == std::string::npos);
}

TEST_CASE("--model chooses whose train block is followed, and whose is evaluated") {
  const std::filesystem::path folder = folder_with_digits("train_model");
  const std::string data = " --data " + folder.string();
  const std::string reader = (folder / "reader").string();
  const test::Run trained =
      run("train " + program + data + " --model Reader --epochs 4 -o " + reader);
  CHECK(trained.status == 0);
  CHECK(trained.output.find("accuracy") != std::string::npos);
  const test::Run checked = run("eval " + program + data + " --model Reader --run " + reader);
  CHECK(checked.status == 0);
  CHECK(checked.output.starts_with("Reader: loss "));
  check_fails("train " + program + data + " --model Drawing -o " + reader, "T0840",
              "has no train block of a model 'Drawing'");
  check_fails("eval " + program + data + " --run " + reader, "T0971", "painter");
}

TEST_CASE("a trained Painting's parameters draw a sheet of digits, the same for the same seed") {
  const std::filesystem::path folder = folder_with_digits("drawing");
  const std::string painting = (folder / "painting").string();
  REQUIRE(run("train " + program + " --data " + folder.string() + " --epochs 1 -o " + painting +
              " > /dev/null")
              .status == 0);
  Tensor words(DType::i32, {5});
  for (std::int64_t i = 0; i < 5; ++i) words.set_integer(i, i % 3);
  write_npy(folder / "words.npy", words);
  const std::string draw = "run " + program + " --model Drawing --run " + painting +
                           " --input weight=" + (folder / "words.npy").string() +
                           " --input label=" + (folder / "words.npy").string();
  const auto points = [&](const std::string& more) {
    REQUIRE(run(draw + " --result points -o " + (folder / "points.npy").string() + more).status ==
            0);
    return read_npy(folder / "points.npy");
  };
  const Tensor first = points(" --seed 1");
  REQUIRE(first.shape() == Shape{5, 64});
  for (std::int64_t i = 0; i < first.size(); ++i) {
    CHECK(first.get_integer(i) >= 0);
    CHECK(first.get_integer(i) < 17);
  }
  CHECK(same_bits(points(" --seed 1 --threads 1"), first));
  CHECK_FALSE(same_bits(points(" --seed 2"), first));
  REQUIRE(run(draw + " --result image -o " + (folder / "sheet.png").string()).status == 0);
  const std::string png = read_file(folder / "sheet.png");
  // Three columns and two rows of 8 x 8 points, each 8 pixels large.
  CHECK(png.substr(12, 4) == "IHDR");
  CHECK(static_cast<unsigned char>(png[19]) == 3 * 65 - 1);
  CHECK(static_cast<unsigned char>(png[23]) == 2 * 65 - 1);
}
