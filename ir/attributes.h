// Typed attributes of a node.
#pragma once
#include <cstdint>
#include <map>
#include <memory>
#include <string>
#include <string_view>
#include <variant>
#include <vector>

#include "ir/dim.h"
#include "ir/dtype.h"
#include "ir/tensor.h"

namespace treadle {

using Integers = std::vector<std::int64_t>;
using TensorPtr = std::shared_ptr<const Tensor>;
// Text form, in this order: true | 3 | 0.5 | "s" | [1, 2] | <T, 4*H> | f32 |
// dense<0.5, 1.0> (elements, row-major; shape and dtype are the node's type).
using Attribute =
    std::variant<bool, std::int64_t, double, std::string, Integers, Dims, DType, TensorPtr>;

// Sorted by name. The typed getters throw InternalError when the attribute is
// missing or of another kind; those with a default return it when missing.
class Attributes {
 public:
  Attributes() = default;
  Attributes(std::initializer_list<std::pair<const std::string, Attribute>> list) : map_(list) {}

  bool has(std::string_view name) const { return find(name) != nullptr; }
  const Attribute* find(std::string_view name) const;
  void set(std::string name, Attribute value) { map_[std::move(name)] = std::move(value); }
  void erase(const std::string& name) { map_.erase(name); }

  bool boolean(std::string_view name, bool otherwise = false) const;
  std::int64_t integer(std::string_view name) const;
  std::int64_t integer(std::string_view name, std::int64_t otherwise) const;
  double real(std::string_view name) const;
  const std::string& string(std::string_view name) const;
  std::string string(std::string_view name, std::string otherwise) const;
  const Integers& integers(std::string_view name) const;
  const Dims& dims(std::string_view name) const;
  const Dim& dim(std::string_view name) const;  // a Dims of length one
  DType dtype(std::string_view name) const;
  const Tensor& tensor(std::string_view name) const;

  auto begin() const { return map_.begin(); }
  auto end() const { return map_.end(); }
  bool empty() const { return map_.empty(); }
  friend bool operator==(const Attributes& a, const Attributes& b);

 private:
  std::map<std::string, Attribute, std::less<>> map_;
};

bool same_attribute(const Attribute& a, const Attribute& b);  // tensors by bits

}  // namespace treadle
