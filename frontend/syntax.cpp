#include "frontend/syntax.h"

#include "frontend/lexer.h"

namespace treadle::syntax {

std::string_view to_string(BinaryOp op) {
  switch (op) {
    case BinaryOp::logical_or: return "or";
    case BinaryOp::logical_and: return "and";
    case BinaryOp::equal: return "==";
    case BinaryOp::not_equal: return "!=";
    case BinaryOp::less: return "<";
    case BinaryOp::less_equal: return "<=";
    case BinaryOp::greater: return ">";
    case BinaryOp::greater_equal: return ">=";
    case BinaryOp::add: return "+";
    case BinaryOp::subtract: return "-";
    case BinaryOp::multiply: return "*";
    case BinaryOp::divide: return "/";
    case BinaryOp::modulo: return "%";
    case BinaryOp::matmul: return "@";
    case BinaryOp::power: return "**";
  }
  return "+";
}

std::string_view to_string(UnaryOp op) { return op == UnaryOp::negate ? "-" : "not"; }

namespace {

// S-expressions: (call (name f) (arg x (number 1))).
class Dump {
 public:
  std::string take() { return std::move(out_); }

  void module(const Module& module) {
    for (const Declaration& declaration : module.declarations) {
      open("declaration");
      if (!declaration.doc.empty()) word(quoted(declaration.doc));
      std::visit([&](const auto& node) { visit(node); }, declaration.node);
      close();
      out_ += '\n';
    }
  }

  void expr(const ExprPtr& expr) {
    if (expr) return expr_node(*expr);
    word("-");
  }
  void expr_node(const Expr& expr) {
    std::visit([&](const auto& node) { visit(node); }, expr.node);
  }

 private:
  void word(std::string_view text) {
    if (!out_.empty() && out_.back() != '(' && out_.back() != '\n') out_ += ' ';
    out_ += text;
  }
  void open(std::string_view head) {
    word("(");
    word(head);
  }
  void close() { out_ += ')'; }

  void argument(const Argument& argument) {
    open("arg");
    word(argument.name ? argument.name->text : "-");
    expr(argument.value);
    close();
  }
  void arguments(const std::vector<Argument>& list) {
    for (const Argument& one : list) argument(one);
  }
  void exprs(const std::vector<ExprPtr>& list) {
    for (const ExprPtr& one : list) expr(one);
  }

  void visit(const Number& number) {
    open(number.is_byte_size ? "bytes" : number.is_integer ? "integer" : "real");
    word(number.spelling);
    close();
  }
  void visit(const String& string) { word(quoted(string.value)); }
  void visit(const Bool& boolean) { word(boolean.value ? "true" : "false"); }
  void visit(const Name& name) { word(name.text); }
  void visit(const Call& call) {
    open("call");
    expr(call.callee);
    arguments(call.arguments);
    close();
  }
  void visit(const Index& index) {
    open("index");
    expr(index.base);
    for (const Subscript& subscript : index.subscripts) {
      if (!subscript.is_slice) {
        expr(subscript.value);
        continue;
      }
      open("slice");
      expr(subscript.begin);
      expr(subscript.end);
      close();
    }
    close();
  }
  void visit(const Member& member) {
    open("member");
    expr(member.base);
    word(member.name.text);
    close();
  }
  void visit(const Unary& unary) {
    open(to_string(unary.op));
    expr(unary.operand);
    close();
  }
  void visit(const Binary& binary) {
    open(to_string(binary.op));
    expr(binary.left);
    expr(binary.right);
    close();
  }
  void visit(const Conditional& conditional) {
    open("if");
    expr(conditional.condition);
    expr(conditional.then_value);
    expr(conditional.else_value);
    close();
  }
  void visit(const Tuple& tuple) {
    open("tuple");
    exprs(tuple.elements);
    close();
  }
  void visit(const Scan& scan) {
    open(scan.reverse ? "scan-reverse" : "scan");
    expr(scan.cell);
    open("over");
    exprs(scan.sequences);
    close();
    open("from");
    expr(scan.from);
    close();
    if (scan.unroll) {
      open("unroll");
      expr(scan.unroll_count);
      close();
    }
    if (scan.budget) {
      open("remat");
      expr(scan.budget);
      close();
    }
    close();
  }
  void visit(const Stack& stack) {
    open("stack");
    expr(stack.count);
    exprs(stack.layers);
    close();
  }

