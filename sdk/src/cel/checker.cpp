// SPDX-License-Identifier: Apache-2.0
//
// Binds names to variables and functions and derives types, as far as they are known (cel-spec, "Gradual type
// checking").

#include <algorithm>
#include <array>
#include <set>

#include "functions.h"

namespace kubernel::cel {

std::string_view operator_name(Op op) noexcept {
  switch (op) {
    case Op::Not: return "!_";
    case Op::Negate: return "-_";
    case Op::Add: return "_+_";
    case Op::Subtract: return "_-_";
    case Op::Multiply: return "_*_";
    case Op::Divide: return "_/_";
    case Op::Modulo: return "_%_";
    case Op::Equal: return "_==_";
    case Op::NotEqual: return "_!=_";
    case Op::Less: return "_<_";
    case Op::LessEqual: return "_<=_";
    case Op::Greater: return "_>_";
    case Op::GreaterEqual: return "_>=_";
    case Op::In: return "@in";
    case Op::Index: return "_[_]";
    default: return {};
  }
}

namespace {

using Kind = Type::Kind;

constexpr std::array<std::string_view, 14> kTypeNames = {"bool",
                                                         "int",
                                                         "uint",
                                                         "double",
                                                         "string",
                                                         "bytes",
                                                         "list",
                                                         "map",
                                                         "null_type",
                                                         "type",
                                                         "optional_type",
                                                         "google.protobuf.Timestamp",
                                                         "google.protobuf.Duration",
                                                         "dyn"};

bool is_type_name(std::string_view name) {
  return std::ranges::find(kTypeNames, name) != kTypeNames.end();
}

// The types that a signature's parameters stand for.
class Bindings {
 public:
  bool fits(const Type& wanted, const Type& given) {
    if (wanted.kind() == Kind::Parameter) return binds(wanted.name(), given);
    if (wanted.is_dyn() || given.is_dyn()) return true;
    if (given.kind() == Kind::Null && takes_null(wanted.kind())) return true;
    if (wanted.kind() != given.kind()) return false;
    if (wanted.kind() == Kind::Opaque || wanted.kind() == Kind::Object) return wanted.name() == given.name();
    return fits(wanted.element(0), given.element(0)) && fits(wanted.element(1), given.element(1));
  }

  Type apply(const Type& type) const {
    switch (type.kind()) {
      case Kind::Parameter: {
        const auto found = std::ranges::find(bound_, type.name(), &std::pair<std::string, Type>::first);
        return found == bound_.end() ? Type() : found->second;
      }
      case Kind::List: return Type::list(apply(type.element()));
      case Kind::Optional: return Type::optional(apply(type.element()));
      case Kind::Map: return Type::map(apply(type.element(0)), apply(type.element(1)));
      default: return type;
    }
  }

 private:
  static bool takes_null(Kind kind) {
    return kind == Kind::Opaque || kind == Kind::Object || kind == Kind::Timestamp || kind == Kind::Duration;
  }

  bool binds(const std::string& name, const Type& given) {
    const auto found = std::ranges::find(bound_, name, &std::pair<std::string, Type>::first);
    if (found == bound_.end()) {
      bound_.emplace_back(name, given);
      return true;
    }
    const Type before = found->second;
    if (fits(before, given)) {
      // What is known less precisely counts: a list of dyn and a list of int make a list of dyn.
      if (given.is_dyn() || before.kind() == Kind::Null)
        std::ranges::find(bound_, name, &std::pair<std::string, Type>::first)->second = given;
      return true;
    }
    return fits(given, before);
  }

  std::vector<std::pair<std::string, Type>> bound_;
};

// One type for both, if there is one that is not dyn by force.
std::optional<Type> joined(const Type& a, const Type& b) {
  if (a == b) return a;
  if (a.is_dyn() || b.is_dyn()) return Type();
  Bindings bindings;
  if (bindings.fits(a, b)) return a.kind() == Kind::Null ? b : a;
  if (bindings.fits(b, a)) return b.kind() == Kind::Null ? a : b;
  return std::nullopt;
}

struct Checked {
  NodePtr node;
  Type type;
};

using Mutable = std::shared_ptr<Node>;

class Checker {
 public:
  Checker(std::string_view text, const std::vector<std::pair<std::string, Type>>& variables, const Library& library,
          bool homogeneous)
      : text_(text), variables_(variables), library_(library), homogeneous_(homogeneous) {}

