// The command line as a test sees it.
#pragma once
#include <string>

namespace treadle::test {

struct Run {
  int status = -1;
  std::string output;  // stdout, and stderr where the arguments ask for it
};

// `treadle ARGUMENTS`, through the shell.
Run run(const std::string& arguments);

}  // namespace treadle::test
