#include <bit>
#include <cmath>
#include <functional>
#include <limits>
#include <vector>

#include "backends/llvm/vector_math_internal.h"
#include "tests/catch.h"
#include "tests/llvm_kernels/jit.h"

using namespace treadle;
using treadle::testing::TestJit;

namespace {

using Kernel = void(const void* x, const void* y, void* result, std::int64_t count);

// result[i] = program(x[i], y[i]) for `count` elements, `lanes` at a time.
void emit_loop(TestJit& jit, const Target& target, const std::string& name,
               const ScalarProgram& program, DType in, DType out, unsigned lanes) {
  llvm::LLVMContext& context = jit.module().getContext();
  llvm::IRBuilder<> b(context);
  llvm::Type* ptr = b.getPtrTy();
  auto* f = jit.function(
      name, llvm::FunctionType::get(b.getVoidTy(), {ptr, ptr, ptr, b.getInt64Ty()}, false));
  auto* entry = llvm::BasicBlock::Create(context, "entry", f);
  auto* body = llvm::BasicBlock::Create(context, "body", f);
  auto* done = llvm::BasicBlock::Create(context, "done", f);
  b.SetInsertPoint(entry);
  b.CreateBr(body);
  b.SetInsertPoint(body);
  auto* i = b.CreatePHI(b.getInt64Ty(), 2);
  i->addIncoming(b.getInt64(0), entry);
  const auto load = [&](unsigned argument) {
    auto* address = b.CreateGEP(value_type(context, in), f->getArg(argument), i);
    return b.CreateAlignedLoad(value_type(context, in, lanes), address, llvm::Align(1));
  };
  llvm::Value* arguments[] = {load(0), load(1)};
  llvm::Value* result = emit_scalar_program(b, program, arguments, target);
  llvm::Type* element = value_type(context, out);
  if (out == DType::b1) {
    element = b.getInt8Ty();
    result = b.CreateZExt(result, result->getType()->getWithNewType(element));
  }
  b.CreateAlignedStore(result, b.CreateGEP(element, f->getArg(2), i), llvm::Align(1));
  auto* next = b.CreateAdd(i, b.getInt64(lanes));
  i->addIncoming(next, body);
  b.CreateCondBr(b.CreateICmpSLT(next, f->getArg(3)), body, done);
  b.SetInsertPoint(done);
  b.CreateRetVoid();
}

ScalarProgram program_of(ScalarOp op, DType in, DType out) {
  ScalarProgram program;
  program.instructions = {{ScalarOp::argument, in, {}, 0, 0}, {ScalarOp::argument, in, {}, 0, 1}};
  ScalarInstruction instruction;
  instruction.op = op;
  instruction.dtype = out;
  instruction.operands = {0, 1, 0};
  program.instructions.push_back(instruction);
  program.result = 2;
  return program;
}

template <typename In, typename Out>
std::vector<Out> apply(const Target& target, const ScalarProgram& program, DType in, DType out,
                       unsigned lanes, std::vector<In> x, std::vector<In> y) {
  TestJit jit(target);
  emit_loop(jit, target, "f", program, in, out, lanes);
  jit.compile();
  const std::size_t count = x.size();
  x.resize(count + 64);
  y.resize(count + 64);
  std::vector<Out> result(count + 64);
  jit.lookup<Kernel>("f")(x.data(), y.data(), result.data(), static_cast<std::int64_t>(count));
  result.resize(count);
  return result;
}

// The distance between `actual` and the exact value, in units of the last
// place that f32 has at the exact value.
double ulps(float actual, double exact) {
  if (std::isnan(exact)) return std::isnan(actual) ? 0 : 1e30;
  if (std::isnan(actual)) return 1e30;
  const auto nearest = static_cast<float>(exact);
  if (std::isinf(nearest) || std::isinf(actual)) return actual == nearest ? 0 : 1e30;
  const double magnitude = std::max(std::abs(exact), 0x1p-126);
  const double unit = std::ldexp(1.0, std::ilogb(magnitude) - 23);
  return std::abs(static_cast<double>(actual) - exact) / unit;
}

double sigmoid_of(double x) {
  const double e = std::exp(-std::abs(x));
  return (x < 0 ? e : 1) / (1 + e);
}

struct Function {
  const char* name;
  ScalarOp op;
  double (*exact)(double);
};

const std::vector<Function>& functions() {
  static const std::vector<Function> table = {
      {"exp", ScalarOp::exp, [](double x) { return std::exp(x); }},
      {"expm1", ScalarOp::expm1, [](double x) { return std::expm1(x); }},
      {"log", ScalarOp::log, [](double x) { return std::log(x); }},
      {"log1p", ScalarOp::log1p, [](double x) { return std::log1p(x); }},
      {"sqrt", ScalarOp::sqrt, [](double x) { return std::sqrt(x); }},
      {"sin", ScalarOp::sin, [](double x) { return std::sin(x); }},
      {"cos", ScalarOp::cos, [](double x) { return std::cos(x); }},
      {"erf", ScalarOp::erf, [](double x) { return std::erf(x); }},
      {"tanh", ScalarOp::tanh, [](double x) { return std::tanh(x); }},
      {"sigmoid", ScalarOp::sigmoid, sigmoid_of},
  };
  return table;
}

// Every `stride`-th f32, and the places where a reduction may go wrong.
std::vector<float> sample(std::uint64_t stride) {
  std::vector<float> values;
  for (std::uint64_t i = 0; i < (1ULL << 32); i += stride)
    values.push_back(std::bit_cast<float>(static_cast<std::uint32_t>(i)));
  const float infinity = std::numeric_limits<float>::infinity();
  for (float x : {0.0F, 1.0F, 0x1p-149F, 0x1p-126F, 88.0F, 88.73F, 87.34F, 104.0F, 710.0F, 0.5F,
                  3.14159274F, 1.57079637F, 16367173e12F, 0x1.fffffep127F, 10.0F, infinity,
                  std::numeric_limits<float>::quiet_NaN()}) {
    values.push_back(x);
    values.push_back(-x);
    values.push_back(std::nextafter(x, infinity));
    values.push_back(std::nextafter(x, -infinity));
  }
  return values;
}

void check_functions(const char* mask, std::uint64_t stride, double bound) {
  const Target target = make_target(mask);
  const auto lanes = static_cast<unsigned>(target.vector_bytes / 4);
  const std::vector<float> x = sample(stride);
  for (const Function& f : functions()) {
    const auto program = program_of(f.op, DType::f32, DType::f32);
    const auto y = apply<float, float>(target, program, DType::f32, DType::f32, lanes, x, x);
    double worst = 0;
    float at = 0;
    for (std::size_t i = 0; i < x.size(); ++i) {
      const double error = ulps(y[i], f.exact(static_cast<double>(x[i])));
      if (error > worst) worst = error, at = x[i];
    }
    INFO(f.name << " is " << worst << " ulp off at " << at << " with features '" << mask << "'");
    CHECK(worst <= bound);
    if (stride == 1) WARN(f.name << ": " << worst << " ulp at " << at);
  }
}

}  // namespace