  Result<Checked> check(const Node& node) {
    switch (node.op) {
      case Op::Literal: return literal(node);
      case Op::Name: return name(node);
      case Op::Select:
      case Op::Has:
      case Op::OptSelect: return select(node);
      case Op::OptIndex: return optional_index(node);
      case Op::Call:
      case Op::MemberCall: return call(node);
      case Op::And:
      case Op::Or: return logic(node);
      case Op::Ternary: return ternary(node);
      case Op::List: return list(node);
      case Op::Map: return map(node);
      case Op::Bind: return bind(node);
      case Op::OptMap:
      case Op::OptFlatMap: return optional_map(node);
      case Op::All:
      case Op::Exists:
      case Op::ExistsOne:
      case Op::MapMacro:
      case Op::Filter:
      case Op::TransformList:
      case Op::TransformMap:
      case Op::TransformMapEntry: return comprehension(node);
      default: return operation(node);
    }
  }

  std::size_t slots() const { return most_slots_; }
  std::vector<std::string> used() const { return used_; }

 private:
  Error fail(const Node& node, const std::string& message) const { return error_at(text_, node.offset, message); }

  // Checks the children into `copy`.
  Result<std::vector<Type>> children(const Node& node, Mutable& copy, std::size_t from = 0) {
    copy = std::make_shared<Node>(node);
    std::vector<Type> types;
    for (std::size_t i = from; i < node.children.size(); ++i) {
      KUBERNEL_TRY(Checked child, check(*node.children[i]));
      copy->children[i] = std::move(child.node);
      types.push_back(std::move(child.type));
    }
    return types;
  }

  static Checked made(Mutable node, Type type) { return {std::move(node), std::move(type)}; }

  Result<Checked> literal(const Node& node) {
    static constexpr std::array<Kind, 7> kKinds = {Kind::Null,   Kind::Bool,   Kind::Int,  Kind::Uint,
                                                   Kind::Double, Kind::String, Kind::Bytes};
    return made(std::make_shared<Node>(node), kKinds[static_cast<std::size_t>(node.literal.kind())]);
  }

  const std::pair<std::string, Type>* local(std::string_view wanted, std::size_t& slot) const {
    for (std::size_t i = locals_.size(); i > 0; --i) {
      if (locals_[i - 1].first != wanted) continue;
      slot = i - 1;
      return &locals_[i - 1];
    }
    return nullptr;
  }
  bool is_variable(std::string_view wanted) const {
    std::size_t slot = 0;
    return local(wanted, slot) != nullptr ||
           std::ranges::find(variables_, wanted, &std::pair<std::string, Type>::first) != variables_.end();
  }

  Result<Checked> name(const Node& node) {
    auto copy = std::make_shared<Node>(node);
    std::size_t slot = 0;
    if (const auto* found = local(node.name, slot)) {
      copy->slot = static_cast<int>(slot);
      return made(std::move(copy), found->second);
    }
    const auto declared = std::ranges::find(variables_, node.name, &std::pair<std::string, Type>::first);
    if (declared != variables_.end()) {
      auto used = std::ranges::find(used_, node.name);
      copy->index = static_cast<int>(used - used_.begin());
      if (used == used_.end()) used_.push_back(node.name);
      return made(std::move(copy), declared->second);
    }
    if (is_type_name(node.name)) return type_constant(node, node.name);
    return fail(node, "undeclared reference to '" + node.name + "' (in container '')");
  }

  static Checked type_constant(const Node& node, std::string type_name) {
    auto copy = std::make_shared<Node>(node);
    copy->op = Op::Literal;
    copy->children.clear();
    copy->literal = Value::type(std::move(type_name));
    return made(std::move(copy), Kind::Type);
  }

  // "a.b.c" when the node is that and `a` no variable; empty otherwise.
  std::string qualified(const Node& node) const {
    if (node.op == Op::Name) return is_variable(node.name) ? std::string() : node.name;
    if (node.op != Op::Select) return {};
    const std::string prefix = qualified(*node.children[0]);
    return prefix.empty() ? prefix : prefix + "." + node.name;
  }

  Result<Type> field_type(const Node& node, const Type& type) const {
    switch (type.kind()) {
      case Kind::Dyn: return Type();
      case Kind::Map: return type.element(1);
      case Kind::Object: {
        const Type* field = type.field(node.name);
        if (field == nullptr) return fail(node, "undefined field '" + node.name + "'");
        return *field;
      }
      default: return fail(node, "type '" + type.to_string() + "' does not support field selection");
    }
  }

  Result<Checked> select(const Node& node) {
    if (const std::string whole = qualified(node); node.op == Op::Select && is_type_name(whole))
      return type_constant(node, whole);
    Mutable copy;
    KUBERNEL_TRY(const auto types, children(node, copy));
    const bool optional = types[0].kind() == Kind::Optional;
    KUBERNEL_TRY(Type type, field_type(node, optional ? types[0].element() : types[0]));
    if (node.op == Op::Has) return made(std::move(copy), Kind::Bool);
    if (optional || node.op == Op::OptSelect) type = type.kind() == Kind::Optional ? type : Type::optional(type);
    return made(std::move(copy), std::move(type));
  }

