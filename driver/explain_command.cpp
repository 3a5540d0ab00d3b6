#include <fmt/format.h>

#include <CLI/CLI.hpp>
#include <iostream>
#include <memory>
#include <string>

#include "driver/commands.h"
#include "driver/explain.h"

namespace treadle {
namespace {

int run_explain(const std::string& code) {
  if (!code.empty()) {
    std::cout << explain(code).text;
    return 0;
  }
  for (const ErrorPage& page : error_pages())
    std::cout << fmt::format("{}  {}\n", page.code, page.title);
  return 0;
}

}  // namespace

void add_explain_command(CLI::App& app, Action& action) {
  auto code = std::make_shared<std::string>();
  CLI::App* command = app.add_subcommand("explain", "What a diagnostic means, and how to mend it");
  command->add_option("code", *code, "Its code: T0312; without one all codes are listed");
  command->callback([code, &action] { action = [code] { return run_explain(*code); }; });
}

}  // namespace treadle
