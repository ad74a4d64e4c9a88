// SPDX-License-Identifier: Apache-2.0
//
// Walks the tree. What is wrong with a value is an Error; && and || and the macros made of them forget it when the
// other side decides.

#include <algorithm>
#include <array>
#include <cmath>
#include <limits>

#include "functions.h"
#include "text.h"

namespace kubernel::cel {
namespace {

using Kind = Value::Kind;

constexpr std::uint64_t kListCost = 10;
constexpr std::uint64_t kMapCost = 30;
constexpr std::size_t kBytesPerCost = 10;

Error no_such_key(const std::string& key) {
  return problem("no such key: " + key);
}

std::string key_text(const Value& key) {
  return key.is(Kind::String) ? std::string(key.as_string()) : key.to_text();
}

Error overflow(const Value& of) {
  switch (of.kind()) {
    case Kind::Uint: return problem("unsigned integer overflow");
    case Kind::Duration: return problem("duration overflow");
    case Kind::Timestamp: return problem("timestamp overflow");
    default: return problem("integer overflow");
  }
}

bool can_be(const Type& type, const Value& value) {
  static constexpr std::array<std::pair<Type::Kind, Kind>, 13> kSame = {{{Type::Kind::Null, Kind::Null},
                                                                         {Type::Kind::Bool, Kind::Bool},
                                                                         {Type::Kind::Int, Kind::Int},
                                                                         {Type::Kind::Uint, Kind::Uint},
                                                                         {Type::Kind::Double, Kind::Double},
                                                                         {Type::Kind::String, Kind::String},
                                                                         {Type::Kind::Bytes, Kind::Bytes},
                                                                         {Type::Kind::List, Kind::List},
                                                                         {Type::Kind::Map, Kind::Map},
                                                                         {Type::Kind::Timestamp, Kind::Timestamp},
                                                                         {Type::Kind::Duration, Kind::Duration},
                                                                         {Type::Kind::Type, Kind::Type},
                                                                         {Type::Kind::Optional, Kind::Optional}}};
  if (type.is_dyn() || type.kind() == Type::Kind::Parameter) return true;
  if (type.kind() == Type::Kind::Opaque) return value.is(Kind::Opaque) && value.type_name() == type.name();
  if (type.kind() == Type::Kind::Object) return value.is(Kind::Map);
  const auto found = std::ranges::find(kSame, type.kind(), &std::pair<Type::Kind, Kind>::first);
  return found != kSame.end() && value.is(found->second);
}

template <class T>
std::optional<T> arithmetic(Op op, T a, T b) {
  T out{};
  const bool bad = op == Op::Add        ? __builtin_add_overflow(a, b, &out)
                   : op == Op::Subtract ? __builtin_sub_overflow(a, b, &out)
                                        : __builtin_mul_overflow(a, b, &out);
  return bad ? std::nullopt : std::optional(out);
}

Result<Value> integers(Op op, const Value& a, const Value& b) {
  const std::int64_t x = a.as_int();
  const std::int64_t y = b.as_int();
  if (op == Op::Divide || op == Op::Modulo) {
    if (y == 0) return problem(op == Op::Divide ? "division by zero" : "modulus by zero");
    if (y == -1 && x == std::numeric_limits<std::int64_t>::min()) return overflow(a);
    return Value::integer(op == Op::Divide ? x / y : x % y);
  }
  const auto out = arithmetic(op, x, y);
  return out ? Result<Value>(Value::integer(*out)) : overflow(a);
}

Result<Value> uintegers(Op op, const Value& a, const Value& b) {
  const std::uint64_t x = a.as_uint();
  const std::uint64_t y = b.as_uint();
  if (op == Op::Divide || op == Op::Modulo) {
    if (y == 0) return problem(op == Op::Divide ? "division by zero" : "modulus by zero");
    return Value::uinteger(op == Op::Divide ? x / y : x % y);
  }
  const auto out = arithmetic(op, x, y);
  return out ? Result<Value>(Value::uinteger(*out)) : overflow(a);
}

Result<Value> doubles(Op op, double a, double b) {
  switch (op) {
    case Op::Add: return Value::number(a + b);
    case Op::Subtract: return Value::number(a - b);
    case Op::Multiply: return Value::number(a * b);
    case Op::Divide: return Value::number(a / b);
    default: return no_such_overload();
  }
}

constexpr std::int64_t kSecond = 1'000'000'000;

Result<Value> shifted(const Value& time, std::int64_t nanoseconds) {
  const Timestamp start = time.as_timestamp();
  std::int64_t seconds = start.seconds + nanoseconds / kSecond;
  std::int64_t nanos = start.nanos + nanoseconds % kSecond;
  if (nanos < 0) {
    nanos += kSecond;
    --seconds;
  } else if (nanos >= kSecond) {
    nanos -= kSecond;
    ++seconds;
  }
  const Timestamp out{seconds, static_cast<std::int32_t>(nanos)};
  return out < kFirstTimestamp || out > kLastTimestamp ? Result<Value>(overflow(time)) : Value::timestamp(out);
}

Result<Value> times(Op op, const Value& a, const Value& b) {
  if (a.is(Kind::Duration) && b.is(Kind::Duration) && (op == Op::Add || op == Op::Subtract)) {
    const auto out = arithmetic(op, a.as_duration(), b.as_duration());
    return out ? Result<Value>(Value::duration(*out)) : overflow(a);
  }
  if (a.is(Kind::Timestamp) && b.is(Kind::Timestamp) && op == Op::Subtract) {
    std::int64_t out = 0;
    if (__builtin_mul_overflow(a.as_timestamp().seconds - b.as_timestamp().seconds, kSecond, &out) ||
        __builtin_add_overflow(out, a.as_timestamp().nanos - b.as_timestamp().nanos, &out)) {
      return problem("duration overflow");
    }
    return Value::duration(out);
  }
  if (a.is(Kind::Timestamp) && b.is(Kind::Duration)) {
    if (op == Op::Add) return shifted(a, b.as_duration());
    if (op == Op::Subtract && b.as_duration() != std::numeric_limits<std::int64_t>::min())
      return shifted(a, -b.as_duration());
    return op == Op::Subtract ? overflow(b) : no_such_overload();
  }
  if (a.is(Kind::Duration) && b.is(Kind::Timestamp) && op == Op::Add) return shifted(b, a.as_duration());
  return no_such_overload();
}

// The index of an element, when the number is one.
std::optional<std::int64_t> whole_number(const Value& index) {
  if (index.is(Kind::Int)) return index.as_int();
  if (index.is(Kind::Uint) && index.as_uint() <= static_cast<std::uint64_t>(std::numeric_limits<std::int64_t>::max())) {
    return static_cast<std::int64_t>(index.as_uint());
  }
  if (index.is(Kind::Double) && std::fabs(index.as_double()) < 9e15 &&
      std::trunc(index.as_double()) == index.as_double()) {
    return static_cast<std::int64_t>(index.as_double());
  }
  return std::nullopt;
}

bool can_be_key(const Value& key) {
  return key.is(Kind::String) || key.is(Kind::Int) || key.is(Kind::Uint) || key.is(Kind::Bool);
}

class Evaluator {
 public:
  Evaluator(std::vector<const Value*> variables, std::size_t slots, Budget& budget)
      : variables_(std::move(variables)), slots_(slots), budget_(budget) {}