  Result<Checked> optional_index(const Node& node) {
    Mutable copy;
    KUBERNEL_TRY(auto types, children(node, copy));
    if (types[0].kind() == Kind::Optional) types[0] = types[0].element();
    KUBERNEL_TRY(const Type type, resolve(node, "_[_]", false, types, *copy));
    return made(std::move(copy), Type::optional(type));
  }

  Result<Type> resolve(const Node& node, std::string_view function, bool member, const std::vector<Type>& arguments,
                       Node& into) const {
    const auto found = library_.functions.find(function);
    if (found == library_.functions.end()) {
      return fail(node, "undeclared reference to '" + std::string(function) + "' (in container '')");
    }
    std::optional<Type> result;
    for (const Overload& overload : found->second) {
      if (overload.member != member || overload.arguments.size() != arguments.size()) continue;
      Bindings bindings;
      bool fits = true;
      for (std::size_t i = 0; fits && i < arguments.size(); ++i)
        fits = bindings.fits(overload.arguments[i], arguments[i]);
      if (!fits) continue;
      const Type type = bindings.apply(overload.result);
      result = !result || *result == type ? type : Type();
    }
    if (!result) return no_overload(node, function, member, arguments);
    into.overloads = &found->second;
    return *result;
  }

  Error no_overload(const Node& node, std::string_view function, bool member,
                    const std::vector<Type>& arguments) const {
    std::string given;
    for (std::size_t i = member ? 1 : 0; i < arguments.size(); ++i)
      given += (given.empty() ? "" : ", ") + arguments[i].to_string();
    given = (member ? arguments[0].to_string() + "." : "") + "(" + given + ")";
    return fail(node, "found no matching overload for '" + std::string(function) + "' applied to '" + given + "'");
  }

  Result<Checked> call(const Node& node) {
    if (node.op == Op::MemberCall) {
      const std::string scope = qualified(*node.children[0]);
      if (const std::string whole = scope + "." + node.name; !scope.empty() && library_.functions.contains(whole)) {
        Node global = node;
        global.op = Op::Call;
        global.name = whole;
        global.children.erase(global.children.begin());
        return call(global);
      }
    }
    if (node.op == Op::MemberCall && node.name == "format" && node.children.size() == 2)
      arguments_of_format_ = node.children[1].get();
    Mutable copy;
    KUBERNEL_TRY(const auto types, children(node, copy));
    KUBERNEL_TRY(Type type, resolve(node, node.name, node.op == Op::MemberCall, types, *copy));
    return made(std::move(copy), std::move(type));
  }

  Result<Checked> operation(const Node& node) {
    Mutable copy;
    KUBERNEL_TRY(const auto types, children(node, copy));
    KUBERNEL_TRY(Type type, resolve(node, operator_name(node.op), false, types, *copy));
    return made(std::move(copy), std::move(type));
  }

  Result<Checked> logic(const Node& node) {
    Mutable copy;
    KUBERNEL_TRY(const auto types, children(node, copy));
    for (const Type& type : types) {
      if (!type.is_dyn() && type.kind() != Kind::Bool)
        return no_overload(node, node.op == Op::And ? "_&&_" : "_||_", false, types);
    }
    return made(std::move(copy), Kind::Bool);
  }

  Result<Checked> ternary(const Node& node) {
    Mutable copy;
    KUBERNEL_TRY(const auto types, children(node, copy));
    const auto type = joined(types[1], types[2]);
    if (!type || (!types[0].is_dyn() && types[0].kind() != Kind::Bool)) return no_overload(node, "_?_:_", false, types);
    return made(std::move(copy), *type);
  }

  // Joins `more` into `type`, which begins absent.
  Result<void> join(std::optional<Type>& type, const Type& more, const Node& at, bool mixed = false) const {
    if (!type) {
      type = more;
      return {};
    }
    const auto both = joined(*type, more);
    if (!both && homogeneous_ && !mixed)
      return fail(at, "expected type '" + type->to_string() + "' but found '" + more.to_string() + "'");
    type = both.value_or(Type());
    return {};
  }

  static Type held(const Type& type, bool optional) {
    return optional && type.kind() == Kind::Optional ? type.element() : type;
  }

  Result<Checked> list(const Node& node) {
    const bool mixed = &node == arguments_of_format_;
    Mutable copy;
    KUBERNEL_TRY(const auto types, children(node, copy));
    std::optional<Type> element;
    for (std::size_t i = 0; i < types.size(); ++i) {
      KUBERNEL_CHECK_OK(join(element, held(types[i], node.optional[i]), *node.children[i], mixed));
    }
    return made(std::move(copy), Type::list(element.value_or(Type())));
  }

