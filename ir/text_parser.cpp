#include "ir/text_parser.h"

#include <fmt/format.h>

#include <cctype>
#include <charconv>
#include <cstdlib>
#include <optional>

#include "ir/builder.h"
#include "ir/diagnostic.h"

namespace treadle {
namespace {

constexpr int max_depth = 50;

class Parser {
 public:
  Parser(std::string_view text, const std::string& name)
      : file_(std::make_shared<const SourceFile>(SourceFile{name, std::string(text)})),
        text_(file_->text) {}

  Graph whole() {
    Graph graph;
    expect("graph");
    expect("@");
    graph.name = word();
    expect("stage");
    expect("(");
    graph.stage = stage();
    expect(")");
    expect("{");
    body(graph, false);
    expect("}");
    skip();
    if (at_ != text_.size()) fail("nothing may follow the graph");
    return graph;
  }

 private:
  [[noreturn]] void fail(const std::string& message, std::string code = "T0801") {
    const auto at = static_cast<std::uint32_t>(at_);
    throw_user_error(std::move(code), message, {}, {file_, at, at + 1});
  }

  void skip() {
    while (at_ < text_.size()) {
      if (std::isspace(static_cast<unsigned char>(text_[at_]))) {
        ++at_;
      } else if (text_[at_] == '#') {
        while (at_ < text_.size() && text_[at_] != '\n') ++at_;
      } else {
        return;
      }
    }
  }
  static bool word_char(char c) {
    return std::isalnum(static_cast<unsigned char>(c)) || c == '_' || c == '-' || c == '.';
  }
  bool peek(std::string_view symbol) {
    skip();
    return text_.substr(at_, symbol.size()) == symbol;
  }
  bool accept(std::string_view symbol) {
    if (!peek(symbol)) return false;
    const std::size_t end = at_ + symbol.size();
    if (word_char(symbol.back()) && end < text_.size() && word_char(text_[end])) return false;
    at_ = end;
    return true;
  }
  void expect(std::string_view symbol) {
    if (!accept(symbol)) fail(fmt::format("expected '{}'", symbol));
  }
  std::string word() {
    skip();
    const std::size_t begin = at_;
    while (at_ < text_.size() && word_char(text_[at_])) ++at_;
    if (begin == at_) fail("expected a name");
    return std::string(text_.substr(begin, at_ - begin));
  }
  std::int64_t integer() {
    skip();
    std::int64_t value = 0;
    const char* begin = text_.data() + at_;
    const auto [end, error] = std::from_chars(begin, text_.data() + text_.size(), value);
    if (error != std::errc()) fail("expected an integer");
    at_ += static_cast<std::size_t>(end - begin);
    return value;
  }
  double real(const std::string& token) {
    char* end = nullptr;
    const double value = std::strtod(token.c_str(), &end);
    if (token.empty() || *end != '\0') fail(fmt::format("'{}' is not a number", token));
    return value;
  }
  // The characters of a number, "inf" or "nan", with its sign.
  std::string number_token() {
    skip();
    const std::size_t begin = at_;
    while (at_ < text_.size() && (word_char(text_[at_]) || text_[at_] == '+')) ++at_;
    return std::string(text_.substr(begin, at_ - begin));
  }
  std::string string() {
    expect("\"");
    std::string out;
    for (;;) {
      if (at_ >= text_.size()) fail("a string does not end");
      char c = text_[at_++];
      if (c == '"') return out;
      if (c == '\\') {
        if (at_ >= text_.size()) fail("a string does not end");
        c = text_[at_++];
        if (c == 'x') {
          unsigned value = 0;
          const char* begin = text_.data() + at_;
          if (at_ + 2 > text_.size() ||
              std::from_chars(begin, begin + 2, value, 16).ptr != begin + 2)
            fail("expected two hexadecimal digits");
          at_ += 2;
          c = static_cast<char>(value);
        }
      }
      out += c;
    }
  }
  Stage stage() {
    const std::string name = word();
    for (int i = 0; i <= static_cast<int>(Stage::placed); ++i)
      if (to_string(static_cast<Stage>(i)) == name) return static_cast<Stage>(i);
    fail(fmt::format("there is no stage '{}'", name));
  }

  // Everything up to the bracket that closes the one just opened.
  std::string_view inside(char open, char close) {
    const std::size_t begin = at_;
    int depth = 1;
    while (at_ < text_.size()) {
      if (text_[at_] == open) ++depth;
      if (text_[at_] == close && --depth == 0) return text_.substr(begin, at_++ - begin);
      ++at_;
    }
    fail(fmt::format("expected '{}'", close));
  }
  Type type() {
    skip();
    const std::size_t begin = at_;
    word();
    expect("[");
    inside('[', ']');
    const std::string written(text_.substr(begin, at_ - begin));
    try {
      return parse_type(written);
    } catch (const UserError& error) {
      at_ = begin;
      fail(error.diagnostics()[0].message);
    }
  }
  Dims dims() {
    const std::string_view text = inside('<', '>');
    return parse_type("f32[" + std::string(text) + "]").dims;
  }