  Result<Value> run(const Node& node) {
    KUBERNEL_CHECK_OK(spend(1));
    switch (node.op) {
      case Op::Literal: return node.literal;
      case Op::Name: return name(node);
      case Op::Select:
      case Op::OptSelect:
      case Op::Has: return select(node);
      case Op::Index:
      case Op::OptIndex: return index(node);
      case Op::Call:
      case Op::MemberCall: return call(node);
      case Op::And:
      case Op::Or: return logic(node);
      case Op::Ternary: return ternary(node);
      case Op::Not:
      case Op::Negate: return unary(node);
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
      default: return binary(node);
    }
  }

 private:
  Result<void> spend(std::uint64_t cost) {
    if (budget_.spend(cost)) return {};
    return Error(Reason::TooManyRequests, "operation cancelled: actual cost limit exceeded");
  }

  // Of reading or making it.
  static std::uint64_t cost_of(const Value& value) {
    if (value.is(Kind::String) || value.is(Kind::Bytes)) return (value.size() + kBytesPerCost - 1) / kBytesPerCost;
    return value.is(Kind::List) ? value.size() : 0;
  }

  Result<Value> name(const Node& node) {
    if (node.slot >= 0) return slots_[static_cast<std::size_t>(node.slot)];
    const Value* value = variables_[static_cast<std::size_t>(node.index)];
    if (value == nullptr) return problem("no such attribute(s): " + node.name);
    return *value;
  }

