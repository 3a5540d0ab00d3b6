// Where the time of a compiled step goes: the profile of `treadle bench --profile`.
#pragma once
#include <nlohmann/json_fwd.hpp>
#include <span>
#include <string>
#include <vector>

#include "driver/inspect/kernels.h"
#include "runtime/profile.h"

namespace treadle {

// Of a step, in milliseconds, as means over the middle half of many runs: those
// that are neither among the fastest nor among the slowest quarter. Unlike medians
// of each part, these add up.
struct StepProfile {
  struct Kernel {
    KernelRow row;
    std::int64_t calls = 0;              // of all threads together
    double running = 0, waiting = 0;     // means over the threads
    std::optional<double> flops, bytes;  // of all calls, where the extents give them
  };
  // The three parts of a thread's step, starting and ending being one.
  struct Thread {
    double running = 0, waiting = 0, ends = 0;
  };
  // A line of the source. A kernel's time is shared out among its lines by the
  // flops that it computes for each, or evenly where it computes none.
  struct Line {
    std::string file;  // without its folder; empty: the kernels that no line asks for
    std::uint32_t number = 0;
    std::string text;
    double running = 0;
    double flops = 0;  // those that the extents give
  };
  double milliseconds = 0;
  std::size_t runs = 0;         // that were measured
  std::vector<Kernel> kernels;  // in the order in which they run
  std::vector<Thread> threads;
  std::vector<Line> lines;  // those that take time, most of it first
};

// `rows` are compiled_kernels of what ran with `extents`.
StepProfile profile_of(std::vector<RunTimes> runs, std::span<const KernelRow> rows,
                       const DimEnv& extents);

// `peak` is the flops a second of all threads, or 0.
std::string profile_text(const StepProfile& profile, double peak);
nlohmann::ordered_json profile_json(const StepProfile& profile);

}  // namespace treadle