  void type(const TypePtr& type) {
    if (!type) return word("-");
    std::visit([&](const auto& node) { visit(node); }, type->node);
  }
  void visit(const ElementType& element) {
    open("type");
    word(element.element.text);
    arguments(element.arguments);
    open("dims");
    exprs(element.dims);
    close();
    close();
  }
  void visit(const TupleType& tuple) {
    open("tuple-type");
    for (const TypePtr& element : tuple.elements) type(element);
    close();
  }
  void visit(const StateType& state) {
    open("state");
    expr(state.of);
    close();
  }

  void pattern(const Pattern& pattern) {
    if (!pattern.is_tuple) return word(pattern.name);
    open("pattern");
    for (const Pattern& element : pattern.elements) this->pattern(element);
    close();
  }
  void visit(const Param& param) {
    open("param");
    for (const Identifier& name : param.names) word(name.text);
    type(param.type);
    expr(param.initialiser);
    close();
  }
  void visit(const Assign& assign) {
    open("assign");
    open("targets");
    for (const Pattern& target : assign.targets) pattern(target);
    close();
    expr(assign.value);
    close();
  }
  void visit(const Let& let) {
    open("let");
    word(let.name.text);
    expr(let.value);
    close();
  }
  void visit(const Yield& yield) {
    open("yield");
    arguments(yield.values);
    close();
  }
  void visit(const Return& result) {
    open("return");
    arguments(result.values);
    close();
  }
  void visit(const ExprStatement& statement) {
    open("value");
    expr(statement.value);
    close();
  }

  void visit(const DimDecl& dims) {
    open("dims");
    for (const DimDecl::Entry& entry : dims.entries) {
      open(entry.name.text);
      expr(entry.value);
      close();
    }
    close();
  }
  void visit(const Import& import) {
    open("import");
    word(quoted(import.path.text));
    close();
  }
  void visit(const Definition& definition) {
    constexpr std::string_view kinds[] = {"cell", "block", "model"};
    constexpr std::string_view generic_kinds[] = {"dim", "cell", "block"};
    open(kinds[static_cast<int>(definition.kind)]);
    word(definition.name.text);
    for (const Generic& generic : definition.generics) {
      open("generic");
      word(generic_kinds[static_cast<int>(generic.kind)]);
      word(generic.name.text);
      expr(generic.default_value);
      close();
    }
    for (const Parameter& parameter : definition.parameters) {
      open("parameter");
      pattern(parameter.pattern);
      type(parameter.type);
      expr(parameter.default_value);
      close();
    }
    open("where");
    expr(definition.where);
    close();
    for (const Statement& statement : definition.body) {
      out_ += "\n ";
      std::visit([&](const auto& node) { visit(node); }, statement.node);
    }
    close();
  }
  void visit(const ClauseBlock& block) {
    constexpr std::string_view kinds[] = {"train", "eval", "generate", "test"};
    open(kinds[static_cast<int>(block.kind)]);
    if (block.subjects.empty()) word("-");
    for (const ExprPtr& subject : block.subjects) expr(subject);
    word(block.title ? quoted(block.title->text) : "-");
    for (const Clause& clause : block.clauses) {
      out_ += "\n ";
      open("clause");
      word(clause.keyword.text);
      for (const ClauseItem& item : clause.items) {
        open("item");
        for (const Identifier& bare : item.words) word(bare.text);
        if (item.name_equals) word("=");
        argument(item.argument);
        close();
      }
      close();
    }
    close();
  }

  std::string out_;
};

}  // namespace

std::string dump(const Module& module) {
  Dump dump;
  dump.module(module);
  return dump.take();
}

std::string dump(const Expr& expr) {
  Dump dump;
  dump.expr_node(expr);
  return dump.take();
}

}  // namespace treadle::syntax
