// What is printed of metrics.
#pragma once
#include <string>

#include "runtime/trainer.h"

namespace treadle {

// "loss 0.2028  accuracy 0.9467"
std::string metrics_text(const Metrics& metrics);
// {"examples": 300, "loss": 0.2028, "model": "M", "reports": {"accuracy": 0.9467}}
// on one line; numbers that are not finite are null.
std::string metrics_json(const Metrics& metrics, const std::string& model, std::int64_t examples);

}  // namespace treadle
