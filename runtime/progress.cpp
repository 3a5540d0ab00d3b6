#include "runtime/progress.h"

#include <fmt/format.h>
#include <sys/ioctl.h>
#include <unistd.h>

#include <algorithm>
#include <utility>

namespace treadle {
namespace {

constexpr int bar_width = 24;

std::size_t terminal_width(std::FILE* out) {
  struct winsize size {};
  if (::ioctl(::fileno(out), TIOCGWINSZ, &size) == 0 && size.ws_col > 0) return size.ws_col;
  return 80;
}

}  // namespace

bool is_terminal(std::FILE* file) { return ::isatty(::fileno(file)) == 1; }

std::string format_duration(double seconds) {
  const auto whole = static_cast<std::int64_t>(std::clamp(seconds, 0.0, 3.6e6));
  const std::int64_t hours = whole / 3600;
  if (hours > 0) return fmt::format("{}:{:02}:{:02}", hours, whole / 60 % 60, whole % 60);
  return fmt::format("{}:{:02}", whole / 60, whole % 60);
}

Progress::Progress(std::FILE* out, bool terminal, std::string label, std::int64_t total)
    : out_(out),
      terminal_(terminal),
      label_(std::move(label)),
      total_(std::max<std::int64_t>(total, 1)),
      begin_(Clock::now()) {}

Progress::~Progress() { erase(); }

void Progress::update(std::int64_t done, std::string_view text) {
  if (!terminal_) return;
  const Clock::time_point now = Clock::now();
  if (drawn_ && now - last_ < std::chrono::milliseconds(100)) return;
  last_ = now;
  draw(std::clamp<std::int64_t>(done, 0, total_), text);
}

void Progress::draw(std::int64_t done, std::string_view text) {
  const double share = static_cast<double>(done) / static_cast<double>(total_);
  const int filled = static_cast<int>(share * bar_width);
  const double passed = std::chrono::duration<double>(last_ - begin_).count();
  std::string line = fmt::format("{} [{}{}] {:3.0f}%", label_, std::string(filled, '#'),
                                 std::string(bar_width - filled, '-'), share * 100);
  if (done > 0) line += fmt::format(" {} left", format_duration(passed / share - passed));
  line += fmt::format("  {}", text);
  // A line that wraps could not be rewritten.
  line.resize(std::min(line.size(), terminal_width(out_) - 1));
  fmt::print(out_, "\r\x1b[K{}", line);
  std::fflush(out_);
  drawn_ = true;
}

void Progress::erase() {
  if (!std::exchange(drawn_, false)) return;
  fmt::print(out_, "\r\x1b[K");
  std::fflush(out_);
}

void Progress::finish(std::string_view text) { note(fmt::format("{}  {}", label_, text)); }

void Progress::note(std::string_view line) {
  erase();
  fmt::print(out_, "{}\n", line);
  std::fflush(out_);
}

}  // namespace treadle
