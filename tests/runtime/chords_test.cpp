// Reading lists of pitches.
#include <fmt/format.h>

#include "runtime/readers/chords.h"
#include "tests/runtime/support.h"

using namespace treadle;
using namespace treadle::test;

namespace {

Chords read(std::string_view json) { return read_chords(json, "x.json", "train"); }

std::vector<std::int64_t> sounding(const Frames& roll, std::int64_t row) {
  std::vector<std::int64_t> out;
  for (std::int64_t key = 0; key < piano_keys; ++key)
    if (roll.rows.get(row * piano_keys + key) != 0) out.push_back(key + lowest_pitch);
  return out;
}

std::string message(std::string_view json) {
  try {
    read(json);
  } catch (const UserError& error) {
    return error.diagnostics().at(0).message;
  }
  return "";
}

}  // namespace

TEST_CASE("chords: the part asked for, empty steps and sequences included") {
  const Chords chords = read(R"({"note": {"any": ["thing", -1.5, null, {}]}, "test": [[[50]]],
    "train": [[[60, 64], [], [21, 108]], [], [[72, 72]]], "more": "words"})");
  CHECK(chords.sequences == std::vector<std::int64_t>{0, 3, 3, 4});
  CHECK(chords.steps == std::vector<std::int64_t>{0, 2, 2, 4, 6});
  const Frames all = piano_roll(chords, 0, 0, DType::f64, "x");
  CHECK(all.rows.shape() == Shape{4, 88});
  CHECK(all.offsets == std::vector<std::int64_t>{0, 3, 3, 4});
  CHECK(sounding(all, 0) == std::vector<std::int64_t>{60, 64});
  CHECK(sounding(all, 1).empty());
  CHECK(sounding(all, 2) == std::vector<std::int64_t>{21, 108});
  CHECK(sounding(all, 3) == std::vector<std::int64_t>{72});
}

TEST_CASE("chords: a roll without the first step, or without the last") {
  const Chords chords = read(R"({"train": [[[60], [61], [62]], [], [[72]], [[40], [41]]]})");
  const Frames before = piano_roll(chords, 0, 1, DType::f32, "x");
  const Frames behind = piano_roll(chords, 1, 0, DType::f32, "x");
  CHECK(before.offsets == std::vector<std::int64_t>{0, 2, 2, 2, 3});
  CHECK(behind.offsets == before.offsets);
  CHECK(sounding(before, 0) == std::vector<std::int64_t>{60});
  CHECK(sounding(before, 1) == std::vector<std::int64_t>{61});
  CHECK(sounding(before, 2) == std::vector<std::int64_t>{40});
  CHECK(sounding(behind, 0) == std::vector<std::int64_t>{61});
  CHECK(sounding(behind, 1) == std::vector<std::int64_t>{62});
  CHECK(sounding(behind, 2) == std::vector<std::int64_t>{41});
  CHECK(error_code([&] {
          piano_roll(read(R"({"train": [[[60]], []]})"), 1, 0, DType::f32, "x");
        }) == "T0965");
}

TEST_CASE("chords: what is wrong, and where") {
  const std::string whole = R"({"train": [[[60, 64], []]]})";
  const auto digit = [&](std::size_t at) { return whole[at] >= '0' && whole[at] <= '9'; };
  for (std::size_t size = 0; size < whole.size(); ++size) {
    const bool shorter_pitch = size > 0 && digit(size - 1) && digit(size);  // 6 of 60
    CHECK(error_code([&] { read(whole.substr(0, size)); }) == (shorter_pitch ? "T0862" : "T0860"));
  }
  CHECK(error_code([&] { read(whole + "x"); }) == "T0860");
  CHECK(error_code([&] { read("{\"train\": [[[60, \xff]]]}"); }) == "T0860");
  for (const char* text :
       {"[]", "7", "null", "\"train\"", R"({"train": 3})", R"({"train": [60]})",
        R"({"train": [[60]]})", R"({"train": [[[60.0]]]})", R"({"train": [[["C"]]]})",
        R"({"train": [[[[60]]]]})", R"({"train": {"a": []}})", R"({"train": [[[true]]]})",
        R"({"train": [[[60], null]]})"}) {
    INFO(text);
    CHECK(error_code([&] { read(text); }) == "T0861");
  }
  for (const char* pitch : {"20", "109", "-1", "0", "18446744073709551615", "-9223372036854775808"})
    CHECK(error_code([&] { read(fmt::format(R"({{"train": [[[{}]]]}})", pitch)); }) == "T0862");
  CHECK(error_code([&] { read(R"({"test": [[[60]]], "train ": []})"); }) == "T0863");
  CHECK(error_code([&] { read("{}"); }) == "T0863");
  CHECK(error_code([&] { read(R"({"test": {"train": [[[60]]]}})"); }) == "T0863");
  CHECK(error_code([&] { read(R"({"train": [[[60]]], "train": [[[60]]]})"); }) == "T0864");
  CHECK(error_code([&] { read(R"({"train": []})"); }) == "T0965");
  CHECK(message(R"({"train": [[[60]], [[61], [62], [63, 9]]]})").find("train[1][2]") !=
        std::string::npos);
  CHECK(message(R"({"train": [[[60]], [[61], 62]]})").find("train[1][1] is the number 62") !=
        std::string::npos);
}

TEST_CASE("chords: depth and length of what is passed over cost no stack and no memory") {
  const std::string deep(200000, '[');
  CHECK(error_code([&] { read("{\"other\": " + deep); }) == "T0860");
  CHECK(error_code([&] { read("{\"train\": " + deep); }) == "T0861");
  std::string many = "{\"train\": [[";
  for (std::int64_t i = 0; i < (std::int64_t{1} << 22) + 1; ++i) many += i == 0 ? "[]" : ",[]";
  const Chords chords = read(many + "]]}");
  CHECK(error_code([&] { piano_roll(chords, 0, 0, DType::f32, "x"); }) == "T0865");
}
