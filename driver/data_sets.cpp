#include "driver/data_sets.h"

#include <fmt/format.h>

#include <algorithm>
#include <cmath>

#include "ir/diagnostic.h"
#include "runtime/file.h"
#include "runtime/generators.h"
#include "runtime/readers/idx.h"
#include "runtime/readers/text.h"

namespace treadle {
namespace {

std::filesystem::path file_of(const DataSpec& spec, std::size_t argument,
                              const std::filesystem::path& folder) {
  if (argument >= spec.arguments.size() ||
      !std::holds_alternative<std::string>(spec.arguments[argument].value))
    throw_user_error("T0837", fmt::format("'{}' needs the name of a file", spec.kind),
                     "data idx(\"images.gz\", \"labels.gz\"), data text(\"input.txt\")",
                     spec.range);
  return folder / std::get<std::string>(spec.arguments[argument].value);
}

// The number of classes that the loss expects of an input; 0 when it does not say.
std::int64_t classes_of(const Graph& loss, const std::string& name) {
  const Value v = loss.input(name);
  if (!v.valid() || !loss.node(v.node).attributes.has("classes")) return 0;
  return loss.node(v.node).attributes.dim("classes").constant().value_or(0);
}

void require_fields(const Graph& loss, const NamedFields& fields, const DataSpec& spec) {
  for (const NodeId id : loss.inputs()) {
    const Node& node = loss.node(id);
    const std::string name = node.attributes.string("name");
    if (node.op != Op::input || node.attributes.has("role") || fields.contains(name)) continue;
    std::string known;
    for (const auto& [field, tensor] : fields) known += (known.empty() ? "" : ", ") + field;
    throw_user_error("T0833", fmt::format("the data '{}' has no field '{}'", spec.kind, name),
                     "its fields are " + known, spec.range);
  }
  for (const auto& [name, tensor] : fields)
    if (const std::int64_t classes = classes_of(loss, name); classes > 0)
      require_class_indices(tensor, classes, name);
}

NamedFields array_fields(const DataSpec& spec, const std::filesystem::path& folder,
                         std::uint64_t seed) {
  NamedFields out;
  if (spec.kind == "digits") {
    StrokeImages data = stroke_images(spec.integer("examples", 1500), seed);
    out.emplace("image", std::move(data.images));
    out.emplace("label", std::move(data.labels));
  } else if (spec.kind == "adding") {
    AddingProblem data =
        adding_problem(spec.integer("length", 50), spec.integer("examples", 2000), seed);
    out.emplace("numbers", std::move(data.sequences));
    out.emplace("target", std::move(data.targets));
  } else if (spec.kind == "idx") {
    Tensor images = read_idx(file_of(spec, 0, folder), DType::f32);
    auto* pixels = reinterpret_cast<float*>(images.data());
    for (std::int64_t i = 0; i < images.size(); ++i) pixels[i] /= 255;
    out.emplace("image", std::move(images));
    out.emplace("label", read_idx(file_of(spec, 1, folder), DType::i32));
  } else {
    throw_user_error("T0838", fmt::format("training on '{}' data is not supported", spec.kind),
                     "idx, text, digits and adding are", spec.range);
  }
  // Inputs that have names of their own: image: pixels.
  for (const auto& [input, field] : spec.fields)
    if (const auto found = out.find(field); found != out.end() && input != field)
      out.emplace(input, found->second);
  return out;
}

EncodedText encoded_text(const std::filesystem::path& file,
                         const std::optional<Vocabulary>& vocabulary) {
  if (!vocabulary) return read_text(file);
  return {*vocabulary, encode_text(read_file_or_gzip(file), *vocabulary)};
}

DataSets open_text(const TrainSpec& spec, const Graph& loss, const std::filesystem::path& folder,
                   const std::optional<Vocabulary>& vocabulary) {
  EncodedText text = encoded_text(file_of(spec.data, 0, folder), vocabulary);
  const std::int64_t classes = classes_of(loss, "text");
  if (classes > 0 && text.vocabulary.size() > classes)
    throw_user_error("T0839",
                     fmt::format("the text has {} different characters, the model reads {}",
                                 text.vocabulary.size(), classes),
                     fmt::format("set the dim of its tokens: -D V={}", text.vocabulary.size()),
                     spec.data.range);
  const std::int64_t window = spec.data.integer("window", 128);
  const std::int64_t lanes = spec.data.integer("lanes", 32);
  const auto held = static_cast<std::int64_t>(
      std::llround(spec.validation_split * static_cast<double>(text.tokens.size())));
  const auto part = [&](std::int64_t begin, std::int64_t end) {
    return rows({{"text", text.tokens}}, begin, end).at("text");
  };
  DataSets out;
  const bool carry = spec.truncation.kind == TruncationSpec::Kind::carry;
  const auto source = [&](Tensor tokens, bool shuffle) {
    if (carry) return text_lanes(std::move(tokens), window, lanes);
    return array_batches(text_windows(tokens, window),
                         {lanes, shuffle, static_cast<std::uint64_t>(spec.seed)});
  };
  const std::int64_t used = text.tokens.size() - held;
  out.training = source(part(0, used), true);
  if (held > 0) out.validation = source(part(used, text.tokens.size()), false);
  out.vocabulary = std::move(text.vocabulary);
  return out;
}

}  // namespace

DataSets open_data(const TrainSpec& spec, const Graph& loss, const std::filesystem::path& folder) {
  if (spec.data.kind == "text") return open_text(spec, loss, folder, std::nullopt);
  const auto seed = static_cast<std::uint64_t>(spec.seed);
  const NamedFields fields = array_fields(spec.data, folder, seed);
  require_fields(loss, fields, spec.data);
  const std::int64_t examples = fields.begin()->second.shape().at(0);
  const auto held = static_cast<std::int64_t>(
      std::llround(spec.validation_split * static_cast<double>(examples)));
  DataSets out;
  out.training = array_batches(rows(fields, 0, examples - held), {spec.batch, true, seed});
  if (spec.validation_data) {
    const NamedFields other = array_fields(*spec.validation_data, folder, seed + 1);
    require_fields(loss, other, *spec.validation_data);
    out.validation = array_batches(other, {spec.batch, false, seed});
  } else if (held > 0) {
    out.validation =
        array_batches(rows(fields, examples - held, examples), {spec.batch, false, seed});
  }
  return out;
}

std::unique_ptr<BatchSource> open_evaluation(const TrainSpec& spec, bool held_back,
                                             const Graph& loss,
                                             const std::filesystem::path& folder,
                                             const std::optional<Vocabulary>& vocabulary) {
  if (spec.data.kind == "text") {
    DataSets all = open_text(spec, loss, folder, vocabulary);
    return std::move(held_back ? all.validation : all.training);
  }
  const auto seed = static_cast<std::uint64_t>(spec.seed);
  if (held_back && !spec.validation_data)
    return std::move(open_data(spec, loss, folder).validation);
  const DataSpec& data = held_back ? *spec.validation_data : spec.data;
  const NamedFields fields = array_fields(data, folder, held_back ? seed + 1 : seed);
  require_fields(loss, fields, data);
  return array_batches(fields, {spec.batch, false, seed});
}

}  // namespace treadle
