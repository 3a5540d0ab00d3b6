// What the tests of files share.
#pragma once
#include <functional>
#include <string>
#include <string_view>

#include "ir/diagnostic.h"
#include "ir/tensor.h"
#include "tests/catch.h"
#include "tests/support/temporary_folder.h"

namespace treadle::test {

// The code of the UserError that `function` throws; "none" when it throws
// nothing. Anything else that it throws fails the test.
inline std::string error_code(const std::function<void()>& function) {
  try {
    function();
  } catch (const UserError& error) {
    return error.diagnostics().at(0).code;
  }
  return "none";
}

inline std::string error_text(const std::function<void()>& function) {
  try {
    function();
  } catch (const UserError& error) {
    return error.what();
  }
  return "none";
}

inline Tensor tensor_of(DType dtype, Shape shape, std::initializer_list<double> values) {
  Tensor out(dtype, std::move(shape));
  std::int64_t i = 0;
  for (const double value : values) out.set(i++, value);
  return out;
}

template <typename T>
std::string raw(T value) {
  return {reinterpret_cast<const char*>(&value), sizeof(T)};
}

}  // namespace treadle::test
