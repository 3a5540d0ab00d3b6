#include "backends/llvm/native_program.h"

#include <sys/mman.h>

#include <cstdlib>
#include <map>
#include <memory>
#include <optional>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "backends/llvm/native_code.h"
#include "backends/llvm/program_context.h"
#include "ir/diagnostic.h"
#include "ir/memory.h"
#include "ir/slice_bounds.h"
#include "runtime/profile.h"
#include "runtime/team.h"
#include "runtime/work_share.h"

namespace treadle {
namespace {

void prepare_claimed(void* runner, std::int64_t thread, const void* b) {
  static_cast<NodeRunner*>(runner)->prepare(static_cast<int>(thread),
                                            static_cast<const std::byte*>(b));
}
void run_claimed(void* runner, std::int64_t thread, const void* a, void* c) {
  static_cast<NodeRunner*>(runner)->run(static_cast<int>(thread), static_cast<const std::byte*>(a),
                                        static_cast<std::byte*>(c));
}

// Memory for a step. What is large is in large pages where the system has them: the
// rows of a step lie in so many pages that a processor would look most of them up. The
// end, which does not fill one, is not: it would take more memory than was predicted.
class Memory {
 public:
  // What is there is lost where it grows.
  void reserve(std::size_t bytes, std::string_view what) {
    if (bytes <= bytes_) return;
    require_memory(bytes, [&] { return std::string(what); });
    bytes_ = 0;
    memory_.reset(allocate(bytes));
    if (!memory_) no_memory(bytes, what);
    bytes_ = bytes;
  }
  std::byte* at(std::size_t offset) const { return memory_.get() + offset; }

 private:
  static constexpr std::size_t large_page = std::size_t{1} << 21;
  static std::byte* allocate(std::size_t bytes) {
    const bool large = bytes >= large_page;
    const std::size_t alignment = large ? large_page : ProgramPlan::alignment;
    const std::size_t rounded = (bytes + alignment - 1) / alignment * alignment;
    void* memory = std::aligned_alloc(alignment, rounded);
#ifdef MADV_HUGEPAGE
    if (large && memory != nullptr)
      ::madvise(memory, bytes / large_page * large_page, MADV_HUGEPAGE);
#endif
    return static_cast<std::byte*>(memory);
  }

  struct Free {
    void operator()(std::byte* p) const { std::free(p); }
  };
  std::unique_ptr<std::byte, Free> memory_;
  std::size_t bytes_ = 0;
};

class NativeProgram final : public Program {
 public:
  NativeProgram(const Graph& graph, std::span<const InPlaceUpdate> updates,
                CompiledProgram compiled, const NodeRunnerFactory& factory, Profile* profile)
      : plan_(std::move(compiled.plan)),
        profile_(profile),
        slices_(slice_bounds(graph)),
        code_(compiled.code),
        entry_(code_.function<ProgramEntry>(compiled.code.entry)),
        dims_(std::move(compiled.dims)) {
    inputs_ = input_slots(graph);
    outputs_ = output_slots(graph, updates);
    kept_offsets_ = plan_.kept_offsets(&kept_bytes_);
    for (const MatmulClaim& claim : plan_.claims) {
      ensure(factory != nullptr, "llvm", "a product is placed on a backend that is not there");
      runners_.push_back(factory(claim));
    }
  }

