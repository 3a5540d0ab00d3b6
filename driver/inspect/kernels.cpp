#include "driver/inspect/kernels.h"

#include <fmt/format.h>

#include <algorithm>
#include <map>
#include <set>

#include "backends/llvm/interleaved_products.h"
#include "backends/llvm/program_plan.h"
#include "backends/llvm/target.h"
#include "driver/inspect/costs.h"
#include "driver/text_table.h"
#include "ir/diagnostic.h"
#include "ir/op_def.h"

namespace treadle {
namespace {

Dim shape_bytes(const MatmulShape& shape, const Dim& rows, const Dim& columns, DType dtype) {
  return shape.batch * rows * columns * Dim(static_cast<std::int64_t>(size_of(dtype)));
}

class Walk {
 public:
  Walk(const Graph& graph, const Target& target, const MatmulTiles& tiles)
      : target_(target), tiles_(tiles) {
    name_regions(graph, "");
  }

  void steps(const std::vector<Step>& steps, const Dim& times, bool alone = false) {
    bool second = false;  // of a pair
    for (const Step& step : steps) {
      using Layer = Step::Layer;
      const bool layers =
          step.layer == Layer::first || step.layer == Layer::between || step.layer == Layer::second;
      std::size_t first = rows_.size();
      if (step.kind == Step::Kind::scan) {
        this->steps(step.before, times, alone);
        first = rows_.size();
        this->steps(step.body, times * step.length, alone || step.parallel);
        if (step.interleaved) name_product_beside(step);
      } else if (!step.turn) {  // which is a part of a kernel before
        ensure(step.kernel == static_cast<int>(rows_.size()), "kernels", "the plan counts others");
        rows_.push_back(row(step, times));
        rows_.back().alone = alone;
      }
      for (; first < rows_.size() && (step.beside || second || layers); ++first) {
        rows_[first].pair = pairs_;
        rows_[first].layers = layers;
      }
      pairs_ += second || step.layer == Layer::second ? 1 : 0;
      second = step.beside;
    }
  }
  void preparation(const std::vector<Step>& steps) {
    this->steps(steps, Dim(0));
    for (KernelRow& row : rows_) row.prepares = true;
  }
  std::vector<KernelRow> take() { return std::move(rows_); }

 private:
  // Most of it is computed beside the first of those that it may be computed beside.
  void name_product_beside(const Step& loop) {
    const Step& product = loop.interleaved->product[0];
    if (!may_interleave(target_, tiles_.of(product.product_dtype))) return;
    Interleaved where = *loop.interleaved;
    where.product.clear();
    for (const Step& step : loop.body)
      if (may_have_beside(step, product, where.rows)) {
        rows_[static_cast<std::size_t>(product.kernel)].beside = {
            where, static_cast<std::size_t>(step.kernel)};
        return;
      }
  }

  void name_regions(const Graph& graph, const std::string& prefix) {
    prefixes_.emplace(&graph, prefix);
    for (NodeId id = 0; id < graph.size(); ++id)
      if (graph.node(id).op == Op::scan)
        name_regions(*graph.node(id).regions[0], fmt::format("{}{}/", prefix, id));
  }

  static void collect_sources(const Graph& graph, NodeId id, std::vector<KernelRow::Source>& out) {
    const Node& node = graph.node(id);
    const SourceRange& place = node.location;
    if (place) {
      auto found = std::find_if(out.begin(), out.end(), [&](const KernelRow::Source& source) {
        const SourceRange& r = source.range;
        return r.file == place.file && r.begin == place.begin && r.end == place.end;
      });
      if (found == out.end()) found = out.insert(found, {place, Dim()});
      if (node.regions.empty()) found->flops = found->flops + node_flops(graph, id);
    }
    for (const Region& region : node.regions)
      for (NodeId inner = 0; inner < region->size(); ++inner) collect_sources(*region, inner, out);
  }

