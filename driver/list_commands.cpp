#include <fmt/format.h>

#include <CLI/CLI.hpp>
#include <algorithm>
#include <iostream>

#include "driver/commands.h"
#include "ir/op_def.h"
#include "passes/pass_manager.h"

namespace treadle {

void add_list_commands(CLI::App& app, Action& action) {
  app.add_subcommand("passes", "List the passes")->callback([&action] {
    action = [] {
      std::size_t width = 0;
      for (const Pass& pass : all_passes()) width = std::max(width, pass.name.size());
      for (const Pass& pass : all_passes())
        std::cout << fmt::format("{:<{}} {}\n", pass.name, width, pass.doc);
      return 0;
    };
  });
  app.add_subcommand("ops", "List the ops of the graph")->callback([&action] {
    action = [] {
      for (const Op op : all_ops())
        std::cout << fmt::format("{:<18} {}\n", op_def(op).name, op_def(op).doc);
      return 0;
    };
  });
}

}  // namespace treadle
