#include "backends/llvm/program_plan.h"

#include <algorithm>
#include <map>
#include <set>

#include "backends/llvm/attention_scratch.h"
#include "backends/llvm/buffer_uses.h"
#include "backends/llvm/column_shares.h"
#include "backends/llvm/deferred_products.h"
#include "backends/llvm/direct_products.h"
#include "backends/llvm/early_steps.h"
#include "backends/llvm/interleaved_products.h"
#include "backends/llvm/loop_layers.h"
#include "backends/llvm/loop_pairs.h"
#include "backends/llvm/overwritten_operands.h"
#include "backends/llvm/preparation.h"
#include "backends/llvm/program_barriers.h"
#include "backends/llvm/results_in_place.h"
#include "backends/llvm/row_runs.h"
#include "backends/llvm/row_shares.h"
#include "backends/llvm/rows_ahead.h"
#include "backends/llvm/scan_stacks.h"
#include "backends/llvm/transposed_inputs.h"
#include "ir/builder.h"
#include "ir/diagnostic.h"
#include "ir/op_def.h"
#include "ir/ops/attention.h"

namespace treadle {

bool ProgramPlan::is_bound(const Dim& dim) const {
  std::set<std::string> symbols;
  dim.collect_symbols(symbols);
  return std::any_of(symbols.begin(), symbols.end(),
                     [&](const std::string& symbol) { return bound_symbols.contains(symbol); });
}

namespace {

class Planner {
 public:
  Planner(const Graph& graph, std::span<const InPlaceUpdate> updates, const MatmulTiles& tiles)
      : graph_(graph), updates_(updates), tiles_(tiles) {}

  ProgramPlan run(std::span<const std::string> fixed) {
    std::vector<Location> arguments;
    int slot = 0;
    for (const NodeId id : graph_.inputs())
      arguments.push_back(whole(BufferPlan::Kind::input, slot++, graph_.node(id).types[0]));
    std::vector<std::vector<Location>> destinations(graph_.outputs().size());
    std::vector<std::pair<std::size_t, Location>> late;
    for (std::size_t i = 0; i < graph_.outputs().size(); ++i) {
      const Output& output = graph_.outputs()[i];
      const int input = updated_input(output.name);
      if (input < 0) {
        destinations[i].push_back(
            whole(BufferPlan::Kind::output, static_cast<int>(i), graph_.type(output.value)));
        continue;
      }
      const Location& place = arguments[static_cast<std::size_t>(input)];
      if (may_overwrite(i, input))
        destinations[i].push_back(place);
      else
        late.emplace_back(i, place);
    }
    std::map<Value, Location> home = region(graph_, arguments, destinations, 0, plan_.steps);
    // Results that are inputs first, since the others overwrite inputs.
    for (const bool sources : {true, false})
      for (const auto& [i, place] : late) {
        const Value v = graph_.outputs()[i].value;
        const bool source = graph_.node(v.node).op == Op::input;
        if (source == sources) copy(home.at(v), place, graph_.type(v), 0, plan_.steps);
      }
    write_results_in_place(plan_, plan_.steps);
    move_to_preparation(plan_, slots_of(fixed));
    sum_on_the_way(plan_, plan_.steps);
    for (auto* steps : {&plan_.preparation, &plan_.steps}) share_columns(*steps, tiles_.f32);
    share_rows(plan_.steps);
    pair_loops(plan_);
    gather_row_runs(plan_);
    move_early(plan_);
    pair_layers(plan_);
    overwrite_operands(plan_);
    plan_barriers(plan_, tiles_.f32);
    defer_products(plan_);
    share_rows_together(plan_);
    read_transposed_inputs(plan_);
    chain_deferred_products(plan_);
    join_products(plan_, plan_.steps);
    ask_ahead(plan_);
    share_while_done(plan_);
    for (auto* steps : {&plan_.preparation, &plan_.steps}) number_kernels(*steps);
    plan_.training_step = !updates_.empty();
    if (!plan_.training_step) interleave_products(plan_);
    return std::move(plan_);
  }

 private:
  void number_kernels(std::vector<Step>& steps) {
    for (Step& step : steps) {
      number_kernels(step.before);
      number_kernels(step.body);
      if (step.kind == Step::Kind::scan) continue;
      step.kernel = step.turn ? deferred_.at(step.out[0].buffer) : plan_.kernels++;
      if (step.unless_deferred >= 0 && step.kind == Step::Kind::matmul)
        deferred_[step.unless_deferred] = step.kernel;
    }
  }