  KernelRow row(const Step& step, const Dim& times) const {
    KernelRow out;
    out.times = times;
    out.backend = "llvm";
    if (step.graph == nullptr) {
      out.kind = "copy";
      out.description = to_string(step.type);
      out.bytes = type_bytes(step.type) * Dim(2);
      return out;
    }
    const Node& node = step.graph->node(step.node);
    std::vector<NodeId> nodes = {step.node};
    if (step.second) nodes.push_back(step.second->node);
    for (const NodeId id : nodes) {
      if (const auto prefix = prefixes_.find(step.graph); prefix != prefixes_.end())
        out.nodes.push_back(fmt::format("{}{}", prefix->second, id));
      collect_sources(*step.graph, id, out.sources);
    }
    const DType dtype = node.types[0].dtype;
    const MatmulShape& shape = step.shape;
    const std::string many = shape.batch == Dim(1) ? "" : shape.batch.to_string() + " x ";
    switch (step.kind) {
      case Step::Kind::pack:
      case Step::Kind::prepare:
        out.kind = "pack";
        out.description = fmt::format("{}[{}, {}]", many, shape.k.to_string(), shape.n.to_string());
        out.bytes = shape_bytes(shape, shape.k, shape.n, dtype) * Dim(2);
        break;
      case Step::Kind::matmul:
      case Step::Kind::claimed: {
        out.kind = "matmul";
        std::string rows = shape.m.to_string();
        Dim m = shape.m;
        if (step.second) {
          rows += " + " + step.second->m.to_string();
          m = m + step.second->m;
        }
        out.description = fmt::format("{}[{}, {}] @ [{}, {}]", many, rows, shape.k.to_string(),
                                      shape.k.to_string(), shape.n.to_string());
        out.backend = node.attributes.string("backend", "llvm");
        for (const NodeId id : nodes) out.flops = out.flops + node_flops(*step.graph, id);
        out.bytes = shape_bytes(shape, m, shape.k, dtype) +
                    shape_bytes(shape, shape.k, shape.n, dtype) +
                    shape_bytes(shape, m, shape.n, dtype);
        break;
      }
      default:
        out.kind = to_string(node.op);
        out.description =
            node.op == Op::fused ? body_summary(*node.regions[0]) : to_string(node.types[0]);
        out.flops = node_flops(*step.graph, step.node);
        out.bytes = node_bytes(*step.graph, step.node);
    }
    return out;
  }

