// The command line.
#pragma once

namespace treadle {

// Exit status: 0 done, 1 the user's error, 2 usage, 3 a check failed, 70 an
// internal error (with a reproducer file). Data goes to stdout, diagnostics to
// stderr.
int run_command_line(int argc, const char* const* argv);

}  // namespace treadle