  // ---- memory ----

  Location whole(BufferPlan::Kind kind, int slot, const Type& type) {
    BufferPlan& buffer = plan_.buffers.emplace_back();
    buffer.kind = kind;
    buffer.slot = slot;
    buffer.dtype = type.dtype;
    buffer.elements = type.count();
    Location out;
    out.buffer = static_cast<int>(plan_.buffers.size()) - 1;
    return out;
  }
  Location temporary(DType dtype, const Dim& elements, int level) {
    // A step may need no more than its bounds allow.
    BufferPlan& buffer = plan_.buffers.emplace_back();
    buffer.dtype = dtype;
    buffer.elements = elements.substitute(most_);
    buffer.per_thread = parallel_level_ >= 0 && level > parallel_level_;
    Location out;
    out.buffer = static_cast<int>(plan_.buffers.size()) - 1;
    out.level = level;
    return out;
  }

  int updated_input(const std::string& output) const {
    for (const InPlaceUpdate& update : updates_)
      if (update.output == output)
        if (const std::vector<int> slots = slots_of({&update.input, 1}); !slots.empty())
          return slots[0];
    return -1;
  }
  std::vector<int> slots_of(std::span<const std::string> names) const {
    std::vector<int> out;
    for (std::size_t i = 0; i < graph_.inputs().size(); ++i) {
      const std::string& name = graph_.node(graph_.inputs()[i]).attributes.string("name");
      if (std::find(names.begin(), names.end(), name) != names.end())
        out.push_back(static_cast<int>(i));
    }
    return out;
  }

  // The output's node may write over the input: nobody reads that later, and
  // the node itself reads element by element.
  bool may_overwrite(std::size_t output, int input) const {
    const Value v = graph_.outputs()[output].value;
    const NodeId source = graph_.inputs()[static_cast<std::size_t>(input)];
    for (std::size_t i = 0; i < graph_.outputs().size(); ++i)
      if (graph_.outputs()[i].value.node == source ||
          (i != output && graph_.outputs()[i].value == v))
        return false;
    for (NodeId id = 0; id < graph_.size(); ++id) {
      const Node& node = graph_.node(id);
      for (std::size_t k = 0; k < node.operands.size(); ++k) {
        if (node.operands[k].node != source) continue;
        if (id > v.node || strided_reader(id)) return false;
        if (id < v.node) continue;
        if (node.op == Op::scan) return false;
        // It adds to its base where that stands.
        if (node.op == Op::scatter_add && k == 0) continue;
        if (node.op != Op::fused || !reads_in_place(*node.regions[0], k)) return false;
      }
    }
    const Op op = graph_.node(v.node).op;
    return op == Op::fused || is_product(op) || op == Op::scatter_add;
  }
  bool strided_reader(NodeId id) const {
    const Op op = graph_.node(id).op;
    return op != Op::fused && !is_product(op) && op != Op::scan && op != Op::scatter_add &&
           op != Op::argmax && !is_attention(op);
  }

  // ---- steps ----

  void copy(const Location& from, const Location& to, const Type& type, int loops,
            std::vector<Step>& steps) {
    if (from == to) return;
    Step step;
    step.kind = Step::Kind::copy;
    step.type = type;
    step.in = {from};
    step.out = {to};
    step.out_index = {0};
    step.loops = loops;
    steps.push_back(std::move(step));
  }

  // Plans the nodes of a graph; returns where its values stand.
  std::map<Value, Location> region(const Graph& graph, const std::vector<Location>& arguments,
                                   const std::vector<std::vector<Location>>& destinations,
                                   int loops, std::vector<Step>& steps) {
    std::map<Value, Location> home;
    for (std::size_t i = 0; i < arguments.size(); ++i) home[graph.input_value(i)] = arguments[i];
    std::map<Value, std::vector<Location>> wanted;
    for (std::size_t i = 0; i < destinations.size(); ++i)
      for (const Location& place : destinations[i])
        wanted[graph.outputs()[i].value].push_back(place);
    for (NodeId id = 0; id < graph.size(); ++id) {
      const Node& node = graph.node(id);
      switch (node.op) {
        case Op::input:
        case Op::parameter:
        case Op::argument:
        case Op::slice:  // views, read in place
        case Op::transpose:
        case Op::reverse:
        case Op::windows:
        case Op::reshape: break;
        case Op::scan: scan(graph, id, home, wanted, loops, steps); break;
        default: ordinary(graph, id, home, wanted, loops, steps);
      }
    }
    for (const auto& [v, places] : wanted)
      for (const Location& place : places)
        if (graph.node(v.node).op == Op::argument || graph.node(v.node).op == Op::input ||
            graph.node(v.node).op == Op::parameter)
          copy(home.at(v), place, graph.type(v), loops, steps);
    return home;
  }

