#include <fmt/format.h>

#include <CLI/CLI.hpp>
#include <algorithm>
#include <cmath>
#include <iostream>
#include <memory>

#include "driver/commands.h"
#include "driver/parameters.h"
#include "ir/diagnostic.h"
#include "runtime/checkpoint.h"

namespace treadle {
namespace {

struct Options {
  std::string run;
  std::vector<std::string> names;
};

std::string type_of(const Tensor& tensor) {
  return fmt::format("{}[{}]", to_string(tensor.dtype()), fmt::join(tensor.shape(), ", "));
}

void print_summary(const std::string& name, const Tensor& tensor) {
  double sum = 0, squares = 0, largest = 0;
  std::int64_t zeros = 0;
  for (std::int64_t i = 0; i < tensor.size(); ++i) {
    const double value = tensor.get(i);
    sum += value;
    squares += value * value;
    largest = std::max(largest, std::abs(value));
    zeros += value == 0 ? 1 : 0;
  }
  const double count = std::max<double>(1, static_cast<double>(tensor.size()));
  std::cout << fmt::format("{:<28} {:<18} {:>11.4g} {:>11.4g} {:>11.4g} {:>9}\n", name,
                           type_of(tensor), sum / count, std::sqrt(squares / count), largest,
                           zeros);
}

void print_values(const std::string& name, const Tensor& tensor) {
  std::cout << fmt::format("{}: {}\n", name, type_of(tensor));
  const std::int64_t width = tensor.shape().empty() ? 1 : tensor.shape().back();
  const int digits = tensor.dtype() == DType::f64 ? 12 : 7;
  for (std::int64_t i = 0; i < tensor.size(); ++i)
    std::cout << fmt::format("{:.{}g}{}", tensor.get(i), digits, (i + 1) % width == 0 ? '\n' : ' ');
}

int run_weights(const Options& options) {
  const Checkpoint saved = load_checkpoint(checkpoint_file(options.run));
  if (options.names.empty())
    std::cout << fmt::format("{:<28} {:<18} {:>11} {:>11} {:>11} {:>9}\n", "parameter", "type",
                             "mean", "root m. sq.", "largest", "zeros");
  for (const auto& [name, tensor] : saved.parameters)
    if (options.names.empty()) print_summary(name, tensor);
  for (const std::string& name : options.names) {
    const auto found = saved.parameters.find(name);
    if (found == saved.parameters.end()) {
      std::string known;
      for (const auto& [other, tensor] : saved.parameters)
        known += (known.empty() ? "" : ", ") + other;
      throw_user_error("T0873", fmt::format("the run has no parameter '{}'", name),
                       "its parameters are " + known);
    }
    print_values(name, found->second);
  }
  return 0;
}

}  // namespace

void add_weights_command(CLI::App& app, Action& action) {
  auto options = std::make_shared<Options>();
  CLI::App* command = app.add_subcommand("weights", "Show the parameters of a training run");
  command->add_option("run", options->run, "The run's folder")->required();
  command->add_option("names", options->names, "Print these in full; else a line for each");
  command->callback([options, &action] { action = [options] { return run_weights(*options); }; });
}

}  // namespace treadle