  std::map<const Graph*, std::string> prefixes_;
  std::vector<KernelRow> rows_;
  int pairs_ = 0;
  const Target& target_;
  const MatmulTiles& tiles_;
};

// "64*B = 2.05 k"; the number alone where there is no symbol in it.
std::string cost(const Dim& dim, const DimEnv& extents) {
  const auto value = value_of(dim, extents);
  if (dim.is_constant()) return short_number(*value);
  return value ? fmt::format("{} = {}", dim.to_string(), short_number(*value)) : dim.to_string();
}

}  // namespace

std::string lines_of(const KernelRow& row) {
  std::map<std::string, std::set<std::uint32_t>> files;
  for (const auto& [range, flops] : row.sources) {
    const std::string path = range.file->path;
    files[path.substr(path.rfind('/') + 1)].insert(line_column(*range.file, range.begin).line);
  }
  std::string out;
  for (const auto& [file, lines] : files)
    out += fmt::format("{}{}:{}", out.empty() ? "" : " ", file, fmt::join(lines, ","));
  return out.empty() ? "-" : out;
}

std::string body_summary(const Graph& body) {
  std::vector<std::pair<Op, int>> counts;
  for (const Node& node : body.nodes()) {
    const Family family = op_def(node.op).family;
    if (family == Family::control || node.op == Op::constant || node.op == Op::argument) continue;
    const bool view = family == Family::shape && node.op != Op::concat && node.op != Op::pad;
    if (view) continue;
    const auto found = std::find_if(counts.begin(), counts.end(),
                                    [&](const auto& entry) { return entry.first == node.op; });
    if (found == counts.end())
      counts.emplace_back(node.op, 1);
    else
      ++found->second;
  }
  if (counts.empty()) return body.inputs().empty() ? "fill" : "rearrange";
  std::stable_sort(counts.begin(), counts.end(),
                   [](const auto& a, const auto& b) { return a.second > b.second; });
  std::string out;
  for (std::size_t i = 0; i < std::min<std::size_t>(3, counts.size()); ++i)
    out += fmt::format("{}{}", i == 0 ? "" : ", ", to_string(counts[i].first));
  return counts.size() > 3 ? fmt::format("{} +{}", out, counts.size() - 3) : out;
}

std::vector<KernelRow> compiled_kernels(const Graph& graph, std::span<const InPlaceUpdate> updates,
                                        std::span<const std::string> fixed) {
  const Target target = host_target();
  const MatmulTiles tiles = matmul_tiles(target);
  const ProgramPlan plan = plan_program(graph, updates, tiles, fixed);
  Walk walk(graph, target, tiles);
  walk.preparation(plan.preparation);
  walk.steps(plan.steps, Dim(1));
  return walk.take();
}

std::optional<double> value_of(const Dim& dim, const DimEnv& extents) {
  std::set<std::string> symbols;
  dim.collect_symbols(symbols);
  for (const std::string& symbol : symbols)
    if (!extents.contains(symbol)) return std::nullopt;
  return static_cast<double>(dim.evaluate(extents));
}

std::optional<double> intensity(const KernelRow& row, const DimEnv& extents) {
  const auto flops = value_of(row.flops, extents), bytes = value_of(row.bytes, extents);
  if (!flops || !bytes || *bytes == 0) return std::nullopt;
  return *flops / *bytes;
}

std::string short_number(double value) {
  static constexpr const char* units[] = {"", " k", " M", " G", " T", " P"};
  std::size_t unit = 0;
  while (value >= 999.5 && unit + 1 < std::size(units)) {
    value /= 1000;
    ++unit;
  }
  if (unit == 0 && value == static_cast<double>(static_cast<std::int64_t>(value)))
    return fmt::format("{:.0f}", value);
  const int decimals = value < 9.995 ? 2 : value < 99.95 ? 1 : 0;
  return fmt::format("{:.{}f}{}", value, decimals, units[unit]);
}

std::string kernel_table(std::span<const KernelRow> rows, const DimEnv& extents) {
  std::vector<std::vector<std::string>> cells{
      {"#", "kernel", "backend", "times", "flops", "bytes", "flops/byte", "source"}};
  Dim flops, bytes;
  for (std::size_t i = 0; i < rows.size(); ++i) {
    const KernelRow& row = rows[i];
    flops = flops + row.times * row.flops;
    bytes = bytes + row.times * row.bytes;
    const auto ratio = intensity(row, extents);
    cells.push_back({fmt::format("{}", i), row.kind + " " + row.description, row.backend,
                     cost(row.times, extents), cost(row.flops, extents), cost(row.bytes, extents),
                     ratio ? short_number(*ratio) : "-", lines_of(row)});
  }
  std::string out = text_table(cells);
  out += fmt::format("a step: {} flops, {} bytes\n", cost(flops, extents), cost(bytes, extents));
  std::map<int, std::vector<std::size_t>> pairs;
  for (std::size_t i = 0; i < rows.size(); ++i)
    if (rows[i].pair) pairs[*rows[i].pair].push_back(i);
  for (const auto& [pair, kernels] : pairs)
    out += fmt::format("{}: two loops, {}each half of the threads' where there are few rows\n",
                       fmt::join(kernels, ", "),
                       rows[kernels[0]].layers ? "one some turns behind the other, " : "");
  for (std::size_t i = 0; i < rows.size(); ++i)
    if (rows[i].beside)
      out += fmt::format(
          "{}: beside {}, {} rows at a time, where a turn has one row of many weights\n", i,
          rows[i].beside->kernel, interleaved_rows);
  for (const auto& [name, value] : extents) out += fmt::format("{} = {}\n", name, value);
  return out;
}

}  // namespace treadle
