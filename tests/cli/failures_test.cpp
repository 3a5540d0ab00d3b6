// What cannot be written or read: exit status 1, a code, nothing half-written.
#include <fmt/format.h>

#include <algorithm>
#include <filesystem>
#include <fstream>
#include <string>
#include <vector>

#include "ir/tensor.h"
#include "runtime/file.h"
#include "runtime/readers/npy.h"
#include "runtime/safetensors.h"
#include "tests/catch.h"
#include "tests/cli/run.h"

using namespace treadle;
using treadle::test::check_fails;
using treadle::test::fresh_folder;
using treadle::test::Run;
using treadle::test::run;
using treadle::test::shell;

namespace {

const std::string demo = std::string(TREADLE_SOURCE_DIR) + "/examples/demo.tdl -D H=8";
const std::string train = "train " + demo + " --epochs 2 -o ";

// As `run`, with files of at most so many blocks of 512 or 1024 bytes: writing
// more fails as on a full disk.
Run run_with_little_disk(const std::string& arguments, int blocks) {
  return shell(fmt::format("trap '' XFSZ; ulimit -f {}; exec {} {} 2>&1", blocks,
                           TREADLE_EXECUTABLE, arguments));
}

std::vector<std::string> files_in(const std::filesystem::path& folder) {
  std::vector<std::string> out;
  for (const auto& entry : std::filesystem::directory_iterator(folder))
    out.push_back(entry.path().filename().string());
  std::sort(out.begin(), out.end());
  return out;
}

}  // namespace

TEST_CASE("a full disk leaves the checkpoint that was there") {
  const std::filesystem::path folder = fresh_folder("full_disk");
  const Run none = run_with_little_disk(train + folder.string(), 4);
  INFO(none.output);
  CHECK(none.status == 1);
  CHECK(none.output.find("error[T0961]") != std::string::npos);
  CHECK_FALSE(std::filesystem::exists(folder / "checkpoint.safetensors"));
  REQUIRE(run(train + folder.string() + " > /dev/null").status == 0);
  const std::string before = read_file(folder / "checkpoint.safetensors");
  const std::vector<std::string> files = files_in(folder);
  const Run again = run_with_little_disk(train + folder.string(), 4);
  CHECK(again.status == 1);
  CHECK(again.output.find("error[T0961]") != std::string::npos);
  CHECK(read_file(folder / "checkpoint.safetensors") == before);
  CHECK(files_in(folder) == files);
}

TEST_CASE("dims that no memory holds") {
  const std::filesystem::path folder = fresh_folder("no_memory");
  const std::string file = std::string(TREADLE_SOURCE_DIR) + "/examples/demo.tdl";
  const std::string image = (fresh_folder("image") / "x.npy").string();
  write_npy(image, Tensor(DType::f32, {16, 16}));
  for (const std::string& command :
       {"gradcheck " + file + " -D H=100000000",
        "train " + file + " -D H=100000000 -o " + (folder / "run").string(),
        "run " + file + " -D H=100000000 --input image=" + image}) {
    INFO(command);
    const Run result = run(command + " 2>&1");
    INFO(result.output);
    CHECK(result.status == 1);
    CHECK(result.output.starts_with("error[T0986]: "));
    CHECK(result.output.find(" MiB") != std::string::npos);
  }
  CHECK(files_in(folder).empty());
}

TEST_CASE("results that cannot be written") {
  const std::filesystem::path folder = fresh_folder("unwritable");
  write_npy(folder / "image.npy", Tensor(DType::f32, {300, 16, 16}));
  const std::string command =
      "run " + demo + " --input image=" + (folder / "image.npy").string() + " -o ";
  const Run full = run_with_little_disk(command + (folder / "out.npy").string(), 4);
  CHECK(full.status == 1);
  CHECK(full.output.find("error[T0961]") != std::string::npos);
  CHECK(files_in(folder) == std::vector<std::string>{"image.npy"});
  check_fails(command + (folder / "image.npy" / "out.npy").string(), "T0960", "cannot write");
  check_fails(command + (folder / "missing" / "out.npy").string(), "T0960", "does not exist");
  for (const std::string& arguments :
       {"check " + demo, "run " + demo + " --input image=" + (folder / "image.npy").string(),
        "train " + demo + " --epochs 1"}) {
    const Run printed = run(arguments + " 2>&1 > /dev/full");
    INFO(arguments << printed.output);
    CHECK(printed.status == 1);
    CHECK(printed.output.find("error[T0858]") != std::string::npos);
  }
}