  void ordinary(const Graph& graph, NodeId id, std::map<Value, Location>& home,
                std::map<Value, std::vector<Location>>& wanted, int loops,
                std::vector<Step>& steps) {
    const Node& node = graph.node(id);
    Step step;
    step.graph = &graph;
    step.node = id;
    step.loops = loops;
    for (std::uint32_t i = 0; i < node.types.size(); ++i) {
      std::vector<Location> places;
      if (const auto found = wanted.find({id, i}); found != wanted.end()) places = found->second;
      if (places.empty())
        places.push_back(temporary(node.types[i].dtype, node.types[i].count(), loops));
      home[{id, i}] = places.front();
      // A value that belongs in several places is copied to the others, unless
      // a kernel writes it to all of them.
      const bool all = node.op == Op::fused;
      for (std::size_t p = 0; p < (all ? places.size() : 1); ++p) {
        step.out.push_back(places[p]);
        step.out_index.push_back(i);
      }
    }
    if (is_product(node.op)) {
      matmul(graph, node, home, step, steps);
    } else if (is_attention(node.op)) {
      attention(graph, node, home, step, steps);
    } else {
      ensure(node.op == Op::fused || node.op == Op::scatter_add || node.op == Op::argmax, "llvm",
             "no code for '" + std::string(to_string(node.op)) + "'");
      step.kind = node.op == Op::fused         ? Step::Kind::fused
                  : node.op == Op::scatter_add ? Step::Kind::scatter_add
                                               : Step::Kind::argmax;
      for (const Value v : node.operands) step.in.push_back(home.at(v));
      if (node.op == Op::scatter_add) {
        copy(step.in[0], step.out[0], node.types[0], loops, steps);
        step.in.erase(step.in.begin());
      }
      steps.push_back(std::move(step));
    }
    if (node.op == Op::fused) return;
    for (std::uint32_t i = 0; i < node.types.size(); ++i)
      if (const auto found = wanted.find({id, i}); found != wanted.end())
        for (std::size_t p = 1; p < found->second.size(); ++p)
          copy(found->second[0], found->second[p], node.types[i], loops, steps);
  }

  void matmul(const Graph& graph, const Node& node, const std::map<Value, Location>& home,
              Step& step, std::vector<Step>& steps) {
    const auto view = product_view(graph, node);
    ensure(view.has_value(), "llvm", "a product whose operand has no strides");
    const DType dtype = node.types[0].dtype;
    ensure(dtype == DType::f32 || dtype == DType::f64, "llvm", "a product that is not f32 or f64");
    step.kind = Step::Kind::matmul;
    step.product_dtype = node.attributes.has("operands") ? DType::bf16 : dtype;
    step.shape = view->shape;
    step.view_a = view->a;
    step.view_b = view->b;
    step.row_loops = view->rows;
    step.sum_loops = view->sums;

    const Location& from = home.at(view->b.base);
    Location packed_b;
    if (node.attributes.has("backend")) {
      step.kind = Step::Kind::claimed;
      step.runner = static_cast<int>(plan_.claims.size());
      plan_.claims.push_back({dtype, step.shape, step.view_a, step.view_b});
      Step prepare = step;
      prepare.kind = Step::Kind::prepare;
      // A runner keeps B itself: its buffer only says who waits for whom.
      packed_b = before_step(std::move(prepare), from, dtype, Dim(1), steps);
    } else if (from.level == step.loops && step.product_dtype != DType::bf16 &&
               node.op == Op::matmul && reads_b_directly(step, tiles_.of(dtype))) {
      step.direct = true;
      packed_b = from;
    } else {
      packed_b = packed(step, from, dtype, steps);
    }
    step.in = {home.at(view->a.base), packed_b};
    if (node.op == Op::matmul_add) step.in.push_back(home.at(node.operands[2]));
    steps.push_back(std::move(step));
  }

  // ---- bounds ----

