// Training on examples of different lengths, and what its mistakes say.
#include <filesystem>
#include <fstream>
#include <string>

#include "tests/catch.h"
#include "tests/cli/run.h"

using treadle::test::check_fails;
using treadle::test::fresh_folder;
using treadle::test::Run;
using treadle::test::run;

namespace {

// Names that end in a vowel, and others; "names" holds a file of each.
std::filesystem::path folder_of_names(const std::string& folder_name) {
  const std::filesystem::path folder = fresh_folder(folder_name);
  std::filesystem::create_directories(folder / "names");
  std::ofstream vowels(folder / "names" / "a.txt"), others(folder / "names" / "b.txt");
  const std::string starts[] = {"b", "de", "ga", "kon", "mu", "ri", "tor", "wel", "zimbe", "lo"};
  for (const std::string& start : starts) {
    vowels << start << "na\n" << start << "\xc3\xa9lo\r\n";
    others << start << "nat\n\n" << start << "r\n";
  }
  std::ofstream(folder / "names" / "LICENSE") << "not a class";
  return folder;
}

std::string program(const std::filesystem::path& folder, const std::string& text) {
  std::ofstream(folder / "program.tdl") << text;
  return (folder / "program.tdl").string() + " --data " + folder.string();
}

const std::string classifier =
    "model M(text: token(24)[T]) {\n"
    "  _, (h, _) = scan LSTM[8, 16] over embedding[8](text)\n"
    "  return logits: dense[2](h)\n"
    "}\n"
    "train M {\n"
    "  data lines(\"names\")\n"
    "  validation 0.2\n"
    "  loss cross_entropy(logits, label)\n"
    "  optimizer adamw(lr: 0.02)\n"
    "  batch 7\n"
    "  epochs 30\n"
    "  report accuracy(logits, label)\n"
    "}\n";

}  // namespace

TEST_CASE("a folder of names is a class a file; the same bits for any number of threads") {
  const std::filesystem::path folder = folder_of_names("names");
  const std::string arguments = program(folder, classifier);
  const Run one = run("train " + arguments + " --threads 1 -o " + (folder / "run").string());
  INFO(one.output);
  CHECK(one.status == 0);
  CHECK(one.output.find("accuracy 1.0000", one.output.find("epoch 30/30")) != std::string::npos);
  CHECK(run("train " + arguments + " --threads 2").output == one.output);
  CHECK(run("train " + arguments + " --threads 3").output == one.output);
  const Run again = run("eval " + arguments + " --run " + (folder / "run").string());
  CHECK(again.output.find("accuracy 1.0000") != std::string::npos);
}

TEST_CASE("compiled and reference training on names print the same losses") {
  const std::filesystem::path folder = folder_of_names("names-reference");
  const std::string arguments = program(folder, classifier) + " -p f64 --epochs 1";
  const Run compiled = run("train " + arguments);
  CHECK(compiled.status == 0);
  CHECK(run("train " + arguments + " --backend reference").output == compiled.output);
}

TEST_CASE("a line's next characters, its end included") {
  const std::filesystem::path folder = fresh_folder("next");
  std::ofstream(folder / "words.txt") << "ab\nabab\nababab\nabababab\n";
  const Run result = run("train " + program(folder,
                                            "model M(text: token(3)[T]) {\n"
                                            "  hs, _ = scan GRU[4, 12] over embedding[4](text)\n"
                                            "  return logits: dense[3](hs)\n"
                                            "}\n"
                                            "train M {\n"
                                            "  data lines(\"words.txt\")\n"
                                            "  loss cross_entropy(logits, next)\n"
                                            "  optimizer adamw(lr: 0.03)\n"
                                            "  batch 3\n"
                                            "  epochs 60\n"
                                            "}\n"));
  INFO(result.output);
  CHECK(result.status == 0);
  // An "a" follows for certain; a "b" is followed by "a" or by the end.
  const std::size_t at = result.output.rfind("training loss ");
  REQUIRE(at != std::string::npos);
  CHECK(std::stod(result.output.substr(at + 14)) < 0.4);
}

