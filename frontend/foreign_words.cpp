#include "frontend/foreign_words.h"

#include <algorithm>
#include <array>

namespace treadle {
namespace {

struct Row {
  std::string_view word, here;
};

constexpr std::string_view no_prefix = "functions have no prefix: tanh(x), dense[10](x)";
constexpr std::string_view product = "the product is x @ y";
constexpr std::string_view reshaped = "another shape is reshape(x, N, M)";
constexpr std::string_view definition = "a function is a block: block f(x: real[N]) { return x }";

constexpr std::array rows{
    Row{"torch", no_prefix},
    Row{"nn", no_prefix},
    Row{"F", no_prefix},
    Row{"np", no_prefix},
    Row{"numpy", no_prefix},
    Row{"jnp", no_prefix},
    Row{"jax", no_prefix},
    Row{"tf", no_prefix},
    Row{"math", no_prefix},
    Row{"self", "parameters and values go by their names alone"},
    Row{"Linear", "a linear layer is dense[OUT](x)"},
    Row{"Dense", "a linear layer is dense[OUT](x)"},
    Row{"Embedding", "a table of rows is embedding[E, V](tokens)"},
    Row{"Dropout", "it is called with its input: dropout(x, rate: 0.1)"},
    Row{"LayerNorm", "it is called with its input: layer_norm(x)"},
    Row{"CrossEntropyLoss", "it is cross_entropy(logits, label)"},
    Row{"NLLLoss", "from logits it is cross_entropy(logits, label)"},
    Row{"MSELoss", "it is squared_error(y, target)"},
    Row{"mse_loss", "it is squared_error(y, target)"},
    Row{"BCEWithLogitsLoss", "it is binary_cross_entropy(logits, target)"},
    Row{"matmul", product},
    Row{"mm", product},
    Row{"bmm", product},
    Row{"dot", product},
    Row{"einsum", product},
    Row{"cat", "it is concat(x, y)"},
    Row{"view", reshaped},
    Row{"squeeze", reshaped},
    Row{"unsqueeze", reshaped},
    Row{"expand", "along a new last dimension it is spread(x, N)"},
    Row{"flatten", reshaped},
    Row{"permute", "the dimensions in another order are transpose(x, 1, 0, 2)"},
    Row{"arange", "0, 1, ..., n-1 is iota(n)"},
    Row{"range", "0, 1, ..., n-1 is iota(n)"},
    Row{"len", "the size of the first dimension is length(x)"},
    Row{"clamp", "it is max(min(x, high), low)"},
    Row{"clip", "it is max(min(x, high), low)"},
    Row{"detach", "it is stop_gradient(x)"},
    Row{"no_grad", "it is stop_gradient(x)"},
    Row{"rand", "random numbers are uniform(x), of the shape of x"},
    Row{"float", "real numbers are real, f32 or f64"},
    Row{"float32", "it is f32; real is what -p says"},
    Row{"float64", "it is f64; real is what -p says"},
    Row{"double", "it is f64; real is what -p says"},
    Row{"Tensor", "a tensor's type names its dimensions: real[T, H]"},
    Row{"tensor", "a tensor's type names its dimensions: real[T, H]"},
    Row{"int", "an index below V is token(V); a whole number is i32 or i64"},
    Row{"long", "an index below V is token(V); a whole number is i32 or i64"},
    Row{"def", definition},
    Row{"fn", definition},
    Row{"function", definition},
    Row{"class", "a layer is a block, a step of a recurrence a cell, the whole a model"},
};

}  // namespace

std::string said_here(std::string_view word) {
  const auto* found =
      std::find_if(rows.begin(), rows.end(), [&](const Row& row) { return row.word == word; });
  return found == rows.end() ? std::string() : std::string(found->here);
}

}  // namespace treadle
