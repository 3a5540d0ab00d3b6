// A transformer on windows of a text, through the command line.
#include <fstream>
#include <string>

#include "runtime/file.h"
#include "tests/catch.h"
#include "tests/cli/run.h"

using treadle::read_file;
using treadle::test::check_fails;
using treadle::test::fresh_folder;
using treadle::test::Run;
using treadle::test::run;

namespace {

// The example, small, on a text of 1,008 characters: 907 of them are 13 windows,
// three batches an epoch.
std::string small_gpt(const std::filesystem::path& folder) {
  std::string text;
  for (int i = 0; i < 84; ++i) text += "over, under\n";
  std::ofstream(folder / "input.txt") << text;
  return "train " + std::string(TREADLE_SOURCE_DIR) +
         "/examples/char_gpt.tdl -D V=10 -D M=8 -D L=1 --batch 5 --data " + folder.string();
}

}  // namespace

TEST_CASE("a run of so many steps ends there, and goes on from where it stood") {
  const std::filesystem::path folder = fresh_folder("steps");
  const std::string train = small_gpt(folder);
  const std::string whole = (folder / "whole").string(), cut = (folder / "cut").string();
  const Run result = run(train + " --steps 5 -o " + whole);
  REQUIRE(result.status == 0);
  CHECK(result.output.find("epoch 2/2  training loss") != std::string::npos);
  CHECK(run(train + " --steps 5 --resume -o " + whole).output.empty());  // nothing is left to do
  // A checkpoint is written behind every step; its last is the whole run's.
  REQUIRE(run(train + " --steps 5 --checkpoint-every 1 -o " + cut).status == 0);
  CHECK(read_file(folder / "cut/checkpoint.safetensors") ==
        read_file(folder / "whole/checkpoint.safetensors"));
  check_fails(train + " --steps 6 --resume -o " + whole, "T0977", "other settings");
  CHECK(run(train + " --steps 5 --epochs 2 2>/dev/null").status == 2);
}

TEST_CASE("a sequence longer than the table of positions is refused before it is read") {
  const std::filesystem::path folder = fresh_folder("long");
  std::string program = read_file(std::string(TREADLE_SOURCE_DIR) + "/examples/char_gpt.tdl");
  program.replace(program.find("window 64"), 9, "window 80");
  small_gpt(folder);
  std::ofstream(folder / "long.tdl") << program;
  check_fails("train " + (folder / "long.tdl").string() + " -D V=10 -D M=8 -D L=1 --data " +
                  folder.string(),
              "T0327", "elements 0 to 80 are outside a dimension of 64");
}
