#include "backends/llvm/program_emitter_internal.h"

#include <fmt/format.h>

#include "backends/llvm/attention_kernel_internal.h"
#include "backends/llvm/fused_kernel_internal.h"
#include "backends/llvm/loop_internal.h"
#include "backends/llvm/product_loops_internal.h"
#include "backends/llvm/row_product_internal.h"
#include "backends/llvm/target_internal.h"
#include "backends/llvm/vector_math_internal.h"
#include "ir/builder.h"
#include "ir/diagnostic.h"
#include "ir/op_def.h"
#include "ir/text_printer.h"

namespace treadle {

namespace {

// Threads share out a product's rows in whole tiles of so many.
constexpr std::int64_t rows_of_tile = 8;

}  // namespace

void ProgramEmitter::emit() {
  llvm::LLVMContext& context = module_.getContext();
  auto* pointer_type = llvm::PointerType::getUnqual(context);
  auto* i64 = llvm::Type::getInt64Ty(context);
  auto* type = llvm::FunctionType::get(llvm::Type::getVoidTy(context), {pointer_type, i64}, false);
  auto* entry = llvm::Function::Create(type, llvm::Function::ExternalLinkage, entry_name, module_);
  set_target_attributes(*entry, target_);
  llvm::IRBuilder<> b(llvm::BasicBlock::Create(context, "entry", entry));
  auto* layout = llvm::StructType::get(
      context, {pointer_type, pointer_type, pointer_type, i64, pointer_type, i64});
  const auto field = [&](unsigned i) {
    return b.CreateLoad(layout->getElementType(i), b.CreateStructGEP(layout, entry->getArg(0), i));
  };
  buffers_ = field(0);
  dim_table_ = field(1);
  barrier_ = field(2);
  threads_ = field(3);
  runners_ = field(4);
  thread_ = entry->getArg(1);
  if (!plan_.bound_symbols.empty()) dim_table_ = own_dim_table(b, dim_table_, field(5));
  buffers_ = own_buffer_table(b);
  emit_steps(b, plan_.steps);
  b.CreateRetVoid();
  emit_binders();

  std::string text;
  for (const Dim& dim : dims_.dims()) text += dim.to_string() + "\n";
  auto* bytes = llvm::ConstantDataArray::getString(context, text);
  new llvm::GlobalVariable(module_, bytes->getType(), true, llvm::GlobalValue::ExternalLinkage,
                           bytes, dims_name);
}

llvm::Value* ProgramEmitter::extent(llvm::IRBuilder<>& b, llvm::Value* table, const Dim& dim) {
  const Graph none;
  llvm::Value* value = KernelEmitter(b, target_, none, dims_, table).extent(dim);
  // The entry function writes its own table.
  auto* load = llvm::dyn_cast<llvm::LoadInst>(value);
  if (load != nullptr && table == dim_table_ && !plan_.bound_symbols.empty())
    load->setMetadata(llvm::LLVMContext::MD_invariant_load, nullptr);
  return value;
}

void ProgramEmitter::emit_barrier(llvm::IRBuilder<>& b) {
  if (alone_) return;
  auto* type = llvm::FunctionType::get(b.getVoidTy(), {b.getPtrTy()}, false);
  b.CreateCall(module_.getOrInsertFunction("treadle_barrier", type), {barrier_});
}

void ProgramEmitter::emit_barrier_unless_one(llvm::IRBuilder<>& b, const std::optional<Dim>& dim) {
  if (alone_ || dim == Dim(1)) return;
  if (!dim || dim->is_constant()) return emit_barrier(b);
  emit_if(
      b, b.CreateICmpNE(extent(b, dim_table_, *dim), b.getInt64(1)), [&] { emit_barrier(b); },
      [] {});
}

void ProgramEmitter::emit_steps(llvm::IRBuilder<>& b, const std::vector<Step>& steps) {
  for (const Step& step : steps) {
    if (step.barrier_before) emit_barrier_unless_one(b, step.unless_one);
    emit_step(b, step);
  }
}

void ProgramEmitter::emit_step(llvm::IRBuilder<>& b, const Step& step) {
  switch (step.kind) {
    case Step::Kind::fused: return fused(b, step);
    case Step::Kind::copy: return copy(b, step);
    case Step::Kind::pack: return pack(b, step);
    case Step::Kind::matmul: return matmul(b, step);
    case Step::Kind::prepare:
    case Step::Kind::claimed: return call_runner(b, step);
    case Step::Kind::scatter_add: return scatter_add(b, step);
    case Step::Kind::argmax: return argmax(b, step);
    case Step::Kind::attention: return attention(b, step);
    case Step::Kind::scan: return emit_scan(b, step);
  }
}

void ProgramEmitter::emit_scan(llvm::IRBuilder<>& b, const Step& step) {
  if (!step.bounds.empty()) return emit_bound_scan(b, step);
  emit_steps(b, step.before);
  emit_barrier(b);
  emit_loop(b, b.getInt64(0), extent(b, dim_table_, step.length), b.getInt64(1),
            [&](llvm::Value* i) {
              counters_.push_back(i);
              emit_steps(b, step.body);
              emit_barrier_unless_one(b, step.unless_one);
              counters_.pop_back();
            });
  if (step.unless_one) emit_barrier(b);
}

// ---- kernels ----

std::string ProgramEmitter::kernel_name(std::string_view what) {
  return fmt::format("kernel{}.{}", kernels_made_++, what);
}

llvm::Function* ProgramEmitter::start_function(llvm::IRBuilder<>& b, const std::string& name,
                                               const std::vector<llvm::Type*>& types) {
  auto* out = llvm::Function::Create(llvm::FunctionType::get(b.getVoidTy(), types, false),
                                     llvm::Function::InternalLinkage, name, module_);
  out->addFnAttr(llvm::Attribute::NoInline);
  set_target_attributes(*out, target_);
  b.SetInsertPoint(llvm::BasicBlock::Create(module_.getContext(), "entry", out));
  return out;
}

ProgramEmitter::Kernel ProgramEmitter::entry() const {
  Kernel out;
  out.buffers = buffers_;
  out.dims = dim_table_;
  out.counters = counters_;
  return out;
}

ProgramEmitter::Kernel ProgramEmitter::start_kernel(llvm::IRBuilder<>& b, const std::string& name,
                                                    int loops) {
  std::vector<llvm::Type*> types{b.getPtrTy(), b.getPtrTy(), b.getInt64Ty(), b.getInt64Ty()};
  types.insert(types.end(), static_cast<std::size_t>(loops), b.getInt64Ty());
  Kernel out;
  out.function = start_function(b, name, types);
  out.buffers = out.function->getArg(0);
  out.dims = out.function->getArg(1);
  out.begin = out.function->getArg(2);
  out.end = out.function->getArg(3);
  for (int i = 0; i < loops; ++i)
    out.counters.push_back(out.function->getArg(static_cast<unsigned>(4 + i)));
  return out;
}

llvm::Value* ProgramEmitter::pointer(llvm::IRBuilder<>& b, const Kernel& kernel,
                                     const Location& place, DType dtype) {
  const auto base_of = [&](int buffer) {
    return b.CreateLoad(b.getPtrTy(), b.CreateConstGEP1_64(b.getPtrTy(), kernel.buffers,
                                                           static_cast<std::uint64_t>(buffer)));
  };
  llvm::Value* base = base_of(place.buffer);
  if (place.alternate >= 0) {
    llvm::Value* steps = place.parity_loop >= 0
                             ? kernel.counters[static_cast<std::size_t>(place.parity_loop)]
                             : extent(b, kernel.dims, place.parity_length);
    if (place.next) steps = b.CreateAdd(steps, b.getInt64(1));
    llvm::Value* odd = b.CreateTrunc(steps, b.getInt1Ty());
    base = b.CreateSelect(odd, base_of(place.alternate), base);
  }
  for (const Location::Row& row : place.rows) {
    if (row.loop < 0) {
      base = b.CreateGEP(
          memory_type(b.getContext(), dtype), base,
          b.CreateMul(extent(b, kernel.dims, row.start), extent(b, kernel.dims, row.stride)));
      continue;
    }
    llvm::Value* t = kernel.counters[static_cast<std::size_t>(row.loop)];
    if (row.reverse)
      t = b.CreateSub(b.CreateSub(extent(b, kernel.dims, row.length), b.getInt64(1)), t);
    base = b.CreateGEP(memory_type(b.getContext(), dtype), base,
                       b.CreateMul(t, extent(b, kernel.dims, row.stride)));
  }
  return base;
}

// Thread i of n computes units u * i / n ... u * (i + 1) / n - 1.
std::array<llvm::Value*, 2> ProgramEmitter::share_of(llvm::IRBuilder<>& b, const Dim& units) {
  llvm::Value* all = extent(b, dim_table_, units);
  const auto bound = [&](llvm::Value* i) { return b.CreateUDiv(b.CreateMul(all, i), threads_); };
  llvm::Value* begin = bound(thread_);
  return {begin, bound(b.CreateAdd(thread_, b.getInt64(1)))};
}

void ProgramEmitter::call_shared(llvm::IRBuilder<>& b, llvm::Function* kernel, const Dim& units,
                                 int loops) {
  const auto [begin, end] = share_of(b, units);
  std::vector<llvm::Value*> arguments{buffers_, dim_table_, begin, end};
  arguments.insert(arguments.end(), counters_.begin(), counters_.begin() + loops);
  b.CreateCall(kernel, arguments);
}

void ProgramEmitter::one_kernel(
    llvm::IRBuilder<>& b, const Step& step, std::string_view name, const Dim& units,
    const std::function<void(llvm::IRBuilder<>&, const Kernel&)>& body) {
  llvm::IRBuilder<> inside(module_.getContext());
  const Kernel kernel = start_kernel(inside, kernel_name(name), step.loops);
  body(inside, kernel);
  inside.CreateRetVoid();
  call_shared(b, kernel.function, units, step.loops);
}

// Equal kernels are one function, whatever memory they work on: layers of one
// kind and parameters of one shape share theirs.
void ProgramEmitter::fused(llvm::IRBuilder<>& b, const Step& step) {
  const Node& node = step.graph->node(step.node);
  FusedKernel kernel(target_, dims_, *node.regions[0], node.attributes.dims("domain"));
  const std::size_t pointers = step.in.size() + step.out.size();
  std::string key = to_string(node.attributes.dims("domain")) + "\n";
  for (const std::uint32_t i : step.out_index) key += std::to_string(i) + " ";
  llvm::Function*& function = fused_kernels_[key + print(*node.regions[0])];
  if (function == nullptr) {
    llvm::IRBuilder<> inside(module_.getContext());
    std::vector<llvm::Type*> types(pointers + 1, b.getPtrTy());
    types.insert(types.end(), {b.getInt64Ty(), b.getInt64Ty()});
    function = start_function(inside, kernel_name("fused"), types);
    const auto argument = [&](std::size_t i) { return function->getArg(static_cast<unsigned>(i)); };
    std::vector<llvm::Value*> operands;
    for (std::size_t i = 0; i < step.in.size(); ++i) operands.push_back(argument(i));
    std::vector<std::vector<llvm::Value*>> outputs(node.types.size());
    for (std::size_t i = 0; i < step.out.size(); ++i)
      outputs[step.out_index[i]].push_back(argument(step.in.size() + i));
    kernel.emit(inside, argument(pointers), argument(pointers + 1), argument(pointers + 2),
                operands, outputs);
    inside.CreateRetVoid();
  }
  const Kernel here = entry();
  std::vector<llvm::Value*> arguments;
  for (std::size_t i = 0; i < step.in.size(); ++i)
    arguments.push_back(pointer(b, here, step.in[i], step.graph->type(node.operands[i]).dtype));
  for (std::size_t i = 0; i < step.out.size(); ++i)
    arguments.push_back(pointer(b, here, step.out[i], node.types[step.out_index[i]].dtype));
  arguments.push_back(dim_table_);
  for (llvm::Value* bound : share_of(b, kernel.units())) arguments.push_back(bound);
  b.CreateCall(function, arguments);
}

void ProgramEmitter::attention(llvm::IRBuilder<>& b, const Step& step) {
  const Node& node = step.graph->node(step.node);
  const DType dtype = node.types[0].dtype;
  std::vector<Type> types;
  for (const Value v : node.operands) types.push_back(step.graph->type(v));
  AttentionKernel kernel(target_, dims_, node, types, kernels(dtype));
  one_kernel(b, step, to_string(node.op), kernel.units(),
             [&](llvm::IRBuilder<>& inside, const Kernel& k) {
               AttentionKernel::Pointers pointers;
               for (std::size_t i = 0; i < step.in.size(); ++i) {
                 const bool operand = i < types.size();
                 (operand ? pointers.operands : pointers.packed)
                     .push_back(pointer(inside, k, step.in[i], operand ? types[i].dtype : dtype));
               }
               pointers.results.resize(node.types.size());
               for (std::size_t i = 0; i < step.out.size(); ++i) {
                 llvm::Value* place = pointer(inside, k, step.out[i], dtype);
                 if (step.out_index[i] < node.types.size())
                   pointers.results[step.out_index[i]] = place;
                 else
                   pointers.scratch = place;
               }
               kernel.emit(inside, k.dims, k.begin, k.end, pointers);
             });
}

void ProgramEmitter::copy(llvm::IRBuilder<>& b, const Step& step) {
  Graph body;
  Builder builder(body);
  const Dims flat{step.type.count()};
  body.add_output("", builder.argument({step.type.dtype, flat}));
  FusedKernel kernel(target_, dims_, body, flat);
  one_kernel(b, step, "copy", kernel.units(), [&](llvm::IRBuilder<>& inside, const Kernel& k) {
    kernel.emit(inside, k.dims, k.begin, k.end, {pointer(inside, k, step.in[0], step.type.dtype)},
                {{pointer(inside, k, step.out[0], step.type.dtype)}});
  });
}

// ---- products ----

const MatmulKernels& ProgramEmitter::kernels(DType dtype) {
  const auto found = matmuls_.find(dtype);
  if (found != matmuls_.end()) return found->second;
  const char* prefix = dtype == DType::f32 ? "f32" : "f64";
  return matmuls_.emplace(dtype, emit_matmul_kernels(module_, target_, dtype, prefix))
      .first->second;
}

// Units are the panels of all batches, or of all turns of the loops of sums.
void ProgramEmitter::pack(llvm::IRBuilder<>& b, const Step& step) {
  const DType dtype = step.graph->node(step.node).types[0].dtype;
  const MatmulKernels& made = kernels(dtype);
  const Dim panels = (step.shape.n + Dim(made.tile.columns - 1)).floor_div(made.tile.columns);
  one_kernel(b, step, "pack", step.shape.batch * turns(step.sum_loops) * panels,
             [&](llvm::IRBuilder<>& c, const Kernel& k) {
               const auto size = [&](const Dim& dim) { return extent(c, k.dims, dim); };
               llvm::Type* element = memory_type(c.getContext(), dtype);
               llvm::Value* from =
                   c.CreateGEP(element, pointer(c, k, step.in[0], dtype), size(step.view_b.offset));
               llvm::Value* to = pointer(c, k, step.out[0], dtype);
               llvm::Value* one = c.getInt64(1);
               const auto call = [&](llvm::Value* source, llvm::Value* target, llvm::Value* begin,
                                     llvm::Value* end) {
                 c.CreateCall(made.pack, {source, size(step.view_b.contract_stride),
                                          size(step.view_b.free_stride), size(step.shape.k),
                                          size(step.shape.n), begin, end, target});
               };
               if (step.shape.batch == Dim(1) && step.sum_loops.empty()) {
                 call(from, to, k.begin, k.end);
                 return;
               }
               emit_loop(c, k.begin, k.end, one, [&](llvm::Value* unit) {
                 llvm::Value* batch = c.CreateUDiv(unit, size(panels));
                 llvm::Value* panel = c.CreateURem(unit, size(panels));
                 llvm::Value* offset = step.sum_loops.empty()
                                           ? c.CreateMul(batch, size(step.view_b.batch_stride))
                                           : loop_offset(c, step.sum_loops,
                                                         &ProductView::Loop::b_stride, batch, size);
                 llvm::Value* source = c.CreateGEP(element, from, offset);
                 llvm::Value* target = c.CreateGEP(
                     element, to,
                     c.CreateMul(batch, size(panels * Dim(made.tile.columns) * step.shape.k)));
                 call(source, target, panel, c.CreateAdd(panel, one));
               });
             });
}

// A product alone is split by rows or by panels of columns, whichever leaves
// the slowest thread less to do; of a batch, each unit is one whole product.
void ProgramEmitter::matmul(llvm::IRBuilder<>& b, const Step& step) {
  if (!step.row_loops.empty() || !step.sum_loops.empty()) return looped_matmul(b, step);
  const DType dtype = step.graph->node(step.node).types[0].dtype;
  const MatmulKernels& made = kernels(dtype);
  const MatmulShape& shape = step.shape;
  const bool single = shape.batch == Dim(1);
  llvm::IRBuilder<> c(module_.getContext());
  const Kernel k = start_kernel(c, kernel_name("matmul"), step.loops);
  // Here `begin` is the thread and `end` the number of threads.
  const auto size = [&](const Dim& dim) { return extent(c, k.dims, dim); };
  const Dim panels_dim = (shape.n + Dim(made.tile.columns - 1)).floor_div(made.tile.columns);
  llvm::Type* element = memory_type(c.getContext(), dtype);
  llvm::Value* a = c.CreateGEP(element, pointer(c, k, step.in[0], dtype), size(step.view_a.offset));
  llvm::Value* packed = pointer(c, k, step.in[1], dtype);
  llvm::Value* out = pointer(c, k, step.out[0], dtype);
  llvm::Value *m = size(shape.m), *n = size(shape.n), *panels = size(panels_dim);
  llvm::Value *zero = c.getInt64(0), *one = c.getInt64(1);
  auto* null = llvm::ConstantPointerNull::get(c.getPtrTy());
  const auto call = [&](llvm::Value* a_from, llvm::Value* b_from, llvm::Value* to,
                        llvm::Value* m_begin, llvm::Value* m_end, llvm::Value* p_begin,
                        llvm::Value* p_end) {
    c.CreateCall(made.gemm,
                 {a_from, size(step.view_a.free_stride), size(step.view_a.contract_stride), b_from,
                  to, n, null, zero, m_begin, m_end, n, size(shape.k), p_begin, p_end});
  };
  const auto part = [&](llvm::Value* all, llvm::Value* i) {
    return c.CreateUDiv(c.CreateMul(all, i), k.end);
  };
  llvm::Value* next = c.CreateAdd(k.begin, one);
  if (single) {
    const auto several_rows = [&] {
      const auto rounded_up = [&](llvm::Value* x, llvm::Value* y) {
        return c.CreateUDiv(c.CreateSub(c.CreateAdd(x, y), one), y);
      };
      llvm::Value* tiles = rounded_up(m, c.getInt64(rows_of_tile));
      llvm::Value* by_rows = c.CreateMul(rounded_up(tiles, k.end), panels);
      llvm::Value* by_panels = c.CreateMul(rounded_up(panels, k.end), tiles);
      emit_if(
          c, c.CreateICmpULT(by_rows, by_panels),
          [&] {
            const auto row = [&](llvm::Value* i) {
              llvm::Value* r = c.CreateMul(part(tiles, i), c.getInt64(rows_of_tile));
              return c.CreateSelect(c.CreateICmpSLT(r, m), r, m);
            };
            call(a, packed, out, row(k.begin), row(next), zero, panels);
          },
          [&] { call(a, packed, out, zero, m, part(panels, k.begin), part(panels, next)); });
    };
    const auto one_row = [&] {
      row_product(
          c, step, a, packed, out,
          [&](llvm::Value* blocks) {
            return std::array{part(blocks, k.begin), part(blocks, next)};
          },
          size);
    };
    if (shape.m == Dim(1))
      one_row();
    else if (shape.m.is_constant())
      several_rows();
    else
      emit_if(c, c.CreateICmpEQ(m, one), one_row, several_rows);
  } else {
    llvm::Value* batch = size(shape.batch);
    emit_loop(c, part(batch, k.begin), part(batch, next), one, [&](llvm::Value* i) {
      const auto at = [&](llvm::Value* base, const Dim& stride) {
        return c.CreateGEP(element, base, c.CreateMul(i, size(stride)));
      };
      call(at(a, step.view_a.batch_stride),
           at(packed, panels_dim * Dim(made.tile.columns) * shape.k), at(out, shape.m * shape.n),
           zero, m, zero, panels);
    });
  }
  c.CreateRetVoid();
  std::vector<llvm::Value*> arguments{buffers_, dim_table_, thread_, threads_};
  arguments.insert(arguments.end(), counters_.begin(), counters_.begin() + step.loops);
  b.CreateCall(k.function, arguments);
}

// Units are tiles of rows, counted through the turns of the loops of rows; the
// turns of the loops of sums add to C one after the other.
void ProgramEmitter::looped_matmul(llvm::IRBuilder<>& b, const Step& step) {
  const DType dtype = step.graph->node(step.node).types[0].dtype;
  const MatmulKernels& made = kernels(dtype);
  const MatmulShape& shape = step.shape;
  const Dim tiles = (shape.m + Dim(rows_of_tile - 1)).floor_div(rows_of_tile);
  const Dim panels = (shape.n + Dim(made.tile.columns - 1)).floor_div(made.tile.columns);
  const Dim packed_turn = panels * Dim(made.tile.columns) * shape.k;
  one_kernel(
      b, step, "matmul", turns(step.row_loops) * tiles, [&](llvm::IRBuilder<>& c, const Kernel& k) {
        const auto size = [&](const Dim& dim) { return extent(c, k.dims, dim); };
        llvm::Type* element = memory_type(c.getContext(), dtype);
        const auto at = [&](llvm::Value* base, llvm::Value* offset) {
          return c.CreateGEP(element, base, offset);
        };
        llvm::Value* a = at(pointer(c, k, step.in[0], dtype), size(step.view_a.offset));
        llvm::Value* packed = pointer(c, k, step.in[1], dtype);
        llvm::Value* out = pointer(c, k, step.out[0], dtype);
        llvm::Value *zero = c.getInt64(0), *one = c.getInt64(1), *n = size(shape.n);
        llvm::Value* count = size(turns(step.sum_loops));
        llvm::Value* nothing = c.CreateICmpEQ(count, zero);  // to add up: C is zero
        llvm::Value* inner = c.CreateSelect(nothing, zero, size(shape.k));
        llvm::Value* height = c.getInt64(rows_of_tile);
        const auto smaller = [&](llvm::Value* x, llvm::Value* y) {
          return c.CreateSelect(c.CreateICmpSLT(x, y), x, y);
        };
        emit_if(
            c, c.CreateICmpSLT(k.begin, k.end),
            [&] {
              llvm::Value* first = c.CreateUDiv(k.begin, size(tiles));
              llvm::Value* last = c.CreateUDiv(c.CreateSub(k.end, one), size(tiles));
              emit_loop(c, first, c.CreateAdd(last, one), one, [&](llvm::Value* turn) {
                llvm::Value* tile = c.CreateMul(turn, size(tiles));
                llvm::Value* from = c.CreateSub(k.begin, tile);
                from = c.CreateSelect(c.CreateICmpSLT(from, zero), zero, from);
                llvm::Value* to = smaller(c.CreateSub(k.end, tile), size(tiles));
                llvm::Value* a_rows =
                    at(a, loop_offset(c, step.row_loops, &ProductView::Loop::a_stride, turn, size));
                llvm::Value* c_rows = at(out, c.CreateMul(turn, size(shape.m * shape.n)));
                emit_loop(c, zero, c.CreateSelect(nothing, one, count), one, [&](llvm::Value* sum) {
                  llvm::Value* fresh = c.CreateICmpEQ(sum, zero);
                  auto* null = llvm::ConstantPointerNull::get(c.getPtrTy());
                  llvm::Value* a_sum =
                      at(a_rows,
                         loop_offset(c, step.sum_loops, &ProductView::Loop::a_stride, sum, size));
                  c.CreateCall(
                      made.gemm,
                      {a_sum, size(step.view_a.free_stride), size(step.view_a.contract_stride),
                       at(packed, c.CreateMul(sum, size(packed_turn))), c_rows, n,
                       c.CreateSelect(fresh, null, c_rows), c.CreateSelect(fresh, zero, n),
                       c.CreateMul(from, height), smaller(c.CreateMul(to, height), size(shape.m)),
                       n, inner, zero, size(panels)});
                });
              });
            },
            [] {});
      });
}

// Another backend's product: a call of its runner, from the entry function.
void ProgramEmitter::call_runner(llvm::IRBuilder<>& b, const Step& step) {
  const DType dtype = step.graph->node(step.node).types[0].dtype;
  const Kernel here = entry();
  llvm::Value* runner = b.CreateLoad(
      b.getPtrTy(),
      b.CreateConstGEP1_64(b.getPtrTy(), runners_, static_cast<std::uint64_t>(step.runner)));
  const auto from = [&](const Dim& offset) {
    return b.CreateGEP(memory_type(b.getContext(), dtype), pointer(b, here, step.in[0], dtype),
                       extent(b, dim_table_, offset));
  };
  std::vector<llvm::Value*> arguments{runner, thread_};
  const bool prepares = step.kind == Step::Kind::prepare;
  arguments.push_back(from(prepares ? step.view_b.offset : step.view_a.offset));
  if (!prepares) arguments.push_back(pointer(b, here, step.out[0], dtype));
  std::vector<llvm::Type*> types;
  for (llvm::Value* argument : arguments) types.push_back(argument->getType());
  b.CreateCall(module_.getOrInsertFunction(prepares ? prepare_name : claimed_name,
                                           llvm::FunctionType::get(b.getVoidTy(), types, false)),
               arguments);
}

}  // namespace treadle
