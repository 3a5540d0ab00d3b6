// A Program that the reference evaluator runs: slow, exact, always there.
#pragma once
#include <memory>
#include <span>

#include "runtime/program.h"

namespace treadle {

std::unique_ptr<Program> make_reference_program(Graph graph,
                                                std::span<const InPlaceUpdate> updates);

}  // namespace treadle
