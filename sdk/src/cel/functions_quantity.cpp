// SPDX-License-Identifier: Apache-2.0
//
// Kubernetes' quantity library.

#include <cmath>
#include <limits>

#include <kubernel/api/quantity.h>

#include "functions.h"

namespace kubernel::cel {
namespace {

using api::Quantity;

class QuantityValue final : public Opaque {
 public:
  explicit QuantityValue(Quantity value) : quantity(value) {}
  std::string_view type_name() const override { return "kubernetes.Quantity"; }
  bool equals(const Opaque& other) const override {
    return quantity == static_cast<const QuantityValue&>(other).quantity;
  }

  const Quantity quantity;
};

Value wrap(Quantity quantity) {
  return Value::opaque(std::make_shared<const QuantityValue>(quantity));
}

const Quantity& quantity(const Value& value) {
  return static_cast<const QuantityValue*>(value.as_opaque())->quantity;
}

// The number or quantity as a quantity.
Quantity operand(const Value& value) {
  return value.is(Value::Kind::Int) ? Quantity::of(value.as_int()) : quantity(value);
}

bool is_integer(const Quantity& value) {
  const std::int64_t whole = value.value();
  return Quantity::of(whole) == value;
}

Result<Value> parse(Args args) {
  return make_quantity(args[0].as_string());
}

Result<Value> is_quantity(Args args) {
  return Value::boolean(Quantity::parse(args[0].as_string()).has_value());
}

Result<Value> is_int(Args args) {
  return Value::boolean(is_integer(quantity(args[0])));
}

Result<Value> as_int(Args args) {
  if (!is_integer(quantity(args[0]))) return problem("cannot convert value to integer");
  return Value::integer(quantity(args[0]).value());
}

Result<Value> as_float(Args args) {
  const Quantity& value = quantity(args[0]);
  if (is_integer(value)) return Value::number(static_cast<double>(value.value()));
  Quantity whole = Quantity::of(value.value());
  Quantity rest = value;
  rest -= whole;
  return Value::number(static_cast<double>(whole.value()) + static_cast<double>(rest.milli_value()) / 1000.0);
}

Result<Value> sign(Args args) {
  return Value::integer(quantity(args[0]).sign());
}

Result<Value> plus(Args args) {
  Quantity out = quantity(args[0]);
  out += operand(args[1]);
  return wrap(out);
}

Result<Value> minus(Args args) {
  Quantity out = quantity(args[0]);
  out -= operand(args[1]);
  return wrap(out);
}

Result<Value> less(Args args) {
  return Value::boolean(quantity(args[0]) < quantity(args[1]));
}

Result<Value> greater(Args args) {
  return Value::boolean(quantity(args[0]) > quantity(args[1]));
}

Result<Value> order(Args args) {
  const auto result = quantity(args[0]) <=> quantity(args[1]);
  return Value::integer(result < 0 ? -1 : result > 0 ? 1 : 0);
}

constexpr FunctionRow kRows[] = {
    {"quantity(string) -> kubernetes.Quantity", parse},
    {"isQuantity(string) -> bool", is_quantity},
    {"(kubernetes.Quantity).isInteger() -> bool", is_int},
    {"(kubernetes.Quantity).asInteger() -> int", as_int},
    {"(kubernetes.Quantity).asApproximateFloat() -> double", as_float},
    {"(kubernetes.Quantity).sign() -> int", sign},
    {"(kubernetes.Quantity).add(kubernetes.Quantity) -> kubernetes.Quantity", plus},
    {"(kubernetes.Quantity).add(int) -> kubernetes.Quantity", plus},
    {"(kubernetes.Quantity).sub(kubernetes.Quantity) -> kubernetes.Quantity", minus},
    {"(kubernetes.Quantity).sub(int) -> kubernetes.Quantity", minus},
    {"(kubernetes.Quantity).isLessThan(kubernetes.Quantity) -> bool", less},
    {"(kubernetes.Quantity).isGreaterThan(kubernetes.Quantity) -> bool", greater},
    {"(kubernetes.Quantity).compareTo(kubernetes.Quantity) -> int", order},
};

}  // namespace

Result<Value> make_quantity(std::string_view text) {
  KUBERNEL_TRY(const Quantity parsed, Quantity::parse(text));
  return wrap(parsed);
}

std::span<const FunctionRow> quantity_functions() {
  return kRows;
}

}  // namespace kubernel::cel
