#include <llvm/ExecutionEngine/JITLink/JITLink.h>
#include <llvm/Support/MemoryBuffer.h>

#include <algorithm>
#include <functional>
#include <map>
#include <memory>
#include <optional>
#include <vector>

#include "backends/llvm/link_code_internal.h"
#include "ir/diagnostic.h"

namespace treadle {
namespace {

namespace jitlink = llvm::jitlink;

[[noreturn]] void fail(llvm::Error error) {
  internal_error("llvm link", llvm::toString(std::move(error)));
}

// ---- objects that refer to each other ----

// An object's sections start at zero. Sections of one name become one, whose parts
// stand in the order of their addresses.
constexpr std::uint64_t object_distance = std::uint64_t{1} << 32;

class Merger {
 public:
  explicit Merger(jitlink::LinkGraph& whole) : whole_(whole) {}

  // Adds what the object has, so many bytes behind what is there.
  void add(jitlink::LinkGraph& object, std::uint64_t distance) {
    for (jitlink::Section* section : in_order(object)) add(*section, distance);
    for (jitlink::Symbol* symbol : object.external_symbols()) symbols_[symbol] = &named(*symbol);
    for (const auto& [block, copy] : blocks_)
      for (const jitlink::Edge& edge : block->edges()) {
        const auto target = symbols_.find(&edge.getTarget());
        ensure(target != symbols_.end(), "llvm link", "code refers to a fixed address");
        copy->addEdge(edge.getKind(), edge.getOffset(), *target->second, edge.getAddend());
      }
  }

 private:
  static std::vector<jitlink::Section*> in_order(jitlink::LinkGraph& graph) {
    std::vector<jitlink::Section*> out;
    for (jitlink::Section& section : graph.sections()) out.push_back(&section);
    std::sort(out.begin(), out.end(),
              [](const auto* a, const auto* b) { return a->getOrdinal() < b->getOrdinal(); });
    return out;
  }

  void add(jitlink::Section& section, std::uint64_t distance) {
    jitlink::Section* to = whole_.findSectionByName(section.getName());
    if (to == nullptr) {
      to = &whole_.createSection(whole_.allocateName(section.getName()), section.getMemProt());
      to->setMemLifetime(section.getMemLifetime());
    }
    for (jitlink::Block* block : section.blocks()) {
      const llvm::orc::ExecutorAddr address = block->getAddress() + distance;
      blocks_[block] =
          block->isZeroFill()
              ? &whole_.createZeroFillBlock(*to, block->getSize(), address, block->getAlignment(),
                                            block->getAlignmentOffset())
              : &whole_.createContentBlock(*to, whole_.allocateContent(block->getContent()),
                                           address, block->getAlignment(),
                                           block->getAlignmentOffset());
    }
    for (jitlink::Symbol* symbol : section.symbols()) symbols_[symbol] = &copy(*symbol);
  }

  jitlink::Symbol& copy(jitlink::Symbol& symbol) {
    jitlink::Block& block = *blocks_.at(&symbol.getBlock());
    if (!symbol.hasName())
      return whole_.addAnonymousSymbol(block, symbol.getOffset(), symbol.getSize(),
                                       symbol.isCallable(), symbol.isLive());
    if (symbol.getScope() != jitlink::Scope::Local) {
      if (jitlink::Symbol* wanted = whole_.findExternalSymbolByName(symbol.getName())) {
        whole_.makeDefined(*wanted, block, symbol.getOffset(), symbol.getSize(),
                           symbol.getLinkage(), symbol.getScope(), symbol.isLive());
        wanted->setCallable(symbol.isCallable());
        return *wanted;
      }
    }
    return whole_.addDefinedSymbol(block, symbol.getOffset(), symbol.getName(), symbol.getSize(),
                                   symbol.getLinkage(), symbol.getScope(), symbol.isCallable(),
                                   symbol.isLive());
  }

  // What has the name that this object has from outside.
  jitlink::Symbol& named(jitlink::Symbol& symbol) {
    if (jitlink::Symbol* found = whole_.findExternalSymbolByName(symbol.getName())) return *found;
    for (jitlink::Symbol* found : whole_.defined_symbols())
      if (found->getScope() != jitlink::Scope::Local && found->getName() == symbol.getName())
        return *found;
    return whole_.addExternalSymbol(symbol.getName(), symbol.getSize(),
                                    symbol.isWeaklyReferenced());
  }

  jitlink::LinkGraph& whole_;
  std::map<jitlink::Block*, jitlink::Block*> blocks_;
  std::map<jitlink::Symbol*, jitlink::Symbol*> symbols_;
};

// ---- the image ----

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
    passes.PostPrunePasses.push_back([](jitlink::LinkGraph& graph) {
      order_made_blocks(graph);
      return llvm::Error::success();
    });
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

  // The linker adds cells that hold addresses from outside, and ways through them,
  // in no particular order; here it becomes that of the names.
  static void order_made_blocks(jitlink::LinkGraph& graph) {
    const std::function<std::string(const jitlink::Block&)> outside =
        [&](const jitlink::Block& block) -> std::string {
      for (const jitlink::Edge& edge : block.edges())
        return edge.getTarget().isExternal() ? std::string(*edge.getTarget().getName())
                                             : outside(edge.getTarget().getBlock());
      return {};
    };
    for (jitlink::Section& section : graph.sections()) {
      if (!section.getName().starts_with("$__")) continue;
      std::map<std::string, jitlink::Block*> blocks;
      for (jitlink::Block* block : section.blocks()) {
        const bool is_new = blocks.emplace(outside(*block), block).second;
        ensure(is_new, "llvm link", "two ways to one function");
      }
      std::uint64_t address = 0;
      for (const auto& [name, block] : blocks)
        block->setAddress(llvm::orc::ExecutorAddr(address += 64));
    }
  }

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
    std::sort(out_.imports.begin(), out_.imports.end(),
              [](const auto& a, const auto& b) { return a.at < b.at; });
  }

  CodeImage& out_;
  std::uint64_t base_;
  std::string entry_name_;
  ImageMemory memory_;
};

}  // namespace

CodeImage link_code(const std::vector<std::string>& objects, const std::string& entry_name) {
  constexpr std::uint64_t base = std::uint64_t{1} << 20;  // any
  const auto names = std::make_shared<llvm::orc::SymbolStringPool>();
  std::unique_ptr<jitlink::LinkGraph> whole;
  for (std::size_t i = 0; i < objects.size(); ++i) {
    auto graph =
        jitlink::createLinkGraphFromObject(llvm::MemoryBufferRef(objects[i], "step"), names);
    if (!graph) fail(graph.takeError());
    if (whole == nullptr)
      whole = std::move(*graph);
    else
      Merger(*whole).add(**graph, object_distance * i);
  }
  CodeImage out;
  jitlink::link(std::move(whole), std::make_unique<ImageContext>(out, base, entry_name));
  return out;
}

}  // namespace treadle