TEST_CASE("f32 functions are within 2 ulp of exact, every 997th float") {
  check_functions("", 997, 2);
}

TEST_CASE("f32 functions on AVX2") { check_functions("avx2", 9973, 2); }

TEST_CASE("f32 functions without fused multiply-add") { check_functions("sse", 9973, 3); }

TEST_CASE("f32 functions on all floats", "[.exhaustive]") { check_functions("", 1, 2); }

TEST_CASE("signs of zero stay") {
  const Target target = make_target("");
  for (const Function& f : functions()) {
    if (f.exact(-0.0) != 0 || !std::signbit(f.exact(-0.0))) continue;
    INFO(f.name);
    const auto program = program_of(f.op, DType::f32, DType::f32);
    const std::vector<float> x(16, -0.0F);
    const auto y = apply<float, float>(target, program, DType::f32, DType::f32, 16, x, x);
    CHECK(y[3] == 0);
    CHECK(std::signbit(y[3]));
  }
}

TEST_CASE("a scalar remainder has the bits of the vector body") {
  const Target target = make_target("");
  std::vector<float> x;
  for (int i = 0; i < 4096; ++i) x.push_back(std::ldexp(static_cast<float>(i - 2048), -7));
  for (const Function& f : functions()) {
    INFO(f.name);
    const auto program = program_of(f.op, DType::f32, DType::f32);
    const auto one = apply<float, float>(target, program, DType::f32, DType::f32, 1, x, x);
    const auto many = apply<float, float>(target, program, DType::f32, DType::f32, 16, x, x);
    bool same = true;
    for (std::size_t i = 0; i < x.size(); ++i)
      same = same && (std::bit_cast<std::uint32_t>(one[i]) == std::bit_cast<std::uint32_t>(many[i]) ||
                      (std::isnan(one[i]) && std::isnan(many[i])));
    CHECK(same);
  }
}