  void run(const DimEnv& env, std::span<const std::byte* const> inputs,
           std::span<std::byte* const> outputs, Team& team) override {
    const Binding& binding = bind(env, team.size());
    arena_.reserve(binding.bytes, "the working space of one step");
    kept_.reserve(kept_bytes_, "what is computed once from parameters");
    std::vector<void*> buffers;
    buffers.reserve(plan_.buffers.size());
    for (std::size_t i = 0; i < plan_.buffers.size(); ++i) {
      const BufferPlan& buffer = plan_.buffers[i];
      const auto slot = static_cast<std::size_t>(buffer.slot);
      switch (buffer.kind) {
        case BufferPlan::Kind::input:
          buffers.push_back(const_cast<std::byte*>(inputs[slot]));
          break;
        case BufferPlan::Kind::output: buffers.push_back(outputs[slot]); break;
        case BufferPlan::Kind::arena: buffers.push_back(arena_.at(binding.offsets[i])); break;
        case BufferPlan::Kind::kept: buffers.push_back(kept_.at(kept_offsets_[i])); break;
      }
    }
    std::vector<void*> runners;
    for (const auto& runner : runners_) {
      runner->bind(env, team.size());
      runners.push_back(runner.get());
    }
    std::vector<void*> ticks;
    if (profile_ != nullptr) {
      profile_->begin(team.size(), static_cast<std::size_t>(plan_.kernels));
      for (int i = 0; i < team.size(); ++i) ticks.push_back(&profile_->thread(i));
    }
    const std::optional<Preparation> wanted = preparation(env, inputs, team.size());
    const bool prepares = !wanted || wanted != prepared_;
    prepared_.reset();
    const ProgramContext context{
        buffers.data(),      binding.dims.data(), &team.barrier(),
        team.size(),         runners.data(),      static_cast<std::int64_t>(binding.dims.size()),
        treadle_barrier,     prepare_claimed,     run_claimed,
        ticks.data(),        treadle_kernel_done, treadle_barrier_done,
        prepares ? 1 : 0,    shares(team),        treadle_take_work,
        team.half_barriers()};
    struct Call {
      ProgramEntry* entry;
      const ProgramContext* context;
      Profile* profile;
    } call{entry_, &context, profile_};
    team.run(
        [](void* p, int thread) {
          const Call& c = *static_cast<Call*>(p);
          if (c.profile != nullptr) c.profile->thread(thread).start();
          c.entry(c.context, thread);
        },
        &call);
    if (profile_ != nullptr) profile_->end();
    prepared_ = wanted;
  }

  std::size_t workspace_bytes(const DimEnv& env, int threads) const override {
    std::size_t bytes = 0;
    plan_.arena_offsets(env, threads, &bytes);
    bytes += kept_bytes_;
    for (const auto& runner : runners_) bytes += runner->working_bytes(env, threads);
    return bytes;
  }

 private:
  struct Binding {
    std::vector<std::int64_t> dims;
    std::vector<std::size_t> offsets;
    std::size_t bytes = 0;
  };

  // Of which values, and, where runners keep a part of it, for which run.
  struct Preparation {
    std::uint64_t generation = 0;
    std::pair<DimEnv, int> run;
    friend bool operator==(const Preparation&, const Preparation&) = default;
  };
  // That of a run; none that is to be kept where its inputs are not the fixed values.
  std::optional<Preparation> preparation(const DimEnv& env,
                                         std::span<const std::byte* const> inputs,
                                         int threads) const {
    for (const int slot : plan_.fixed) {
      const auto input = static_cast<std::size_t>(slot);
      if (fixed(input) == nullptr || fixed(input)->data() != inputs[input]) return std::nullopt;
    }
    Preparation out{generation(), {}};
    if (plan_.prepares_runners) out.run = {env, threads};
    return out;
  }

  // Offsets are assigned once for each set of extents and number of threads; the
  // last ones are kept.
  const Binding& bind(const DimEnv& env, int threads) {
    const std::pair key{env, threads};
    if (const auto found = bindings_.find(key); found != bindings_.end()) return found->second;
    require_slices(slices_, env);
    if (bindings_.size() >= 256) bindings_.clear();
    Binding& out = bindings_[key];
    for (const Dim& dim : dims_) out.dims.push_back(plan_.is_bound(dim) ? 0 : dim.evaluate(env));
    out.offsets = plan_.arena_offsets(env, threads, &out.bytes);
    out.bytes = (out.bytes + 63) / 64 * 64 + 64;
    return out;
  }

  // As before the first turn of anything.
  WorkShare* shares(const Team& team) {
    const auto count = static_cast<std::size_t>(plan_.shared * team.size());
    if (count > shares_.size()) shares_ = std::vector<WorkShare>(count);
    for (WorkShare& share : shares_) share.reset();
    return shares_.data();
  }

  ProgramPlan plan_;
  Profile* profile_;
  std::vector<SliceBound> slices_;
  std::vector<std::unique_ptr<NodeRunner>> runners_;
  NativeCode code_;
  ProgramEntry* entry_;
  std::vector<Dim> dims_;
  std::map<std::pair<DimEnv, int>, Binding> bindings_;
  Memory arena_, kept_;
  std::vector<std::size_t> kept_offsets_;
  std::size_t kept_bytes_ = 0;
  std::vector<WorkShare> shares_;
  std::optional<Preparation> prepared_;  // what stands in `kept_` and in runners
};

}  // namespace

std::unique_ptr<Program> make_native_program(const Graph& graph,
                                             std::span<const InPlaceUpdate> updates,
                                             CompiledProgram compiled,
                                             const NodeRunnerFactory& runners, Profile* profile) {
  return std::make_unique<NativeProgram>(graph, updates, std::move(compiled), runners, profile);
}

}  // namespace treadle