  static std::size_t bound_number(const ScanView& view, const ScanBound& bound) {
    return static_cast<std::size_t>(&bound - view.bounds.data());
  }
  static Dim fewer(const ScanView& view, const Step& step, const ScanBound& bound) {
    return step.bounds[bound_number(view, bound)].fewer;
  }
  static Dim row_stride(const Type& type) {
    return product(Dims(type.dims.begin() + 1, type.dims.end()));
  }

  void plan_bounds(const ScanView& view, const Node& node, const std::map<Value, Location>& home,
                   Step& step) {
    const auto fresh = [&](const char* what) {
      const std::string name = "bound" + std::to_string(plan_.bound_symbols.size()) + "." + what;
      plan_.bound_symbols.insert(name);
      return Dim::symbol(name);
    };
    for (std::size_t j = 0; j < view.bounds.size(); ++j) {
      const ScanBound& bound = view.bounds[j];
      const Location counts = home.at(node.operands[view.first_count() + j]);
      step.in.push_back(counts);
      step.bounds.push_back({bound.dim, fresh("start"), fresh("fewer"), bound.rows, counts});
      if (const auto symbol = bound.dim.bare_symbol()) {
        plan_.bound_symbols.insert(*symbol);
        most_[*symbol] = bound.most.substitute(most_);
      }
    }
  }

  // A carried value of which a step rewrites the first rows alone: the others
  // start in both of its buffers, and follow when a step has fewer rows than
  // the one before it. That touches no row that the step itself does.
  void keep_other_rows(const Location& initial, Location other, Location place, const Type& type,
                       const Dim& active, const Dim& fewer, Step& step) {
    other.buffer = place.alternate;
    copy(initial, other, type, step.loops, step.before);
    place.rows.push_back({-1, false, 0, row_stride(type), active});
    Location next = place;
    next.next = true;
    copy(place, next, {type.dtype, {fewer * row_stride(type)}}, step.loops + 1, step.body);
    step.body.back().apart = true;
  }

  // Row t of the buffer goes into step t, row t + 1 comes out; the other way round
  // in a loop that runs from the last step to the first.
  Location carry_in_stack(const ScanView& view, NodeId id, std::size_t carry,
                          const std::vector<std::size_t>& stacks, const Location& initial,
                          const Type& type, Step& step, std::vector<Location>& destinations,
                          std::map<Value, Location>& home) {
    const Dim row = type.count();
    const Location all = temporary(type.dtype, (view.length + Dim(1)) * row, step.loops);
    const auto from_row = [&](const Dim& start) {
      Location place = all;
      if (start != Dim(0)) place.rows.push_back({-1, false, 0, row, start});
      return place;
    };
    const Location in = from_row(view.reverse ? 1 : 0), out = from_row(view.reverse ? 0 : 1);
    copy(initial, from_row(view.reverse ? view.length : Dim(0)), type, step.loops, step.before);
    const auto turn = [&](Location place) {
      place.rows.push_back({step.loops, view.reverse, view.length, row});
      place.level = step.loops + 1;
      return place;
    };
    Location argument = turn(in), next = turn(out);
    argument.next_row = next.next_row = temporary(type.dtype, 0, step.loops).buffer;
    next.next = true;
    destinations.push_back(next);
    home[{id, static_cast<std::uint32_t>(carry)}] = from_row(view.reverse ? Dim(0) : view.length);
    for (std::size_t i = 0; i < stacks.size(); ++i)
      if (stacks[i] == carry) {
        const Value stacked = view.body->outputs()[view.carries + i].value;
        const bool before = stacked == view.body->input_value(view.first_carry() + carry);
        home[{id, static_cast<std::uint32_t>(view.carries + i)}] = before ? in : out;
      }
    return argument;
  }

  // Does it stand alone in a piece of the arena?
  bool may_rewrite(const std::map<Value, Location>& home, Value v) const {
    const Location& place = home.at(v);
    const auto same = [&](const auto& entry) {
      return stands_in(entry.second, place.buffer) || entry.second.next_row == place.buffer;
    };
    return plan_.buffers[static_cast<std::size_t>(place.buffer)].kind == BufferPlan::Kind::arena &&
           place.alternate < 0 && place.rows.empty() &&
           std::count_if(home.begin(), home.end(), same) == 1;
  }

