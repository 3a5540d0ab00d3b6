#include "backends/llvm/compiled_program.h"

#include "ir/diagnostic.h"
#include "runtime/bytes.h"

namespace treadle {
namespace {

// One walk over a program's parts for both ways.
class Writer {
 public:
  template <typename Number>
  void number(Number& x) {
    append_bytes(out, static_cast<std::int64_t>(x));
  }
  void text(std::string& x) {
    append_bytes(out, static_cast<std::int64_t>(x.size()));
    out += x;
  }
  void dim(Dim& x) {
    std::string shown = x.to_string();
    text(shown);
  }
  template <typename T, typename Each>
  void list(std::vector<T>& items, const Each& each) {
    append_bytes(out, static_cast<std::int64_t>(items.size()));
    for (T& item : items) each(item);
  }

  std::string out;
};

class Reader {
 public:
  explicit Reader(std::string_view bytes) : bytes_(bytes, "compiled program") {}
  template <typename Number>
  void number(Number& x) {
    x = static_cast<Number>(static_cast<std::int64_t>(bytes_.u64("a number")));
  }
  void text(std::string& x) { x = bytes_.take(bytes_.u64("a size"), "a text"); }
  void dim(Dim& x) {
    std::string shown;
    text(shown);
    x = Dim::parse(shown);
  }
  template <typename T, typename Each>
  void list(std::vector<T>& items, const Each& each) {
    for (std::uint64_t i = bytes_.u64("a count"); i > 0; --i) each(items.emplace_back());
  }
  bool at_end() const { return bytes_.remaining() == 0; }

 private:
  ByteReader bytes_;
};

template <typename Walker>
void walk(Walker& w, CompiledProgram& program) {
  const auto dim = [&](Dim& x) { w.dim(x); };
  w.list(program.plan.buffers, [&](BufferPlan& buffer) {
    w.number(buffer.kind);
    w.number(buffer.slot);
    w.number(buffer.dtype);
    w.dim(buffer.elements);
    w.number(buffer.per_thread);
    bool turn = buffer.turn.has_value();
    w.number(turn);
    if (turn) {
      if (!buffer.turn) buffer.turn.emplace();
      for (Dim* x : {&buffer.turn->rows, &buffer.turn->least, &buffer.turn->elements}) dim(*x);
      w.number(buffer.turn->each_thread);
    }
    w.number(buffer.first_phase);
    w.number(buffer.last_phase);
  });
  w.list(program.plan.interleaved, [&](InterleavedPlan& product) {
    dim(product.rows);
    w.list(product.read, [&](int& buffer) { w.number(buffer); });
    w.number(product.last_phase);
  });
  w.list(program.plan.layers, [&](LayersPlan& layers) {
    dim(layers.rows);
    dim(layers.length);
    w.number(layers.first_phase);
    w.number(layers.last_phase);
  });
  w.list(program.plan.claims, [&](MatmulClaim& claim) {
    w.number(claim.dtype);
    for (Dim* x : {&claim.shape.batch, &claim.shape.m, &claim.shape.n, &claim.shape.k}) dim(*x);
    for (MatrixView* view : {&claim.a, &claim.b})
      for (Dim* x :
           {&view->offset, &view->batch_stride, &view->free_stride, &view->contract_stride})
        dim(*x);
  });
  std::vector<std::string> bound(program.plan.bound_symbols.begin(),
                                 program.plan.bound_symbols.end());
  w.list(bound, [&](std::string& symbol) { w.text(symbol); });
  program.plan.bound_symbols = {bound.begin(), bound.end()};
  w.list(program.plan.fixed, [&](int& slot) { w.number(slot); });
  w.number(program.plan.prepares_runners);
  w.number(program.plan.shared);
  w.list(program.dims, dim);
  w.number(program.code.entry);
  w.text(program.code.bytes);
  w.list(program.code.imports, [&](CodeImage::Import& import) {
    w.text(import.name);
    w.number(import.at);
  });
}

}  // namespace

std::string to_bytes(const CompiledProgram& program) {
  CompiledProgram copy = program;
  Writer writer;
  walk(writer, copy);
  return std::move(writer.out);
}

std::optional<CompiledProgram> compiled_program(std::string_view bytes) {
  try {
    Reader reader(bytes);
    CompiledProgram out;
    walk(reader, out);
    if (reader.at_end()) return out;
  } catch (const UserError&) {  // it ends early, or a text is no dimension
  }
  return std::nullopt;
}

}  // namespace treadle
