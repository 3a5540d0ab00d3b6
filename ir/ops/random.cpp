// Counter-based random numbers: Philox4x32-10 of Salmon, Moraes, Dror and
// Shaw, "Parallel random numbers: as easy as 1, 2, 3" (2011). A draw is a
// function of key and counter alone, so that rewriting, batching and sharding
// never change it.
#include <array>

#include "ir/ops/support.h"

namespace treadle {

using namespace ops;  // NOLINT: a family file of the op records

namespace {

using Args = std::span<const Scalar>;

constexpr std::int64_t word_mask = 0xFFFFFFFF;
constexpr std::array<std::int64_t, 2> multipliers{0xD2511F53, 0xCD9E8D57};
constexpr std::array<std::int64_t, 2> key_steps{0x9E3779B9, 0xBB67AE85};
constexpr int rounds = 10;

// 32-bit words held in i64.
struct Words {
  ScalarBuilder& s;
  Scalar number(std::int64_t value) const { return s.integer(DType::i64, value); }
  Scalar low(Scalar x) const { return s.binary(ScalarOp::bit_and, x, number(word_mask)); }
  Scalar high(Scalar x) const { return s.binary(ScalarOp::shift_right, x, number(32)); }
  Scalar exclusive_or(Scalar x, Scalar y) const { return s.binary(ScalarOp::bit_xor, x, y); }
};

// The first of the four words that a key and a counter give.
Scalar philox_word(ScalarBuilder& s, Args x, DType) {
  const Words w{s};
  std::array<Scalar, 2> key{w.low(x[0]), w.high(x[0])};
  std::array<Scalar, 4> counter{w.low(x[1]), w.high(x[1]), w.low(x[2]), w.high(x[2])};
  for (int round = 0; round < rounds; ++round) {
    // The products fill 64 bits; the wrapped i64 has the same bits.
    const Scalar first = counter[0] * w.number(multipliers[0]);
    const Scalar second = counter[2] * w.number(multipliers[1]);
    counter = {w.exclusive_or(w.exclusive_or(w.high(second), counter[1]), key[0]), w.low(second),
               w.exclusive_or(w.exclusive_or(w.high(first), counter[3]), key[1]), w.low(first)};
    for (std::size_t i = 0; i < 2; ++i) key[i] = w.low(key[i] + w.number(key_steps[i]));
  }
  return counter[0];
}

std::vector<Type> infer_philox(const InferContext& c) {
  for (const Type& type : c.operands)
    if (type.dtype != DType::i64)
      fail("T0311", fmt::format("i64 elements expected: {}", describe(c.operands)));
  require_same_type(c, 0, 1);
  require_same_type(c, 0, 2);
  return {c.operands[0]};
}

std::vector<Type> infer_uniform(const InferContext& c) {
  const DType dtype = c.attributes.dtype("dtype");
  if (c.operands[0].dtype != DType::i64)
    fail("T0311", fmt::format("i64 elements expected: {}", describe(c.operands)));
  if (!is_float(dtype))
    fail("T0311", fmt::format("the result must be floating-point, not {}", to_string(dtype)));
  return {c.operands[0].with_dtype(dtype)};
}

// As many leading bits as the dtype holds exactly, so that nothing rounds up
// to 1: 24, for bf16 8.
Scalar uniform(ScalarBuilder& s, Args x, DType out) {
  const bool narrow = out == DType::bf16;
  const Scalar bits = s.binary(ScalarOp::shift_right, x[0], s.integer(DType::i64, narrow ? 24 : 8));
  return s.cast(bits, out) * (narrow ? 0x1p-8 : 0x1p-24);
}

OpDef record(std::string_view doc, int operands) {
  OpDef def;
  def.doc = doc;
  def.family = Family::random;
  def.operands = operands;
  def.no_derivative = "random bits are integers";
  def.batch = batch_pointwise;
  def.flops = flops_per_result;
  return def;
}

}  // namespace

template <>
OpDef make_op_def<Op::philox>() {
  OpDef def = record("the first word of Philox4x32-10 for a 64-bit key and a 128-bit counter", 3);
  def.infer = infer_philox;
  def.scalar = philox_word;
  def.probes = [] {
    const auto i64 = [](Dims dims, double high) {
      return probe(std::move(dims), 0, high, DType::i64);
    };
    return std::vector<Probe>{{{i64({3, 5}, 1e15), i64({3, 5}, 1e15), i64({3, 5}, 1e15)}, {}, {}},
                              {{i64({}, 9), i64({}, 9), i64({}, 0)}, {}, {}}};
  };
  return def;
}

template <>
OpDef make_op_def<Op::uniform_from_bits>() {
  OpDef def = record("a number in [0, 1) from 32 random bits: (bits >> 8) / 2^24, exactly", 1);
  def.attributes = {{"dtype", AttributeKind::dtype}};
  def.infer = infer_uniform;
  def.scalar = uniform;
  def.probes = [] {
    return std::vector<Probe>{
        {{probe({3, 5}, 0, 4294967295.0, DType::i64)}, {{"dtype", DType::f32}}, {}},
        {{probe({2, 3}, 0, 4294967295.0, DType::i64)}, {{"dtype", DType::f64}}, {}}};
  };
  return def;
}

}  // namespace treadle
