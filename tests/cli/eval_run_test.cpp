// eval and run: what a trained model says about data.
#include <fmt/format.h>

#include <filesystem>
#include <fstream>
#include <nlohmann/json.hpp>
#include <string>

#include "ir/tensor.h"
#include "runtime/file.h"
#include "runtime/generators.h"
#include "runtime/png.h"
#include "runtime/readers/npy.h"
#include "runtime/safetensors.h"
#include "tests/catch.h"
#include "tests/cli/run.h"

using namespace treadle;
using treadle::test::check_fails;
using treadle::test::example;
using treadle::test::fresh_folder;
using treadle::test::Run;
using treadle::test::run;

namespace {

std::filesystem::path trained(const std::string& name, const std::string& more) {
  const std::filesystem::path folder = fresh_folder(name);
  REQUIRE(run("train " + example("demo") + " -D H=8 --epochs 2 -o " + folder.string() + more +
              " > " + (folder / "log").string())
              .status == 0);
  return folder;
}

std::string after(const std::string& text, const std::string& mark) {
  const std::size_t at = text.rfind(mark);
  REQUIRE(at != std::string::npos);
  return text.substr(at + mark.size(), text.find('\n', at) - at - mark.size());
}

}  // namespace

TEST_CASE("eval gives the numbers of train's last epoch, in either precision") {
  for (const std::string precision : {" -p f32", " -p f64"}) {
    const std::filesystem::path folder = trained("eval", precision + " --seed 7");
    const std::string last = after(read_file(folder / "log"), "held back: ");
    const std::string command =
        "eval " + example("demo") + " -D H=8 --run " + folder.string() + precision;
    const Run text = run(command);
    CHECK(text.status == 0);
    CHECK(text.output == "Reader: " + last + "  (300 examples)\n");
    const Run json = run(command + " --json");
    const auto parsed = nlohmann::json::parse(json.output);
    CHECK(parsed.at("examples") == 300);
    CHECK(parsed.at("model") == "Reader");
    CHECK(last.starts_with(fmt::format("loss {:.4f}", parsed.at("loss").get<double>())));
    CHECK(parsed.at("reports").at("accuracy").get<double>() <= 1);
    CHECK(run(command + " --threads 3").output == text.output);
  }
}

TEST_CASE("eval blocks say on what data; the rest is as in training") {
  const std::filesystem::path folder = trained("eval_blocks", "");
  std::string program = read_file(example("demo"));
  program +=
      "eval Reader { data digits(examples: 60) }\n"
      "eval Reader \"wrongly read\" {\n"
      "  data digits(examples: 40)\n"
      "  report wrong = 1 - accuracy(logits, label)\n"
      "}\n";
  std::ofstream(folder / "eval.tdl") << program;
  const Run result =
      run("eval " + (folder / "eval.tdl").string() + " -D H=8 --run " + folder.string());
  CHECK(result.status == 0);
  CHECK(result.output.find("Reader: loss ") == 0);
  CHECK(result.output.find("  (60 examples)\nReader, wrongly read: loss ") != std::string::npos);
  CHECK(result.output.find("wrong 0.") != std::string::npos);
}

TEST_CASE("an eval block on generated data draws rows that training did not see") {
  const std::filesystem::path folder = fresh_folder("eval_draws");
  const auto numbers = [&](const std::string& seed) {
    // The loss is that of the rows alone, so other rows give another loss.
    std::ofstream(folder / "draw.tdl") << "model M(numbers: real[T, 2]) {\n"
                                          "  param w: real ~ zeros\n"
                                          "  return first: numbers[0, 0] + w\n"
                                          "}\n"
                                          "train M {\n"
                                          "  data adding(examples: 40)\n"
                                          "  validation adding(examples: 40)\n"
                                          "  loss square(first)\n"
                                          "  optimizer sgd(lr: 0.000000001)\n"
                                          "  batch 40\n"
                                          "}\n"
                                          "eval M { data adding(examples: 40) }\n";
    const std::string file = (folder / "draw.tdl").string(), to = (folder / "run").string();
    const Run train = run("train " + file + " -o " + to + seed);
    const Run eval = run("eval " + file + " --run " + to);
    const auto loss = [](const Run& result, const std::string& behind) {
      return after(result.output, behind).substr(0, 6);
    };
    return std::vector<std::string>{loss(train, "training loss "), loss(train, "held back: loss "),
                                    loss(eval, "M: loss ")};
  };
  const std::vector<std::string> zero = numbers(""), one = numbers(" --seed 1");
  CHECK(zero[1] == one[0]);  // what is held back is the draw behind training's
  CHECK(zero[2] == one[2]);  // the block's own rows, whatever the run's seed
  for (const std::string& other : {zero[0], zero[1], one[1]}) CHECK(zero[2] != other);
}

