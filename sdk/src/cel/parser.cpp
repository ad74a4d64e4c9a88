// SPDX-License-Identifier: Apache-2.0

#include <algorithm>
#include <array>
#include <charconv>
#include <limits>

#include "ast.h"
#include "lexer.h"
#include "text.h"

namespace kubernel::cel {

Error error_at(std::string_view text, std::size_t offset, const std::string& message) {
  const std::string_view before = text.substr(0, offset);
  const auto line = 1 + std::ranges::count(before, '\n');
  const std::size_t line_start = before.rfind('\n') + 1;  // npos + 1 is 0.
  const std::size_t column = 1 + count_points(before.substr(line_start));
  return {Reason::Invalid, std::to_string(line) + ":" + std::to_string(column) + ": " + message};
}

namespace {

struct BinaryOperator {
  std::string_view text;
  Op op;
};
constexpr std::array<BinaryOperator, 7> kRelations = {{{"==", Op::Equal},
                                                       {"!=", Op::NotEqual},
                                                       {"<", Op::Less},
                                                       {"<=", Op::LessEqual},
                                                       {">", Op::Greater},
                                                       {">=", Op::GreaterEqual},
                                                       {"in", Op::In}}};
constexpr std::array<BinaryOperator, 2> kSums = {{{"+", Op::Add}, {"-", Op::Subtract}}};
constexpr std::array<BinaryOperator, 3> kProducts = {{{"*", Op::Multiply}, {"/", Op::Divide}, {"%", Op::Modulo}}};

// A macro by its name and how many arguments it takes; one or two of them are variables.
struct Macro {
  std::string_view name;
  std::size_t arguments;
  std::size_t variables;
  Op op;
};
constexpr std::array<Macro, 18> kMacros = {{{"all", 2, 1, Op::All},
                                            {"all", 3, 2, Op::All},
                                            {"exists", 2, 1, Op::Exists},
                                            {"exists", 3, 2, Op::Exists},
                                            {"exists_one", 2, 1, Op::ExistsOne},
                                            {"existsOne", 2, 1, Op::ExistsOne},
                                            {"existsOne", 3, 2, Op::ExistsOne},
                                            {"map", 2, 1, Op::MapMacro},
                                            {"map", 3, 1, Op::MapMacro},
                                            {"filter", 2, 1, Op::Filter},
                                            {"transformList", 3, 2, Op::TransformList},
                                            {"transformList", 4, 2, Op::TransformList},
                                            {"transformMap", 3, 2, Op::TransformMap},
                                            {"transformMap", 4, 2, Op::TransformMap},
                                            {"transformMapEntry", 3, 2, Op::TransformMapEntry},
                                            {"transformMapEntry", 4, 2, Op::TransformMapEntry},
                                            {"optMap", 2, 1, Op::OptMap},
                                            {"optFlatMap", 2, 1, Op::OptFlatMap}}};

constexpr std::array<std::string_view, 15> kReserved = {"as",   "break",    "const",  "continue", "else",
                                                        "for",  "function", "if",     "import",   "let",
                                                        "loop", "package",  "return", "var",      "while"};

using Mutable = std::shared_ptr<Node>;

class Parser {
 public:
  Parser(std::string_view text, int max_depth) : text_(text), lexer_(text), max_depth_(max_depth) {}

  Result<NodePtr> parse() {
    KUBERNEL_CHECK_OK(advance());
    KUBERNEL_TRY(NodePtr root, expression());
    if (token_.kind != TokenKind::End) return unexpected();
    return root;
  }

 private:
  class Deeper {
   public:
    explicit Deeper(int& depth) : depth_(depth) { ++depth_; }
    ~Deeper() { --depth_; }
    Deeper(const Deeper&) = delete;
    Deeper& operator=(const Deeper&) = delete;

   private:
    int& depth_;
  };

  Result<void> advance() {
    KUBERNEL_TRY(token_, lexer_.next());
    return {};
  }
  bool at(std::string_view symbol) const {
    return token_.text == symbol && !token_.quoted &&
           (token_.kind == TokenKind::Symbol || token_.kind == TokenKind::Name);
  }
  Result<bool> take(std::string_view symbol) {
    if (!at(symbol)) return false;
    KUBERNEL_CHECK_OK(advance());
    return true;
  }
  Result<void> expect(std::string_view symbol) {
    if (!at(symbol)) return unexpected("expecting '" + std::string(symbol) + "'");
    return advance();
  }
  Error fail(std::size_t offset, const std::string& message) const { return error_at(text_, offset, message); }
  Error unexpected(const std::string& hint = {}) const {
    const std::string what = token_.kind == TokenKind::End ? "unexpected end of expression"
                                                           : "unexpected '" + std::string(token_.text) + "'";
    return fail(token_.offset, "syntax error: " + what + (hint.empty() ? "" : ", " + hint));
  }
  Error too_deep(std::size_t offset) const {
    return fail(offset, "expression recursion limit exceeded: " + std::to_string(max_depth_));
  }

