#include "driver/translation.h"

#include <algorithm>
#include <map>

namespace treadle {
namespace {

// So many sources are read before the first of them has to be done: enough that
// several have the same length.
constexpr std::size_t window = 256;
// So many go side by side: weights are read once for all of them.
constexpr std::size_t side_by_side = 32;

Tensor stacked(const std::vector<Tokens>& sources, std::span<const std::size_t> which) {
  const std::size_t length = sources[which[0]].size();
  Tensor out(DType::i32,
             {static_cast<std::int64_t>(which.size()), static_cast<std::int64_t>(length)});
  for (std::size_t k = 0; k < which.size(); ++k)
    std::copy(sources[which[k]].begin(), sources[which[k]].end(),
              out.as<std::int32_t>().begin() + static_cast<std::ptrdiff_t>(k * length));
  return out;
}

}  // namespace

std::vector<Continuation> translate(
    Generator& generator, const std::string& input, const std::vector<Tokens>& sources,
    const Tokens& prompt, const DecodingOptions& options,
    const std::function<void(std::size_t, const Continuation&)>& on_done,
    const std::function<void(std::size_t, std::int32_t)>& on_token) {
  std::vector<Continuation> out(sources.size());
  const auto together = [&](std::span<const std::size_t> which) {
    const NamedTensors given{{input, stacked(sources, which)}};
    if (options.beam > 0) {
      auto found =
          beam_search(generator, static_cast<std::int64_t>(which.size()), prompt, given, options);
      for (std::size_t k = 0; k < which.size(); ++k) out[which[k]] = std::move(found[k].front());
      return;
    }
    const auto on_any = [&](std::size_t k, std::int32_t token) {
      if (on_token) on_token(which[k], token);
    };
    auto found =
        sample(generator, std::vector<Tokens>(which.size(), prompt), given, options, on_any, which);
    for (std::size_t k = 0; k < which.size(); ++k) out[which[k]] = std::move(found[k]);
  };
  for (std::size_t begin = 0; begin < sources.size(); begin += window) {
    const std::size_t end = std::min(begin + window, sources.size());
    std::map<std::size_t, std::vector<std::size_t>> by_length;
    for (std::size_t i = begin; i < end; ++i) by_length[sources[i].size()].push_back(i);
    for (const auto& [length, all] : by_length)
      for (std::size_t at = 0; at < all.size(); at += side_by_side)
        together(std::span(all).subspan(at, std::min(side_by_side, all.size() - at)));
    for (std::size_t i = begin; on_done && i < end; ++i) on_done(i, out[i]);
  }
  return out;
}

}  // namespace treadle
