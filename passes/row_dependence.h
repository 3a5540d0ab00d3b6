// How each value of a model depends on the rows of a sequence that grows: the
// proof behind `derive-step`.
#pragma once
#include <cstdint>
#include <limits>
#include <optional>
#include <string>
#include <vector>

#include "ir/graph.h"

namespace treadle {

// Values between `low` and `high`, both included; bool is 0 and 1. Without
// further knowledge: any finite number.
struct Interval {
  double low = std::numeric_limits<double>::lowest();
  double high = std::numeric_limits<double>::max();
  bool is(double value) const { return low == value && high == value; }
};

struct Dependence {
  enum class Kind : std::uint8_t {
    none,   // not at all
    rows,   // its row t, along `axis`, depends on rows 0 ... t
    pairs,  // its entry (t, s), along `axis` and `past`, depends on rows 0 ... max(t, s)
    last,   // on all rows that there are
  };
  Kind kind = Kind::none;
  std::int64_t axis = -1;  // rows, pairs
  std::int64_t past = -1;  // pairs
  // The value is t + offset, t being the row along `axis` or, for pairs with
  // `counts_past`, the row along `past`.
  std::optional<std::int64_t> offset;
  bool counts_past = false;
  // What can stand in an entry of pairs whose s is later than its t; of other
  // values, what can stand anywhere.
  Interval range;
  // rows: it says where a row is and nothing about it, as iota does.
  bool positional = false;
};

class RowDependence {
 public:
  // Rows are along extents equal to the symbol `length`. Of two such extents the
  // first is a row's own and the second that of the rows before it, or the
  // other way round with `past_first`. Throws UserError T0848 at the first node
  // with an entry (t) that depends on rows behind t.
  RowDependence(const Graph& graph, std::string length, bool past_first);

  const Dependence& operator[](Value v) const { return of_[v.node][v.index]; }
  // A scan over the rows: in the step, one turn of it.
  bool steps(NodeId id) const;
  // Does the node read operand i at all rows so far, not at the current one?
  bool reads_past(NodeId id, std::size_t i) const;
  // A piece of a table, as long as the sequence: its rows are t + start.
  bool reads_table(NodeId id) const;

 private:
  using Kind = Dependence::Kind;
  [[noreturn]] void blocked(NodeId id, const std::string& why) const;
  [[noreturn]] void meets_later_rows(NodeId id, const std::string& what) const;
  void check_type(Value v) const;
  bool mentions_length(const Graph& region) const;
  Dependence by_type(const Dims& dims) const;
  Dependence joined(NodeId id) const;
  Dependence moved(NodeId id, Dependence d, const std::vector<std::int64_t>& axes) const;
  Dependence reduced(NodeId id, Dependence d, const std::vector<std::int64_t>& axes) const;
  Dependence across(NodeId id, Dependence d) const;
  Dependence normalised(NodeId id, Dependence d) const;
  Dependence matmul(NodeId id) const;
  Dependence reshape(NodeId id) const;
  Dependence broadcast(NodeId id) const;
  Dependence slice(NodeId id) const;
  Dependence gather(NodeId id) const;
  Dependence pointwise(NodeId id) const;
  void scan(NodeId id);
  void visit(NodeId id);

  const Graph& graph_;
  std::string length_;
  Dim rows_;
  bool past_first_;
  std::vector<std::vector<Dependence>> of_;
};

}  // namespace treadle
