#include <fmt/format.h>

#include <CLI/CLI.hpp>
#include <iostream>
#include <memory>

#include "driver/commands.h"

namespace treadle {
namespace {

// "--after --stage -D": what may follow a command.
std::string options_of(const CLI::App& command) {
  std::string out;
  for (const CLI::Option* option : command.get_options()) {
    for (const std::string& name : option->get_lnames()) out += " --" + name;
    for (const std::string& name : option->get_snames()) out += " -" + name;
  }
  return out.empty() ? out : out.substr(1);
}

std::string bash(const CLI::App& app) {
  std::string names, cases;
  for (const CLI::App* command : app.get_subcommands({})) {
    names += (names.empty() ? "" : " ") + command->get_name();
    cases += fmt::format("    {}) options=\"{}\" ;;\n", command->get_name(), options_of(*command));
  }
  return fmt::format(R"(_treadle() {{
  local word=${{COMP_WORDS[COMP_CWORD]}} options=
  if [[ $COMP_CWORD -eq 1 ]]; then
    COMPREPLY=($(compgen -W "{} --help --version" -- "$word"))
    return
  fi
  case ${{COMP_WORDS[1]}} in
{}  esac
  if [[ $word == -* ]]; then
    COMPREPLY=($(compgen -W "$options" -- "$word"))
  else
    COMPREPLY=($(compgen -f -- "$word"))
  fi
}}
complete -o filenames -F _treadle treadle
)",
                     names, cases);
}

std::string fish(const CLI::App& app) {
  std::string out;
  for (const CLI::App* command : app.get_subcommands({})) {
    out += fmt::format("complete -c treadle -n __fish_use_subcommand -a {} -d '{}'\n",
                       command->get_name(), command->get_description());
    for (const CLI::Option* option : command->get_options())
      for (const std::string& name : option->get_lnames())
        out += fmt::format("complete -c treadle -n '__fish_seen_subcommand_from {}' -l {}\n",
                           command->get_name(), name);
  }
  return out;
}

}  // namespace

void add_completion_command(CLI::App& app, Action& action) {
  auto shell = std::make_shared<std::string>();
  CLI::App* command = app.add_subcommand(
      "completion", "Print a shell's completions: source <(treadle completion bash)");
  command->add_option("shell", *shell, "bash, zsh or fish")
      ->required()
      ->check(CLI::IsMember({"bash", "zsh", "fish"}));
  command->callback([shell, &app, &action] {
    action = [shell, &app] {
      if (*shell == "zsh") std::cout << "autoload -U +X bashcompinit && bashcompinit\n";
      std::cout << (*shell == "fish" ? fish(app) : bash(app));
      return 0;
    };
  });
}

}  // namespace treadle
