// A compiled program, ready to run.
#pragma once
#include <memory>
#include <span>

#include "backends/llvm/compiled_program.h"
#include "runtime/node_runner.h"
#include "runtime/program.h"

namespace treadle {

class Profile;

// `graph` is what `compiled` was made of; it may go afterwards. `profile` is that of a
// profiled program, or null.
std::unique_ptr<Program> make_native_program(const Graph& graph,
                                             std::span<const InPlaceUpdate> updates,
                                             CompiledProgram compiled,
                                             const NodeRunnerFactory& runners, Profile* profile);

}  // namespace treadle
