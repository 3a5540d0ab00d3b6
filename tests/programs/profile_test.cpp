// Programs that measure their kernels: the same results, and times that add up.
#include "runtime/profile.h"

#include <algorithm>

#include "backends/llvm/compile.h"
#include "driver/compile.h"
#include "driver/inspect/kernels.h"
#include "driver/step_profile.h"
#include "passes/batch.h"
#include "passes/training_step.h"
#include "runtime/team.h"
#include "tests/catch.h"
#include "tests/ragged/support.h"
#include "tests/support/graphs.h"
#include "tests/support/programs.h"
#include "tests/support/temporary_folder.h"

using namespace treadle;
using namespace treadle::test;

namespace {

struct Run {
  std::vector<Tensor> results;
  RunTimes times;
  std::vector<KernelRow> rows;
  DimEnv extents;
};

Run profiled(const Graph& graph, const std::vector<Tensor>& inputs, const std::string& backend,
             int threads) {
  Profile profile;
  const auto program = compile(graph, {}, {backend, {}, {}, &profile});
  Team team(threads);
  Run out;
  run_with(*program, inputs, team);
  out.results = run_with(*program, inputs, team);
  out.times = profile.times();
  out.rows = compiled_kernels(lower(graph, {backend, {}, {}}), {});
  std::vector<const Tensor*> pointers;
  for (const Tensor& tensor : inputs) pointers.push_back(&tensor);
  out.extents = bind_dims(program->inputs(), pointers);
  return out;
}

// Every thread's time is its kernels', its waiting, its start and its end.
void check_sums(const RunTimes& times) {
  for (const RunTimes::Thread& thread : times.threads) {
    double sum = thread.starting + thread.waiting + thread.ending;
    for (const RunTimes::Kernel& kernel : thread.kernels) {
      CHECK(kernel.running >= 0);
      CHECK(kernel.waiting >= 0);
      sum += kernel.running + kernel.waiting;
    }
    CHECK(sum == Approx(times.milliseconds).epsilon(1e-9));
  }
}

}  // namespace

TEST_CASE("a profiled program computes the same bits, and its times are the whole run's") {
  const Graph graph = batched_gradient(lstm_loss());
  const std::vector<Tensor> inputs = inputs_for(graph, {{"B", 9}, {"T", 6}});
  Team team(1);
  for (const std::string backend : {"llvm", "onednn"}) {
    const std::vector<Tensor> expected =
        run_with(*compile(graph, {}, {backend, {}, {}}), inputs, team);
    for (const int threads : {1, 2, 3}) {
      INFO(backend << ", " << threads << " threads");
      const Run run = profiled(graph, inputs, backend, threads);
      for (std::size_t i = 0; i < expected.size(); ++i)
        CHECK(same_bits(run.results[i], expected[i]));
      REQUIRE(run.times.threads.size() == static_cast<std::size_t>(threads));
      check_sums(run.times);
      bool loop = false;
      for (const RunTimes::Thread& thread : run.times.threads) {
        REQUIRE(thread.kernels.size() == run.rows.size());
        for (std::size_t k = 0; k < run.rows.size(); ++k) {
          CHECK(thread.kernels[k].calls == run.rows[k].times.evaluate(run.extents));
          loop = loop || thread.kernels[k].calls == 6;
        }
      }
      CHECK(loop);
      if (threads == 1) continue;
      double waiting = 0;
      for (const RunTimes::Thread& thread : run.times.threads)
        for (const RunTimes::Kernel& kernel : thread.kernels) waiting += kernel.waiting;
      CHECK(waiting > 0);
    }
  }
}

