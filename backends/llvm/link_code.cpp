#include <llvm/ExecutionEngine/JITLink/JITLink.h>
#include <llvm/Support/MemoryBuffer.h>

#include <memory>
#include <optional>

#include "backends/llvm/link_code_internal.h"
#include "ir/diagnostic.h"

namespace treadle {
namespace {

namespace jitlink = llvm::jitlink;

[[noreturn]] void fail(llvm::Error error) {
  internal_error("llvm link", llvm::toString(std::move(error)));
}

// Lays the sections out in `image` as if it stood at `base`.
class ImageMemory final : public jitlink::JITLinkMemoryManager {
 public:
  ImageMemory(std::string& image, std::uint64_t base) : image_(image), base_(base) {}

  void allocate(const jitlink::JITLinkDylib*, jitlink::LinkGraph& graph,
                OnAllocatedFunction allocated) override {
    jitlink::BasicLayout layout(graph);
    std::uint64_t size = 0;
    for (auto& [group, segment] : layout.segments()) {
      const auto protection = static_cast<unsigned>(group.getMemProt());
      const auto writable = static_cast<unsigned>(llvm::orc::MemProt::Write);
      ensure((protection & writable) == 0, "llvm link", "code has variables");
      size = llvm::alignTo(size, std::max(segment.Alignment, llvm::Align(64)));
      segment.Addr = llvm::orc::ExecutorAddr(base_ + size);
      size += segment.ContentSize + segment.ZeroFillSize;
    }
    image_.assign(size, '\0');
    for (auto& [group, segment] : layout.segments())
      segment.WorkingMem = image_.data() + (segment.Addr.getValue() - base_);
    if (llvm::Error error = layout.apply()) return allocated(std::move(error));
    allocated(std::make_unique<Allocation>());
  }

  void deallocate(std::vector<FinalizedAlloc> allocations,
                  OnDeallocatedFunction deallocated) override {
    for (FinalizedAlloc& allocation : allocations) allocation.release();
    deallocated(llvm::Error::success());
  }

 private:
  struct Allocation final : InFlightAlloc {
    void abandon(OnAbandonedFunction abandoned) override { abandoned(llvm::Error::success()); }
    void finalize(OnFinalizedFunction finalized) override {
      finalized(FinalizedAlloc(llvm::orc::ExecutorAddr(0)));
    }
  };

  std::string& image_;
  std::uint64_t base_;
};

class ImageContext final : public jitlink::JITLinkContext {
 public:
  ImageContext(CodeImage& out, std::uint64_t base, std::string entry_name)
      : JITLinkContext(nullptr),
        out_(out),
        base_(base),
        entry_name_(std::move(entry_name)),
        memory_(out.bytes, base) {}

  jitlink::JITLinkMemoryManager& getMemoryManager() override { return memory_; }
  void notifyFailed(llvm::Error error) override { fail(std::move(error)); }
  // All that is outside is far from here, so that it is reached by way of a cell
  // that holds its address.
  void lookup(const LookupMap& symbols,
              std::unique_ptr<jitlink::JITLinkAsyncLookupContinuation> found) override {
    jitlink::AsyncLookupResult out;
    for (const auto& [name, flags] : symbols)
      out[name] = {llvm::orc::ExecutorAddr(far_away), llvm::JITSymbolFlags::Exported};
    found->run(std::move(out));
  }
  llvm::Error modifyPassConfig(jitlink::LinkGraph&, jitlink::PassConfiguration& passes) override {
    passes.PostAllocationPasses.push_back([this](jitlink::LinkGraph& graph) {
      find_imports(graph);
      return llvm::Error::success();
    });
    return llvm::Error::success();
  }
  llvm::Error notifyResolved(jitlink::LinkGraph& graph) override {
    for (const jitlink::Symbol* symbol : graph.defined_symbols())
      if (symbol->hasName() && llvm::StringRef(*symbol->getName()) == entry_name_)
        out_.entry = symbol->getAddress().getValue() - base_;
    return llvm::Error::success();
  }
  void notifyFinalized(jitlink::JITLinkMemoryManager::FinalizedAlloc allocation) override {
    allocation.release();
  }

 private:
  static constexpr std::uint64_t far_away = std::uint64_t{7} << 60;

  // The only addresses in the image are those of what is outside.
  void find_imports(jitlink::LinkGraph& graph) {
    for (const jitlink::Block* block : graph.blocks())
      for (const jitlink::Edge& edge : block->edges()) {
        const llvm::StringRef kind = graph.getEdgeKindName(edge.getKind());
        const bool is_address = kind.starts_with("Pointer") || kind.starts_with("MoveWide");
        const bool is_outside = edge.getTarget().isExternal();
        ensure(is_address == is_outside, "llvm link", "code holds addresses: " + kind.str());
        if (!is_outside) continue;
        ensure(block->getSize() == sizeof(void*), "llvm link", "an address in code");
        out_.imports.push_back({std::string(llvm::StringRef(*edge.getTarget().getName())),
                                block->getAddress().getValue() - base_});
      }
  }

  CodeImage& out_;
  std::uint64_t base_;
  std::string entry_name_;
  ImageMemory memory_;
};

}  // namespace

CodeImage link_code(const std::string& object, const std::string& entry_name) {
  constexpr std::uint64_t base = std::uint64_t{1} << 20;  // any
  auto graph = jitlink::createLinkGraphFromObject(llvm::MemoryBufferRef(object, "step"),
                                                  std::make_shared<llvm::orc::SymbolStringPool>());
  if (!graph) fail(graph.takeError());
  CodeImage out;
  jitlink::link(std::move(*graph), std::make_unique<ImageContext>(out, base, entry_name));
  return out;
}

}  // namespace treadle
