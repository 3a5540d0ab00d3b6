// The command line as a test sees it.
#pragma once
#include <filesystem>
#include <string>

namespace treadle::test {

struct Run {
  int status = -1;
  std::string output;  // stdout, and stderr where the arguments ask for it
};

// `treadle ARGUMENTS`, through the shell.
Run run(const std::string& arguments);

// `treadle ARGUMENTS` ends with status 1, that error code and those words.
void check_fails(const std::string& arguments, const std::string& code, const std::string& words);

// The path of an example of that name.
std::string example(const std::string& name);

// Any command of the shell.
Run shell(const std::string& command);

// An empty folder of that name, this process's own; gone when it ends.
std::filesystem::path fresh_folder(const std::string& name);

}  // namespace treadle::test