TEST_CASE("eval without held-back data, or of another run, is refused") {
  const std::filesystem::path folder = trained("eval_errors", "");
  std::string program = read_file(example("demo"));
  program.erase(program.find("  validation"),
                program.find("  loss") - program.find("  validation"));
  std::ofstream(folder / "none.tdl") << program;
  const std::string run_folder = " --run " + folder.string();
  check_fails("eval " + (folder / "none.tdl").string() + " -D H=8" + run_folder, "T0850",
              "holds no data back");
  check_fails("eval " + example("demo") + run_folder, "T0973", "lstm.W");
  check_fails("eval " + example("demo") + " -D H=8 -p f64" + run_folder, "T0978", "-p f32");
  check_fails(
      "train " + example("demo") + " -D H=8 --epochs 2 -p f64 --resume -o " + folder.string(),
      "T0978", "holds f32 parameters, the program computes in f64");
  check_fails("eval " + example("demo") + " --run /nowhere", "T0910", "/nowhere");
}

TEST_CASE("a text is evaluated with the vocabulary of its run") {
  const std::filesystem::path folder = fresh_folder("eval_text");
  std::string text;
  for (int i = 0; i < 200; ++i) text += "over and under\n";
  std::ofstream(folder / "input.txt") << text;
  std::string program = read_file(example("char_lm"));
  program += "eval CharLM { data text(\"other.txt\"), window 8, lanes 2 }\n";
  std::ofstream(folder / "lm.tdl") << program;
  const std::string options = " -D H=8 -D E=4 --data " + folder.string();
  REQUIRE(run("train " + (folder / "lm.tdl").string() + options + " --epochs 1 -o " +
              (folder / "run").string() + " > /dev/null 2>&1")
              .status == 1);  // too short for 32 lanes of 128
  program.replace(program.find("window 128, lanes 32"), 20, "window 16, lanes 4");
  std::ofstream(folder / "lm.tdl") << program;
  REQUIRE(run("train " + (folder / "lm.tdl").string() + options + " --epochs 2 -o " +
              (folder / "run").string() + " > /dev/null")
              .status == 0);
  std::ofstream(folder / "other.txt") << text.substr(0, 300);
  const std::string command =
      "eval " + (folder / "lm.tdl").string() + options + " --run " + (folder / "run").string();
  CHECK(run(command).status == 0);
  std::ofstream(folder / "other.txt") << text << "zebra";
  check_fails(command, "T0932", "z");
}

TEST_CASE("run takes one example or a batch, from files or standard input") {
  const std::filesystem::path folder = trained("run", "");
  const StrokeImages data = stroke_images(5, 3);
  write_npy(folder / "batch.npy", data.images);
  Tensor first(DType::f64, {16, 16});  // as NumPy makes it
  for (std::int64_t i = 0; i < first.size(); ++i) first.set(i, data.images.get(i));
  write_npy(folder / "one.npy", first);
  const std::string command =
      "run " + example("demo") + " -D H=8 --run " + folder.string() + " --input image=";
  const std::string out = (folder / "out.npy").string();
  REQUIRE(run(command + (folder / "batch.npy").string() + " -o " + out).status == 0);
  const Tensor batch = read_npy(out);
  CHECK(batch.shape() == Shape{5, 10});
  REQUIRE(run(command + "- -o " + out + " < " + (folder / "one.npy").string()).status == 0);
  const Tensor one = read_npy(out);
  REQUIRE(one.shape() == Shape{10});
  for (std::int64_t i = 0; i < 10; ++i) CHECK(one.get(i) == Approx(batch.get(i)).epsilon(1e-5));
  const std::string tensors = (folder / "out.safetensors").string();
  REQUIRE(run(command + (folder / "one.npy").string() + " -o " + tensors).status == 0);
  const NamedTensors read = read_safetensors(tensors);
  REQUIRE(read.find("logits") != nullptr);
  CHECK(same_bits(*read.find("logits"), one));
  const Run text = run(command + (folder / "one.npy").string());
  CHECK(text.output.find("logits: f32[10]\n") == 0);
  const Run reference = run(command + (folder / "one.npy").string() + " --backend reference");
  CHECK(reference.output.find("logits: f32[10]\n") == 0);
}

