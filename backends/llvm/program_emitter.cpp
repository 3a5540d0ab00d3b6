#include "backends/llvm/program_emitter_internal.h"

#include <fmt/format.h>

#include "backends/llvm/attention_kernel_internal.h"
#include "backends/llvm/buffer_uses.h"
#include "backends/llvm/fused_units.h"
#include "backends/llvm/loop_internal.h"
#include "backends/llvm/product_loops_internal.h"
#include "backends/llvm/target_internal.h"
#include "backends/llvm/vector_math_internal.h"
#include "ir/builder.h"
#include "ir/diagnostic.h"
#include "ir/op_def.h"
#include "ir/text_printer.h"

namespace treadle {

void ProgramEmitter::emit() {
  llvm::LLVMContext& context = module_.getContext();
  auto* pointer_type = llvm::PointerType::getUnqual(context);
  auto* i64 = llvm::Type::getInt64Ty(context);
  auto* type = llvm::FunctionType::get(llvm::Type::getVoidTy(context), {pointer_type, i64}, false);
  auto* entry = llvm::Function::Create(type, llvm::Function::ExternalLinkage, entry_name, module_);
  entry->setDoesNotThrow();
  generate_quickly(*entry);
  set_target_attributes(*entry, target_);
  llvm::IRBuilder<> b(llvm::BasicBlock::Create(context, "entry", entry));
  context_type_ = llvm::StructType::get(
      context, {pointer_type, pointer_type, pointer_type, i64, pointer_type, i64, pointer_type,
                pointer_type, pointer_type, pointer_type, pointer_type, pointer_type, i64,
                pointer_type, pointer_type, pointer_type});
  context_ = entry->getArg(0);
  const auto field = [&](unsigned i) {
    return b.CreateLoad(context_type_->getElementType(i),
                        b.CreateStructGEP(context_type_, context_, i));
  };
  buffers_ = field(0);
  dim_table_ = field(1);
  barrier_ = field(2);
  threads_ = team_threads_ = field(3);
  runners_ = field(4);
  thread_ = team_thread_ = entry->getArg(1);
  if (profiled_) ticks_ = b.CreateLoad(pointer_type, b.CreateGEP(pointer_type, field(9), thread_));
  if (!plan_.bound_symbols.empty()) dim_table_ = own_dim_table(b, dim_table_, field(5));
  buffers_ = own_buffer_table(b);
  emit_preparation(b);
  emit_steps(b, plan_.steps);
  b.CreateRetVoid();
  emit_binders();
}

// For what runs a few times a step and does no work of its own: its instructions are
// selected one by one, which takes a tenth of the time that good code takes.
void ProgramEmitter::generate_quickly(llvm::Function& function) {
  function.addFnAttr(llvm::Attribute::NoInline);
  function.addFnAttr(llvm::Attribute::OptimizeNone);
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
  call_out(b, "treadle_barrier", 6, {barrier_});
  emit_done(b, "treadle_barrier_done", 11, steps_emitted_ - 1);
}

void ProgramEmitter::emit_done(llvm::IRBuilder<>& b, const char* name, unsigned field, int kernel) {
  if (!profiled_) return;
  llvm::Value* number = llvm::ConstantInt::getSigned(b.getInt64Ty(), kernel);
  // Of the blocks of a run the first is counted.
  if (again_ != nullptr && field == 10)
    number = b.CreateSelect(again_, b.CreateNot(number), number);
  call_out(b, name, field, {ticks_, number});
}

// A call of what that field of the context points to, by way of a function that
// has a name.
void ProgramEmitter::call_out(llvm::IRBuilder<>& b, const char* name, unsigned field,
                              std::vector<llvm::Value*> arguments) {
  llvm::Function* way_out = module_.getFunction(name);
  if (way_out == nullptr) {
    std::vector<llvm::Type*> types;
    for (llvm::Value* argument : arguments) types.push_back(argument->getType());
    auto* target = llvm::FunctionType::get(b.getVoidTy(), types, false);
    types.push_back(b.getPtrTy());
    llvm::IRBuilder<> c(module_.getContext());
    way_out = start_function(c, name, types);
    generate_quickly(*way_out);
    std::vector<llvm::Value*> passed;
    for (llvm::Argument& argument : way_out->args()) passed.push_back(&argument);
    llvm::Value* place = c.CreateStructGEP(context_type_, passed.back(), field);
    passed.pop_back();
    c.CreateCall(target, c.CreateLoad(c.getPtrTy(), place), passed)->setTailCall();
    c.CreateRetVoid();
  }
  arguments.push_back(context_);
  b.CreateCall(way_out, arguments);
}

void ProgramEmitter::emit_barrier_unless_one(llvm::IRBuilder<>& b, const std::optional<Dim>& dim) {
  if (alone_ || dim == Dim(1)) return;
  llvm::Value* needed = b.getTrue();
  if (dim && !dim->is_constant())
    needed = b.CreateICmpNE(extent(b, dim_table_, *dim), b.getInt64(1));
  if (own_rows_) needed = b.CreateAnd(needed, b.CreateNot(own_rows_->apart));
  if (needed == b.getTrue()) return emit_barrier(b);
  emit_if(
      b, needed, [&] { emit_barrier(b); }, [] {});
}

void ProgramEmitter::emit_steps(llvm::IRBuilder<>& b, std::span<const Step> steps) {
  for (std::size_t i = 0; i < steps.size();) {
    if (steps[i].run && !own_rows_ && !alone_) {
      emit_row_run(b, steps.subspan(i, static_cast<std::size_t>(steps[i].run->steps)));
      i += static_cast<std::size_t>(steps[i].run->steps);
      continue;
    }
    if (steps[i].together > 1 && !own_rows_ && !alone_) {
      emit_together(b, steps.subspan(i, static_cast<std::size_t>(steps[i].together)));
      i += static_cast<std::size_t>(steps[i].together);
      continue;
    }
    if (steps[i].layer == Step::Layer::first) {
      std::size_t count = 1;
      while (steps[i + count - 1].layer != Step::Layer::second) ++count;
      emit_layers(b, steps.subspan(i, count));
      i += count;
      continue;
    }
    if (steps[i].beside) {
      emit_pair(b, steps[i], steps[i + 1]);
      i += 2;
      continue;
    }
    if (steps[i].barrier_before) emit_barrier_unless_one(b, steps[i].unless_one);
    emit_step(b, steps[i++]);
  }
}

void ProgramEmitter::emit_step(llvm::IRBuilder<>& b, const Step& step) {
  if (step.turn)
    emit_if(
        b, b.CreateAnd(is_deferred(b, step.out[0].buffer), b.CreateNot(is_chained(b, step))),
        [&] { emit_work(b, step); }, [] {});
  else if (step.unless_deferred >= 0)
    emit_if(
        b, is_deferred(b, step.unless_deferred), [] {},
        [&] {
          // Its rows are those of all turns.
          const auto rows = std::exchange(own_rows_, std::nullopt);
          emit_work(b, step);
          own_rows_ = rows;
        });
  else
    emit_work(b, step);
}

void ProgramEmitter::emit_work(llvm::IRBuilder<>& b, const Step& step) {
  switch (step.kind) {
    case Step::Kind::fused: fused(b, step); break;
    case Step::Kind::copy: copy(b, step); break;
    case Step::Kind::pack: pack(b, step); break;
    case Step::Kind::matmul: matmul(b, step); break;
    case Step::Kind::prepare:
    case Step::Kind::claimed: call_runner(b, step); break;
    case Step::Kind::scatter_add: scatter_add(b, step); break;
    case Step::Kind::argmax: argmax(b, step); break;
    case Step::Kind::attention: attention(b, step); break;
    case Step::Kind::scan: return emit_scan(b, step);
  }
  emit_done(b, "treadle_kernel_done", 10, step.kernel);
  if (!step.turn) ++steps_emitted_;
}

// ---- kernels ----

std::string ProgramEmitter::kernel_name(std::string_view what) {
  return fmt::format("kernel{}.{}", steps_emitted_, what);
}

llvm::Function* ProgramEmitter::start_function(llvm::IRBuilder<>& b, const std::string& name,
                                               const std::vector<llvm::Type*>& types) {
  auto* out = llvm::Function::Create(llvm::FunctionType::get(b.getVoidTy(), types, false),
                                     llvm::Function::InternalLinkage, name, module_);
  out->addFnAttr(llvm::Attribute::NoInline);
  out->setDoesNotThrow();
  set_target_attributes(*out, target_);
  b.SetInsertPoint(llvm::BasicBlock::Create(module_.getContext(), "entry", out));
  return out;
}

// The row of this turn of its loop.
llvm::Value* ProgramEmitter::turn_of(llvm::IRBuilder<>& b, const Location::Row& row) {
  llvm::Value* t = counters_[static_cast<std::size_t>(row.loop)];
  if (!row.reverse) return t;
  return b.CreateSub(b.CreateSub(extent(b, dim_table_, row.length), b.getInt64(1)), t);
}

// Where the entry function finds the value.
llvm::Value* ProgramEmitter::pointer(llvm::IRBuilder<>& b, const Location& place, DType dtype) {
  const auto base_of = [&](int buffer) {
    return b.CreateLoad(b.getPtrTy(), b.CreateConstGEP1_64(b.getPtrTy(), buffers_,
                                                           static_cast<std::uint64_t>(buffer)));
  };
  llvm::Value* base = base_of(place.buffer);
  if (place.alternate >= 0) {
    llvm::Value* steps = place.parity_loop >= 0
                             ? counters_[static_cast<std::size_t>(place.parity_loop)]
                             : extent(b, dim_table_, place.parity_length);
    if (place.next) steps = b.CreateAdd(steps, b.getInt64(1));
    llvm::Value* odd = b.CreateTrunc(steps, b.getInt1Ty());
    base = b.CreateSelect(odd, base_of(place.alternate), base);
  }
  const BufferPlan& buffer = plan_.buffers[static_cast<std::size_t>(place.buffer)];
  // Rows are counted from the first one of all.
  if (buffer.turn && buffer.turn->each_thread) {
    llvm::Value* row = extent(b, dim_table_, *buffer.elements.exact_div(buffer.turn->rows));
    base = b.CreateGEP(memory_type(b.getContext(), dtype), base,
                       b.CreateMul(own_rows_->block_shift, row));
  }
  for (const Location::Row& row : place.rows) {
    if (row.loop < 0) {
      base = b.CreateGEP(
          memory_type(b.getContext(), dtype), base,
          b.CreateMul(extent(b, dim_table_, row.start), extent(b, dim_table_, row.stride)));
      continue;
    }
    llvm::Value* t = turn_of(b, row);
    if (buffer.turn) t = b.CreateSelect(is_deferred(b, place.buffer), b.getInt64(0), t);
    base = b.CreateGEP(memory_type(b.getContext(), dtype), base,
                       b.CreateMul(t, extent(b, dim_table_, row.stride)));
  }
  return base;
}

// Thread i of n computes units u * i / n ... u * (i + 1) / n - 1 of what there is, a
// unit being so many; of its own rows alone, where it has some.
std::array<llvm::Value*, 2> ProgramEmitter::share_of(llvm::IRBuilder<>& b, const Dim& count,
                                                     std::int64_t unit) {
  llvm::Value *all = nullptr, *first = nullptr;
  if (own_rows_) {
    const std::optional<Dim> of_row = count.exact_div(own_rows_->all);
    ensure(of_row.has_value(), "llvm", "units that are not rows");
    llvm::Value* row = extent(b, dim_table_, *of_row);
    all = b.CreateMul(own_rows_->count, row);
    first = b.CreateMul(own_rows_->begin, row);
  } else {
    all = extent(b, dim_table_, count);
  }
  llvm::Value* size = b.getInt64(static_cast<std::uint64_t>(unit));
  llvm::Value* units = all;
  if (unit != 1)
    units = b.CreateUDiv(b.CreateAdd(all, b.getInt64(static_cast<std::uint64_t>(unit - 1))), size);
  const auto bound = [&](llvm::Value* i) {
    llvm::Value* at = b.CreateUDiv(b.CreateMul(units, i), threads_);
    if (unit != 1) {
      at = b.CreateMul(at, size);
      at = b.CreateSelect(b.CreateICmpULT(at, all), at, all);
    }
    return first != nullptr ? b.CreateAdd(first, at) : at;
  };
  llvm::Value* begin = bound(thread_);
  return {begin, bound(b.CreateAdd(thread_, b.getInt64(1)))};
}

// One unit, by each thread in turn: of a step's sums over so many elements, as over the
// gradient of each parameter, one thread would do all while the others wait.
std::array<llvm::Value*, 2> ProgramEmitter::share_of_next(llvm::IRBuilder<>& b,
                                                          const Dim& elements) {
  llvm::Value* number = b.getInt64(sums_of_size_[elements.to_string()]++);
  llvm::Value* mine = b.CreateICmpEQ(thread_, b.CreateURem(number, threads_));
  return {b.CreateSelect(mine, b.getInt64(0), b.getInt64(1)), b.getInt64(1)};
}

// Equal kernels are one function, whatever memory they work on: layers of one
// kind and parameters share theirs.
void ProgramEmitter::call_kernel(llvm::IRBuilder<>& b, const std::string& key,
                                 std::string_view name, std::vector<llvm::Value*> pointers,
                                 const std::array<llvm::Value*, 2>& share,
                                 const std::optional<Dim>& count, const KernelBody& body) {
  llvm::Function*& function = kernels_[key];
  if (function == nullptr) {
    llvm::IRBuilder<> inside(module_.getContext());
    std::vector<llvm::Type*> types(pointers.size() + 1, b.getPtrTy());
    types.insert(types.end(), count ? 3 : 2, b.getInt64Ty());
    function = start_function(inside, kernel_name(name), types);
    Kernel kernel;
    kernel.function = function;
    auto* next = function->arg_begin();
    for (std::size_t i = 0; i < pointers.size(); ++i) kernel.pointers.push_back(next++);
    kernel.dims = next++;
    kernel.begin = next++;
    kernel.end = next++;
    if (count) kernel.count = next;
    body(inside, kernel);
    inside.CreateRetVoid();
  }
  std::vector<llvm::Value*>& arguments = pointers;
  arguments.push_back(dim_table_);
  arguments.insert(arguments.end(), share.begin(), share.end());
  if (count) arguments.push_back(extent(b, dim_table_, *count));
  b.CreateCall(function, arguments);
}

// All that the code of a step depends on but the places of its values.
std::string ProgramEmitter::key_of(const Step& step, std::string_view name) {
  const Node& node = step.graph->node(step.node);
  Graph alone;
  Builder builder(alone);
  std::vector<Value> operands;
  for (const Value v : node.operands) operands.push_back(builder.argument(step.graph->type(v)));
  builder.clone(node, operands);
  std::string out = fmt::format("{} {}", name, step.out.size());
  const auto add = [&](const Dim& dim) { out += " " + dim.to_string(); };
  for (const Dim* dim : {&step.shape.batch, &step.shape.m, &step.shape.n, &step.shape.k}) add(*dim);
  for (const MatrixView* view : {&step.view_a, &step.view_b})
    for (const Dim* dim :
         {&view->offset, &view->batch_stride, &view->free_stride, &view->contract_stride})
      add(*dim);
  for (const auto* loops : {&step.row_loops, &step.sum_loops}) {
    out += ";";
    for (const ProductView::Loop& loop : *loops)
      for (const Dim* dim : {&loop.extent, &loop.a_stride, &loop.b_stride}) add(*dim);
  }
  for (const RowsView& rows : step.rows) {
    out += ";";
    for (const Dim& stride : rows.batch_strides) add(stride);
    add(rows.row_stride);
  }
  for (const std::uint32_t output : step.out_index) out += fmt::format(",{}", output);
  return out + "\n" + print(alone);
}

// `outputs` are the places of each output.
void ProgramEmitter::call_fused(llvm::IRBuilder<>& b, FusedKernel& kernel, std::string_view name,
                                const std::vector<llvm::Value*>& operands,
                                const std::vector<std::vector<llvm::Value*>>& outputs) {
  std::string key = kernel.key();
  std::vector<llvm::Value*> pointers = operands;
  for (const std::vector<llvm::Value*>& places : outputs) {
    key += std::to_string(places.size()) + " ";
    pointers.insert(pointers.end(), places.begin(), places.end());
  }
  const auto count = kernel.count();
  auto share =
      kernel.by_elements() ? share_of(b, *count, kernel.block()) : share_of(b, kernel.units());
  if (kernel.is_one_sum() && !own_rows_ && !alone_ && counters_.empty())
    share = share_of_next(b, kernel.elements());
  call_kernel(b, key, name, std::move(pointers), share, count,
              [&](llvm::IRBuilder<>& inside, const Kernel& k) {
                auto next = k.pointers.begin();
                const auto take = [&](std::size_t n) {
                  const std::vector<llvm::Value*> out(next, next + static_cast<std::ptrdiff_t>(n));
                  next += static_cast<std::ptrdiff_t>(n);
                  return out;
                };
                const std::vector<llvm::Value*> from = take(operands.size());
                std::vector<std::vector<llvm::Value*>> to;
                for (const auto& places : outputs) to.push_back(take(places.size()));
                kernel.emit(inside, k.dims, k.count, k.begin, k.end, from, to);
                if (kernel.is_scalar()) generate_quickly(*k.function);
              });
}

void ProgramEmitter::fused(llvm::IRBuilder<>& b, const Step& step) {
  const Node& node = step.graph->node(step.node);
  std::vector<Dim> starts;
  const Graph body = with_parts_at_start(*node.regions[0], starts);
  FusedKernel kernel(target_, dims_, body, node.attributes.dims("domain"));
  std::vector<llvm::Value*> operands;
  for (std::size_t i = 0; i < step.in.size(); ++i) {
    const DType dtype = step.graph->type(node.operands[i]).dtype;
    llvm::Value* place = pointer(b, step.in[i], dtype);
    if (starts[i] != Dim(0))
      place =
          b.CreateGEP(memory_type(b.getContext(), dtype), place, extent(b, dim_table_, starts[i]));
    operands.push_back(place);
  }
  std::vector<std::vector<llvm::Value*>> outputs(node.types.size());
  for (std::size_t i = 0; i < step.out.size(); ++i) {
    const std::uint32_t output = step.out_index[i];
    outputs[output].push_back(pointer(b, step.out[i], node.types[output].dtype));
  }
  call_fused(b, kernel, "fused", operands, outputs);
}

void ProgramEmitter::attention(llvm::IRBuilder<>& b, const Step& step) {
  const Node& node = step.graph->node(step.node);
  const DType dtype = node.types[0].dtype;
  std::vector<Type> types;
  for (const Value v : node.operands) types.push_back(step.graph->type(v));
  AttentionKernel kernel(target_, dims_, node, types, step.rows, kernels(dtype));
  std::vector<llvm::Value*> places;
  for (std::size_t i = 0; i < step.in.size(); ++i)
    places.push_back(pointer(b, step.in[i], types[i].dtype));
  for (const Location& place : step.out) places.push_back(pointer(b, place, dtype));
  const std::size_t of_operands = AttentionView(node).row_operands;
  for (std::size_t i = 0; i < step.rows.size(); ++i) {
    llvm::Value*& place = places[i < of_operands ? i : step.in.size() + i - of_operands];
    place = b.CreateGEP(memory_type(b.getContext(), dtype), place,
                        extent(b, dim_table_, step.rows[i].offset));
  }
  const std::string_view name = to_string(node.op);
  const KernelBody body = [&](llvm::IRBuilder<>& inside, const Kernel& k) {
    AttentionKernel::Pointers pointers;
    const auto in = std::span(k.pointers).first(step.in.size());
    pointers.operands.assign(in.begin(), in.end());
    pointers.results.resize(node.types.size());
    for (std::size_t i = 0; i + 1 < step.out.size(); ++i)
      pointers.results[step.out_index[i]] = k.pointers[in.size() + i];
    pointers.scratch = k.pointers.back();
    kernel.emit(inside, k.dims, k.begin, k.end, pointers);
  };
  const std::string key = key_of(step, name);
  const auto call = [&](llvm::Value* from, llvm::Value* to) {
    call_kernel(b, key, name, places, {from, to}, std::nullopt, body);
  };
  const auto [begin, end] = share_of(b, kernel.units());
  if (step.shared < 0) return call(begin, end);
  emit_in_chunks(b, shared_work(b, step.shared), begin, end,
                 chunk_of(b, b.CreateSub(end, begin), 1), 1, call);
}

void ProgramEmitter::copy(llvm::IRBuilder<>& b, const Step& step) {
  Graph body;
  Builder builder(body);
  const Dims flat{step.type.count()};
  body.add_output("", builder.argument({step.type.dtype, flat}));
  FusedKernel kernel(target_, dims_, body, flat);
  call_fused(b, kernel, "copy", {pointer(b, step.in[0], step.type.dtype)},
             {{pointer(b, step.out[0], step.type.dtype)}});
}

// ---- products ----

namespace {
// Is there a product for which that is true?
template <typename Is>
bool any_product(const std::vector<Step>& steps, DType dtype, const Is& is) {
  return std::any_of(steps.begin(), steps.end(), [&](const Step& step) {
    return (step.kind == Step::Kind::matmul && step.product_dtype == dtype && is(step)) ||
           any_product(step.body, dtype, is) || any_product(step.before, dtype, is);
  });
}
}  // namespace

const MatmulKernels& ProgramEmitter::kernels(DType dtype) {
  const auto found = matmuls_.find(dtype);
  if (found != matmuls_.end()) return found->second;
  const std::string prefix(to_string(dtype));
  const bool direct = any_product(plan_.steps, dtype, [](const Step& step) { return step.direct; });
  const bool asks =
      any_product(plan_.steps, dtype, [](const Step& step) { return !step.ahead.empty(); });
  const bool chains = !profiled_ && any_product(plan_.steps, dtype, [](const Step& step) {
    return !step.chained.empty();
  });
  return matmuls_
      .emplace(dtype, emit_matmul_kernels(module_, target_, dtype, prefix.c_str(), {}, direct, asks,
                                          chains))
      .first->second;
}

// Units are tiles of rows, counted through the turns of the loops of rows; the
// turns of the loops of sums add to C one after the other.
void ProgramEmitter::looped_matmul(llvm::IRBuilder<>& b, const Step& step) {
  const MatmulKernels& made = kernels(step.product_dtype);
  const DType dtype = made.tile.dtype;
  const MatmulShape& shape = step.shape;
  const Dim tiles = (shape.m + Dim(rows_of_tile - 1)).floor_div(rows_of_tile);
  const Dim panels = (shape.n + Dim(made.tile.columns - 1)).floor_div(made.tile.columns);
  const Dim packed_turn = panels * Dim(made.tile.columns) * packed_depth(made.tile, shape.k);
  std::vector<llvm::Value*> places;
  for (const auto* of : {&step.out, &step.in})
    for (const Location& place : *of) places.push_back(pointer(b, place, dtype));
  call_kernel(
      b, key_of(step, "matmul"), "matmul", std::move(places),
      share_of(b, turns(step.row_loops) * tiles), std::nullopt,
      [&](llvm::IRBuilder<>& c, const Kernel& k) {
        const auto size = [&](const Dim& dim) { return extent(c, k.dims, dim); };
        llvm::Type* element = memory_type(c.getContext(), dtype);
        const auto at = [&](llvm::Value* base, llvm::Value* offset) {
          return c.CreateGEP(element, base, offset);
        };
        llvm::Value* out = k.pointers[0];
        llvm::Value* a = at(k.pointers[1], size(step.view_a.offset));
        llvm::Value* packed = k.pointers[2];
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
                llvm::Value *start = llvm::ConstantPointerNull::get(c.getPtrTy()), *start_m = zero;
                if (starts_from_another(step)) {
                  start_m = n;
                  start = at(k.pointers[3], c.CreateMul(turn, size(shape.m * shape.n)));
                }
                emit_loop(c, zero, c.CreateSelect(nothing, one, count), one, [&](llvm::Value* sum) {
                  llvm::Value* fresh = c.CreateICmpEQ(sum, zero);
                  llvm::Value* a_sum =
                      at(a_rows,
                         loop_offset(c, step.sum_loops, &ProductView::Loop::a_stride, sum, size));
                  c.CreateCall(
                      made.gemm,
                      {a_sum, size(step.view_a.free_stride), size(step.view_a.contract_stride),
                       at(packed, c.CreateMul(sum, size(packed_turn))), c_rows, n,
                       c.CreateSelect(fresh, start, c_rows), c.CreateSelect(fresh, start_m, n),
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
  llvm::Value* runner = b.CreateLoad(
      b.getPtrTy(),
      b.CreateConstGEP1_64(b.getPtrTy(), runners_, static_cast<std::uint64_t>(step.runner)));
  const auto from = [&](const Dim& offset) {
    return b.CreateGEP(memory_type(b.getContext(), dtype), pointer(b, step.in[0], dtype),
                       extent(b, dim_table_, offset));
  };
  std::vector<llvm::Value*> arguments{runner, thread_};
  const bool prepares = step.kind == Step::Kind::prepare;
  arguments.push_back(from(prepares ? step.view_b.offset : step.view_a.offset));
  if (!prepares) arguments.push_back(pointer(b, step.out[0], dtype));
  if (prepares)
    call_out(b, "treadle_prepare_claimed", 7, std::move(arguments));
  else
    call_out(b, "treadle_run_claimed", 8, std::move(arguments));
}

}  // namespace treadle