  Result<Checked> map(const Node& node) {
    Mutable copy;
    KUBERNEL_TRY(const auto types, children(node, copy));
    std::optional<Type> key;
    std::optional<Type> value;
    for (std::size_t i = 0; i < types.size(); i += 2) {
      KUBERNEL_CHECK_OK(join(key, types[i], *node.children[i]));
      KUBERNEL_CHECK_OK(join(value, held(types[i + 1], node.optional[i / 2]), *node.children[i + 1]));
    }
    return made(std::move(copy), Type::map(key.value_or(Type()), value.value_or(Type())));
  }

  // Checks the children from 1 on where the variables exist; their first gets the node's slot.
  Result<std::vector<Type>> inside(const Node& node, Mutable& copy, NodePtr range,
                                   std::vector<std::pair<std::string, Type>> variables) {
    const std::size_t before = locals_.size();
    locals_.insert(locals_.end(), variables.begin(), variables.end());
    most_slots_ = std::max(most_slots_, locals_.size());
    auto types = children(node, copy, 1);
    locals_.resize(before);
    copy->children[0] = std::move(range);
    copy->slot = static_cast<int>(before);
    return types;
  }

  Result<Checked> bind(const Node& node) {
    KUBERNEL_TRY(Checked value, check(*node.children[0]));
    Mutable copy;
    KUBERNEL_TRY(const auto types, inside(node, copy, value.node, {{node.variable, value.type}}));
    return made(std::move(copy), types[0]);
  }

  Result<Checked> optional_map(const Node& node) {
    KUBERNEL_TRY(Checked operand, check(*node.children[0]));
    if (!operand.type.is_dyn() && operand.type.kind() != Kind::Optional) {
      return no_overload(node, node.op == Op::OptMap ? "optMap" : "optFlatMap", true, {operand.type, Type()});
    }
    Mutable copy;
    KUBERNEL_TRY(const auto types, inside(node, copy, operand.node, {{node.variable, operand.type.element()}}));
    if (node.op == Op::OptMap) return made(std::move(copy), Type::optional(types[0]));
    return made(std::move(copy), types[0].kind() == Kind::Optional ? types[0] : Type::optional(Type()));
  }

  Result<Checked> comprehension(const Node& node) {
    KUBERNEL_TRY(Checked range, check(*node.children[0]));
    const bool is_list = range.type.kind() == Kind::List;
    if (!is_list && range.type.kind() != Kind::Map && !range.type.is_dyn()) {
      return fail(*node.children[0], "expression of type '" + range.type.to_string() +
                                         "' cannot be range of a comprehension (must be list, map, or dynamic)");
    }
    const Type first = is_list && node.two_variables ? Type(Kind::Int) : range.type.element(0);
    std::vector<std::pair<std::string, Type>> variables = {{node.variable, first}};
    if (node.two_variables) variables.emplace_back(node.second_variable, range.type.element(is_list ? 0 : 1));
    Mutable copy;
    KUBERNEL_TRY(const auto types, inside(node, copy, range.node, std::move(variables)));
    const bool predicate =
        node.op == Op::All || node.op == Op::Exists || node.op == Op::ExistsOne || node.op == Op::Filter;
    if ((predicate || types.size() == 2) && !types[0].is_dyn() && types[0].kind() != Kind::Bool) {
      return fail(*node.children[1], "expected type 'bool' but found '" + types[0].to_string() + "'");
    }
    return made(std::move(copy), result_of(node, range.type, types.back()));
  }

  static Type result_of(const Node& node, const Type& range, const Type& body) {
    switch (node.op) {
      case Op::MapMacro:
      case Op::TransformList: return Type::list(body);
      case Op::Filter: return Type::list(range.element(0));
      case Op::TransformMap: return Type::map(range.kind() == Kind::List ? Type(Kind::Int) : range.element(0), body);
      case Op::TransformMapEntry: return body.kind() == Kind::Map ? body : Type::map(Type(), Type());
      default: return Kind::Bool;
    }
  }

  std::string_view text_;
  const std::vector<std::pair<std::string, Type>>& variables_;
  const Library& library_;
  const bool homogeneous_;
  std::vector<std::pair<std::string, Type>> locals_;
  std::vector<std::string> used_;  // In the order of Node::index.
  std::size_t most_slots_ = 0;
  const Node* arguments_of_format_ = nullptr;  // The list may have elements of any types.
};

}  // namespace

Result<Program> Program::compile(const Expression& expression, const Environment& environment) {
  Checker checker(expression.text(), environment.variables_, *environment.library_, environment.homogeneous_);
  KUBERNEL_TRY(Checked checked, checker.check(*expression.root_));
  Program out;
  out.root_ = std::move(checked.node);
  out.type_ = std::move(checked.type);
  out.library_ = environment.library_;
  out.slots_ = checker.slots();
  out.variables_ = checker.used();
  return out;
}

}  // namespace kubernel::cel