  Result<Value> select(const Node& node) {
    KUBERNEL_TRY(Value operand, run(*node.children[0]));
    bool optional = node.op == Op::OptSelect;
    if (operand.is(Kind::Optional)) {
      optional = true;
      if (operand.held() == nullptr) return node.op == Op::Has ? Value::boolean(false) : operand;
      operand = Value(*operand.held());
    }
    if (!operand.is(Kind::Map)) return no_such_overload();
    auto member = operand.find(node.name);
    if (node.op == Op::Has) return Value::boolean(member.has_value());
    if (optional) return Value::optional(std::move(member));
    if (!member) return no_such_key(node.name);
    return *std::move(member);
  }

  static Result<std::optional<Value>> element(const Value& container, const Value& key) {
    if (container.is(Kind::List)) {
      const auto at = whole_number(key);
      if (!at) return problem("unsupported index type '" + std::string(key.type_name()) + "' in list");
      if (*at < 0 || static_cast<std::uint64_t>(*at) >= container.size()) return std::optional<Value>();
      return std::optional(container.at(static_cast<std::size_t>(*at)));
    }
    if (!container.is(Kind::Map)) return no_such_overload();
    return container.find(key);
  }

  Result<Value> index(const Node& node) {
    KUBERNEL_TRY(Value container, run(*node.children[0]));
    KUBERNEL_TRY(const Value key, run(*node.children[1]));
    bool optional = node.op == Op::OptIndex;
    if (container.is(Kind::Optional)) {
      optional = true;
      if (container.held() == nullptr) return container;
      container = Value(*container.held());
    }
    KUBERNEL_TRY(auto found, element(container, key));
    if (optional) return Value::optional(std::move(found));
    if (found) return *std::move(found);
    if (container.is(Kind::List)) return problem("index out of bounds: " + key_text(key));
    return no_such_key(key_text(key));
  }

  Result<Value> call(const Node& node) {
    std::vector<Value> arguments;
    arguments.reserve(node.children.size());
    std::uint64_t cost = 0;
    for (const NodePtr& child : node.children) {
      KUBERNEL_TRY(Value argument, run(*child));
      cost += cost_of(argument);
      arguments.push_back(std::move(argument));
    }
    const bool pattern = node.name == "matches" || node.name == "find" || node.name == "findAll";
    if (pattern && arguments.size() > 1) cost *= 1 + arguments[1].size() / 4;
    KUBERNEL_CHECK_OK(spend(node.name == "size" ? 1 : cost));
    for (const Overload& overload : *node.overloads) {
      if (overload.member != (node.op == Op::MemberCall) || !overload.run || !takes(overload, arguments)) continue;
      KUBERNEL_TRY(Value out, overload.run(arguments));
      KUBERNEL_CHECK_OK(spend(cost_of(out)));
      return out;
    }
    return no_such_overload();
  }

  static bool takes(const Overload& overload, const std::vector<Value>& arguments) {
    if (overload.arguments.size() != arguments.size()) return false;
    for (std::size_t i = 0; i < arguments.size(); ++i) {
      if (!can_be(overload.arguments[i], arguments[i])) return false;
    }
    return true;
  }

