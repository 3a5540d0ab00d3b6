// How far a long job is.
#pragma once
#include <chrono>
#include <cstdint>
#include <cstdio>
#include <string>
#include <string_view>

namespace treadle {

// On a terminal: one line that is rewritten, at most ten times a second, with
// a bar, the time that is left, and a text of the caller's ("loss 1.83"):
//   epoch 3/10 [##########----------]  50% 0:12 left  loss 1.83
// Else: nothing but the line of finish(), which holds no time, so that the
// output of two equal runs is equal:
//   epoch 3/10  loss 1.79
class Progress {
 public:
  // `terminal` is normally is_terminal(out).
  Progress(std::FILE* out, bool terminal, std::string label, std::int64_t total);
  // Removes an unfinished bar.
  ~Progress();
  Progress(const Progress&) = delete;
  Progress& operator=(const Progress&) = delete;

  void update(std::int64_t done, std::string_view text);
  // Replaces the bar by a line that stays.
  void finish(std::string_view text);
  // A line of its own; the bar goes on below it.
  void note(std::string_view line);

 private:
  using Clock = std::chrono::steady_clock;
  void draw(std::int64_t done, std::string_view text);
  void erase();

  std::FILE* out_;
  bool terminal_;
  bool drawn_ = false;
  std::string label_;
  std::int64_t total_;
  Clock::time_point begin_;
  Clock::time_point last_;
};

bool is_terminal(std::FILE* file);

// "0:07", "12:30", "1:02:03".
std::string format_duration(double seconds);

}  // namespace treadle
