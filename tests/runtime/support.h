// What the tests of files share.
#pragma once
#include <unistd.h>

#include <filesystem>
#include <fstream>
#include <functional>
#include <string>
#include <string_view>

#include "ir/diagnostic.h"
#include "ir/tensor.h"
#include "tests/catch.h"

namespace treadle::test {

// A new folder, removed with what is in it.
class TemporaryFolder {
 public:
  TemporaryFolder() {
    std::string name = (std::filesystem::temp_directory_path() / "treadle-test-XXXXXX").string();
    REQUIRE(::mkdtemp(name.data()) != nullptr);
    path_ = name;
  }
  ~TemporaryFolder() {
    std::error_code error;
    std::filesystem::permissions(path_, std::filesystem::perms::owner_all, error);
    std::filesystem::remove_all(path_, error);
  }
  TemporaryFolder(const TemporaryFolder&) = delete;
  TemporaryFolder& operator=(const TemporaryFolder&) = delete;
  const std::filesystem::path& path() const { return path_; }
  std::filesystem::path file(const std::string& name, std::string_view content) const {
    std::ofstream(path_ / name, std::ios::binary) << content;
    return path_ / name;
  }

 private:
  std::filesystem::path path_;
};

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
