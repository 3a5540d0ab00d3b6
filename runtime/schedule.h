// Learning rates over the steps of a training run.
#pragma once
#include <cstdint>
#include <string>

namespace treadle {

struct Schedule {
  enum class Kind { constant, linear, cosine, one_cycle };
  Kind kind = Kind::constant;
  double peak = 1e-3;
  double warmup = 0;  // steps when >= 1, else a fraction of all steps
  double final = 0;   // the last learning rate, as a fraction of the peak
};

// The learning rate of step `step` (from 0) of `total`.
//   constant   peak, after a linear warm-up
//   linear     warm-up, then straight down to peak * final
//   cosine     warm-up, then half a cosine down (Loshchilov and Hutter 2017, eq. 5)
//   one_cycle  half a cosine up from peak / 25 over the warm-up, half a cosine
//              down to peak * final (Smith and Topin 2019)
double learning_rate(const Schedule& schedule, std::int64_t step, std::int64_t total);

// "cosine" -> Kind; throws UserError T0430 on another name.
Schedule::Kind schedule_kind(const std::string& name);

}  // namespace treadle