  // One operand that decides is enough, whatever went wrong in the others.
  Result<Value> logic(const Node& node) {
    const bool decides = node.op == Op::Or;
    std::optional<Error> wrong;
    for (const NodePtr& child : node.children) {
      const auto value = run(*child);
      if (!value) {
        if (budget_.left() == 0) return value.error();
        if (!wrong) wrong = value.error();
      } else if (!value->is(Kind::Bool)) {
        if (!wrong) wrong = no_such_overload();
      } else if (value->as_bool() == decides) {
        return Value::boolean(decides);
      }
    }
    if (wrong) return *std::move(wrong);
    return Value::boolean(!decides);
  }

  Result<Value> ternary(const Node& node) {
    KUBERNEL_TRY(const bool condition, truth(*node.children[0]));
    return run(*node.children[condition ? 1 : 2]);
  }

  Result<bool> truth(const Node& node) {
    KUBERNEL_TRY(const Value value, run(node));
    if (!value.is(Kind::Bool)) return no_such_overload();
    return value.as_bool();
  }

  Result<Value> unary(const Node& node) {
    KUBERNEL_TRY(const Value operand, run(*node.children[0]));
    if (node.op == Op::Not) {
      if (!operand.is(Kind::Bool)) return no_such_overload();
      return Value::boolean(!operand.as_bool());
    }
    if (operand.is(Kind::Double)) return Value::number(-operand.as_double());
    if (operand.is(Kind::Int)) return integers(Op::Subtract, Value::integer(0), operand);
    return no_such_overload();
  }

  Result<Value> binary(const Node& node) {
    KUBERNEL_TRY(const Value a, run(*node.children[0]));
    KUBERNEL_TRY(const Value b, run(*node.children[1]));
    switch (node.op) {
      case Op::Equal:
      case Op::NotEqual:
        KUBERNEL_CHECK_OK(spend(std::min(size_cost(a), size_cost(b))));
        return Value::boolean((a == b) == (node.op == Op::Equal));
      case Op::In: return contains(b, a);
      case Op::Less:
      case Op::LessEqual:
      case Op::Greater:
      case Op::GreaterEqual: return ordered(node.op, a, b);
      default: return arithmetic_on(node.op, a, b);
    }
  }

  // Of comparing it: everything inside.
  static std::uint64_t size_cost(const Value& value) { return value.is(Kind::Map) ? value.size() : cost_of(value); }

  Result<Value> contains(const Value& container, const Value& wanted) {
    if (container.is(Kind::Map)) return Value::boolean(container.find(wanted).has_value());
    if (!container.is(Kind::List)) return no_such_overload();
    for (std::size_t i = 0; i < container.size(); ++i) {
      KUBERNEL_CHECK_OK(spend(1));
      if (container.at(i) == wanted) return Value::boolean(true);
    }
    return Value::boolean(false);
  }

  Result<Value> ordered(Op op, const Value& a, const Value& b) {
    KUBERNEL_CHECK_OK(spend(std::min(cost_of(a), cost_of(b))));
    const auto order = compare(a, b);
    if (!order) {
      // NaN is a number without an order.
      const auto is_nan = [](const Value& v) { return v.is(Kind::Double) && std::isnan(v.as_double()); };
      const auto is_number = [](const Value& v) { return v.is(Kind::Double) || v.is(Kind::Int) || v.is(Kind::Uint); };
      if ((is_nan(a) && is_number(b)) || (is_nan(b) && is_number(a))) return Value::boolean(false);
      return no_such_overload();
    }
    switch (op) {
      case Op::Less: return Value::boolean(*order < 0);
      case Op::LessEqual: return Value::boolean(*order <= 0);
      case Op::Greater: return Value::boolean(*order > 0);
      default: return Value::boolean(*order >= 0);
    }
  }