TEST_CASE("run without a training run draws parameters from the seed") {
  const std::filesystem::path folder = fresh_folder("run_fresh");
  write_npy(folder / "image.npy", stroke_images(1, 3).images.reshaped({16, 16}));
  const std::string command =
      "run " + example("demo") + " --input image=" + (folder / "image.npy").string();
  const Run result = run(command + " --seed 1");
  CHECK(result.status == 0);
  CHECK(run(command + " --seed 1").output == result.output);
  CHECK(run(command + " --seed 2").output != result.output);
  CHECK(run(command + " -p f64").output.find("logits: f64[10]\n") == 0);
}

TEST_CASE("run names the input that does not fit, with its type, and writes nothing") {
  const std::filesystem::path folder = fresh_folder("run_errors");
  const auto file = [&](const std::string& name, const Tensor& tensor) {
    write_npy(folder / name, tensor);
    return (folder / name).string();
  };
  const std::string image = file("image.npy", Tensor(DType::f32, {16, 16}));
  const std::string demo = "run " + example("demo") + " --input ";
  const std::string out = " -o " + (folder / "out.npy").string();
  check_fails(demo + "image=" + file("wide.npy", Tensor(DType::f32, {16, 17})) + out, "T0950",
              "input 'image' is f32[16, 16]: the tensor is [16, 17]");
  check_fails(demo + "image=" + file("flat.npy", Tensor(DType::f32, {256})) + out, "T0855",
              "the input 'image' is f32[16, 16], its file has the shape [256]");
  check_fails(demo + "image=" + file("whole.npy", Tensor(DType::i32, {16, 16})) + out, "T0855",
              "the input 'image' is f32[16, 16], its file holds i32");
  check_fails("run " + example("demo") + out, "T0854", "image: f32[16, 16]");
  check_fails(demo + "picture=" + image + out, "T0853", "its inputs are image: f32[16, 16]");
  check_fails(demo + "image" + out, "T0852", "'image' does not give an input");
  check_fails(demo + "image=" + image + " --input image=" + image + out, "T0852", "given twice");
  check_fails(demo + "image=" + image + " -o " + (folder / "out.txt").string(), "T0856",
              "none of .npy, .png and .safetensors");
  check_fails(demo + "image=" + image + " -o " + (folder / "out.png").string(), "T0895",
              "shape [10] is no image");
  check_fails(demo + "image=" + image + " --result logit" + out, "T0856", "its results are logits");
  check_fails(demo + "image=" + image + " --model Writer" + out, "T0206", "Writer");
  const std::string lm = "run " + example("char_lm") + " -D H=3 -D E=2 --input text=";
  Tensor tokens(DType::i64, {4});
  tokens.set_integer(2, 65);
  check_fails(lm + file("text.npy", tokens) + " --result logits" + out, "T0927",
              "label 65 at index 2 is not in 0 .. 64");
  check_fails(lm + file("fine.npy", Tensor(DType::i64, {4})) + out, "T0856",
              "choose with --result: logits, state.0, state.1");
  const std::string bytes = read_file(image);
  std::ofstream(folder / "cut.npy", std::ios::binary) << bytes.substr(0, bytes.size() - 7);
  check_fails(demo + "image=" + (folder / "cut.npy").string() + out, "T0911", "cut.npy");
  for (const std::string name : {"out.npy", "out.txt", "out.png"})
    CHECK_FALSE(std::filesystem::exists(folder / name));
}

TEST_CASE("run draws arrays of images as a sheet") {
  const std::filesystem::path folder = fresh_folder("run_png");
  std::ofstream(folder / "halves.tdl")
      << "model Halves(x: real[8, 8, 1]) { return y: reshape(mean_pool2d(x), 4, 4) }\n";
  write_npy(folder / "x.npy", Tensor(DType::f32, {5, 8, 8, 1}));
  const std::string out = (folder / "sheet.png").string();
  REQUIRE(run("run " + (folder / "halves.tdl").string() +
              " --input x=" + (folder / "x.npy").string() + " -o " + out)
              .status == 0);
  // Five images of 4 x 4, drawn 16 times as large in rows of three.
  const Pixels expected = image_sheet(Tensor(DType::f32, {5, 4, 4}));
  CHECK(expected.width == 3 * (4 * 16 + 1) - 1);
  CHECK(read_file(out) == png_bytes(expected));
}
