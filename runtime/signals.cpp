#include "runtime/signals.h"

#include <csignal>

#include <array>
#include <atomic>

namespace treadle {
namespace {

// A signal handler can reach nothing but objects of static lifetime.
std::atomic<int> received{0};
static_assert(std::atomic<int>::is_always_lock_free);
std::atomic<int> depth{0};

constexpr std::array<int, 2> handled = {SIGINT, SIGTERM};
std::array<struct sigaction, 2> previous{};

// SA_RESETHAND has restored the default action of this signal; the other one
// must follow, so that any second signal ends the process.
void handle(int signal) {
  received.store(signal);
  for (const int other : handled)
    if (other != signal) std::signal(other, SIG_DFL);
}

}  // namespace

InterruptHandler::InterruptHandler() {
  if (depth.fetch_add(1) != 0) return;
  received.store(0);
  struct sigaction action {};
  action.sa_handler = handle;
  action.sa_flags = static_cast<int>(SA_RESETHAND | SA_RESTART);
  sigemptyset(&action.sa_mask);
  for (std::size_t i = 0; i < handled.size(); ++i) sigaction(handled[i], &action, &previous[i]);
}

InterruptHandler::~InterruptHandler() {
  if (depth.fetch_sub(1) != 1) return;
  for (std::size_t i = 0; i < handled.size(); ++i) sigaction(handled[i], &previous[i], nullptr);
}

bool interrupted() { return received.load() != 0; }
int interrupting_signal() { return received.load(); }

}  // namespace treadle
