#include "tests/support/programs.h"

#include "frontend/parser.h"

namespace treadle::test {

std::shared_ptr<const syntax::Module> module_of(const std::string& text) {
  auto file = std::make_shared<SourceFile>();
  file->path = "test.tdl";
  file->text = text;
  return std::make_shared<const syntax::Module>(parse_or_throw(std::move(file)));
}

Experiment program(const std::string& text, DType real) {
  ElaborateOptions options;
  options.real = real;
  return elaborate_or_throw(module_of(text), options);
}

Graph mean_square_of(const std::string& model) {
  const Experiment experiment = program(model +
                                        "train M {\n"
                                        "  data      npy(\"x.npy\")\n"
                                        "  loss      mean(square(y))\n"
                                        "  optimizer sgd(lr: constant(0.1))\n"
                                        "  epochs    1\n"
                                        "}\n");
  return experiment.loss(*experiment.find_train(), Mode::train);
}

Graph loss_of_layers(const std::string& layers) {
  return mean_square_of("model M(x: real[T, 24]) {\n" + layers + "  return y: y\n}\n");
}

std::set<std::string> codes_of(const std::string& text, const std::string& path) {
  auto file = std::make_shared<SourceFile>();
  file->path = path;
  file->text = text;
  std::vector<Diagnostic> diagnostics;
  auto module = std::make_shared<const syntax::Module>(parse(std::move(file), diagnostics));
  if (diagnostics.empty()) elaborate(std::move(module), {}, diagnostics);
  std::set<std::string> out;
  for (const Diagnostic& diagnostic : diagnostics) out.insert(diagnostic.code);
  return out;
}

}  // namespace treadle::test