  static Mutable make(Op op, std::size_t offset) {
    auto node = std::make_shared<Node>();
    node->op = op;
    node->offset = static_cast<std::uint32_t>(offset);
    return node;
  }
  // Completes a node whose children are there.
  Result<NodePtr> done(Mutable node) const {
    for (const NodePtr& child : node->children) node->depth = std::max(node->depth, child->depth + 1);
    if (node->depth > max_depth_) return too_deep(node->offset);
    return NodePtr(std::move(node));
  }

  Result<NodePtr> expression() {
    const Deeper deeper(nesting_);
    if (nesting_ > max_depth_) return too_deep(token_.offset);
    KUBERNEL_TRY(NodePtr condition, chain("||", Op::Or));
    const std::size_t offset = token_.offset;
    KUBERNEL_TRY(const bool ternary, take("?"));
    if (!ternary) return condition;
    auto node = make(Op::Ternary, offset);
    KUBERNEL_TRY(NodePtr yes, chain("||", Op::Or));
    KUBERNEL_CHECK_OK(expect(":"));
    KUBERNEL_TRY(NodePtr no, expression());
    node->children = {std::move(condition), std::move(yes), std::move(no)};
    return done(std::move(node));
  }

  // || of && of relations: one node however many operands.
  Result<NodePtr> chain(std::string_view symbol, Op op) {
    const auto operand = [&] { return op == Op::Or ? chain("&&", Op::And) : binary(0); };
    const std::size_t offset = token_.offset;
    KUBERNEL_TRY(NodePtr first, operand());
    if (!at(symbol)) return first;
    auto node = make(op, offset);
    node->children.push_back(std::move(first));
    while (at(symbol)) {
      KUBERNEL_CHECK_OK(advance());
      KUBERNEL_TRY(NodePtr more, operand());
      node->children.push_back(std::move(more));
    }
    return done(std::move(node));
  }

  const BinaryOperator* binary_operator(int level) const {
    const std::array<std::span<const BinaryOperator>, 3> levels = {kRelations, kSums, kProducts};
    for (const BinaryOperator& candidate : levels[static_cast<std::size_t>(level)]) {
      if (at(candidate.text)) return &candidate;
    }
    return nullptr;
  }

  Result<NodePtr> binary(int level) {
    const auto operand = [&] { return level == 2 ? unary() : binary(level + 1); };
    KUBERNEL_TRY(NodePtr left, operand());
    while (const BinaryOperator* found = binary_operator(level)) {
      auto node = make(found->op, token_.offset);
      KUBERNEL_CHECK_OK(advance());
      KUBERNEL_TRY(NodePtr right, operand());
      node->children = {std::move(left), std::move(right)};
      KUBERNEL_TRY(left, done(std::move(node)));
    }
    return left;
  }

  Result<NodePtr> unary() {
    const Op op = at("!") ? Op::Not : Op::Negate;
    if (!at("!") && !at("-")) return member();
    const Deeper deeper(nesting_);
    if (nesting_ > max_depth_) return too_deep(token_.offset);
    auto node = make(op, token_.offset);
    KUBERNEL_CHECK_OK(advance());
    if (op == Op::Negate && (token_.kind == TokenKind::Int || token_.kind == TokenKind::Double)) {
      KUBERNEL_TRY(node->literal, number(true));
      node->op = Op::Literal;
      KUBERNEL_CHECK_OK(advance());
      return suffixes(std::move(node));
    }
    if (op == Op::Not && at("-")) return unexpected();
    KUBERNEL_TRY(NodePtr operand, unary());
    node->children.push_back(std::move(operand));
    return done(std::move(node));
  }

  Result<NodePtr> member() {
    KUBERNEL_TRY(NodePtr node, primary());
    return suffixes(std::move(node));
  }

  Result<NodePtr> suffixes(NodePtr node) {
    for (;;) {
      if (at(".")) {
        KUBERNEL_TRY(node, selection(std::move(node)));
      } else if (at("[")) {
        KUBERNEL_TRY(node, subscript(std::move(node)));
      } else {
        return node;
      }
    }
  }

