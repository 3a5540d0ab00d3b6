// Training on tables and arrays, and what their mistakes say.
#include <fmt/format.h>

#include <filesystem>
#include <fstream>
#include <string>

#include "ir/tensor.h"
#include "runtime/file.h"
#include "runtime/generators.h"
#include "runtime/readers/npy.h"
#include "tests/catch.h"
#include "tests/cli/run.h"

using namespace treadle;
using treadle::test::check_fails;
using treadle::test::fresh_folder;
using treadle::test::Run;
using treadle::test::run;

namespace {

// A program with this data clause, in this folder; returns train's arguments.
std::string program(const std::filesystem::path& folder, const std::string& model,
                    const std::string& clauses) {
  std::ofstream(folder / "program.tdl") << model << "train M {\n" << clauses << "}\n";
  return "train " + (folder / "program.tdl").string() + " --data " + folder.string();
}

const std::string line_model =
    "model M(x: real[2]) {\n"
    "  param w: real[2] ~ zeros\n"
    "  return answer: x @ w\n"
    "}\n";
const std::string class_model =
    "model M(features: real[2]) { return logits: dense[3](features) }\n";
const std::string fit = "  optimizer adamw(lr: cosine(0.1))\n  epochs 60\n";

// y = 2 a - b, with a column that holds words.
std::string table(int rows) {
  std::string out = "name,a,b,y\n";
  for (int i = 0; i < rows; ++i) {
    const double a = (i * 7 % 11) / 10.0, b = (i * 5 % 13) / 10.0;
    out += fmt::format("row {},{},{},{}\n", i, a, b, 2 * a - b);
  }
  return out;
}

double last_loss(const std::string& output) {
  const std::string mark = "training loss ";
  const std::size_t at = output.rfind(mark);
  REQUIRE(at != std::string::npos);
  return std::stod(output.substr(at + mark.size()));
}

}  // namespace

TEST_CASE("columns of a csv file feed inputs by name, and targets of the loss") {
  const std::filesystem::path folder = fresh_folder("csv");
  std::ofstream(folder / "table.csv") << table(64);
  const std::string loss = "  loss squared_error(answer, y)\n";
  for (const std::string columns :
       {"x: columns(\"a\", \"b\"), y: column(\"y\")", "x: columns(2, 3), y: column(-1)",
        "x: columns(from: 2, to: -2), y: column(4)"}) {
    INFO(columns);
    const Run result = run(program(folder, line_model,
                                   "  data csv(\"table.csv\"), " + columns +
                                       "\n  validation csv(\"table.csv\")\n" + loss + fit));
    CHECK(result.status == 0);
    CHECK(last_loss(result.output) < 1e-3);
    CHECK(result.output.find("held back: loss 0.000") != std::string::npos);
  }
}

TEST_CASE("a csv file with nothing said: the last column is the label") {
  const std::filesystem::path folder = fresh_folder("csv_plain");
  std::string text;
  for (int i = 0; i < 60; ++i) text += fmt::format("{};{};{}\n", i % 3 / 2, i % 3 % 2, i % 3 + 1);
  std::ofstream(folder / "table.csv") << text;
  const Run result =
      run(program(folder, class_model,
                  "  data csv(\"table.csv\", separator: \";\"), label: column(-1) - 1\n"
                  "  loss cross_entropy(logits, label)\n  report accuracy(logits, label)\n"
                  "  validation 0.2\n" +
                      fit));
  INFO(result.output);
  CHECK(result.status == 0);
  CHECK(result.output.find("accuracy 1.0000") != std::string::npos);
  check_fails(program(folder, class_model,
                      "  data csv(\"table.csv\", separator: \";\")\n"
                      "  loss cross_entropy(logits, label)\n"),
              "T0927", "label: label 3 at index 2 is not in 0 .. 2");
}

TEST_CASE("windows of a series predict the value that follows") {
  const std::filesystem::path folder = fresh_folder("csv_series");
  std::string text = "year,value\n";
  double now = 1, before = 0;  // x[t] = 1.2 x[t-1] - x[t-2]
  for (int i = 0; i < 200; ++i) {
    text += fmt::format("{},{}\n", 1800 + i, 10 * now);
    const double next = 1.2 * now - before;
    before = now;
    now = next;
  }
  std::ofstream(folder / "series.csv") << text;
  const std::string data =
      "  data csv(\"series.csv\"), window 2, x: column(\"value\") / 10, target: column(\"value\") "
      "/ 10\n  loss squared_error(answer, target)\n";
  const Run result = run(program(folder, line_model, data + fit) + " -p f64");
  INFO(result.output);
  CHECK(result.status == 0);
  CHECK(last_loss(result.output) < 1e-3);
  std::ofstream(folder / "series.csv") << "year,value\n1800,1\n1801,2\n";
  check_fails(program(folder, line_model, data), "T0967", "2 rows are too few");
}

