#include "runtime/checkpoint.h"

#include <cmath>
#include <limits>

#include "runtime/file.h"
#include "runtime/safetensors.h"
#include "tests/runtime/support.h"

using namespace treadle;
using namespace treadle::test;

namespace {

Checkpoint sample() {
  Checkpoint c;
  c.parameters["cell.layer[2].W"] = tensor_of(DType::f32, {2, 2}, {1, 2, 3, 4});
  c.parameters["b"] = tensor_of(DType::f32, {2}, {0, -1});
  c.optimizer["moment1/b"] = tensor_of(DType::f32, {2}, {0.5, 0.25});
  c.carried["s.h"] = tensor_of(DType::f32, {1, 2}, {7, 8});
  c.step = 12;
  c.epoch = 1;
  c.position = 640;
  c.seeds["shuffle"] = ~std::uint64_t{0};
  c.numbers["best"] = 0.1;
  c.numbers["worst"] = std::numeric_limits<double>::infinity();
  c.numbers["nothing"] = std::numeric_limits<double>::quiet_NaN();
  c.texts["vocabulary"] = "{\"unit\": \"character\"}\n\xC3\xA9";
  c.signature = text_signature("graph");
  c.placement = "matmul:onednn";
  return c;
}

void check_equal(const std::map<std::string, Tensor>& a, const std::map<std::string, Tensor>& b) {
  REQUIRE(a.size() == b.size());
  for (const auto& [name, tensor] : a) CHECK(same_bits(tensor, b.at(name)));
}

}  // namespace

TEST_CASE("checkpoint: saved and loaded again, every field") {
  const TemporaryFolder folder;
  const Checkpoint a = sample();
  save_checkpoint(folder.path() / "a", a);
  const Checkpoint b = load_checkpoint(folder.path() / "a");
  check_equal(a.parameters, b.parameters);
  check_equal(a.optimizer, b.optimizer);
  check_equal(a.carried, b.carried);
  CHECK(b.step == 12);
  CHECK(b.epoch == 1);
  CHECK(b.position == 640);
  CHECK(b.seeds == a.seeds);
  CHECK(b.texts == a.texts);
  CHECK(b.signature == a.signature);
  CHECK(b.placement == a.placement);
  CHECK(b.numbers.at("best") == 0.1);
  CHECK(std::isinf(b.numbers.at("worst")));
  CHECK(std::isnan(b.numbers.at("nothing")));
  check_equal(load_parameters(folder.path() / "a"), a.parameters);
  save_checkpoint(folder.path() / "b", b);
  CHECK(read_file(folder.path() / "a") == read_file(folder.path() / "b"));
}

TEST_CASE("checkpoint: any truncation and any flipped bit is noticed") {
  const TemporaryFolder folder;
  save_checkpoint(folder.path() / "a", sample());
  const std::string bytes = read_file(folder.path() / "a");
  const auto code = [&](const std::string& content) {
    const auto path = folder.file("b", content);
    return error_code([&] { load_checkpoint(path); });
  };
  for (std::size_t size = 0; size < bytes.size(); size += 3)
    CHECK(code(bytes.substr(0, size)).starts_with("T09"));
  std::size_t unnoticed = 0;
  for (std::size_t i = 0; i < bytes.size(); ++i) {
    std::string damaged = bytes;
    damaged[i] = static_cast<char>(damaged[i] ^ 4);
    unnoticed += code(damaged) == "none" ? 1 : 0;
  }
  // What may change in silence are the shapes of tensors of equal size and the
  // names of nothing: none in this file.
  CHECK(unnoticed == 0);
}

TEST_CASE("checkpoint: files that are none") {
  const TemporaryFolder folder;
  NamedTensors content;
  write_safetensors(folder.path() / "weights", content);
  CHECK(error_code([&] { load_checkpoint(folder.path() / "weights"); }) == "T0970");
  content.metadata["treadle.checkpoint"] = "2";
  write_safetensors(folder.path() / "later", content);
  CHECK(error_code([&] { load_checkpoint(folder.path() / "later"); }) == "T0970");
  CHECK(error_code([&] { load_checkpoint(folder.path() / "absent"); }) == "T0910");
}

TEST_CASE("checkpoint: one of another model says which parameter differs") {
  const std::map<std::string, Tensor> found = sample().parameters;
  const ExpectedTensor w{DType::f32, {2, 2}};
  const ExpectedTensor b{DType::f32, {2}};
  check_compatible(found, {{"cell.layer[2].W", w}, {"b", b}}, "x");
  const auto codes = [&](const std::map<std::string, ExpectedTensor>& expected) {
    std::string out;
    try {
      check_compatible(found, expected, "x");
    } catch (const UserError& error) {
      for (const Diagnostic& d : error.diagnostics()) out += d.code + " ";
    }
    return out;
  };
  CHECK(codes({{"cell.layer[2].W", w}, {"b", b}, {"c", b}}) == "T0971 ");
  CHECK(codes({{"b", b}}) == "T0972 ");
  CHECK(codes({{"cell.layer[2].W", {DType::f32, {4, 1}}}, {"b", {DType::f64, {2}}}}) ==
        "T0973 T0973 ");
  CHECK(error_text([&] {
          check_compatible(found, {{"cell.layer[2].W", {DType::f32, {2, 4}}}, {"b", b}}, "x");
        }).find("parameter 'cell.layer[2].W' is f32[2, 2] in x, the model has f32[2, 4]") !=
        std::string::npos);
}