  Result<NodePtr> selection(NodePtr operand) {
    KUBERNEL_CHECK_OK(expect("."));
    KUBERNEL_TRY(const bool optional, take("?"));
    if (token_.kind != TokenKind::Name) return unexpected("expecting a name");
    if (!token_.quoted && (at("true") || at("false") || at("null") || at("in"))) return unexpected("expecting a name");
    auto node = make(optional ? Op::OptSelect : Op::Select, token_.offset);
    node->name = token_.value;
    const bool callable = !token_.quoted && !optional;
    KUBERNEL_CHECK_OK(advance());
    node->children.push_back(std::move(operand));
    if (!callable || !at("(")) return done(std::move(node));
    KUBERNEL_CHECK_OK(advance());
    KUBERNEL_TRY(auto arguments, list_until(")"));
    return member_call(std::move(node), std::move(arguments));
  }

  Result<NodePtr> member_call(Mutable node, std::vector<NodePtr> arguments) {
    if (node->name == "bind" && arguments.size() == 3 && node->children[0]->op == Op::Name &&
        node->children[0]->name == "cel") {
      node->op = Op::Bind;
      KUBERNEL_TRY(node->variable, variable_name(arguments[0]));
      node->children = {std::move(arguments[1]), std::move(arguments[2])};
      return done(std::move(node));
    }
    const auto macro = std::ranges::find_if(kMacros, [&](const Macro& candidate) {
      return candidate.name == node->name && candidate.arguments == arguments.size();
    });
    if (macro == kMacros.end()) {
      node->op = Op::MemberCall;
      node->children.insert(node->children.end(), std::make_move_iterator(arguments.begin()),
                            std::make_move_iterator(arguments.end()));
      return done(std::move(node));
    }
    node->op = macro->op;
    KUBERNEL_TRY(node->variable, variable_name(arguments[0]));
    if (macro->variables == 2) {
      KUBERNEL_TRY(node->second_variable, variable_name(arguments[1]));
      if (node->variable == node->second_variable) {
        return fail(arguments[1]->offset, "duplicate variable name: " + node->second_variable);
      }
      node->two_variables = true;
    }
    for (std::size_t i = macro->variables; i < arguments.size(); ++i) node->children.push_back(std::move(arguments[i]));
    return done(std::move(node));
  }

  Result<std::string> variable_name(const NodePtr& node) const {
    if (node->op != Op::Name) return fail(node->offset, "argument must be a simple name");
    return node->name;
  }

  Result<NodePtr> subscript(NodePtr operand) {
    auto node = make(Op::Index, token_.offset);
    KUBERNEL_CHECK_OK(expect("["));
    KUBERNEL_TRY(const bool optional, take("?"));
    if (optional) node->op = Op::OptIndex;
    KUBERNEL_TRY(NodePtr index, expression());
    KUBERNEL_CHECK_OK(expect("]"));
    node->children = {std::move(operand), std::move(index)};
    return done(std::move(node));
  }

  Result<std::vector<NodePtr>> list_until(std::string_view close) {
    std::vector<NodePtr> out;
    while (!at(close)) {
      KUBERNEL_TRY(NodePtr element, expression());
      out.push_back(std::move(element));
      if (at(close)) break;
      KUBERNEL_CHECK_OK(expect(","));
      if (at(close)) return unexpected();
    }
    KUBERNEL_CHECK_OK(advance());
    return out;
  }

  Result<NodePtr> primary() {
    if (at("(")) {
      KUBERNEL_CHECK_OK(advance());
      KUBERNEL_TRY(NodePtr inner, expression());
      KUBERNEL_CHECK_OK(expect(")"));
      return inner;
    }
    if (at("[")) return list_literal();
    if (at("{")) return map_literal();
    if (at(".")) KUBERNEL_CHECK_OK(advance());  // A name from the outermost scope: there is no other.
    if (token_.kind == TokenKind::Name && !token_.quoted) return name_or_call();
    return literal();
  }

  Result<NodePtr> list_literal() {
    auto node = make(Op::List, token_.offset);
    KUBERNEL_CHECK_OK(advance());
    while (!at("]")) {
      KUBERNEL_TRY(const bool optional, take("?"));
      KUBERNEL_TRY(NodePtr element, expression());
      node->children.push_back(std::move(element));
      node->optional.push_back(optional);
      if (at("]")) break;
      KUBERNEL_CHECK_OK(expect(","));
    }
    KUBERNEL_CHECK_OK(advance());
    return done(std::move(node));
  }

