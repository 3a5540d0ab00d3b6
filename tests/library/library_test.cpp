// Every cell and block of the standard library on its own: its gradients, of
// first and second order, before and after every pass.
#include <filesystem>
#include <map>
#include <regex>
#include <set>

#include "driver/gradcheck.h"
#include "ir/eval/random_inputs.h"
#include "runtime/file.h"
#include "tests/catch.h"
#include "tests/support/programs.h"

using namespace treadle;
using namespace treadle::test;

namespace {

std::string recurrent(const std::string& cell) {
  return "model M(x: real[T, 3], s: state " + cell + "[3, 2] = zeros) {\n  y, s = scan " + cell +
         "[3, 2] over x from s\n  return y: y, state: s\n}\n";
}

std::string masked(const std::string& mask) {
  return "model M(x: real[T, T]) { return y: softmax(where(" + mask + ", x, -infinity)) }\n";
}

// A model around each definition.
const std::map<std::string, std::string> models = {
    {"RNN", recurrent("RNN")},
    {"LSTM", recurrent("LSTM")},
    {"GRU", recurrent("GRU")},
    {"PeepholeLSTM", recurrent("PeepholeLSTM")},
    {"minGRU", recurrent("minGRU")},
    // its state divides: any numbers will not do
    {"sLSTM", "model M(x: real[T, 3]) { y, _ = scan sLSTM[3, 2] over x; return y: y }\n"},
    {"ConvLSTM",
     "model M(x: real[T, 3, 2, 1], s: state ConvLSTM[3, 2, 1, 1, 3] = zeros) {\n"
     "  y, s = scan ConvLSTM[3, 2, 1, 1, 3] over x from s\n  return y: y, state: s\n}\n"},
    {"BiRNN", "model M(x: real[T, 3]) { return y: BiRNN[2](x) }\n"},
    {"BiLSTM", "model M(x: real[T, 3]) { return y: BiLSTM[2](x) }\n"},
    {"BiGRU", "model M(x: real[T, 3]) { return y: BiGRU[2](x) }\n"},
    {"dense", "model M(x: real[T, 3]) { return y: dense[2](x) }\n"},
    {"correlation1d",
     "model M(x: real[T, 4], k: real[3, 2, 4]) {\n"
     "  return y: correlation1d(x, k, stride: 2, padding: 2, dilation: 2, groups: 2)\n}\n"},
    {"grouped", "model M(x: real[2, 2, 3, 1], k: real[2, 1, 3, 2]) { return y: grouped(x, k) }\n"},
    {"correlation2d",
     "model M(x: real[T, 3, 2], k: real[2, 2, 1, 2]) {\n"
     "  return y: correlation2d(x, k, padding: 1, stride: 2, groups: 2)\n}\n"},
    {"convolution1d",
     "model M(x: real[T, 2], k: real[3, 2, 2]) { return y: convolution1d(x, k) }\n"},
    {"convolution2d",
     "model M(x: real[T, 3, 1], k: real[2, 2, 1, 2]) { return y: convolution2d(x, k) }\n"},
    {"correlate1d", "model M(x: real[T, 2]) { return y: correlate1d[2, 3](x, padding: 1) }\n"},
    {"conv1d", "model M(x: real[T, 2]) { return y: conv1d[2, 2](x) }\n"},
    {"correlate2d", "model M(x: real[T, 3, 2]) { return y: correlate2d[2, 2](x) }\n"},
    {"conv2d", "model M(x: real[T, 3, 2]) { return y: conv2d[2, 2](x, dilation: 2) }\n"},
    {"max_pool1d", "model M(x: real[T, 2]) { return y: max_pool1d(x, size: 3, stride: 1) }\n"},
    {"max_pool2d", "model M(x: real[T, 4, 1]) { return y: max_pool2d(x, padding: 1) }\n"},
    {"mean_pool1d", "model M(x: real[T, 2]) { return y: mean_pool1d(x) }\n"},
    {"mean_pool2d",
     "model M(x: real[T, 3, 1]) { return y: mean_pool2d(x, stride: 1, padding: 1) }\n"},
    {"patches", "model M(x: real[4, 4, 2]) { return y: square(patches[2](x)) }\n"},
    // more tokens than words: some are repeated
    {"embedding", "model M(text: token(3)[T]) { return y: square(embedding[2, 3](text)) }\n"},
    {"dropout", "model M(x: real[T, 3]) { return y: square(dropout(x, rate: 0.4)) }\n"},
    {"layer_norm", "model M(x: real[T, 3]) { return y: layer_norm(x) }\n"},
    {"rms_norm", "model M(x: real[T, 3]) { return y: rms_norm(x) }\n"},
    {"feed_forward", "model M(x: real[T, 3]) { return y: feed_forward[2, gelu](x, drop: 0.3) }\n"},
    {"gated_feed_forward", "model M(x: real[T, 3]) { return y: gated_feed_forward[2](x) }\n"},
    // both kinds of mask, a row that sees nothing, another scale, dropout
    {"attention",
     "model M(q: real[2, 3, 4], k: real[2, T, 4], v: real[2, T, 3], bias: real[3, T]) {\n"
     "  seen = spread(iota(3), T) > iota(T)\n"
     "  return y: attention(q, k, v, mask: seen, bias: bias, scale: 0.7, drop: 0.2)\n}\n"},
    {"heads", "model M(x: real[T, 4]) { return y: square(heads[2](x)) }\n"},
    {"unheads", "model M(x: real[2, T, 3]) { return y: square(unheads(x)) }\n"},
    {"MultiHead", "model M(x: real[T, 4]) { return y: MultiHead[2](x, rotary: true) }\n"},
    {"causal_mask", masked("causal_mask[T]()")},
    {"window_mask", masked("window_mask[2, T]()")},
    {"length_mask", masked("length_mask[T](3)")},
    {"sinusoidal_positions",
     "model M(x: real[T, 4]) { return y: square(sinusoidal_positions(x)) }\n"},
    {"learned_positions", "model M(x: real[T, 3]) { return y: square(learned_positions[5](x)) }\n"},
    {"rotary_positions", "model M(x: real[2, T, 4]) { return y: square(rotary_positions(x)) }\n"},
    {"alibi", "model M(x: real[2, T, T]) { return y: softmax(x + alibi[2, T]()) }\n"},
    {"EncoderLayer",
     "model M(x: real[T, 4]) { return y: EncoderLayer[2, "
     "feed_forward[3, gelu]](x, mask: causal_mask[T](), drop: 0.1) }\n"},
    {"DecoderLayer",
     "model M(x: real[3, 4], memory: real[T, 4]) {\n"
     "  return y: DecoderLayer[2, feed_forward[2, gelu]](x, memory, memory_mask: "
     "length_mask[T](2))\n"
     "}\n"},
    // (rows of two numbers are nearly constant behind a layer norm)
    {"Encoder", "model M(x: real[T, 3]) { return y: Encoder[2, 1, feed_forward[2, gelu]](x) }\n"},
    {"Decoder",
     "model M(x: real[3, 2], memory: real[T, 2]) {\n"
     "  return y: Decoder[1, 1, gated_feed_forward[2], rms_norm](x, memory)\n}\n"},
    {"Transformer",
     "model M(source: real[T, 3], target: real[2, 3]) {\n"
     "  return y: Transformer[1, 1, feed_forward[2, gelu]](source, target, pre_norm: false)\n}\n"},
    {"cross_entropy",
     "model M(x: real[T, 3], y: token(3)[T]) { return loss: cross_entropy(x, y) }\n"},
    {"squared_error",
     "model M(x: real[T, 3], y: real[T, 3]) { return loss: squared_error(x, y) }\n"},
    {"binary_cross_entropy",
     "model M(x: real[T, 3], y: real[T, 3]) { return loss: binary_cross_entropy(x, y) }\n"},
    {"accuracy", "model M(x: real[T, 3], y: token(3)[T]) { return share: accuracy(x, y) }\n"},
};

std::set<std::string> library_definitions() {
  std::set<std::string> out;
  const std::filesystem::path folder =
      std::filesystem::path(TREADLE_SOURCE_DIR) / "frontend" / "std";
  const std::regex definition("\n(cell|block) (\\w+)");
  for (const auto& entry : std::filesystem::directory_iterator(folder)) {
    const std::string text = "\n" + read_file(entry.path());
    for (std::sregex_iterator i(text.begin(), text.end(), definition), end; i != end; ++i)
      out.insert((*i)[2]);
  }
  return out;
}

}  // namespace

TEST_CASE("every definition of the library is checked here") {
  std::set<std::string> checked;
  for (const auto& [name, text] : models) checked.insert(name);
  CHECK(library_definitions() == checked);
}

TEST_CASE("every cell and block has the right gradients, in both orders, after every pass") {
  for (const auto& [name, text] : models) {
    INFO(name);
    const Graph loss = asymmetric_loss(program(text).model("M", Mode::train));
    GradcheckOptions options;
    options.order = 2;
    options.after_each_pass = true;
    std::set<std::string> stages;
    for (const GradcheckRow& row : gradcheck(loss, random_inputs(loss, {{"T", 4}}, 5), options)) {
      INFO(row.name << " order " << row.order << " after " << row.after << ": " << row.error
                    << " of " << row.largest);
      CHECK(row.passed);
      stages.insert(row.after);
    }
    CHECK(stages.size() == 16);
  }
}
