// One run of a compiled step, event by event, for a trace viewer.
#pragma once
#include <span>
#include <string>

#include "driver/inspect/kernels.h"
#include "runtime/profile.h"

namespace treadle {

// JSON in the trace event format that Perfetto and Chrome's about:tracing open: a
// track for each thread, the run on it, and in that every kernel and every wait at a
// barrier. Times are microseconds since the run's begin. `rows` are compiled_kernels
// of the program; its last run kept its spans.
std::string trace_json(const Profile& profile, std::span<const KernelRow> rows);

}  // namespace treadle
