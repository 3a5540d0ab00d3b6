#include <algorithm>
#include <bit>
#include <cmath>
#include <cstdint>
#include <functional>
#include <limits>
#include <numbers>
#include <span>
#include <vector>

#include "backends/llvm/vector_math_internal.h"
#include "tests/catch.h"
#include "tests/llvm_kernels/jit.h"

using namespace treadle;
using treadle::testing::TestJit;

namespace {

using Kernel = void(const void* x, const void* y, void* result, std::int64_t count);

using Emit = std::function<llvm::Value*(llvm::IRBuilderBase&, std::span<llvm::Value* const>)>;

// result[i] = emit(x[i], y[i]) for `count` elements, `lanes` at a time.
void emit_loop(TestJit& jit, const std::string& name, const Emit& emit, DType in, DType out,
               unsigned lanes) {
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
  llvm::Value* result = emit(b, arguments);
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

// A program of one loop, compiled.
template <typename In, typename Out>
class Compiled {
 public:
  Compiled(const Target& target, const Emit& emit, DType in, DType out, unsigned lanes)
      : jit_(target) {
    emit_loop(jit_, "f", emit, in, out, lanes);
    jit_.compile();
    kernel_ = jit_.lookup<Kernel>("f");
  }
  Compiled(const Target& target, const ScalarProgram& program, DType in, DType out, unsigned lanes)
      : Compiled(
            target,
            [&](llvm::IRBuilderBase& b, std::span<llvm::Value* const> arguments) {
              return emit_scalar_program(b, program, arguments, target);
            },
            in, out, lanes) {}

  std::vector<Out> operator()(std::vector<In> x, std::vector<In> y) const {
    const std::size_t count = x.size();
    x.resize(count + 64);
    y.resize(count + 64);
    std::vector<Out> result(count + 64);
    kernel_(x.data(), y.data(), result.data(), static_cast<std::int64_t>(count));
    result.resize(count);
    return result;
  }

 private:
  TestJit jit_;
  Kernel* kernel_ = nullptr;
};

template <typename In, typename Out>
std::vector<Out> apply(const Target& target, const ScalarProgram& program, DType in, DType out,
                       unsigned lanes, const std::vector<In>& x, const std::vector<In>& y) {
  return Compiled<In, Out>(target, program, in, out, lanes)(x, y);
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

double normal_cdf_of(double x) { return 0.5 * std::erfc(x / -std::numbers::sqrt2); }

double normal_pdf_of(double x) {
  return std::numbers::inv_sqrtpi / std::numbers::sqrt2 * std::exp(-0.5 * x * x);
}

// The limit far below 0 is 0.
double gelu_of(double x) { return x < -50 ? 0 : x * normal_cdf_of(x); }
double silu_of(double x) { return x < -700 ? 0 : x * sigmoid_of(x); }
double softplus_of(double x) {
  return std::isnan(x) ? x : std::max(x, 0.0) + std::log1p(std::exp(-std::abs(x)));
}

struct Function {
  const char* name;
  ScalarOp op;
  double (*exact)(double);
  double without_fma = 3;  // its bound there in ulp; else 2
  bool inverted = false;   // 1 over what `op` gives
};

ScalarProgram program_of(const Function& f, DType dtype = DType::f32) {
  ScalarProgram program = program_of(f.op, dtype, dtype);
  if (!f.inverted) return program;
  program.instructions.push_back({ScalarOp::constant, dtype, {}, 1, 0});
  program.instructions.push_back({ScalarOp::div, dtype, {3, 2}, 0, 0});
  program.result = 4;
  return program;
}

const std::vector<Function>& functions() {
  static const std::vector<Function> table = {
      {"exp", ScalarOp::exp, [](double x) { return std::exp(x); }},
      {"expm1", ScalarOp::expm1, [](double x) { return std::expm1(x); }},
      {"log", ScalarOp::log, [](double x) { return std::log(x); }},
      {"log1p", ScalarOp::log1p, [](double x) { return std::log1p(x); }},
      {"sqrt", ScalarOp::sqrt, [](double x) { return std::sqrt(x); }},
      {"rsqrt", ScalarOp::sqrt, [](double x) { return 1 / std::sqrt(x); }, 2, true},
      {"sin", ScalarOp::sin, [](double x) { return std::sin(x); }},
      {"cos", ScalarOp::cos, [](double x) { return std::cos(x); }},
      {"erf", ScalarOp::erf, [](double x) { return std::erf(x); }},
      {"tanh", ScalarOp::tanh, [](double x) { return std::tanh(x); }},
      {"sigmoid", ScalarOp::sigmoid, sigmoid_of},
      {"normal_cdf", ScalarOp::normal_cdf, normal_cdf_of, 4},
      {"normal_pdf", ScalarOp::normal_pdf, normal_pdf_of},
      {"gelu", ScalarOp::gelu, gelu_of, 5},
      {"silu", ScalarOp::silu, silu_of},
      {"softplus", ScalarOp::softplus, softplus_of},
  };
  return table;
}

// The places where a reduction may go wrong.
std::vector<float> edges() {
  std::vector<float> values;
  const float infinity = std::numeric_limits<float>::infinity();
  for (float x : {0.0F, 1.0F, 0x1p-149F, 0x1p-126F, 88.0F, 88.73F, 87.34F, 104.0F, 710.0F, 0.5F,
                  3.14159274F, 1.57079637F, 16367173e12F, 0x1.fffffep127F, 10.0F, 20.0F, 800.0F,
                  infinity, std::numeric_limits<float>::quiet_NaN()}) {
    for (float y : {x, std::nextafter(x, infinity), std::nextafter(x, -infinity)}) {
      values.push_back(y);
      values.push_back(-y);
    }
  }
  return values;
}

struct Worst {
  double error = 0;
  float at = 0;
};

void compare(const Function& f, const Compiled<float, float>& compiled, const std::vector<float>& x,
             Worst& worst) {
  const std::vector<float> y = compiled(x, x);
  for (std::size_t i = 0; i < x.size(); ++i) {
    const double error = ulps(y[i], f.exact(static_cast<double>(x[i])));
    if (error > worst.error) worst = {error, x[i]};
  }
}

// Every `stride`-th f32 of all 2^32, and the edges, within each function's bound. A section for
// each one, so that one alone can be measured.
void check_functions(const char* mask, std::uint64_t stride) {
  const Target target = make_target(mask);
  const auto lanes = static_cast<unsigned>(target.vector_bytes / 4);
  for (const Function& f : functions()) DYNAMIC_SECTION(f.name) {
      const Compiled<float, float> compiled(target, program_of(f), DType::f32, DType::f32, lanes);
      Worst worst;
      compare(f, compiled, edges(), worst);
      std::vector<float> x;
      for (std::uint64_t i = 0; i < (1ULL << 32); i += stride) {
        x.push_back(std::bit_cast<float>(static_cast<std::uint32_t>(i)));
        if (x.size() < (1U << 20) && i + stride < (1ULL << 32)) continue;
        compare(f, compiled, x, worst);
        x.clear();
      }
      INFO(f.name << " is " << worst.error << " ulp off at " << worst.at << " with features '"
                  << mask << "'");
      CHECK(worst.error <= (target.has_fma ? 2 : f.without_fma));
      if (stride < 100) WARN(f.name << ": " << worst.error << " ulp at " << worst.at);
    }
}

}  // namespace

TEST_CASE("f32 functions are within their bounds of exact, every 997th float") {
  check_functions("", 997);
}

TEST_CASE("f32 functions on AVX2") { check_functions("avx2", 9973); }

TEST_CASE("f32 functions without fused multiply-add") { check_functions("sse", 9973); }

TEST_CASE("f32 functions on all floats", "[.exhaustive]") { check_functions("", 1); }

TEST_CASE("f32 functions on every 61st float", "[.dense]") { check_functions("", 61); }

TEST_CASE("signs of zero stay") {
  const Target target = make_target("");
  for (const Function& f : functions()) {
    if (f.exact(-0.0) != 0 || !std::signbit(f.exact(-0.0))) continue;
    INFO(f.name);
    const auto program = program_of(f);
    const std::vector<float> x(16, -0.0F);
    const auto y = apply<float, float>(target, program, DType::f32, DType::f32, 16, x, x);
    CHECK(y[3] == 0);
    CHECK(std::signbit(y[3]));
  }
}

TEST_CASE("tanh is odd, and it and sigmoid stay within their ranges") {
  std::vector<float> x, negative;
  for (std::uint32_t i = 0; i < 0x80000000U; i += 4093) {
    x.push_back(std::bit_cast<float>(i));
    negative.push_back(-x.back());
  }
  for (const char* mask : {"", "sse"}) {
    INFO("features '" << mask << "'");
    const Target target = make_target(mask);
    const auto lanes = static_cast<unsigned>(target.vector_bytes / 4);
    const auto run = [&](ScalarOp op, const std::vector<float>& at) {
      return apply<float, float>(target, program_of(op, DType::f32, DType::f32), DType::f32,
                                 DType::f32, lanes, at, at);
    };
    const auto tanh = run(ScalarOp::tanh, x), odd = run(ScalarOp::tanh, negative);
    const auto high = run(ScalarOp::sigmoid, x), low = run(ScalarOp::sigmoid, negative);
    std::size_t wrong = 0;
    for (std::size_t i = 0; i < x.size(); ++i) {
      if (std::isnan(x[i])) continue;
      if (!(tanh[i] <= 1 && odd[i] == -tanh[i])) ++wrong;
      if (!(low[i] >= 0 && low[i] <= 0.5F && high[i] >= 0.5F && high[i] <= 1)) ++wrong;
    }
    CHECK(wrong == 0);
  }
}

TEST_CASE("the normal distribution is a half at 0 and has digits far below it") {
  const std::vector<float> x = {0.0F, -0.0F, 0x1p-149F, -13.0F, -14.0F, -20.0F, 6.0F, 1e30F};
  for (const char* mask : {"", "avx2", "sse"}) {
    INFO("features '" << mask << "'");
    const Target target = make_target(mask);
    const auto y =
        apply<float, float>(target, program_of(ScalarOp::normal_cdf, DType::f32, DType::f32),
                            DType::f32, DType::f32, 4, x, x);
    CHECK(std::vector<float>(y.begin(), y.begin() + 3) == std::vector<float>(3, 0.5F));
    const double bound = target.has_fma ? 2 : 4;
    for (std::size_t i = 3; i < x.size(); ++i)
      CHECK(ulps(y[i], normal_cdf_of(static_cast<double>(x[i]))) <= bound);
  }
}

// GELU and its slope as its op writes it, with what the functions lose and the two roundings
// behind: no more than 1.6e-7.
TEST_CASE("GELU and its derivative in f32") {
  ScalarProgram slope_program = program_of(ScalarOp::normal_pdf, DType::f32, DType::f32);
  slope_program.instructions.push_back({ScalarOp::mul, DType::f32, {0, 2}, 0, 0});
  slope_program.instructions.push_back({ScalarOp::normal_cdf, DType::f32, {0}, 0, 0});
  slope_program.instructions.push_back({ScalarOp::add, DType::f32, {3, 4}, 0, 0});
  slope_program.result = 5;
  std::vector<float> x;
  for (int i = -140000; i <= 200000; ++i) x.push_back(static_cast<float>(i) * 1.00001e-4F);
  for (const char* mask : {"", "avx2", "sse"}) {
    INFO("features '" << mask << "'");
    const Target target = make_target(mask);
    const auto value =
        apply<float, float>(target, program_of(ScalarOp::gelu, DType::f32, DType::f32), DType::f32,
                            DType::f32, 4, x, x);
    const auto slope = apply<float, float>(target, slope_program, DType::f32, DType::f32, 4, x, x);
    double worst = 0, worst_slope = 0;
    for (std::size_t i = 0; i < x.size(); ++i) {
      const auto at = static_cast<double>(x[i]);
      worst = std::max(worst, ulps(value[i], gelu_of(at)));
      worst_slope = std::max(worst_slope, std::abs(static_cast<double>(slope[i]) -
                                                   normal_cdf_of(at) - at * normal_pdf_of(at)));
    }
    CHECK(worst <= (target.has_fma ? 2 : 5));
    CHECK(worst_slope <= 1.6e-7);
  }
}

TEST_CASE("far below 0 GELU, SiLU and softplus are 0") {
  const std::vector<float> x = {-115.0F, -1e4F, -1e30F, -std::numeric_limits<float>::infinity()};
  for (const ScalarOp op : {ScalarOp::gelu, ScalarOp::silu, ScalarOp::softplus})
    for (const char* mask : {"", "avx2", "sse"})
      CHECK(apply<float, float>(make_target(mask), program_of(op, DType::f32, DType::f32),
                                DType::f32, DType::f32, 4, x, x) == std::vector<float>(4, 0.0F));
}

TEST_CASE("a scalar remainder has the bits of the vector body") {
  const Target target = make_target("");
  std::vector<float> x;
  for (int i = 0; i < 4096; ++i) x.push_back(std::ldexp(static_cast<float>(i - 2048), -7));
  // Up to where exp is no normal number, and none.
  for (int i = 0; i < 4096; ++i) x.push_back(std::ldexp(static_cast<float>(i - 2048), -4));
  for (const Function& f : functions()) {
    INFO(f.name);
    const auto program = program_of(f);
    const auto one = apply<float, float>(target, program, DType::f32, DType::f32, 1, x, x);
    const auto many = apply<float, float>(target, program, DType::f32, DType::f32, 16, x, x);
    bool same = true;
    for (std::size_t i = 0; i < x.size(); ++i)
      same =
          same && (std::bit_cast<std::uint32_t>(one[i]) == std::bit_cast<std::uint32_t>(many[i]) ||
                   (std::isnan(one[i]) && std::isnan(many[i])));
    CHECK(same);
  }
}

TEST_CASE("exp of a difference is within 2 ulp, and 0 where that is nearly no normal number") {
  for (const char* mask : {"", "sse"}) {
    const Target target = make_target(mask);
    const Emit emit = [&](llvm::IRBuilderBase& b, std::span<llvm::Value* const> arguments) {
      return emit_exp_of_difference(b, arguments[0], target);
    };
    const Compiled<float, float> one(target, emit, DType::f32, DType::f32, 1);
    const Compiled<float, float> many(target, emit, DType::f32, DType::f32, 32);
    const float infinity = std::numeric_limits<float>::infinity();
    std::vector<float> x = {-infinity,
                            -0x1.fffffep127F,
                            -87.0F,
                            -87.33F,
                            -87.34F,
                            -87.683F,
                            -87.6832F,
                            std::nextafter(-88.0F, -infinity),
                            -0.0F,
                            0x1p-149F,
                            88.0F,
                            infinity,
                            std::numeric_limits<float>::quiet_NaN()};
    for (int i = -120 * 256; i <= 88 * 256; ++i)
      x.push_back(static_cast<float>(i) / 256 + 0.00123F * static_cast<float>(i % 3));
    for (int i = -40000; i <= 40000; ++i) x.push_back(static_cast<float>(i) / 40000);
    const std::vector<float> y = many(x, x), scalar = one(x, x);
    Worst worst;
    std::size_t different = 0;
    for (std::size_t i = 0; i < x.size(); ++i) {
      // An infinity minus itself is what a softmax has there.
      const double exact = x[i] < -126.5 * std::log(2.0) ? 0
                           : x[i] > 1000                 ? std::nan("")
                                                         : std::exp(static_cast<double>(x[i]));
      const double error = ulps(y[i], exact);
      if (error > worst.error) worst = {error, x[i]};
      if (!std::isnan(y[i])) different += y[i] != scalar[i] ? 1 : 0;
    }
    INFO(worst.error << " ulp off at " << worst.at << " with features '" << mask << "'");
    CHECK(worst.error <= 2);
    CHECK(different == 0);
  }
}

TEST_CASE("f64 functions") {
  const Target target = make_target("");
  std::vector<double> x;
  for (int i = -2000; i <= 2000; ++i) x.push_back(i * 0.017);
  for (const Function& f : functions()) {
    const auto program = program_of(f, DType::f64);
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
  const std::vector<float> values = {
      0.0F,   -0.0F,    1.0F,      -1.0F,         2.0F,        -2.0F,  0.5F,  -0.5F,
      3.0F,   -3.0F,    1.5F,      0.999F,        1.001F,      1e-40F, 1e30F, -1e30F,
      127.3F, infinity, -infinity, std::nanf(""), 16777217.0F, -7.0F};
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

namespace {

// op on every pair of `values`, against the expected result of a pair.
template <typename In, typename Out, typename Expected>
void check_pairs(ScalarOp op, DType in, DType out, const std::vector<In>& values,
                 Expected expected) {
  std::vector<In> x;
  std::vector<In> y;
  for (In a : values)
    for (In b : values) x.push_back(a), y.push_back(b);
  for (const char* mask : {"", "avx2", "sse"}) {
    for (unsigned lanes : {1U, 4U, 8U}) {
      const auto r =
          apply<In, Out>(make_target(mask), program_of(op, in, out), in, out, lanes, x, y);
      for (std::size_t i = 0; i < x.size(); ++i) {
        INFO("op " << static_cast<int>(op) << " of " << x[i] << " and " << y[i]);
        const Out want = expected(x[i], y[i]);
        REQUIRE((r[i] == want || (r[i] != r[i] && want != want)));
      }
    }
  }
}

}  // namespace

TEST_CASE("integer operations wrap, and are defined for every operand") {
  const std::vector<std::int32_t> values = {0,  1,  -1,      2,         31,       32,
                                            33, -7, 1000003, INT32_MAX, INT32_MIN};
  using I = std::int32_t;
  using U = std::uint32_t;
  const auto check = [&](ScalarOp op, auto expected) {
    check_pairs<I, I>(op, DType::i32, DType::i32, values, expected);
  };
  check(ScalarOp::add, [](I a, I b) { return static_cast<I>(U(a) + U(b)); });
  check(ScalarOp::mul, [](I a, I b) { return static_cast<I>(U(a) * U(b)); });
  check(ScalarOp::div, [](I a, I b) {
    return b == 0 ? 0 : b == -1 ? static_cast<I>(0U - U(a)) : a / b;
  });
  check(ScalarOp::minimum, [](I a, I b) { return std::min(a, b); });
  check(ScalarOp::bit_xor, [](I a, I b) { return a ^ b; });
  check(ScalarOp::shift_left, [](I a, I b) { return U(b) < 32 ? static_cast<I>(U(a) << b) : 0; });
  check(ScalarOp::shift_right, [](I a, I b) { return U(b) < 32 ? static_cast<I>(U(a) >> b) : 0; });
  check_pairs<I, std::uint8_t>(ScalarOp::lt, DType::i32, DType::b1, values,
                               [](I a, I b) { return static_cast<std::uint8_t>(a < b); });
}

TEST_CASE("NaN in minimum, maximum and comparisons") {
  const float infinity = std::numeric_limits<float>::infinity();
  const std::vector<float> values = {0, 1, -2.5F, infinity, -infinity, std::nanf("")};
  const auto bool_of = [](bool x) { return static_cast<std::uint8_t>(x); };
  check_pairs<float, float>(
      ScalarOp::minimum, DType::f32, DType::f32, values, [](float a, float b) {
        return std::isnan(a) || std::isnan(b) ? std::nanf("") : std::min(a, b);
      });
  check_pairs<float, float>(
      ScalarOp::maximum, DType::f32, DType::f32, values, [](float a, float b) {
        return std::isnan(a) || std::isnan(b) ? std::nanf("") : std::max(a, b);
      });
  check_pairs<float, std::uint8_t>(ScalarOp::le, DType::f32, DType::b1, values,
                                   [&](float a, float b) { return bool_of(a <= b); });
  check_pairs<float, std::uint8_t>(ScalarOp::eq, DType::f32, DType::b1, values,
                                   [&](float a, float b) { return bool_of(a == b); });
  check_pairs<float, std::uint8_t>(ScalarOp::is_finite, DType::f32, DType::b1, values,
                                   [&](float a, float) { return bool_of(std::isfinite(a)); });
}

TEST_CASE("casts of floats to integers saturate") {
  const std::vector<float> values = {
      0, 1.9F, -1.9F, 3e9F, -3e9F, 1e30F, std::numeric_limits<float>::infinity(), std::nanf("")};
  check_pairs<float, std::int32_t>(ScalarOp::cast, DType::f32, DType::i32, values,
                                   [](float a, float) -> std::int32_t {
                                     if (std::isnan(a)) return 0;
                                     if (a >= 0x1p31F) return INT32_MAX;
                                     if (a <= -0x1p31F) return INT32_MIN;
                                     return static_cast<std::int32_t>(a);
                                   });
  check_pairs<float, std::uint8_t>(ScalarOp::cast, DType::f32, DType::b1, values,
                                   [](float a, float) -> std::uint8_t { return a != 0; });
}

TEST_CASE("constants, select and a scalar among vectors") {
  // (x < 0 ? 0.25 : x) + y, with y the same for all lanes
  ScalarProgram program;
  program.instructions = {
      {ScalarOp::argument, DType::f32, {}, 0, 0}, {ScalarOp::argument, DType::f32, {}, 0, 1},
      {ScalarOp::constant, DType::f32, {}, 0, 0}, {ScalarOp::constant, DType::f32, {}, 0.25, 0},
      {ScalarOp::lt, DType::b1, {0, 2}, 0, 0},    {ScalarOp::select, DType::f32, {4, 3, 0}, 0, 0},
      {ScalarOp::add, DType::f32, {5, 1}, 0, 0}};
  program.result = 6;
  std::vector<float> x;
  for (int i = 0; i < 32; ++i) x.push_back(static_cast<float>(i - 16));
  const std::vector<float> y(32, 3.0F);
  const auto r = apply<float, float>(make_target(""), program, DType::f32, DType::f32, 8, x, y);
  for (std::size_t i = 0; i < x.size(); ++i) CHECK(r[i] == (x[i] < 0 ? 0.25F : x[i]) + 3.0F);
}
