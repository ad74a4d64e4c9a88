// SPDX-License-Identifier: Apache-2.0

#include "capacity.h"

#include <algorithm>

namespace kubernel::plugins {

using api::Quantity;
using api::Value;

namespace {

constexpr std::int64_t kMilli = 1000;

// Thousandths when one of the range's ends has them, else whole units.
bool in_milli(Value range) {
  return std::ranges::any_of(std::initializer_list<const char*>{"min", "max", "step"}, [&](const char* end) {
    return range[end] && Quantity::read(range[end]).milli_value() % kMilli != 0;
  });
}

std::int64_t units(const Quantity& quantity, bool milli) {
  return milli ? quantity.milli_value() : quantity.value();
}

// Up to the range's least, or to the next of its steps.
std::optional<Quantity> round_up(const Quantity& wanted, Value range) {
  const Quantity least = Quantity::read(range["min"]);
  if (wanted < least) return least;
  const Value step_value = range["step"];
  if (!step_value) return wanted;
  const Quantity step = Quantity::read(step_value);
  const bool milli = in_milli(range);
  const std::int64_t width = units(step, milli), base = units(least, milli), asked = units(wanted, milli);
  if (width <= 0) return std::nullopt;
  const std::int64_t over = (asked - base) % width;
  std::int64_t rounded = asked;
  if (over != 0 && __builtin_add_overflow(asked, width - over, &rounded)) return std::nullopt;
  if (!milli) return Quantity::of(rounded, step.format());
  return rounded % kMilli == 0 ? Quantity::of(rounded / kMilli, step.format())
                               : Quantity::of_milli(rounded, step.format());
}

// Absent: not given out in that amount.
std::optional<Quantity> given_out(const Quantity& wanted, Value policy) {
  if (const Value range = policy["validRange"]) {
    auto out = range["min"] ? round_up(wanted, range) : wanted;
    if (out && range["max"] && *out > Quantity::read(range["max"])) return std::nullopt;
    return out;
  }
  const Value values = policy["validValues"];
  if (values.empty()) return wanted;
  for (const Value value : values) {  // Ascending.
    if (wanted <= Quantity::read(value)) return Quantity::read(value);
  }
  return std::nullopt;
}

}  // namespace

Value qualified_member(Value members, const Device& device, std::string_view name) {
  if (const Value found = members[name]) return found;
  const std::string domain = device.id.driver + "/";
  return name.starts_with(domain) ? members[name.substr(domain.size())] : Value();
}

std::optional<Amounts> consumption(const Device& device, Value requests) {
  Amounts out;
  const Value capacities = device.body["capacity"];
  for (auto it = requests.begin(); it != requests.end(); ++it) {
    if (!qualified_member(capacities, device, it.key())) return std::nullopt;
  }
  const std::string domain = device.id.driver + "/";
  for (auto it = capacities.begin(); it != capacities.end(); ++it) {
    const Value capacity = *it;
    const Quantity all = Quantity::read(capacity["value"]);
    const std::string name(it.key());
    Value wanted = requests[name];
    if (!wanted && name.find('/') == std::string::npos) wanted = requests[domain + name];
    Quantity amount = capacity["requestPolicy"]["default"] ? Quantity::read(capacity["requestPolicy"]["default"]) : all;
    if (wanted) {
      const auto given = given_out(Quantity::read(wanted), capacity["requestPolicy"]);
      if (!given) return std::nullopt;
      amount = *given;
    }
    if (amount > all) return std::nullopt;
    out.emplace(name, amount);
  }
  return out;
}

bool has_room(const Device& device, const Amounts* taken, const Amounts* also_taken, const Amounts& more) {
  const Value capacities = device.body["capacity"];
  return std::ranges::all_of(more, [&](const auto& one) {
    Quantity sum = one.second;
    for (const Amounts* amounts : {taken, also_taken}) {
      if (amounts == nullptr) continue;
      if (const auto found = amounts->find(one.first); found != amounts->end()) sum += found->second;
    }
    return sum <= Quantity::read(capacities[one.first]["value"]);
  });
}

}  // namespace kubernel::plugins
