#include "driver/profile_trace.h"

#include <fmt/format.h>

#include <iterator>
#include <nlohmann/json.hpp>

namespace treadle {
namespace {

std::string quoted(const std::string& text) { return nlohmann::json(text).dump(); }

// Of nanoseconds, without rounding: events that touch do not overlap.
std::string microseconds(std::int64_t nanoseconds) {
  return fmt::format("{}.{:03}", nanoseconds / 1000, nanoseconds % 1000);
}

}  // namespace

std::string trace_json(const Profile& profile, std::span<const KernelRow> rows) {
  std::vector<std::string> names, arguments;
  for (std::size_t k = 0; k < rows.size(); ++k) {
    names.push_back(quoted(rows[k].kind + " " + rows[k].description));
    arguments.push_back(
        fmt::format(R"({{"kernel": {}, "source": {}}})", k, quoted(lines_of(rows[k]))));
  }
  std::string out = "{\"displayTimeUnit\": \"ns\", \"traceEvents\": [\n";
  const auto add = [&](std::size_t thread, const std::string& name, std::string_view category,
                       std::int64_t begin, std::int64_t end, const std::string& about) {
    fmt::format_to(std::back_inserter(out),
                   R"({{"ph": "X", "pid": 0, "tid": {}, "name": {}, "cat": "{}", "ts": {}, )"
                   R"("dur": {}, "args": {}}},)"
                   "\n",
                   thread, name, category, microseconds(begin), microseconds(end - begin), about);
  };
  const std::vector<std::vector<RunSpan>> threads = profile.spans();
  for (std::size_t t = 0; t < threads.size(); ++t) {
    add(t, "\"step\"", "step", 0, profile.nanoseconds(), "{}");
    for (const RunSpan& span : threads[t]) {
      const auto kernel = static_cast<std::size_t>(span.kernel);
      if (span.kind == RunSpan::Kind::barrier)
        add(t, "\"barrier\"", "barrier", span.begin, span.end, "{}");
      else
        add(t, names[kernel], "kernel", span.begin, span.end, arguments[kernel]);
    }
  }
  for (std::size_t t = 0; t < threads.size(); ++t)
    fmt::format_to(std::back_inserter(out),
                   R"({{"ph": "M", "pid": 0, "tid": {}, "name": "thread_name", )"
                   R"("args": {{"name": "thread {}"}}}}{})"
                   "\n",
                   t, t, t + 1 < threads.size() ? "," : "");
  return out + "]}\n";
}

}  // namespace treadle
