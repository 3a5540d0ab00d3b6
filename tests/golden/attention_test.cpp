// Attention and transformers against PyTorch's (make_fixtures.py).
#include "frontend/elaborate.h"
#include "tests/catch.h"
#include "tests/support/fixtures.h"
#include "tests/support/programs.h"

using namespace treadle;

namespace {

std::string on_rows(const std::string& layer, const std::string& inputs = "x: real[T, 8]") {
  return "model M(" + inputs + ") { return y: " + layer + " }";
}

std::string attend(const std::string& more, const std::string& inputs = {}) {
  return "model M(q: real[H, T, 4], k: real[H, S, 4], v: real[H, S, 7]" + inputs +
         ") { return y: attention(q, k, v" + more + ") }";
}

std::string decode(const std::string& more) {
  return on_rows("DecoderLayer[2, feed_forward[6]](x, memory, memory_mask: keep" + more + ")",
                 "x: real[T, 4], memory: real[S, 4], keep: mask[T, S]");
}

// Fixtures by the name that make_fixtures.py gives them.
const std::map<std::string, std::string> programs = {
    {"layer_norm", on_rows("layer_norm(x)", "x: real[A, T, 8]")},
    {"rms_norm", on_rows("rms_norm(x)", "x: real[A, T, 8]")},
    {"feed_forward_relu", on_rows("feed_forward[12](x)")},
    {"feed_forward_gelu", on_rows("feed_forward[12, gelu](x)")},
    {"gated", on_rows("gated_feed_forward[12](x)")},
    {"attention", attend("")},
    {"attention_scale", attend(", scale: 0.3")},
    {"attention_causal", attend(", mask: causal_mask[T, S]()")},
    {"attention_window", attend(", mask: window_mask[2, T, S]()")},
    {"attention_length", attend(", mask: length_mask[S](count)", ", count: i32")},
    {"attention_mask", attend(", mask: keep", ", keep: mask[T, S]")},
    {"attention_bias", attend(", bias: bias", ", bias: real[T, S]")},
    {"attention_both",
     attend(", bias: bias, mask: keep", ", bias: real[H, T, S], keep: mask[T, S]")},
    {"multi_head", on_rows("MultiHead[2](x)")},
    {"multi_head_causal", on_rows("MultiHead[2](x, mask: causal_mask[T]())")},
    {"multi_head_memory", on_rows("MultiHead[2](x, memory: memory, mask: keep)",
                                  "x: real[T, 8], memory: real[S, 6], keep: mask[T, S]")},
    {"eight_heads", on_rows("MultiHead[8, 24, 5](x)")},
    {"encoder_layer_relu_pre",
     on_rows("EncoderLayer[2, feed_forward[12]](x, mask: causal_mask[T]())")},
    {"encoder_layer_gelu_pre",
     on_rows("EncoderLayer[2, feed_forward[12, gelu]](x, mask: causal_mask[T]())")},
    {"encoder_layer_relu_post", on_rows("EncoderLayer[2, feed_forward[12]](x, "
                                        "mask: causal_mask[T](), pre_norm: false)")},
    {"encoder_layer_gelu_post", on_rows("EncoderLayer[2, feed_forward[12, gelu]](x, "
                                        "mask: causal_mask[T](), pre_norm: false)")},
    {"decoder_layer_pre", decode("")},
    {"decoder_layer_post", decode(", pre_norm: false")},
    {"encoder",
     on_rows("Encoder[2, 2, feed_forward[6]](x, mask: causal_mask[T]())", "x: real[T, 4]")},
    {"transformer",
     on_rows("Transformer[2, 2, feed_forward[6]](source, target, source_mask: there)",
             "source: real[S, 4], target: real[T, 4], there: mask[S]")},
    {"sinusoidal", on_rows("sinusoidal_positions(x)", "x: real[T, 6]")},
    {"rotary", on_rows("rotary_positions(x)", "x: real[H, T, 6]")},
};

}  // namespace

TEST_CASE("attention and its layers equal PyTorch's: values and all gradients") {
  const test::Fixtures fixtures = test::read_fixtures("attention.safetensors");
  std::set<std::string> compared;
  for (const auto& [name, text] : programs)
    for (const DType real : {DType::f32, DType::f64}) {
      const Graph graph = test::program(text, real).model("M", Mode::eval);
      const double tolerance = real == DType::f32 ? 1e-5 : 1e-10;
      // What is compiled does not differ by the precision; one of each layer will do.
      const bool compiles = real == DType::f32 || name == "transformer";
      compared.merge(test::require_fixtures(graph, name + ".", fixtures, tolerance, compiles));
    }
  // Nothing that PyTorch gave is left uncompared.
  for (const auto& [name, tensor] : fixtures) {
    if (name.find(".grad:") == std::string::npos && !name.ends_with(".y")) continue;
    INFO(name);
    CHECK(compared.contains(name));
  }
}
