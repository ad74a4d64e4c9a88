// SPDX-License-Identifier: Apache-2.0
//
// Kubernetes' list library, cel-go's sets and optional values.

#include <limits>

#include "functions.h"

namespace kubernel::cel {
namespace {

using Kind = Value::Kind;

Result<Value> is_sorted(Args args) {
  for (std::size_t i = 1; i < args[0].size(); ++i) {
    const auto order = compare(args[0].at(i - 1), args[0].at(i));
    if (!order) return no_such_overload();
    if (*order > 0) return Value::boolean(false);
  }
  return Value::boolean(true);
}

Result<Value> add(const Value& a, const Value& b) {
  if (a.kind() != b.kind()) return no_such_overload();
  if (a.is(Kind::Int) || a.is(Kind::Duration)) {
    std::int64_t out = 0;
    if (__builtin_add_overflow(a.as_int(), b.as_int(), &out))
      return problem(a.is(Kind::Int) ? "integer overflow" : "duration overflow");
    return a.is(Kind::Int) ? Value::integer(out) : Value::duration(out);
  }
  if (a.is(Kind::Uint)) {
    std::uint64_t out = 0;
    if (__builtin_add_overflow(a.as_uint(), b.as_uint(), &out)) return problem("unsigned integer overflow");
    return Value::uinteger(out);
  }
  if (a.is(Kind::Double)) return Value::number(a.as_double() + b.as_double());
  return no_such_overload();
}

// Nothing adds up to the integer 0: what the elements would be is not known.
Result<Value> sum(Args args) {
  if (args[0].size() == 0) return Value::integer(0);
  Value out = args[0].at(0);
  for (std::size_t i = 1; i < args[0].size(); ++i) {
    KUBERNEL_TRY(out, add(out, args[0].at(i)));
  }
  return out;
}

template <int Wanted>
Result<Value> extreme(Args args) {
  if (args[0].size() == 0) return problem(Wanted < 0 ? "min called on empty list" : "max called on empty list");
  Value out = args[0].at(0);
  for (std::size_t i = 1; i < args[0].size(); ++i) {
    Value element = args[0].at(i);
    const auto order = compare(element, out);
    if (!order) return no_such_overload();
    if (*order == Wanted) out = std::move(element);
  }
  return out;
}

Result<Value> index_of(Args args) {
  for (std::size_t i = 0; i < args[0].size(); ++i) {
    if (args[0].at(i) == args[1]) return Value::integer(static_cast<std::int64_t>(i));
  }
  return Value::integer(-1);
}

Result<Value> last_index_of(Args args) {
  for (std::size_t i = args[0].size(); i > 0; --i) {
    if (args[0].at(i - 1) == args[1]) return Value::integer(static_cast<std::int64_t>(i - 1));
  }
  return Value::integer(-1);
}

bool holds(const Value& list, const Value& wanted) {
  for (std::size_t i = 0; i < list.size(); ++i) {
    if (list.at(i) == wanted) return true;
  }
  return false;
}

bool holds_all(const Value& list, const Value& wanted) {
  for (std::size_t i = 0; i < wanted.size(); ++i) {
    if (!holds(list, wanted.at(i))) return false;
  }
  return true;
}

Result<Value> set_contains(Args args) {
  return Value::boolean(holds_all(args[0], args[1]));
}

Result<Value> set_equivalent(Args args) {
  return Value::boolean(holds_all(args[0], args[1]) && holds_all(args[1], args[0]));
}

Result<Value> set_intersects(Args args) {
  for (std::size_t i = 0; i < args[0].size(); ++i) {
    if (holds(args[1], args[0].at(i))) return Value::boolean(true);
  }
  return Value::boolean(false);
}

Result<Value> first(Args args) {
  return args[0].size() == 0 ? Value::optional(std::nullopt) : Value::optional(args[0].at(0));
}

Result<Value> last(Args args) {
  return args[0].size() == 0 ? Value::optional(std::nullopt) : Value::optional(args[0].at(args[0].size() - 1));
}

bool is_zero(const Value& value) {
  switch (value.kind()) {
    case Kind::Null: return true;
    case Kind::Bool: return !value.as_bool();
    case Kind::Int:
    case Kind::Duration: return value.as_int() == 0;
    case Kind::Uint: return value.as_uint() == 0;
    case Kind::Double: return value.as_double() == 0;
    case Kind::String:
    case Kind::Bytes:
    case Kind::List:
    case Kind::Map: return value.size() == 0;
    case Kind::Timestamp: return value.as_timestamp() == Timestamp{};
    case Kind::Optional: return value.held() == nullptr;
    default: return false;
  }
}

Result<Value> optional_of(Args args) {
  return Value::optional(args[0]);
}

Result<Value> optional_of_non_zero(Args args) {
  return is_zero(args[0]) ? Value::optional(std::nullopt) : Value::optional(args[0]);
}

Result<Value> optional_none(Args) {
  return Value::optional(std::nullopt);
}

Result<Value> has_value(Args args) {
  return Value::boolean(args[0].held() != nullptr);
}

Result<Value> value_of(Args args) {
  if (args[0].held() == nullptr) return problem("optional.none() dereference");
  return *args[0].held();
}

Result<Value> or_value(Args args) {
  return args[0].held() != nullptr ? *args[0].held() : args[1];
}

Result<Value> or_optional(Args args) {
  return args[0].held() != nullptr ? args[0] : args[1];
}

constexpr FunctionRow kRows[] = {
    {"(list(A)).isSorted() -> bool", is_sorted},
    {"(list(A)).sum() -> A", sum},
    {"(list(A)).min() -> A", extreme<-1>},
    {"(list(A)).max() -> A", extreme<1>},
    {"(list(A)).indexOf(A) -> int", index_of},
    {"(list(A)).lastIndexOf(A) -> int", last_index_of},
    {"(list(A)).first() -> optional(A)", first},
    {"(list(A)).last() -> optional(A)", last},
    {"sets.contains(list(A), list(A)) -> bool", set_contains},
    {"sets.equivalent(list(A), list(A)) -> bool", set_equivalent},
    {"sets.intersects(list(A), list(A)) -> bool", set_intersects},
    {"optional.of(A) -> optional(A)", optional_of},
    {"optional.ofNonZeroValue(A) -> optional(A)", optional_of_non_zero},
    {"optional.none() -> optional(dyn)", optional_none},
    {"(optional(A)).hasValue() -> bool", has_value},
    {"(optional(A)).value() -> A", value_of},
    {"(optional(A)).orValue(A) -> A", or_value},
    {"(optional(A)).or(optional(A)) -> optional(A)", or_optional},
};

}  // namespace

std::span<const FunctionRow> list_functions() {
  return kRows;
}

}  // namespace kubernel::cel