TEST_CASE("a table's mistakes name the line and the column") {
  const std::filesystem::path folder = fresh_folder("csv_errors");
  const std::string loss = "  loss squared_error(answer, target)\n";
  const std::string by_name = program(
      folder, line_model,
      "  data csv(\"table.csv\"), x: columns(\"a\", \"b\"), target: column(\"y\")\n" + loss);
  const auto with = [&](const std::string& text) {
    std::ofstream(folder / "table.csv") << text;
    return by_name;
  };
  check_fails(with("a,b,y\n1,2,3\n4,,6\n"), "T0920", "table.csv:3:");
  check_fails(with("a,b,y\n1,2,3\n4,many,6\n"), "T0921", "column 2 ('b') is 'many'");
  check_fails(with("a,b,y\n1,2,3\n4,5\n"), "T0922", "this line has 2 cells");
  check_fails(with("a,b,z\n1,2,3\n"), "T0923", "no column 'y'");
  check_fails(with("a,b,y\n"), "T0924", "has no rows");
  check_fails(with(""), "T0923", "has no column");
  std::filesystem::remove(folder / "table.csv");
  check_fails(by_name, "T0910", "table.csv");
  std::ofstream(folder / "table.csv") << "1,2,3\n4,5,6\n";
  check_fails(
      program(folder, line_model, "  data csv(\"table.csv\"), x: columns(from: 1, to: 3)\n" + loss),
      "T0851", "3 columns are given for 'x', which is f32[2]");
  check_fails(program(folder, line_model, "  data csv(\"table.csv\")\n" + loss), "T0833", "'x'");
  check_fails(program(folder, class_model,
                      "  data csv(\"table.csv\"), label: column(3) / 3\n"
                      "  loss cross_entropy(logits, label)\n"),
              "T0857", "not scaled");
  check_fails(program(folder, class_model,
                      "  data csv(\"table.csv\"), label: column(3)\n"
                      "  loss cross_entropy(logits, label)\n"),
              "T0927", "not in 0 .. 2");
}

TEST_CASE("npy files feed inputs by order or by name") {
  const std::filesystem::path folder = fresh_folder("npy");
  const StrokeImages data = stroke_images(200, 5);
  Tensor labels(DType::i64, {200});  // as NumPy makes them
  for (std::int64_t i = 0; i < 200; ++i) labels.set_integer(i, data.labels.get_integer(i));
  write_npy(folder / "images.npy", data.images);
  write_npy(folder / "labels.npy", labels);
  const std::string rest = "  validation 0.2\n  loss cross_entropy(logits, label)\n  epochs 1\n";
  const std::string by_name =
      "model M(image: real[16, 16]) { return logits: dense[10](image[0]) }\n";
  const std::string by_order = "model M(x: real[16, 16]) { return logits: dense[10](x[0]) }\n";
  const Run named = run(program(
      folder, by_name, "  data npy(image: \"images.npy\", label: \"labels.npy\")\n" + rest));
  const Run ordered = run(
      program(folder, by_order, "  data npy(\"images.npy\", \"labels.npy\"), label: y\n" + rest));
  INFO(named.output << ordered.output);
  CHECK(named.status == 0);
  CHECK(ordered.status == 0);
  CHECK(named.output == ordered.output);
}

TEST_CASE("arrays that do not fit are refused before anything runs") {
  const std::filesystem::path folder = fresh_folder("npy_errors");
  const std::string command = program(
      folder, class_model,
      "  data npy(features: \"x.npy\", label: \"y.npy\")\n  loss cross_entropy(logits, label)\n");
  const auto with = [&](const Tensor& x, const Tensor& y) {
    write_npy(folder / "x.npy", x);
    write_npy(folder / "y.npy", y);
    return command;
  };
  const Tensor y(DType::i32, {4});
  check_fails(with(Tensor(DType::f64, {4, 3}), y), "T0851",
              "the data gives 'features' as f64[3] an example, the program reads f32[2]");
  check_fails(with(Tensor(DType::f32, {4}), y), "T0851", "'features' as f32[]");
  check_fails(with(Tensor(DType::f32, {}), y), "T0851", "'features'");
  check_fails(with(Tensor(DType::f32, {4, 2}), Tensor(DType::f32, {4})), "T0851",
              "class indices are whole numbers");
  check_fails(with(Tensor(DType::f32, {5, 2}), y), "T0966",
              "'features' has 5 examples, 'label' has 4");
  check_fails(with(Tensor(DType::f32, {0, 2}), Tensor(DType::i32, {0})), "T0965", "no examples");
  Tensor negative = y;
  negative.set_integer(3, -1);
  check_fails(with(Tensor(DType::f32, {4, 2}), negative), "T0927",
              "label: label -1 at index 3 is not in 0 .. 2");
  const std::string bytes = read_file(folder / "x.npy");
  std::ofstream(folder / "x.npy", std::ios::binary) << bytes.substr(0, bytes.size() - 1);
  check_fails(command, "T0911", "x.npy");
  std::ofstream(folder / "x.npy") << "no array";
  check_fails(command, "T0914", "x.npy");
}

TEST_CASE("data of no examples, and a share that leaves none to train on") {
  const std::filesystem::path folder = fresh_folder("no_examples");
  const std::string model = "model M(image: real[16, 16]) { return logits: dense[10](image[0]) }\n";
  const std::string loss = "  loss cross_entropy(logits, label)\n";
  check_fails(program(folder, model, "  data digits(examples: 0)\n" + loss), "T0985", "");
  check_fails(program(folder, model, "  data digits(examples: 1)\n  validation 0.9\n" + loss),
              "T0965", "no examples");
  check_fails(program(folder, model, "  data digits(examples: 9)\n  validation 1.5\n" + loss),
              "T0403", "less than 1");
  check_fails(program(folder, model,
                      "  data digits(examples: 9)\n  validation text(\"input.txt\")\n" + loss),
              "T0838", "not an array of examples");
  std::ofstream(folder / "empty.txt") << "";
  check_fails(program(folder,
                      "model M(text: token(3)[T]) { return logits: dense[3](one_hot(text, "
                      "3)) }\n",
                      "  data text(\"empty.txt\")\n  loss cross_entropy(logits, next)\n"),
              "T0931", "empty.txt");
}
