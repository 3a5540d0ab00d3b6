// Sequences made from other sequences, which the model reads whole.
#pragma once
#include <functional>
#include <span>
#include <string>
#include <vector>

#include "driver/decoding.h"

namespace treadle {

using Tokens = std::vector<std::int32_t>;

// The likeliest continuation (or the drawn one) of `prompt` for each source,
// which the model's input `input` reads: token(V)[S]. Sources of one length go
// side by side, so their order and number make no difference to any of them.
// `on_done(i, continuation)` is called in the order of the sources, as soon as
// they and those before them are there. `on_token` as for `sample`.
std::vector<Continuation> translate(
    Generator& generator, const std::string& input, const std::vector<Tokens>& sources,
    const Tokens& prompt, const DecodingOptions& options,
    const std::function<void(std::size_t, const Continuation&)>& on_done = nullptr,
    const std::function<void(std::size_t, std::int32_t)>& on_token = nullptr);

}  // namespace treadle
