#include "ir/attributes.h"

#include "ir/diagnostic.h"

namespace treadle {
namespace {

template <typename T>
const T* get(const Attributes& attributes, std::string_view name) {
  const Attribute* found = attributes.find(name);
  if (found == nullptr) return nullptr;
  const T* value = std::get_if<T>(found);
  if (value == nullptr)
    internal_error("attributes", "'" + std::string(name) + "' has another kind");
  return value;
}

template <typename T>
const T& require(const Attributes& attributes, std::string_view name) {
  const T* value = get<T>(attributes, name);
  if (value == nullptr) internal_error("attributes", "'" + std::string(name) + "' is missing");
  return *value;
}

}  // namespace

const Attribute* Attributes::find(std::string_view name) const {
  const auto found = map_.find(name);
  return found == map_.end() ? nullptr : &found->second;
}

bool Attributes::boolean(std::string_view name, bool otherwise) const {
  const bool* value = get<bool>(*this, name);
  return value == nullptr ? otherwise : *value;
}
std::int64_t Attributes::integer(std::string_view name) const {
  return require<std::int64_t>(*this, name);
}
std::int64_t Attributes::integer(std::string_view name, std::int64_t otherwise) const {
  const auto* value = get<std::int64_t>(*this, name);
  return value == nullptr ? otherwise : *value;
}
double Attributes::real(std::string_view name) const { return require<double>(*this, name); }
const std::string& Attributes::string(std::string_view name) const {
  return require<std::string>(*this, name);
}
std::string Attributes::string(std::string_view name, std::string otherwise) const {
  const auto* value = get<std::string>(*this, name);
  return value == nullptr ? otherwise : *value;
}
const Integers& Attributes::integers(std::string_view name) const {
  return require<Integers>(*this, name);
}
const Dims& Attributes::dims(std::string_view name) const { return require<Dims>(*this, name); }
const Dim& Attributes::dim(std::string_view name) const {
  const Dims& all = dims(name);
  ensure(all.size() == 1, "attributes", "'" + std::string(name) + "' is not one dimension");
  return all[0];
}
DType Attributes::dtype(std::string_view name) const { return require<DType>(*this, name); }
const Tensor& Attributes::tensor(std::string_view name) const {
  return *require<TensorPtr>(*this, name);
}

bool same_attribute(const Attribute& a, const Attribute& b) {
  const auto* x = std::get_if<TensorPtr>(&a);
  const auto* y = std::get_if<TensorPtr>(&b);
  if (x != nullptr && y != nullptr) return same_bits(**x, **y);
  return a == b;
}

bool operator==(const Attributes& a, const Attributes& b) {
  if (a.map_.size() != b.map_.size()) return false;
  for (auto i = a.map_.begin(), j = b.map_.begin(); i != a.map_.end(); ++i, ++j)
    if (i->first != j->first || !same_attribute(i->second, j->second)) return false;
  return true;
}

}  // namespace treadle