  void attention(const Graph& graph, const Node& node, const std::map<Value, Location>& home,
                 Step& step, std::vector<Step>& steps) {
    const DType dtype = node.types[0].dtype;
    ensure(dtype == DType::f32 || dtype == DType::f64, "llvm", "attention in no f32 or f64");
    step.kind = Step::Kind::attention;
    step.product_dtype = dtype;
    const AttentionView view(node);
    for (std::size_t i = 0; i < node.operands.size(); ++i) {
      Value v = node.operands[i];
      if (i < view.row_operands) {
        step.rows.push_back(*rows_view(graph, v));
        v = step.rows.back().base;
      }
      step.in.push_back(home.at(v));
    }
    const std::uint32_t results = view.gradient ? 3 : 1;
    for (std::uint32_t i = 0; i < results; ++i)
      step.rows.push_back(*rows_view(graph, {step.node, i}));
    std::vector<Type> types;
    for (const Value v : node.operands) types.push_back(graph.type(v));
    const Dim scratch = attention_scratch(node, types, step.rows, tiles_.of(dtype)).all();
    step.out_index.push_back(static_cast<std::uint32_t>(step.out.size()));
    step.out.push_back(temporary(dtype, scratch, step.loops));
    plan_.buffers.back().per_thread = true;
    steps.push_back(std::move(step));
  }

  // Operand B of the step, packed where `from` is known first.
  Location packed(Step pack, const Location& from, DType dtype, std::vector<Step>& steps) {
    pack.kind = Step::Kind::pack;
    Dim elements = packed_elements(tiles_.of(pack.product_dtype), pack.shape);
    for (const ProductView::Loop& loop : pack.sum_loops) elements = elements * loop.extent;
    if (const Step* other = equal_pack(pack, from, steps)) return other->out[0];
    return before_step(std::move(pack), from, dtype, elements, steps);
  }

  // A step of `prepare` or `pack`, done where `from` is known first; its result.
  Location before_step(Step step, const Location& from, DType dtype, const Dim& elements,
                       std::vector<Step>& steps) {
    const Location out = temporary(dtype, elements, from.level);
    std::vector<Step>& where = place_of(step, from, steps);
    step.in = {from};
    step.loops = from.level;
    step.out = {out};
    step.out_index = {0};
    where.push_back(std::move(step));
    return out;
  }
  std::vector<Step>& place_of(const Step& step, const Location& from, std::vector<Step>& steps) {
    return from.level < step.loops ? *before_[static_cast<std::size_t>(from.level)] : steps;
  }

  // A step that already packs the same: the gradients of two weights by which the
  // same gradient came, say. Only one of a few steps ago, or one in front of the
  // loop: kept for longer, a copy would cost more memory than it saves time.
  const Step* equal_pack(const Step& pack, const Location& from, std::vector<Step>& steps) {
    constexpr std::size_t few = 8;
    std::vector<Step>& where = place_of(pack, from, steps);
    const std::size_t oldest = &where == &steps && where.size() > few ? where.size() - few : 0;
    const auto equal = [&](const Step& other) {
      return other.kind == Step::Kind::pack && other.graph == pack.graph && other.in[0] == from &&
             other.view_b == pack.view_b && other.product_dtype == pack.product_dtype &&
             other.shape.batch == pack.shape.batch && other.shape.n == pack.shape.n &&
             other.shape.k == pack.shape.k && other.sum_loops == pack.sum_loops;
    };
    const auto found =
        std::find_if(where.begin() + static_cast<std::ptrdiff_t>(oldest), where.end(), equal);
    return found == where.end() ? nullptr : &*found;
  }