TEST_CASE("a run's folder that cannot be made or written") {
  const std::filesystem::path folder = fresh_folder("no_folder");
  std::ofstream(folder / "file") << "not a folder";
  check_fails(train + (folder / "file" / "run").string(), "T0960", "cannot write");
  check_fails(train + (folder / "file").string(), "T0960", "cannot write");
  const Run system = run(train + "/proc/treadle 2>&1");
  INFO(system.output);
  CHECK(system.status == 1);
  CHECK(system.output.find("error[T096") != std::string::npos);
  CHECK(read_file(folder / "file") == "not a folder");
}

TEST_CASE("damaged checkpoints are told apart, and stay as they are") {
  const std::filesystem::path folder = fresh_folder("damaged");
  const std::filesystem::path file = folder / "checkpoint.safetensors";
  REQUIRE(run(train + folder.string() + " > /dev/null").status == 0);
  const std::string good = read_file(file);
  const auto check = [&](const std::string& bytes, const std::string& code) {
    std::ofstream(file, std::ios::binary) << bytes;
    for (const std::string& command :
         {"eval " + demo + " --run " + folder.string(), train + folder.string() + " --resume"})
      check_fails(command, code, file.string());
    CHECK(read_file(file) == bytes);
  };
  check(good.substr(0, good.size() - 100), "T0953");
  check(good.substr(0, 4), "T0911");
  std::string lying = good;
  lying[6] = '\x7f';  // a header of 2^54 bytes
  check(lying, "T0956");
  std::string flipped = good;
  flipped.back() = static_cast<char>(flipped.back() ^ 1);
  check(flipped, "T0975");
  std::string offsets = good;
  const std::size_t at = offsets.find("\"data_offsets\":[0,");
  REQUIRE(at != std::string::npos);
  offsets[at + 18] = '9';  // the first tensor's end
  check(offsets, "T0953");
  std::string another = good;
  const std::size_t name = another.find("lstm.W");
  REQUIRE(name != std::string::npos);
  another.replace(name, 6, "lstm.w");
  check(another, "T0975");
}

TEST_CASE("weights of another shape, or that are no checkpoint") {
  const std::filesystem::path folder = fresh_folder("weights");
  NamedTensors weights;
  weights.tensors.emplace_back("lstm.W", Tensor(DType::f32, {16, 32}));
  write_safetensors(folder / "checkpoint.safetensors", weights);
  check_fails("eval " + demo + " --run " + folder.string(), "T0970", "not a checkpoint");
  REQUIRE(run(train + folder.string() + " > /dev/null").status == 0);
  check_fails("eval " + demo.substr(0, demo.find(" -D")) + " -D H=9 --run " + folder.string(),
              "T0973", "'lstm.U' is f32[8, 32] in");
}

TEST_CASE("data files that are cut off, or not there") {
  const std::filesystem::path folder = fresh_folder("cut_data");
  const std::string mnist = "train " + std::string(TREADLE_SOURCE_DIR) +
                            "/examples/mnist_rows.tdl --data " + folder.string() + " -o " +
                            (folder / "run").string();
  check_fails(mnist, "T0910", "train-images-idx3-ubyte.gz");
  std::string images{"\0\0\x08\x03\0\0\0\x02\0\0\0\x1c\0\0\0\x1c", 16};
  std::ofstream(folder / "train-images-idx3-ubyte.gz", std::ios::binary)
      << images << std::string(1000, '\1');  // two images have 1568 bytes
  check_fails(mnist, "T0911", "train-images-idx3-ubyte.gz");
  std::ofstream(folder / "train-images-idx3-ubyte.gz", std::ios::binary)
      << images << std::string(1568, '\1');
  std::ofstream(folder / "train-labels-idx1-ubyte.gz", std::ios::binary)
      << std::string{"\0\0\x08\x01\0\0\0\x02\x03\x0a", 10};
  check_fails(mnist, "T0927", "label: label 10 at index 1 is not in 0 .. 9");
  CHECK_FALSE(std::filesystem::exists(folder / "run"));
}
