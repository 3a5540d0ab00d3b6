// Ctrl-C: asks a run to end cleanly.
#pragma once

namespace treadle {

// While an object of this class lives, the first SIGINT or SIGTERM sets a flag
// that a loop reads between steps; the second ends the process as if there
// were no handler. Objects may nest; the outermost restores what was before.
class InterruptHandler {
 public:
  InterruptHandler();
  ~InterruptHandler();
  InterruptHandler(const InterruptHandler&) = delete;
  InterruptHandler& operator=(const InterruptHandler&) = delete;
};

// Whether one has arrived since the outermost handler was made. `signal` of
// the last one, or 0.
bool interrupted();
int interrupting_signal();

}  // namespace treadle