  void scan(const Graph& graph, NodeId id, std::map<Value, Location>& home,
            std::map<Value, std::vector<Location>>& wanted, int loops, std::vector<Step>& steps) {
    const Node& node = graph.node(id);
    const ScanView view(node);
    const Graph& body = *view.body;
    Step step;
    step.kind = Step::Kind::scan;
    step.graph = &graph;
    step.node = id;
    step.loops = loops;
    step.length = view.length;
    step.reverse = view.reverse;
    const std::map<std::string, Dim> most_outside = most_;
    plan_bounds(view, node, home, step);
    std::vector<Location> arguments;
    for (std::size_t i = 0; i < view.constants; ++i) {
      arguments.push_back(home.at(node.operands[i]));
      // Its first rows, as many as the step has.
      if (view.bound_of(body.type(body.input_value(i))) != nullptr)
        arguments.back().level = loops + 1;
    }
    std::vector<std::vector<Location>> destinations(body.outputs().size());
    const std::vector<std::size_t> stacks = carries_of_stacks(view, [&](std::size_t i) {
      return wanted.contains({id, static_cast<std::uint32_t>(i)});
    });
    for (std::size_t i = 0; i < view.carries; ++i) {
      const Value initial = node.operands[view.first_carry() + i];
      const Type& type = graph.type(initial);
      if (std::find(stacks.begin(), stacks.end(), i) != stacks.end()) {
        arguments.push_back(carry_in_stack(view, id, i, stacks, home.at(initial), type, step,
                                           destinations[i], home));
        continue;
      }
      Location place = temporary(type.dtype, type.count(), loops + 1);
      if (!carried_in_place(view, i))
        place.alternate = temporary(type.dtype, type.count(), loops + 1).buffer;
      Location start = place;
      start.alternate = -1;
      start.level = loops;
      copy(home.at(initial), start, type, loops, step.before);
      if (place.alternate >= 0) place.parity_loop = loops;
      if (const ScanBound* bound =
              view.bound_of(body.type(body.input_value(view.first_carry() + i))))
        keep_other_rows(home.at(initial), start, place, type, bound->dim, fewer(view, step, *bound),
                        step);
      arguments.push_back(place);
      place.next = place.alternate >= 0;
      destinations[i].push_back(place);
      Location last = place;
      last.parity_loop = -1;
      last.next = false;
      if (place.alternate >= 0) last.parity_length = view.length;
      last.level = loops;
      home[{id, static_cast<std::uint32_t>(i)}] = last;
    }
    const auto row = [&](Location place, const Type& stacked, const Type& inner) {
      const Dim stride = row_stride(stacked);
      if (const ScanBound* bound = view.bound_of(inner))
        place.rows.push_back({-1, false, 0, stride, step.bounds[bound_number(view, *bound)].start});
      else
        place.rows.push_back({loops, view.reverse, view.length, stride});
      place.level = loops + 1;
      return place;
    };
    for (std::size_t i = 0; i < view.sequences; ++i) {
      const Value v = node.operands[view.first_sequence() + i];
      const Value argument = body.input_value(view.first_sequence() + i);
      arguments.push_back(row(home.at(v), graph.type(v), body.type(argument)));
    }
    for (std::size_t i = 0; i < view.outputs; ++i) {
      if (stacks[i] < view.carries) continue;
      const Value v{id, static_cast<std::uint32_t>(view.carries + i)};
      const Type& type = graph.type(v);
      const auto found = wanted.find(v);
      Location place;
      if (found != wanted.end() && !found->second.empty())
        place = found->second.front();
      else if (const auto old = overwritten_stack(graph, id, i); old && may_rewrite(home, *old))
        place = home.at(*old);
      else
        place = temporary(type.dtype, type.count(), loops);
      home[v] = place;
      destinations[view.carries + i].push_back(
          row(place, type, body.output_type(view.carries + i)));
    }
    step.parallel = !view.bounds.empty() && view.carries == 0 && parallel_level_ < 0;
    if (step.parallel) parallel_level_ = loops;
    before_.push_back(&step.before);
    region(body, arguments, destinations, loops + 1, step.body);
    before_.pop_back();
    if (step.parallel) parallel_level_ = -1;
    most_ = most_outside;
    steps.push_back(std::move(step));
    for (std::uint32_t i = 0; i < node.types.size(); ++i) {
      const auto found = wanted.find({id, i});
      if (found == wanted.end()) continue;
      for (const Location& place : found->second)
        copy(home.at({id, i}), place, node.types[i], loops, steps);
    }
  }

  const Graph& graph_;
  std::span<const InPlaceUpdate> updates_;
  const MatmulTiles& tiles_;
  ProgramPlan plan_;
  std::vector<std::vector<Step>*> before_;
  std::map<int, int> deferred_;      // kernels of deferred products, by the buffer they write
  std::map<std::string, Dim> most_;  // of the symbols that the loops around bind
  int parallel_level_ = -1;          // loops around the parallel loop that is being planned
};

}  // namespace

ProgramPlan plan_program(const Graph& graph, std::span<const InPlaceUpdate> updates,
                         const MatmulTiles& tiles, std::span<const std::string> fixed) {
  return Planner(graph, updates, tiles).run(fixed);
}

}  // namespace treadle
