// What this machine takes for each step of a product: of the class of its
// processor, or measured once (`treadle calibrate`) and kept in a file.
#pragma once
#include <filesystem>
#include <functional>
#include <memory>
#include <optional>
#include <string>

#include "ir/product_cost.h"

namespace CLI {
class App;
}

namespace treadle {

struct Calibration {
  StepSeconds llvm, onednn;
  friend bool operator==(const Calibration&, const Calibration&) = default;
};

// Of processors with vectors of so many bytes, measured on one of them.
Calibration default_calibration(int vector_bytes);

// Measures products of some twenty sizes on both backends, in less than two
// seconds, and fits the seconds of all steps to them: non-negative least squares
// of the relative errors.
Calibration measure_calibration();

// JSON that says which machine it is of: processor, its features, the versions
// of both libraries.
std::string calibration_text(const Calibration& calibration);
// The seconds alone, all their digits: what a choice depends on.
std::string seconds_text(const Calibration& calibration);
// Throws UserError: T0936 for what is no calibration, T0937 for one of another
// machine. `name` is what messages call the file.
Calibration parse_calibration(const std::string& text, const std::string& name);

// calibration.json in the folder of compiled code (code_cache_folder()); none where
// nothing is kept.
std::optional<std::filesystem::path> calibration_file();

// Of that file, read once; of the processor's class where there is none, or where
// it does not fit, which a warning on the standard error says.
const Calibration& machine_calibration();

// Takes the place of machine_calibration() in this process, before anything is
// compiled: a run that goes on keeps the seconds that it began with.
void use_calibration(Calibration calibration);

// What `place` chooses between: LLVM, then oneDNN.
struct PlacementModels {
  explicit PlacementModels(const Calibration& calibration);
  std::shared_ptr<const ProductModel> llvm, onednn;
};

// `treadle calibrate`.
void add_calibrate_command(CLI::App& app, std::function<int()>& action);

}  // namespace treadle
