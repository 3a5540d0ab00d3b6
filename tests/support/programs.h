// Programs in the language, for tests.
#pragma once
#include <memory>
#include <set>
#include <string>

#include "frontend/elaborate.h"

namespace treadle::test {

// The file is called test.tdl.
std::shared_ptr<const syntax::Module> module_of(const std::string& text);
Experiment program(const std::string& text, DType real = DType::f64);

// The mean square of y, of one example, in f64: `model` is one that returns y.
Graph mean_square_of(const std::string& model);
// The same of layers that make y, [T, any], of x: real[T, 24].
Graph loss_of_layers(const std::string& layers);

// The codes of all mistakes and warnings.
std::set<std::string> codes_of(const std::string& text, const std::string& path = "block.tdl");

}  // namespace treadle::test
