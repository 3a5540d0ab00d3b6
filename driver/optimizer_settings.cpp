#include "driver/optimizer_settings.h"

namespace treadle {

OptimizerSettings optimizer_settings(const OptimizerSpec& spec) {
  OptimizerSettings out;
  out.kind = spec.name == "sgd"    ? OptimizerSettings::Kind::sgd
             : spec.name == "adam" ? OptimizerSettings::Kind::adam
                                   : OptimizerSettings::Kind::adamw;
  out.beta1 = spec.setting("beta1", out.beta1);
  out.beta2 = spec.setting("beta2", out.beta2);
  out.epsilon = spec.setting("epsilon", out.epsilon);
  out.weight_decay = spec.setting("weight_decay", 0);
  out.momentum = spec.setting("momentum", 0);
  out.clip_norm = spec.clip_norm;
  return out;
}

}  // namespace treadle