TEST_CASE("f64 functions") {
  const Target target = make_target("");
  std::vector<double> x;
  for (int i = -2000; i <= 2000; ++i) x.push_back(i * 0.017);
  for (const Function& f : functions()) {
    const auto program = program_of(f.op, DType::f64, DType::f64);
    const auto y = apply<double, double>(target, program, DType::f64, DType::f64, 8, x, x);
    double worst = 0;
    for (std::size_t i = 0; i < x.size(); ++i) {
      const double exact = f.exact(x[i]);
      if (std::isnan(exact) || std::isinf(exact)) {
        CHECK((std::isnan(exact) ? std::isnan(y[i]) : y[i] == exact));
        continue;
      }
      worst = std::max(worst, std::abs(y[i] - exact) / std::max(std::abs(exact), 1e-300));
    }
    INFO(f.name);
    CHECK(worst <= 4e-16);
  }
}

TEST_CASE("pow in f32") {
  const Target target = make_target("");
  const float infinity = std::numeric_limits<float>::infinity();
  const std::vector<float> values = {0.0F, -0.0F, 1.0F, -1.0F, 2.0F, -2.0F, 0.5F, -0.5F, 3.0F,
                                     -3.0F, 1.5F, 0.999F, 1.001F, 1e-40F, 1e30F, -1e30F, 127.3F,
                                     infinity, -infinity, std::nanf(""), 16777217.0F, -7.0F};
  std::vector<float> x;
  std::vector<float> y;
  for (float a : values)
    for (float b : values) x.push_back(a), y.push_back(b);
  for (std::uint32_t i = 1; i < 200000; ++i) {
    x.push_back(std::bit_cast<float>(i * 10007U % 0x7f800000U));
    y.push_back(static_cast<float>(i % 977) / 61.0F - 8.0F);
    x.push_back(0.9F + static_cast<float>(i % 1999) * 1e-4F);
    y.push_back(static_cast<float>(i % 1511) - 700.0F);
  }
  const auto program = program_of(ScalarOp::pow, DType::f32, DType::f32);
  const auto r = apply<float, float>(target, program, DType::f32, DType::f32, 16, x, y);
  for (std::size_t i = 0; i < x.size(); ++i) {
    const double exact = std::pow(static_cast<double>(x[i]), static_cast<double>(y[i]));
    const double error = ulps(r[i], exact);
    if (error <= 1 && (r[i] != 0 || std::signbit(r[i]) == std::signbit(exact))) continue;
    INFO(x[i] << " ^ " << y[i] << " = " << r[i] << ", not " << exact);
    REQUIRE(false);
  }
}
