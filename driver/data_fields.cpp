#include "driver/data_fields.h"

#include <fmt/format.h>

#include "ir/diagnostic.h"
#include "runtime/generators.h"
#include "runtime/readers/idx.h"
#include "runtime/readers/npy.h"
#include "runtime/readers/text.h"

namespace treadle {
namespace {

Tensor scaled_pixels(Tensor images) {
  constexpr double white = 255;
  for (std::int64_t i = 0; i < images.size(); ++i) images.set(i, images.get(i) / white);
  return images;
}

NamedFields idx_fields(const DataSpec& spec, const std::filesystem::path& folder, DType real) {
  NamedFields out;
  out.emplace("image", scaled_pixels(read_idx(data_file(spec, 0, folder), real)));
  out.emplace("label", read_idx(data_file(spec, 1, folder), DType::i32));
  return out;
}

NamedFields npy_fields(const DataSpec& spec, const std::filesystem::path& folder) {
  NamedFields out;
  if (spec.arguments.size() > 2)
    throw_user_error("T0837", "of npy files without a name there are at most two, x and y",
                     "data npy(image: \"images.npy\", label: \"labels.npy\")", spec.range);
  for (std::size_t i = 0; i < spec.arguments.size(); ++i)
    out.emplace(i == 0 ? "x" : "y", read_npy(data_file(spec, i, folder)));
  for (const auto& [name, setting] : spec.settings)
    if (const auto* file = std::get_if<std::string>(&setting.value))
      out.insert_or_assign(name, read_npy(folder / *file));
  return out;
}

NamedFields generated_digits(const DataSpec& spec, std::uint64_t seed) {
  StrokeImages data = stroke_images(spec.integer("examples", 1500), seed);
  NamedFields out;
  out.emplace("image", std::move(data.images));
  out.emplace("label", std::move(data.labels));
  return out;
}

NamedFields generated_sums(const DataSpec& spec, std::uint64_t seed) {
  AddingProblem data =
      adding_problem(spec.integer("length", 50), spec.integer("examples", 2000), seed);
  NamedFields out;
  out.emplace("numbers", std::move(data.sequences));
  out.emplace("target", std::move(data.targets));
  return out;
}

NamedFields generated_copies(const DataSpec& spec, std::uint64_t seed) {
  CopyMemory data = copy_memory(spec.integer("delay", 100), spec.integer("examples", 2000), seed);
  NamedFields out;
  out.emplace("symbols", std::move(data.sequences));
  out.emplace("answer", std::move(data.targets));
  return out;
}

NamedFields generated_sparse(const DataSpec& spec, std::uint64_t seed) {
  SparseLine data = sparse_line(spec.integer("width", 200), spec.integer("nonzero", 8),
                                spec.integer("examples", 100), spec.real("noise", 0.1), seed);
  NamedFields out;
  out.emplace("x", std::move(data.rows));
  out.emplace("target", std::move(data.targets));
  out.emplace("truth", std::move(data.truth));
  return out;
}

NamedFields generated_wave(const DataSpec& spec, std::uint64_t seed) {
  NoisyWave data = noisy_wave(spec.integer("examples", 30), spec.real("noise", 0.3), seed);
  NamedFields out;
  out.emplace("x", std::move(data.places));
  out.emplace("target", std::move(data.targets));
  return out;
}

// As a user would write it: "real[28, 28]" an example.
std::string example_type(const Tensor& field) {
  const Shape shape(field.shape().begin() + (field.shape().empty() ? 0 : 1), field.shape().end());
  return fmt::format("{}[{}]", to_string(field.dtype()), fmt::join(shape, ", "));
}

bool shape_fits(const Type& type, const Shape& shape) {
  if (shape.size() != type.rank() + 1) return false;
  for (std::size_t i = 0; i < type.rank(); ++i)
    if (const auto extent = type.dims[i].constant(); extent && *extent != shape[i + 1])
      return false;
  return true;
}

// The field in the type of its input: numbers may change their precision.
Tensor fitted(const Tensor& field, const Node& input, const DataSpec& spec, std::int64_t classes) {
  const Type& type = input.types[0];
  const std::string name = input.attributes.string("name");
  const bool kind_fits = is_float(type.dtype) || !is_float(field.dtype());
  if (!kind_fits || !shape_fits(type, field.shape()))
    throw_user_error("T0851",
                     fmt::format("the data gives '{}' as {} an example, the program reads {}", name,
                                 example_type(field), to_string(type)),
                     kind_fits ? "change the shape of the data, or the type of the input"
                               : "class indices are whole numbers: save them as integers",
                     spec.range);
  if (classes > 0) require_class_indices(field, classes, name);
  return field.cast(type.dtype);
}

std::int64_t example_count(const Tensor& field) {
  return field.shape().empty() ? 0 : field.shape()[0];
}

NamedFields fields_of_kind(const DataSpec& spec, const Graph& loss,
                           const std::filesystem::path& folder, std::uint64_t seed) {
  if (spec.kind == "digits") return generated_digits(spec, seed);
  if (spec.kind == "adding") return generated_sums(spec, seed);
  if (spec.kind == "copy") return generated_copies(spec, seed);
  if (spec.kind == "sparse") return generated_sparse(spec, seed);
  if (spec.kind == "wave") return generated_wave(spec, seed);
  if (spec.kind == "csv") return read_csv_fields(spec, loss, folder);
  if (spec.kind == "npy") return npy_fields(spec, folder);
  if (spec.kind == "idx") return idx_fields(spec, folder, loss.type(loss.output("loss")).dtype);
  throw_user_error("T0838", fmt::format("'{}' data is not an array of examples", spec.kind),
                   "idx, csv, npy, digits, adding, copy, sparse and wave are", spec.range);
}

}  // namespace

std::filesystem::path data_file(const DataSpec& spec, std::size_t argument,
                                const std::filesystem::path& folder) {
  if (argument >= spec.arguments.size() ||
      !std::holds_alternative<std::string>(spec.arguments[argument].value))
    throw_user_error("T0837", fmt::format("'{}' needs the name of a file", spec.kind),
                     "data idx(\"images.gz\", \"labels.gz\"), data text(\"input.txt\")",
                     spec.range);
  return folder / std::get<std::string>(spec.arguments[argument].value);
}

std::int64_t classes_of(const Graph& loss, const std::string& name) {
  const Value v = loss.input(name);
  if (!v.valid() || !loss.node(v.node).attributes.has("classes")) return 0;
  return loss.node(v.node).attributes.dim("classes").constant().value_or(0);
}

bool is_data_input(const Node& node) {
  return node.op == Op::input && !node.attributes.has("role");
}

NamedFields read_fields(const DataSpec& spec, const Graph& loss,
                        const std::filesystem::path& folder, std::uint64_t seed) {
  NamedFields read = fields_of_kind(spec, loss, folder, seed);
  // Inputs that have names of their own: image: pixels.
  for (const auto& [input, field] : spec.fields)
    if (const auto found = read.find(field); found != read.end() && input != field)
      read.insert_or_assign(input, found->second);
  NamedFields out;
  for (const NodeId id : loss.inputs()) {
    const Node& node = loss.node(id);
    const std::string name = node.attributes.string("name");
    if (!is_data_input(node)) continue;
    const auto found = read.find(name);
    if (found == read.end()) {
      std::string known;
      for (const auto& [field, tensor] : read) known += (known.empty() ? "" : ", ") + field;
      throw_user_error("T0833", fmt::format("the data '{}' has no field '{}'", spec.kind, name),
                       "its fields are " + known, spec.range);
    }
    out.emplace(name, fitted(found->second, node, spec, classes_of(loss, name)));
  }
  for (const auto& [name, field] : out)
    if (example_count(field) != example_count(out.begin()->second))
      throw_user_error("T0966",
                       fmt::format("'{}' has {} examples, '{}' has {}", out.begin()->first,
                                   example_count(out.begin()->second), name, example_count(field)),
                       {}, spec.range);
  return out;
}

}  // namespace treadle