  Result<Value> arithmetic_on(Op op, const Value& a, const Value& b) {
    if (a.is(Kind::Timestamp) || b.is(Kind::Timestamp) || a.is(Kind::Duration)) return times(op, a, b);
    if (a.kind() != b.kind()) return no_such_overload();
    switch (a.kind()) {
      case Kind::Int: return integers(op, a, b);
      case Kind::Uint: return uintegers(op, a, b);
      case Kind::Double: return doubles(op, a.as_double(), b.as_double());
      default: break;
    }
    if (op != Op::Add || (!a.is(Kind::String) && !a.is(Kind::Bytes) && !a.is(Kind::List))) return no_such_overload();
    KUBERNEL_CHECK_OK(spend(cost_of(a) + cost_of(b)));
    if (a.is(Kind::List)) {
      std::vector<Value> elements;
      elements.reserve(a.size() + b.size());
      for (const Value& part : {a, b}) {
        for (std::size_t i = 0; i < part.size(); ++i) elements.push_back(part.at(i));
      }
      return Value::list(std::move(elements));
    }
    std::string text(a.as_string());
    text += b.as_string();
    if (text.size() > kMostBytes) return problem("the text is too large");
    return a.is(Kind::String) ? Value::string(std::move(text)) : Value::bytes(std::move(text));
  }

  // The value of an entry behind a ?: absent when it holds nothing.
  static Result<std::optional<Value>> wanted(Value value, bool optional) {
    if (!optional) return std::optional(std::move(value));
    if (!value.is(Kind::Optional)) return problem("cannot initialize optional entry from non-optional value");
    return value.held() == nullptr ? std::optional<Value>() : std::optional(*value.held());
  }

  Result<Value> list(const Node& node) {
    KUBERNEL_CHECK_OK(spend(kListCost));
    std::vector<Value> elements;
    elements.reserve(node.children.size());
    for (std::size_t i = 0; i < node.children.size(); ++i) {
      KUBERNEL_TRY(Value value, run(*node.children[i]));
      KUBERNEL_TRY(auto element, wanted(std::move(value), node.optional[i]));
      if (element) elements.push_back(*std::move(element));
    }
    return Value::list(std::move(elements));
  }

  Result<Value> map(const Node& node) {
    KUBERNEL_CHECK_OK(spend(kMapCost));
    std::vector<std::pair<Value, Value>> entries;
    for (std::size_t i = 0; i < node.children.size(); i += 2) {
      KUBERNEL_TRY(Value key, run(*node.children[i]));
      KUBERNEL_TRY(Value value, run(*node.children[i + 1]));
      KUBERNEL_TRY(auto entry, wanted(std::move(value), node.optional[i / 2]));
      if (!can_be_key(key)) return problem("unsupported key type");
      if (entry) entries.emplace_back(std::move(key), *std::move(entry));
    }
    return distinct(std::move(entries));
  }

  static Result<Value> distinct(std::vector<std::pair<Value, Value>> entries) {
    const std::size_t count = entries.size();
    for (std::size_t i = 0; i < std::min<std::size_t>(count, 32); ++i) {
      for (std::size_t k = 0; k < i; ++k) {
        if (entries[i].first == entries[k].first) return problem("Failed with repeated key");
      }
    }
    Value out = Value::map(std::move(entries));
    if (count <= 32) return out;
    std::optional<Value> before;
    bool repeated = false;
    out.each([&](const Value& key, const Value&) {
      repeated = before && *before == key;
      before = key;
      return !repeated;
    });
    return repeated ? Result<Value>(problem("Failed with repeated key")) : out;
  }

  Result<Value> bind(const Node& node) {
    KUBERNEL_TRY(slots_[static_cast<std::size_t>(node.slot)], run(*node.children[0]));
    return run(*node.children[1]);
  }

  Result<Value> optional_map(const Node& node) {
    KUBERNEL_TRY(const Value operand, run(*node.children[0]));
    if (!operand.is(Kind::Optional)) return no_such_overload();
    if (operand.held() == nullptr) return operand;
    slots_[static_cast<std::size_t>(node.slot)] = *operand.held();
    KUBERNEL_TRY(Value out, run(*node.children[1]));
    if (node.op == Op::OptMap) return Value::optional(std::move(out));
    return out.is(Kind::Optional) ? Result<Value>(std::move(out)) : no_such_overload();
  }

  // What a macro has found so far.
  struct Progress {
    std::vector<Value> elements;
    std::vector<std::pair<Value, Value>> entries;
    std::optional<Error> wrong;
    std::int64_t matches = 0;
    bool decided = false;
  };

