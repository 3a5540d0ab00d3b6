// From an `optimizer` clause to the settings of the training step.
#pragma once
#include "frontend/elaborate.h"
#include "passes/training_step.h"

namespace treadle {

OptimizerSettings optimizer_settings(const OptimizerSpec& spec);

}  // namespace treadle
