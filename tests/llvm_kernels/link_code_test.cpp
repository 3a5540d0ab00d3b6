// Object files that refer to each other, as one image.
#include "backends/llvm/link_code_internal.h"

#include <llvm/AsmParser/Parser.h>
#include <llvm/IR/LLVMContext.h>
#include <llvm/IR/LegacyPassManager.h>
#include <llvm/IR/Module.h>
#include <llvm/Support/SourceMgr.h>
#include <llvm/Support/raw_ostream.h>
#include <llvm/Target/TargetMachine.h>

#include <cmath>
#include <set>

#include "backends/llvm/native_code.h"
#include "backends/llvm/target_internal.h"
#include "tests/catch.h"

using namespace treadle;

namespace {

std::string object_of(const std::string& text) {
  llvm::LLVMContext context;
  llvm::SMDiagnostic wrong;
  const std::unique_ptr<llvm::Module> module = llvm::parseAssemblyString(text, wrong, context);
  INFO(wrong.getMessage().str());
  REQUIRE(module != nullptr);
  const auto machine = create_target_machine(host_target());
  set_module_target(*module, *machine);
  llvm::SmallVector<char, 0> bytes;
  llvm::raw_svector_ostream stream(bytes);
  llvm::legacy::PassManager passes;
  REQUIRE(
      !machine->addPassesToEmitFile(passes, stream, nullptr, llvm::CodeGenFileType::ObjectFile));
  passes.run(*module);
  return {bytes.begin(), bytes.end()};
}

// Both have a table of that name, call the other's functions and the C library's.
const char* const first = R"(
@table = internal constant [2 x double] [double 3.0, double 5.0]
declare double @exp(double)
declare double @sin(double)
declare hidden double @second(double, i64)
define double @start(double %x, i64 %i) nounwind {
  %s = call double @sin(double %x)
  %y = call double @second(double %s, i64 %i)
  %z = call double @exp(double %y)
  ret double %z
}
define hidden double @third(double %x, i64 %i) nounwind {
  %p = getelementptr double, ptr @table, i64 %i
  %t = load double, ptr %p
  %y = fadd double %x, %t
  ret double %y
}
)";
const char* const other = R"(
@table = internal constant [2 x double] [double 7.0, double 11.0]
declare double @cos(double)
declare double @exp(double)
declare hidden double @third(double, i64)
define hidden double @second(double %x, i64 %i) nounwind {
  %p = getelementptr double, ptr @table, i64 %i
  %t = load double, ptr %p
  %e = call double @exp(double %x)
  %c = call double @cos(double %e)
  %y = fdiv double %c, %t
  %z = call double @third(double %y, i64 %i)
  %w = fmul double %z, 0.125
  ret double %w
}
)";

double expected(double x, int i) {
  const double y = std::cos(std::exp(std::sin(x))) / (i == 0 ? 7.0 : 11.0);
  return std::exp((y + (i == 0 ? 3.0 : 5.0)) * 0.125);
}

}  // namespace

TEST_CASE("objects that refer to each other become one image, in either order") {
  const std::string a = object_of(first), b = object_of(other);
  for (const std::vector<std::string>& objects : {std::vector{a, b}, std::vector{b, a}}) {
    const CodeImage image = link_code(objects, "start");
    std::set<std::string> names;
    for (const CodeImage::Import& import : image.imports) names.insert(import.name);
    CHECK(names == std::set<std::string>{"cos", "exp", "sin"});
    CHECK(image.imports.size() == 3);
    const NativeCode code(image);
    auto* start = code.function<double(double, std::int64_t)>(image.entry);
    for (const int i : {0, 1})
      for (const double x : {-2.0, 0.25, 1.5}) CHECK(start(x, i) == expected(x, i));
    for (int again = 0; again < 5; ++again) {
      const CodeImage same = link_code(objects, "start");
      CHECK(same.bytes == image.bytes);
      CHECK(same.entry == image.entry);
      for (std::size_t j = 0; j < image.imports.size(); ++j) {
        CHECK(same.imports[j].name == image.imports[j].name);
        CHECK(same.imports[j].at == image.imports[j].at);
      }
    }
  }
}