  Result<Value> comprehension(const Node& node) {
    KUBERNEL_TRY(const Value range, run(*node.children[0]));
    const auto slot = static_cast<std::size_t>(node.slot);
    Progress progress;
    const auto visit = [&](const Value& first, const Value& second) -> Result<void> {
      KUBERNEL_CHECK_OK(spend(1));
      slots_[slot] = first;
      if (node.two_variables) slots_[slot + 1] = second;
      return step(node, first, progress);
    };
    if (range.is(Kind::List)) {
      for (std::size_t i = 0; i < range.size() && !progress.decided; ++i) {
        const Value element = range.at(i);
        const Value position = Value::integer(static_cast<std::int64_t>(i));
        KUBERNEL_CHECK_OK(node.two_variables ? visit(position, element) : visit(element, {}));
      }
    } else if (range.is(Kind::Map)) {
      Result<void> outcome;
      range.each([&](const Value& key, const Value& value) {
        outcome = visit(key, value);
        return outcome && !progress.decided;
      });
      KUBERNEL_CHECK_OK(std::move(outcome));
    } else {
      return no_such_overload();
    }
    return finished(node, std::move(progress));
  }

  Result<void> step(const Node& node, const Value& first, Progress& progress) {
    const Node& body = *node.children.back();
    if (node.op == Op::All || node.op == Op::Exists) return decide(node, body, progress);
    const bool chooses = node.children.size() == 3 || node.op == Op::Filter || node.op == Op::ExistsOne;
    if (chooses) {
      KUBERNEL_TRY(const bool chosen, truth(*node.children[1]));
      if (!chosen) return {};
    }
    if (node.op == Op::ExistsOne) {
      ++progress.matches;
      return {};
    }
    if (node.op == Op::Filter) {
      progress.elements.push_back(first);
      return {};
    }
    KUBERNEL_TRY(Value value, run(body));
    if (node.op == Op::TransformMap) {
      progress.entries.emplace_back(first, std::move(value));
    } else if (node.op == Op::TransformMapEntry) {
      if (!value.is(Kind::Map)) return no_such_overload();
      value.each([&](const Value& key, const Value& entry) {
        progress.entries.emplace_back(key, entry);
        return true;
      });
    } else {
      progress.elements.push_back(std::move(value));
    }
    return {};
  }

  Result<void> decide(const Node& node, const Node& body, Progress& progress) {
    const auto value = truth(body);
    if (value) {
      progress.decided = *value == (node.op == Op::Exists);
    } else {
      if (budget_.left() == 0) return value.error();
      if (!progress.wrong) progress.wrong = value.error();
    }
    return {};
  }

  static Result<Value> finished(const Node& node, Progress progress) {
    switch (node.op) {
      case Op::All:
      case Op::Exists:
        if (progress.wrong && !progress.decided) return *std::move(progress.wrong);
        return Value::boolean(progress.decided == (node.op == Op::Exists));
      case Op::ExistsOne: return Value::boolean(progress.matches == 1);
      case Op::TransformMap: return Value::map(std::move(progress.entries));
      case Op::TransformMapEntry: return distinct(std::move(progress.entries));
      default: return Value::list(std::move(progress.elements));
    }
  }

  const std::vector<const Value*> variables_;
  std::vector<Value> slots_;
  Budget& budget_;
};

}  // namespace

void Activation::set(std::string name, Value value) {
  const auto found = std::ranges::find(values_, name, &std::pair<std::string, Value>::first);
  if (found != values_.end()) {
    found->second = std::move(value);
  } else {
    values_.emplace_back(std::move(name), std::move(value));
  }
}

const Value* Activation::find(std::string_view name) const noexcept {
  const auto found = std::ranges::find(values_, name, &std::pair<std::string, Value>::first);
  return found == values_.end() ? nullptr : &found->second;
}

Result<Value> Program::evaluate(const Activation& activation, Budget& budget) const {
  std::vector<const Value*> values;
  values.reserve(variables_.size());
  for (const std::string& name : variables_) values.push_back(activation.find(name));
  return Evaluator(std::move(values), slots_, budget).run(*root_);
}

}  // namespace kubernel::cel
