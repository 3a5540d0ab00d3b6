#include "runtime/readers/chords.h"

#include <fmt/format.h>

#include <algorithm>
#include <nlohmann/json.hpp>

#include "ir/diagnostic.h"

namespace treadle {
namespace {

constexpr std::int64_t most_steps = std::int64_t{1} << 22;
constexpr std::size_t most_names = 8;  // that a hint lists

// Follows the parser event by event: no tree of the text is ever built, and
// depth costs nothing.
class PartReader : public nlohmann::json_sax<nlohmann::json> {
 public:
  PartReader(const std::string& name, const std::string& part) : name_(name), part_(part) {
    out_.steps.push_back(0);
    out_.sequences.push_back(0);
  }

  Chords result() {
    if (!found_)
      throw_user_error("T0863", fmt::format("{} has no part '{}'", name_, part_),
                       names_.empty() ? "it is empty"
                                      : fmt::format("its parts are {}", fmt::join(names_, ", ")));
    if (out_.sequences.size() == 1)
      throw_user_error("T0965", fmt::format("{}: '{}' holds no sequences", name_, part_));
    return std::move(out_);
  }

  bool null() override { return other("null"); }
  bool boolean(bool) override { return other("a truth value"); }
  bool number_float(double, const std::string& text) override {
    return other("the number " + text);
  }
  bool string(std::string&) override { return other("a text"); }
  bool binary(nlohmann::json::binary_t&) override { return other("bytes"); }
  bool number_integer(std::int64_t value) override { return number(value, std::to_string(value)); }
  bool number_unsigned(std::uint64_t value) override {
    const auto most = static_cast<std::uint64_t>(highest_pitch + 1);
    return number(static_cast<std::int64_t>(std::min(value, most)), std::to_string(value));
  }

  bool start_object(std::size_t) override {
    if (depth_ > 0) other("an object");
    ++depth_;
    return true;
  }
  bool end_object() override {
    --depth_;
    return true;
  }
  bool key(std::string& text) override {
    if (depth_ != 1) return true;
    if (names_.size() < most_names) names_.push_back(text);
    inside_ = text == part_;
    if (inside_ && found_)
      throw_user_error("T0864", fmt::format("{} has two parts '{}'", name_, part_));
    found_ = found_ || inside_;
    return true;
  }
  bool start_array(std::size_t) override {
    if (depth_ == 0 || depth_ > step_depth) other("a list");
    ++depth_;
    return true;
  }
  bool end_array() override {
    if (inside_ && depth_ == step_depth + 1)
      out_.steps.push_back(static_cast<std::int64_t>(out_.pitches.size()));
    if (inside_ && depth_ == step_depth) out_.sequences.push_back(steps());
    --depth_;
    return true;
  }
  bool parse_error(std::size_t position, const std::string&,
                   const nlohmann::json::exception&) override {
    throw_user_error("T0860", fmt::format("{} is not JSON: byte {} does not fit", name_, position));
  }

 private:
  // Open brackets around a step: the object, the part, the sequence.
  static constexpr std::int64_t step_depth = 3;

  std::int64_t steps() const { return static_cast<std::int64_t>(out_.steps.size()) - 1; }

  std::string place() const {
    std::string out = part_;
    if (depth_ >= 2) out += fmt::format("[{}]", out_.sequences.size() - 1);
    if (depth_ >= 3) out += fmt::format("[{}]", steps() - out_.sequences.back());
    return out;
  }

  // A value that is no list of the right depth; in other parts all may stand.
  bool other(const std::string& found) const {
    if (depth_ == 0)
      throw_user_error("T0861", fmt::format("{} is {}, not an object of parts", name_, found),
                       R"({"train": [[[60, 64], []]], "test": [[[62]]]})");
    if (!inside_) return true;
    const char* expected = depth_ == 1   ? "a list of sequences"
                           : depth_ == 2 ? "a list of steps"
                           : depth_ == 3 ? "a list of pitches"
                                         : "a pitch";
    throw_user_error(
        "T0861",
        fmt::format("{}: {} is {}, {} is expected", name_,
                    depth_ > 3 ? "in " + place() + " there" : place(), found, expected),
        "a part is a list of sequences, a sequence a list of steps, a step a list of "
        "pitches");
  }

  bool number(std::int64_t value, const std::string& text) {
    if (!inside_ || depth_ != step_depth + 1) return other("the number " + text);
    if (value < lowest_pitch || value > highest_pitch)
      throw_user_error("T0862", fmt::format("{}: {} has the pitch {}", name_, place(), text),
                       fmt::format("the keys of a piano are {} to {} (middle C is 60)",
                                   lowest_pitch, highest_pitch));
    out_.pitches.push_back(static_cast<std::uint8_t>(value));
    return true;
  }

  const std::string& name_;
  const std::string& part_;
  Chords out_;
  std::vector<std::string> names_;
  std::int64_t depth_ = 0;
  bool inside_ = false, found_ = false;
};

}  // namespace

Chords read_chords(std::string_view json, const std::string& name, const std::string& part) {
  PartReader reader(name, part);
  nlohmann::json::sax_parse(json.begin(), json.end(), &reader);
  return reader.result();
}

Frames piano_roll(const Chords& chords, std::int64_t skipped, std::int64_t dropped, DType dtype,
                  const std::string& name) {
  Frames out;
  out.offsets.push_back(0);
  for (std::size_t i = 0; i + 1 < chords.sequences.size(); ++i) {
    const std::int64_t length = chords.sequences[i + 1] - chords.sequences[i];
    out.offsets.push_back(out.offsets.back() +
                          std::max<std::int64_t>(length - skipped - dropped, 0));
  }
  const std::int64_t rows = out.offsets.back();
  if (rows == 0) throw_user_error("T0965", fmt::format("{} holds no steps", name));
  if (rows > most_steps)
    throw_user_error("T0865",
                     fmt::format("{} holds {} steps, at most {} are read", name, rows, most_steps));
  out.rows = Tensor(dtype, {rows, piano_keys});
  for (std::size_t i = 0; i + 1 < chords.sequences.size(); ++i)
    for (std::int64_t row = out.offsets[i]; row < out.offsets[i + 1]; ++row) {
      const auto step =
          static_cast<std::size_t>(chords.sequences[i] + skipped + row - out.offsets[i]);
      for (std::int64_t k = chords.steps[step]; k < chords.steps[step + 1]; ++k)
        out.rows.set(row * piano_keys + chords.pitches[static_cast<std::size_t>(k)] - lowest_pitch,
                     1);
    }
  return out;
}

}  // namespace treadle