  Result<NodePtr> map_literal() {
    auto node = make(Op::Map, token_.offset);
    KUBERNEL_CHECK_OK(advance());
    while (!at("}")) {
      KUBERNEL_TRY(const bool optional, take("?"));
      KUBERNEL_TRY(NodePtr key, expression());
      KUBERNEL_CHECK_OK(expect(":"));
      KUBERNEL_TRY(NodePtr value, expression());
      node->children.push_back(std::move(key));
      node->children.push_back(std::move(value));
      node->optional.push_back(optional);
      if (at("}")) break;
      KUBERNEL_CHECK_OK(expect(","));
    }
    KUBERNEL_CHECK_OK(advance());
    return done(std::move(node));
  }

  Result<NodePtr> name_or_call() {
    auto node = make(Op::Name, token_.offset);
    node->name = token_.value;
    if (node->name == "in") return unexpected();
    if (std::ranges::find(kReserved, node->name) != kReserved.end()) {
      return fail(node->offset, "reserved identifier: " + node->name);
    }
    if (node->name == "true" || node->name == "false" || node->name == "null") {
      node->op = Op::Literal;
      if (node->name != "null") node->literal = Value::boolean(node->name == "true");
      KUBERNEL_CHECK_OK(advance());
      return NodePtr(std::move(node));
    }
    KUBERNEL_CHECK_OK(advance());
    if (at("{")) return fail(token_.offset, "syntax error: messages cannot be made here, only maps");
    if (!at("(")) return NodePtr(std::move(node));
    KUBERNEL_CHECK_OK(advance());
    KUBERNEL_TRY(node->children, list_until(")"));
    if (node->name != "has") {
      node->op = Op::Call;
      return done(std::move(node));
    }
    if (node->children.size() != 1 || node->children[0]->op != Op::Select)
      return fail(node->offset, "invalid argument to has() macro");
    auto test = make(Op::Has, node->offset);
    test->name = node->children[0]->name;
    test->children = node->children[0]->children;
    return done(std::move(test));
  }

  Result<NodePtr> literal() {
    auto node = make(Op::Literal, token_.offset);
    switch (token_.kind) {
      case TokenKind::Int:
      case TokenKind::Uint:
      case TokenKind::Double: {
        KUBERNEL_TRY(node->literal, number(false));
        break;
      }
      case TokenKind::String: node->literal = Value::string(token_.value); break;
      case TokenKind::Bytes: node->literal = Value::bytes(token_.value); break;
      default: return unexpected();
    }
    KUBERNEL_CHECK_OK(advance());
    return NodePtr(std::move(node));
  }

  Result<Value> number(bool negative) const {
    std::string_view digits = token_.text;
    if (token_.kind == TokenKind::Double) {
      double value = 0;
      if (std::from_chars(digits.data(), digits.data() + digits.size(), value).ec != std::errc()) {
        return fail(token_.offset, "invalid double literal");
      }
      return Value::number(negative ? -value : value);
    }
    const bool hex = digits.starts_with("0x") || digits.starts_with("0X");
    if (hex) digits.remove_prefix(2);
    std::uint64_t value = 0;
    const bool fits =
        std::from_chars(digits.data(), digits.data() + digits.size(), value, hex ? 16 : 10).ec == std::errc();
    if (token_.kind == TokenKind::Uint) {
      if (!fits) return fail(token_.offset, "invalid uint literal");
      return Value::uinteger(value);
    }
    constexpr std::uint64_t kMost = std::numeric_limits<std::int64_t>::max();
    if (!fits || value > kMost + (negative ? 1 : 0)) return fail(token_.offset, "invalid int literal");
    return Value::integer(static_cast<std::int64_t>(negative ? 0 - value : value));
  }

  std::string_view text_;
  Lexer lexer_;
  Token token_;
  int max_depth_;
  int nesting_ = 0;
};

}  // namespace

Result<Expression> Expression::parse(std::string text, const ParseLimits& limits) {
  if (text.size() > limits.max_bytes) {
    return Error(Reason::Invalid, "expression code point size exceeds limit: size: " + std::to_string(text.size()) +
                                      ", limit " + std::to_string(limits.max_bytes));
  }
  if (!is_valid_utf8(text)) return Error(Reason::Invalid, "1:1: syntax error: the expression is not UTF-8");
  Expression out;
  out.text_ = std::make_shared<const std::string>(std::move(text));
  KUBERNEL_TRY(out.root_, Parser(*out.text_, limits.max_depth).parse());
  return out;
}

}  // namespace kubernel::cel