TEST_CASE("frames: examples between rows of ones or blank lines, classes by their counts") {
  const std::filesystem::path folder = fresh_folder("frames");
  std::ofstream file(folder / "all.frames");
  for (int i = 0; i < 12; ++i) {
    for (int t = 0; t <= i % 5; ++t) file << (i < 6 ? 0.5 : -0.5) << " " << 0.1 * t << " \n";
    file << (i % 2 == 0 ? "1.0 1.0\n" : "\n");
  }
  file.close();
  const std::string model =
      "model M(frames: real[T, 2]) {\n"
      "  _, h = scan reverse RNN[2, 4] over frames\n"
      "  return logits: dense[2](h)\n"
      "}\n"
      "train M {\n"
      "  data frames(\"all.frames\"), counts \"COUNTS\"\n"
      "  loss cross_entropy(logits, label)\n"
      "  optimizer adamw(lr: 0.05)\n"
      "  batch 5\n"
      "  epochs 30\n"
      "  report accuracy(logits, label)\n"
      "}\n";
  const auto with = [&](const std::string& counts) {
    std::string text = model;
    return program(folder, text.replace(text.find("COUNTS"), 6, counts));
  };
  const Run result = run("train " + with("6 6"));
  INFO(result.output);
  CHECK(result.status == 0);
  const std::size_t at = result.output.rfind("training loss ");
  REQUIRE(at != std::string::npos);
  CHECK(std::stod(result.output.substr(at + 14)) < 0.1);
  check_fails("train " + with("6 7"), "T0859", "the counts make");
  check_fails("train " + with("6 six"), "T0859", "the counts make");
  std::ofstream(folder / "all.frames") << "1 2\n3 4 5\n";
  check_fails("train " + with("1"), "T0922", "2 are expected");
  std::ofstream(folder / "all.frames") << "1 2\n3 x\n";
  check_fails("train " + with("1"), "T0921", "'x' is not a number");
  std::ofstream(folder / "all.frames") << "\n";
  check_fails("train " + with("1"), "T0965", "no rows");
}

TEST_CASE("columns that differ in number are refused") {
  const std::filesystem::path folder = fresh_folder("columns");
  std::ofstream(folder / "all.frames") << "1 2\n3 4\n5 6\n\n1 2\n";
  check_fails("train " + program(folder,
                                 "model M(frames: real[T, T]) {\n"
                                 "  return loss: sum(frames)\n"
                                 "}\n"
                                 "train M {\n"
                                 "  data frames(\"all.frames\")\n"
                                 "  loss loss\n"
                                 "  epochs 1\n"
                                 "}\n"),
              "T0520", "'frames' is f32[T, T]");
}

TEST_CASE("lines that do not fit the model") {
  const std::filesystem::path folder = folder_of_names("misfit");
  std::string text = classifier;
  text.replace(text.find("token(24)"), 9, "token(3)");
  check_fails("train " + program(folder, text), "T0839", "different characters");
  text = classifier;
  text.replace(text.find("text: token(24)[T]"), 18, "text: token(24)[9]");
  check_fails("train " + program(folder, text), "T0851", "the program reads i32[9]");
  std::filesystem::remove_all(folder / "names");
  std::filesystem::create_directories(folder / "names");
  check_fails("train " + program(folder, classifier), "T0931", "no file NAME.txt");
}

TEST_CASE("chords: next is the step that follows; per step, batches count by their steps") {
  const std::filesystem::path folder = fresh_folder("chords");
  std::ofstream(folder / "c.json") << R"({"train": [[[60], [60, 64], []]],
    "valid": [[[60], [60, 64], [61, 62]], [[70, 74, 77], [50]], [[21]], []]})";
  const auto with = [&](const std::string& loss, const std::string& part, int batch) {
    return "train " +
           program(folder,
                   "model M(notes: real[T, 88]) {\n"
                   "  param w: real[88] ~ ones\n"
                   "  return count: notes @ w\n"
                   "}\n"
                   "train M {\n"
                   "  data chords(\"c.json\", \"train\")\n"
                   "  validation chords(\"c.json\", \"" +
                       part + "\")\n  loss " + loss + "\n  optimizer sgd(lr: 0.000000001)\n}\n") +
           " --batch " + std::to_string(batch);
  };
  // Differences in number of 1, 0 and 2 over lengths 2, 1, 0 and 0.
  const std::string loss = "mean(square(count - sum(next, axis: -1)))";
  for (const int batch : {1, 2, 4}) {
    INFO(batch);
    const Run steps = run(with("per step " + loss, "valid", batch));
    CHECK(steps.output.find("training loss 2.5000  held back: loss 1.6667") != std::string::npos);
    CHECK(run(with("per token " + loss, "valid", batch)).output == steps.output);
    const Run examples = run(with(loss, "valid", batch));
    CHECK(examples.output.find("held back: loss 1.1250") != std::string::npos);
  }
  check_fails(with("per note " + loss, "valid", 1), "T0401", "token, step");
  check_fails(with(loss, "test", 1), "T0863", "its parts are train, valid");
  std::ofstream(folder / "c.json") << R"({"train": [[[60], [20]]]})";
  check_fails(with(loss, "valid", 1), "T0862", "train[0][1]");
}
