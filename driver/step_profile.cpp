#include "driver/step_profile.h"

#include <fmt/format.h>

#include <algorithm>
#include <map>
#include <nlohmann/json.hpp>
#include <sstream>

#include "driver/text_table.h"
#include "ir/diagnostic.h"

namespace treadle {
namespace {

// In the order in which they take most time; those of no run are left out.
std::vector<std::size_t> by_time(const StepProfile& profile) {
  std::vector<std::size_t> out;
  for (std::size_t k = 0; k < profile.kernels.size(); ++k)
    if (!profile.kernels[k].row.prepares) out.push_back(k);
  std::stable_sort(out.begin(), out.end(), [&](std::size_t a, std::size_t b) {
    return profile.kernels[a].running > profile.kernels[b].running;
  });
  return out;
}

std::string number_or_dash(const std::optional<double>& value) {
  return value ? short_number(*value) : "-";
}

std::string percent(double part, double whole) {
  return fmt::format("{:.1f} %", whole > 0 ? 100 * part / whole : 0);
}

std::string text_of_line(const std::string& text, std::uint32_t number) {
  std::istringstream stream(text);
  std::string line;
  for (std::uint32_t i = 0; i < number; ++i) std::getline(stream, line);
  const std::size_t first = line.find_first_not_of(" \t");
  return first == std::string::npos ? std::string() : line.substr(first);
}

std::vector<StepProfile::Line> lines_of_kernels(const std::vector<StepProfile::Kernel>& kernels,
                                                const DimEnv& extents) {
  std::map<std::pair<std::string, std::uint32_t>, StepProfile::Line> lines;
  for (const StepProfile::Kernel& kernel : kernels) {
    const std::vector<KernelRow::Source>& sources = kernel.row.sources;
    if (sources.empty()) lines[{}].running += kernel.running;
    double all = 0;
    std::vector<double> flops;
    for (const KernelRow::Source& source : sources)
      all += flops.emplace_back(value_of(kernel.row.times * source.flops, extents).value_or(0));
    for (std::size_t i = 0; i < sources.size(); ++i) {
      const SourceFile& file = *sources[i].range.file;
      const std::uint32_t number = line_column(file, sources[i].range.begin).line;
      StepProfile::Line& line = lines[{file.path, number}];
      if (line.number == 0) {
        line.file = file.path.substr(file.path.rfind('/') + 1);
        line.number = number;
        line.text = text_of_line(file.text, number);
      }
      const double share = all > 0 ? flops[i] / all : 1 / static_cast<double>(sources.size());
      line.running += share * kernel.running;
      if (kernel.flops) line.flops += share * *kernel.flops;
    }
  }
  std::vector<StepProfile::Line> out;
  for (auto& [place, line] : lines)
    if (line.running > 0) out.push_back(std::move(line));
  std::stable_sort(out.begin(), out.end(),
                   [](const auto& a, const auto& b) { return a.running > b.running; });
  return out;
}

// A product of which a loop computes all rows but the first in its turns runs, but for those,
// as part of a kernel there.
void move_rows_beside(std::vector<StepProfile::Kernel>& kernels, const DimEnv& extents,
                      int threads) {
  for (StepProfile::Kernel& kernel : kernels) {
    const auto& beside = kernel.row.beside;
    if (!beside || !value_of(beside->where.length, extents) ||
        !beside->where.in_turns(extents, threads))
      continue;
    StepProfile::Kernel& other = kernels[beside->kernel];
    const double left = interleaved_rows / *value_of(beside->where.length, extents);
    for (auto cost : {&StepProfile::Kernel::flops, &StepProfile::Kernel::bytes}) {
      if (!(kernel.*cost) || !(other.*cost)) continue;
      *(other.*cost) += (1 - left) * *(kernel.*cost);
      *(kernel.*cost) *= left;
    }
  }
}

}  // namespace

StepProfile profile_of(std::vector<RunTimes> runs, std::span<const KernelRow> rows,
                       const DimEnv& extents) {
  std::sort(runs.begin(), runs.end(),
            [](const RunTimes& a, const RunTimes& b) { return a.milliseconds < b.milliseconds; });
  StepProfile out;
  out.runs = runs.size();
  const std::size_t skipped = runs.size() / 4;
  const std::span<const RunTimes> middle =
      std::span(runs).subspan(skipped, runs.size() - 2 * skipped);
  const std::size_t threads = middle[0].threads.size();
  const double runs_share = 1 / static_cast<double>(middle.size());
  const double share = runs_share / static_cast<double>(threads);
  out.threads.resize(threads);
  out.kernels.resize(rows.size());
  for (const RunTimes& run : middle) {
    out.milliseconds += run.milliseconds * runs_share;
    for (std::size_t t = 0; t < threads; ++t) {
      const RunTimes::Thread& from = run.threads[t];
      StepProfile::Thread& to = out.threads[t];
      ensure(from.kernels.size() == rows.size(), "profile", "other kernels ran than were planned");
      to.ends += (from.starting + from.ending) * runs_share;
      to.waiting += from.waiting * runs_share;
      for (std::size_t k = 0; k < rows.size(); ++k) {
        to.running += from.kernels[k].running * runs_share;
        to.waiting += from.kernels[k].waiting * runs_share;
        out.kernels[k].running += from.kernels[k].running * share;
        out.kernels[k].waiting += from.kernels[k].waiting * share;
      }
    }
  }
  for (std::size_t k = 0; k < rows.size(); ++k) {
    StepProfile::Kernel& kernel = out.kernels[k];
    kernel.row = rows[k];
    // All threads together do a call, or half of them, or one thread alone.
    for (const RunTimes::Thread& thread : middle[0].threads) {
      const std::int64_t calls = thread.kernels[k].calls;
      kernel.calls = rows[k].alone ? kernel.calls + calls : std::max(kernel.calls, calls);
    }
    kernel.flops = value_of(rows[k].times * rows[k].flops, extents);
    kernel.bytes = value_of(rows[k].times * rows[k].bytes, extents);
  }
  move_rows_beside(out.kernels, extents, static_cast<int>(threads));
  out.lines = lines_of_kernels(out.kernels, extents);
  return out;
}

std::string profile_text(const StepProfile& profile, double peak) {
  const double whole = profile.milliseconds;
  std::string out =
      fmt::format("profile: {:.3f} ms, mean of the middle half of {} runs\n", whole, profile.runs);
  std::vector<std::vector<std::string>> cells{{"ms", "share", "waiting", "calls", "flops", "bytes",
                                               "flops/s", "of peak", "#", "kernel", "source"}};
  for (const std::size_t k : by_time(profile)) {
    const StepProfile::Kernel& kernel = profile.kernels[k];
    std::optional<double> rate;
    if (kernel.flops && kernel.running > 0) rate = *kernel.flops / (kernel.running * 1e-3);
    cells.push_back({fmt::format("{:.4f}", kernel.running), percent(kernel.running, whole),
                     fmt::format("{:.4f}", kernel.waiting), fmt::format("{}", kernel.calls),
                     number_or_dash(kernel.flops), number_or_dash(kernel.bytes),
                     number_or_dash(rate), rate && peak > 0 ? percent(*rate, peak) : "-",
                     fmt::format("{}", k), kernel.row.kind + " " + kernel.row.description,
                     lines_of(kernel.row)});
  }
  out += text_table(cells);
  if (const std::size_t once = profile.kernels.size() - cells.size() + 1; once > 0)
    out +=
        fmt::format("and {} kernel{} that ran once, before: what follows from parameters alone\n",
                    once, once == 1 ? "" : "s");
  for (std::size_t t = 0; t < profile.threads.size(); ++t) {
    const StepProfile::Thread& thread = profile.threads[t];
    out += fmt::format("thread {}: {} in kernels, {} waiting at barriers, {} starting and ending\n",
                       t, percent(thread.running, whole), percent(thread.waiting, whole),
                       percent(thread.ends, whole));
  }
  cells = {{"ms", "share", "flops", "line", ""}};
  for (const StepProfile::Line& line : profile.lines)
    cells.push_back({fmt::format("{:.4f}", line.running), percent(line.running, whole),
                     line.file.empty() ? "-" : short_number(line.flops),
                     line.file.empty() ? "-" : fmt::format("{}:{}", line.file, line.number),
                     line.text});
  out += "\n" + text_table(cells);
  return out;
}

nlohmann::ordered_json profile_json(const StepProfile& profile) {
  const auto number = [](const std::optional<double>& value) {
    return value ? nlohmann::ordered_json(*value) : nlohmann::ordered_json();
  };
  nlohmann::ordered_json out{{"milliseconds", profile.milliseconds}};
  out["kernels"] = nlohmann::ordered_json::array();
  for (const std::size_t k : by_time(profile)) {
    const StepProfile::Kernel& kernel = profile.kernels[k];
    out["kernels"].push_back({{"number", k},
                              {"kind", kernel.row.kind},
                              {"description", kernel.row.description},
                              {"backend", kernel.row.backend},
                              {"milliseconds", kernel.running},
                              {"waiting_milliseconds", kernel.waiting},
                              {"calls", kernel.calls},
                              {"flops", number(kernel.flops)},
                              {"bytes", number(kernel.bytes)}});
  }
  out["lines"] = nlohmann::ordered_json::array();
  for (const StepProfile::Line& line : profile.lines)
    out["lines"].push_back({{"file", line.file},
                            {"line", line.number},
                            {"text", line.text},
                            {"milliseconds", line.running},
                            {"flops", line.flops}});
  out["threads"] = nlohmann::ordered_json::array();
  for (const StepProfile::Thread& thread : profile.threads)
    out["threads"].push_back({{"kernel_milliseconds", thread.running},
                              {"waiting_milliseconds", thread.waiting},
                              {"other_milliseconds", thread.ends}});
  return out;
}

}  // namespace treadle
