#include "runtime/progress.h"

#include <sys/wait.h>

#include <csignal>

#include "runtime/file.h"
#include "runtime/signals.h"
#include "tests/runtime/support.h"

using namespace treadle;
using namespace treadle::test;

namespace {

std::string shown(bool terminal) {
  const TemporaryFolder folder;
  const auto path = folder.path() / "out";
  std::FILE* out = std::fopen(path.c_str(), "w");
  REQUIRE(out != nullptr);
  {
    Progress progress(out, terminal, "epoch 1/2", 10);
    for (int i = 0; i <= 10; ++i) progress.update(i, "loss 1.5");
    progress.note("saved");
    progress.finish("loss 1.25");
  }
  std::fclose(out);
  return read_file(path);
}

}  // namespace

TEST_CASE("progress: plain lines without time where there is no terminal") {
  CHECK(shown(false) == "saved\nepoch 1/2  loss 1.25\n");
}

TEST_CASE("progress: a bar on a terminal, gone when the line is done") {
  const std::string text = shown(true);
  CHECK(text.starts_with("\r\x1b[Kepoch 1/2 [------------------------]   0%  loss 1.5"));
  CHECK(text.ends_with("\r\x1b[Ksaved\nepoch 1/2  loss 1.25\n"));
}

TEST_CASE("progress: durations") {
  CHECK(format_duration(7.9) == "0:07");
  CHECK(format_duration(750) == "12:30");
  CHECK(format_duration(3723) == "1:02:03");
  CHECK(format_duration(-1) == "0:00");
}

TEST_CASE("interrupts: the first sets a flag, the flag is new for each handler") {
  {
    const InterruptHandler handler;
    CHECK_FALSE(interrupted());
    std::raise(SIGTERM);
    CHECK(interrupted());
    CHECK(interrupting_signal() == SIGTERM);
  }
  const InterruptHandler handler;
  CHECK_FALSE(interrupted());
}

TEST_CASE("interrupts: the second ends the process, whichever of the two it is") {
  for (const int second : {SIGINT, SIGTERM}) {
    const pid_t child = ::fork();
    if (child == 0) {
      const InterruptHandler handler;
      std::raise(SIGINT);
      if (!interrupted()) std::_Exit(1);
      std::raise(second);
      std::_Exit(2);
    }
    int status = 0;
    REQUIRE(::waitpid(child, &status, 0) == child);
    CHECK(WIFSIGNALED(status));
    CHECK(WTERMSIG(status) == second);
  }
}

TEST_CASE("interrupts: what handled them before does so again") {
  static volatile std::sig_atomic_t seen = 0;
  const auto before = std::signal(SIGINT, [](int) { seen = 1; });
  {
    const InterruptHandler outer;
    { const InterruptHandler inner; }
    std::raise(SIGINT);
    CHECK(interrupted());
    CHECK(seen == 0);
  }
  std::raise(SIGINT);
  CHECK(seen == 1);
  std::signal(SIGINT, before);
}
