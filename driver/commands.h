// The commands; each adds itself to the application.
#pragma once
#include <functional>
#include <string>

#include "ir/graph.h"

namespace CLI {
class App;
}

namespace treadle {

// Set by the command that was chosen; returns the exit status.
using Action = std::function<int()>;

void add_opt_command(CLI::App& app, Action& action);
void add_gradcheck_command(CLI::App& app, Action& action);
void add_check_command(CLI::App& app, Action& action);
void add_test_command(CLI::App& app, Action& action);
void add_generate_command(CLI::App& app, Action& action);
void add_dump_command(CLI::App& app, Action& action);
void add_eval_command(CLI::App& app, Action& action);
void add_run_command(CLI::App& app, Action& action);
void add_weights_command(CLI::App& app, Action& action);
void add_diagnose_command(CLI::App& app, Action& action);
void add_sweep_command(CLI::App& app, Action& action);
void add_predict_command(CLI::App& app, Action& action);
void add_bench_command(CLI::App& app, Action& action);
void add_memory_command(CLI::App& app, Action& action);
void add_train_command(CLI::App& app, Action& action);
void add_fmt_command(CLI::App& app, Action& action);
void add_completion_command(CLI::App& app, Action& action);
void add_explain_command(CLI::App& app, Action& action);
void add_list_commands(CLI::App& app, Action& action);

inline constexpr int exit_check_failed = 3;

// A graph in the text form ("-" is standard input); or, of a program (.tdl), the
// loss of its first train block, else its first model. `real` and `dims` are
// for programs: what `real` means, and values of dims.
Graph load_graph(const std::string& path, DType real = DType::f32, const DimEnv& dims = {});
// "T=5" and the like; throws UserError T0830.
DimEnv parse_dims(const std::vector<std::string>& words);

}  // namespace treadle