TEST_CASE("turns of a loop that are one thread's each are counted once") {
  const Graph loss = program(R"(
model M(x: real[T, 3]) {
  q, k, v = split(dense[12](x), 3)
  a = softmax(q @ transpose(k) / 2)
  return loss: mean(square(dense[3](a @ v))) + mean(a)
})")
                         .model("M", Mode::train);
  const RaggedCase ragged(loss, {{"T", {5, 2, 3, 4}}});
  for (const int threads : {1, 2, 3}) {
    INFO(threads << " threads");
    const Run run = profiled(ragged.batch(), ragged.inputs(), "llvm", threads);
    require_close(ragged.batch(), run.results, ragged.expected(), 1e-10);
    check_sums(run.times);
    const StepProfile profile = profile_of({run.times}, run.rows, run.extents);
    bool alone = false;
    for (const StepProfile::Kernel& kernel : profile.kernels) {
      CHECK(kernel.calls == kernel.row.times.evaluate(run.extents));
      alone = alone || kernel.row.alone;
    }
    CHECK(alone);
  }
}

TEST_CASE("a profiled program neither comes from the cache nor goes into it") {
  const TemporaryFolder cache;
  const Graph graph = batched_gradient(token_loss());
  const std::vector<Tensor> inputs = inputs_for(graph, {{"B", 3}, {"T", 4}});
  Team team(1);
  Profile profile;
  for (int i = 0; i < 2; ++i) {  // with an empty cache, then with the plain program in it
    const CompileStats before = llvm_compile_stats();
    run_with(*compile(graph, {}, {"llvm", {}, cache.path(), &profile}), inputs, team);
    check_sums(profile.times());
    CHECK(profile.times().threads[0].kernels[0].calls == 1);
    CHECK(llvm_compile_stats().compilations == before.compilations + 1);
    run_with(*compile(graph, {}, {"llvm", {}, cache.path()}), inputs, team);
    CHECK(llvm_compile_stats().cache_hits == before.cache_hits + (i == 0 ? 0 : 1));
  }
}

TEST_CASE("the middle half of the runs is what a profile tells of") {
  // Runs of 1, 2, 3, 4 and 100 milliseconds on two threads, a tenth of each waiting.
  std::vector<RunTimes> runs;
  for (const double whole : {4.0, 100.0, 1.0, 3.0, 2.0}) {
    RunTimes run;
    run.milliseconds = whole;
    for (const double early : {0.0, 0.2}) {
      RunTimes::Thread thread;
      thread.ending = early * whole;
      thread.kernels = {{1, 0.3 * whole, 0.1 * whole}, {7, (0.6 - early) * whole, 0}};
      run.threads.push_back(thread);
    }
    runs.push_back(run);
  }
  std::vector<KernelRow> rows(2);
  rows[0].times = Dim(1);
  rows[1].times = Dim::symbol("T");
  rows[1].flops = Dim(1000);
  const StepProfile profile = profile_of(runs, rows, {{"T", 7}});
  CHECK(profile.runs == 5);
  CHECK(profile.milliseconds == Approx(3));  // of 2, 3 and 4
  CHECK(profile.kernels[0].running == Approx(0.9));
  CHECK(profile.kernels[0].waiting == Approx(0.3));
  CHECK(profile.kernels[1].running == Approx(1.5));
  CHECK(profile.kernels[1].calls == 7);
  CHECK(*profile.kernels[1].flops == 7000);
  CHECK(profile.threads[0].running == Approx(2.7));
  CHECK(profile.threads[1].running == Approx(2.1));
  CHECK(profile.threads[1].waiting == Approx(0.3));
  CHECK(profile.threads[1].ends == Approx(0.6));
  const std::string text = profile_text(profile, 1e7);
  INFO(text);
  CHECK(text.find("profile: 3.000 ms, mean of the middle half of 5 runs\n") == 0);
  // The kernel that takes longest comes first.
  CHECK(text.find("\n1.5000  50.0 %") < text.find("\n0.9000  30.0 %"));
  CHECK(text.find("4.67 M   46.7 %") != std::string::npos);  // 7,000 flops in 1.5 ms
  CHECK(text.find("thread 1: 70.0 % in kernels, 10.0 % waiting at barriers, "
                  "20.0 % starting and ending\n") != std::string::npos);
}
