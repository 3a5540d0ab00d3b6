#include "tests/cli/run.h"

#include <sys/wait.h>

#include <array>
#include <cstdio>

#include "tests/catch.h"
#include "tests/support/temporary_folder.h"

namespace treadle::test {

Run run(const std::string& arguments) {
  return shell(std::string(TREADLE_EXECUTABLE) + " " + arguments);
}

Run shell(const std::string& command) {
  Run out;
  std::FILE* pipe = popen(command.c_str(), "r");
  REQUIRE(pipe != nullptr);
  std::array<char, 4096> buffer{};
  for (std::size_t n = 0; (n = fread(buffer.data(), 1, buffer.size(), pipe)) > 0;)
    out.output.append(buffer.data(), n);
  const int status = pclose(pipe);
  out.status = WIFEXITED(status) ? WEXITSTATUS(status) : -1;
  return out;
}

std::string example(const std::string& name) {
  return std::string(TREADLE_SOURCE_DIR) + "/examples/" + name + ".tdl";
}

std::filesystem::path fresh_folder(const std::string& name) {
  static const TemporaryFolder runs;
  const std::filesystem::path out = runs.path() / name;
  std::filesystem::remove_all(out);
  std::filesystem::create_directories(out);
  return out;
}

void check_fails(const std::string& arguments, const std::string& code, const std::string& words) {
  INFO(arguments);
  const Run result = run(arguments + " 2>&1");
  INFO(result.output);
  CHECK(result.status == 1);
  CHECK(result.output.find("error[" + code + "]") != std::string::npos);
  CHECK(result.output.find(words) != std::string::npos);
}

}  // namespace treadle::test
