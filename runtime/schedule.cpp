#include "runtime/schedule.h"

#include <algorithm>
#include <cmath>
#include <numbers>

#include "ir/diagnostic.h"

namespace treadle {
namespace {

double half_cosine(double from, double to, double fraction) {
  return to + (from - to) * 0.5 * (1 + std::cos(std::numbers::pi * fraction));
}

}  // namespace

double learning_rate(const Schedule& schedule, std::int64_t step, std::int64_t total) {
  const double warmup =
      schedule.warmup >= 1 ? schedule.warmup : schedule.warmup * static_cast<double>(total);
  const double at = static_cast<double>(step);
  const bool rising = at < warmup;
  const double end = schedule.peak * schedule.final;
  if (schedule.kind == Schedule::Kind::one_cycle && rising)
    return half_cosine(schedule.peak / 25, schedule.peak, at / warmup);
  if (rising) return schedule.peak * (at + 1) / warmup;
  const double rest = std::max(1.0, static_cast<double>(total) - warmup);
  const double fraction = std::clamp((at - warmup) / rest, 0.0, 1.0);
  switch (schedule.kind) {
    case Schedule::Kind::constant: return schedule.peak;
    case Schedule::Kind::linear: return schedule.peak + (end - schedule.peak) * fraction;
    case Schedule::Kind::cosine:
    case Schedule::Kind::one_cycle: return half_cosine(schedule.peak, end, fraction);
  }
  return schedule.peak;
}

Schedule::Kind schedule_kind(const std::string& name) {
  if (name == "constant") return Schedule::Kind::constant;
  if (name == "linear") return Schedule::Kind::linear;
  if (name == "cosine") return Schedule::Kind::cosine;
  if (name == "one_cycle") return Schedule::Kind::one_cycle;
  throw_user_error("T0430", "there is no learning-rate schedule '" + name + "'",
                   "use constant, linear, cosine or one_cycle");
}

}  // namespace treadle
