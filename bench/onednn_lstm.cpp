// oneDNN's own LSTM primitive as a peer of bench/compare.py, which speaks to it
// as to bench/peers.py:
//
//   treadle_bench_onednn_lstm, with OMP_NUM_THREADS set
//
// First prints {"version": V}. "row TENSORS NAME" makes the primitive for the
// weights and inputs that `treadle bench --tensors` wrote, runs it once and prints
// {"difference": D}, relative to the largest element; "run N" prints the
// milliseconds of N runs. Weights are brought into the primitive's own layout once.
#include <fmt/core.h>
#include <fmt/ranges.h>

#include <algorithm>
#include <chrono>
#include <cmath>
#include <cstring>
#include <dnnl.hpp>
#include <iostream>
#include <memory>
#include <stdexcept>
#include <string>
#include <unordered_map>
#include <vector>

#include "runtime/safetensors.h"

using dnnl::memory;
using treadle::NamedTensors;
using treadle::Tensor;

namespace {

// The input that ends with `name`.
const Tensor& input(const NamedTensors& all, const std::string& name) {
  for (const auto& [key, tensor] : all.tensors)
    if (key == "input:" + name || (key.starts_with("input:") && key.ends_with("." + name)))
      return tensor;
  throw std::runtime_error("no input " + name);
}

// [B, T, columns] to [T, B, columns], and back with B and T exchanged.
std::vector<float> exchanged(const float* from, std::int64_t outer, std::int64_t inner,
                             std::int64_t columns) {
  std::vector<float> out(static_cast<std::size_t>(outer * inner * columns));
  for (std::int64_t i = 0; i < outer; ++i)
    for (std::int64_t j = 0; j < inner; ++j)
      std::copy_n(from + (i * inner + j) * columns, columns,
                  out.data() + (j * outer + i) * columns);
  return out;
}

const float* floats(const Tensor& tensor) { return reinterpret_cast<const float*>(tensor.data()); }

class Lstm {
 public:
  Lstm(const dnnl::engine& engine, const NamedTensors& tensors) : stream_(engine) {
    const Tensor &x = input(tensors, "x"), &w = input(tensors, "W"), &u = input(tensors, "U");
    const std::int64_t batch = x.shape()[0], steps = x.shape()[1], inputs = x.shape()[2];
    const std::int64_t hidden = u.shape()[0];
    const auto f32 = memory::data_type::f32;
    const auto any = memory::format_tag::any, ldgo = memory::format_tag::ldgo;
    const auto rows = memory::format_tag::tnc, weights = memory::format_tag::ldigo;
    const memory::desc row_layout({steps, batch, inputs}, f32, rows);
    const memory::desc state_layout({steps, batch, hidden}, f32, rows);
    const memory::dims w_dims{1, 1, inputs, 4, hidden}, u_dims{1, 1, hidden, 4, hidden};
    const memory::desc bias({1, 1, 4, hidden}, f32, ldgo);
    // Its gates are in the order of the library's cell: input, forget, new, output.
    const dnnl::lstm_forward::primitive_desc description(
        engine, dnnl::prop_kind::forward_inference, dnnl::rnn_direction::unidirectional_left2right,
        row_layout, {}, {}, {w_dims, f32, any}, {u_dims, f32, any}, bias, state_layout, {}, {});
    lstm_ = dnnl::lstm_forward(description);
    const auto packed = [&](const Tensor& from, const memory::dims& dims, const memory::desc& as) {
      memory plain({dims, f32, weights}, engine), out(as, engine);
      std::memcpy(plain.get_data_handle(), from.data(), from.bytes());
      dnnl::reorder(plain, out).execute(stream_, plain, out);
      stream_.wait();
      return out;
    };
    memory source(row_layout, engine), offset(bias, engine), result(state_layout, engine);
    const std::vector<float> x_rows = exchanged(floats(x), batch, steps, inputs);
    std::memcpy(source.get_data_handle(), x_rows.data(), x.bytes());
    std::memcpy(offset.get_data_handle(), input(tensors, "b").data(), input(tensors, "b").bytes());
    arguments_ = {{DNNL_ARG_SRC_LAYER, source},
                  {DNNL_ARG_WEIGHTS_LAYER, packed(w, w_dims, description.weights_layer_desc())},
                  {DNNL_ARG_WEIGHTS_ITER, packed(u, u_dims, description.weights_iter_desc())},
                  {DNNL_ARG_BIAS, offset},
                  {DNNL_ARG_DST_LAYER, result}};
    run();
    const Tensor* expected = tensors.find("output:y");
    if (expected == nullptr) throw std::runtime_error("no result y");
    const std::vector<float> found =
        exchanged(static_cast<const float*>(result.get_data_handle()), steps, batch, hidden);
    double most = 0, largest = 1e-30;
    for (std::size_t i = 0; i < found.size(); ++i) {
      const double value = floats(*expected)[i];
      most = std::max(most, std::abs(value - found[i]));
      largest = std::max(largest, std::abs(value));
    }
    difference_ = most / largest;
  }

  void run() {
    lstm_.execute(stream_, arguments_);
    stream_.wait();
  }
  double difference() const { return difference_; }

 private:
  dnnl::stream stream_;
  dnnl::lstm_forward lstm_;
  std::unordered_map<int, memory> arguments_;
  double difference_ = 0;
};

}  // namespace

int main() {
  const dnnl::engine engine(dnnl::engine::kind::cpu, 0);
  const dnnl_version_t* version = dnnl_version();
  const auto say = [](const std::string& text) { std::cout << text << std::endl; };
  say(fmt::format(R"({{"version": "{}.{}.{}"}})", version->major, version->minor, version->patch));
  std::unique_ptr<Lstm> lstm;
  for (std::string request; std::cin >> request;) {
    std::string rest;
    std::cin >> rest;
    if (request == "row") {
      std::string name;
      std::getline(std::cin, name);
      lstm = std::make_unique<Lstm>(engine, treadle::read_safetensors(rest));
      say(fmt::format(R"({{"difference": {}}})", lstm->difference()));
      continue;
    }
    std::vector<double> times;
    for (int i = 0; i < std::stoi(rest); ++i) {
      const auto start = std::chrono::steady_clock::now();
      lstm->run();
      const std::chrono::duration<double, std::milli> taken =
          std::chrono::steady_clock::now() - start;
      times.push_back(taken.count());
    }
    say(fmt::format("[{}]", fmt::join(times, ", ")));
  }
  return 0;
}