  TensorPtr dense() {
    const Type shape_type = type();
    Shape shape = evaluate_constant_shape(shape_type);
    expect("<");
    std::vector<std::string> elements;
    while (!accept(">")) {
      if (!elements.empty()) expect(",");
      elements.push_back(number_token());
      if (elements.back().empty()) fail("expected a number");
    }
    if (static_cast<std::int64_t>(elements.size()) != element_count(shape))
      fail("the number of elements is not that of the shape");
    Tensor tensor(shape_type.dtype, std::move(shape));
    for (std::size_t i = 0; i < elements.size(); ++i) {
      const auto index = static_cast<std::int64_t>(i);
      if (is_float(tensor.dtype()))
        tensor.set(index, real(elements[i]));
      else
        tensor.set_integer(index, std::strtoll(elements[i].c_str(), nullptr, 10));
    }
    return std::make_shared<const Tensor>(std::move(tensor));
  }
  Shape evaluate_constant_shape(const Type& shape_type) {
    Shape shape;
    for (const Dim& dim : shape_type.dims) {
      if (!dim.constant()) fail("a literal's extents are numbers");
      shape.push_back(*dim.constant());
    }
    return shape;
  }

  Attribute attribute() {
    if (accept("true")) return true;
    if (accept("false")) return false;
    if (peek("\"")) return string();
    if (accept("<")) return dims();
    if (accept("dense")) return dense();
    if (accept("[")) {
      Integers out;
      while (!accept("]")) {
        if (!out.empty()) expect(",");
        out.push_back(integer());
      }
      return out;
    }
    const std::string token = number_token();
    if (const auto dtype = dtype_from_string(token)) return *dtype;
    if (token.find_first_of(".en") != std::string::npos) return real(token);
    std::int64_t value = 0;
    const auto [end, error] = std::from_chars(token.data(), token.data() + token.size(), value);
    if (error != std::errc() || end != token.data() + token.size())
      fail(fmt::format("'{}' is not an attribute", token));
    return value;
  }

  Value reference(const std::vector<Value>& values) {
    expect("%");
    const std::int64_t number = integer();
    if (number < 0 || number >= static_cast<std::int64_t>(values.size()))
      fail(fmt::format("%{} is not defined yet", number));
    return values[static_cast<std::size_t>(number)];
  }

  void define(const std::vector<Value>& values) {
    expect("%");
    if (integer() != static_cast<std::int64_t>(values.size()))
      fail(fmt::format("values are numbered in order; expected %{}", values.size()));
  }

  // Up to and with `return`.
  void body(Graph& graph, bool region) {
    if (++depth_ > max_depth) fail("regions are nested too deep");
    Builder b(graph);
    std::vector<Value> values;
    if (region) {
      if (accept("^")) {
        expect("(");
        while (!accept(")")) {
          if (!values.empty()) expect(",");
          define(values);
          expect(":");
          values.push_back(b.argument(type()));
        }
      }
    }
    while (!accept("return")) node(b, values);
    if (peek("%") || peek("\"")) {
      do {
        std::string name;
        if (peek("\"")) {
          name = string();
          expect("=");
        }
        graph.add_output(std::move(name), reference(values));
      } while (accept(","));
    }
    --depth_;
  }

  void node(Builder& b, std::vector<Value>& values) {
    const std::size_t begin = at_;
    std::size_t defined = 0;
    do {
      expect("%");
      if (integer() != static_cast<std::int64_t>(values.size() + defined))
        fail(fmt::format("values are numbered in order; expected %{}", values.size() + defined));
      ++defined;
    } while (accept(","));
    expect("=");
    const std::string name = word();
    const std::optional<Op> op = op_from_name(name);
    if (!op) fail(fmt::format("there is no op '{}'", name));
    std::vector<Value> operands;
    if (accept("(")) {
      while (!accept(")")) {
        if (!operands.empty()) expect(",");
        operands.push_back(reference(values));
      }
    }
    const OpDef& def = op_def(*op);
    if (def.operands >= 0 && def.operands != static_cast<int>(operands.size()))
      fail(fmt::format("{} takes {} operands", name, def.operands));
    Attributes attributes;
    if (accept("{")) {
      bool first = true;
      while (!accept("}")) {
        if (!first) expect(",");
        first = false;
        std::string key = word();
        expect("=");
        attributes.set(std::move(key), attribute());
      }
    }
    check_attributes(def, attributes);
    std::vector<Type> types;
    expect(":");
    do types.push_back(type());
    while (accept(","));
    std::vector<Region> regions;
    while (accept("{")) {
      auto inner = std::make_shared<Graph>();
      inner->stage = b.graph().stage;
      body(*inner, true);
      expect("}");
      regions.push_back(std::move(inner));
    }
    skip();
    b.set_location({file_, static_cast<std::uint32_t>(begin), static_cast<std::uint32_t>(at_)});
    const Value first =
        b.add_node(*op, std::move(operands), std::move(attributes), std::move(regions));
    b.set_location({});
    const std::vector<Type>& found = b.graph().node(first.node).types;
    if (found != types) {
      std::string text;
      for (const Type& one : found) text += (text.empty() ? "" : ", ") + to_string(one);
      at_ = begin;
      fail(fmt::format("the operands of this {} make it {}", name, text), "T0802");
    }
    for (std::uint32_t i = 0; i < found.size(); ++i) values.push_back({first.node, i});
  }

  void check_attributes(const OpDef& def, const Attributes& attributes) {
    for (const AttributeSpec& spec : def.attributes) {
      const Attribute* found = attributes.find(spec.name);
      if (found == nullptr) {
        if (spec.required) fail(fmt::format("{} needs the attribute '{}'", def.name, spec.name));
        continue;
      }
      if (found->index() != static_cast<std::size_t>(spec.kind))
        fail(fmt::format("the attribute '{}' of {} is of another kind", spec.name, def.name));
    }
  }

  SourceFilePtr file_;
  std::string_view text_;
  std::size_t at_ = 0;
  int depth_ = 0;
};

}  // namespace

Graph parse_graph(std::string_view text, const std::string& name) {
  return Parser(text, name).whole();
}

}  // namespace treadle
