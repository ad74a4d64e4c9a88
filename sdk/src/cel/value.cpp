// SPDX-License-Identifier: Apache-2.0

#include <kubernel/cel/value.h>

#include <algorithm>
#include <array>
#include <charconv>
#include <cmath>

#include "text.h"

namespace kubernel::cel {

List::~List() = default;
Map::~Map() = default;
Opaque::~Opaque() = default;

namespace {

class OwnList final : public List {
 public:
  explicit OwnList(std::vector<Value> elements) : elements_(std::move(elements)) {}
  std::size_t size() const override { return elements_.size(); }
  Value at(std::size_t index) const override { return elements_[index]; }

 private:
  std::vector<Value> elements_;
};

// Keys of one kind are in order, so that large maps are not searched from end to end; a number may be asked for by
// another kind of number.
class OwnMap final : public Map {
 public:
  explicit OwnMap(std::vector<std::pair<Value, Value>> entries) : entries_(std::move(entries)) {
    std::ranges::stable_sort(entries_, before, &std::pair<Value, Value>::first);
  }
  std::size_t size() const override { return entries_.size(); }
  std::optional<Value> find(const Value& key) const override {
    const auto found = std::ranges::lower_bound(entries_, key, before, &std::pair<Value, Value>::first);
    if (found == entries_.end() || !(found->first == key)) return std::nullopt;
    return found->second;
  }
  void each(const std::function<bool(const Value&, const Value&)>& visit) const override {
    for (const auto& [key, value] : entries_) {
      if (!visit(key, value)) return;
    }
  }

 private:
  static int rank(const Value& value) {
    switch (value.kind()) {
      case Value::Kind::Bool: return 0;
      case Value::Kind::Int:
      case Value::Kind::Uint:
      case Value::Kind::Double: return 1;
      case Value::Kind::String: return 2;
      default: return 3;
    }
  }
  static bool before(const Value& a, const Value& b) {
    if (rank(a) != rank(b)) return rank(a) < rank(b);
    const auto order = compare(a, b);
    return order && *order < 0;
  }
  std::vector<std::pair<Value, Value>> entries_;
};

template <class T>
int order_of(const T& a, const T& b) {
  return a < b ? -1 : b < a ? 1 : 0;
}

bool is_number(const Value& value) {
  return value.is(Value::Kind::Int) || value.is(Value::Kind::Uint) || value.is(Value::Kind::Double);
}

// cel-go's rule: what a double cannot hold exactly is compared as a double all the same.
std::optional<int> compare_with_double(double a, const Value& b) {
  const double other = b.is(Value::Kind::Double) ? b.as_double()
                       : b.is(Value::Kind::Int)  ? static_cast<double>(b.as_int())
                                                 : static_cast<double>(b.as_uint());
  if (std::isnan(a) || std::isnan(other)) return std::nullopt;
  return order_of(a, other);
}

std::optional<int> compare_numbers(const Value& a, const Value& b) {
  if (a.is(Value::Kind::Double)) return compare_with_double(a.as_double(), b);
  if (b.is(Value::Kind::Double)) {
    const auto order = compare_with_double(b.as_double(), a);
    return order ? std::optional<int>(-*order) : std::nullopt;
  }
  if (a.kind() == b.kind())
    return a.is(Value::Kind::Int) ? order_of(a.as_int(), b.as_int()) : order_of(a.as_uint(), b.as_uint());
  if (a.is(Value::Kind::Int))
    return a.as_int() < 0 ? -1 : order_of(static_cast<std::uint64_t>(a.as_int()), b.as_uint());
  return b.as_int() < 0 ? 1 : order_of(a.as_uint(), static_cast<std::uint64_t>(b.as_int()));
}

bool equal_lists(const Value& a, const Value& b) {
  if (a.size() != b.size()) return false;
  for (std::size_t i = 0; i < a.size(); ++i) {
    if (!(a.at(i) == b.at(i))) return false;
  }
  return true;
}

bool equal_maps(const Value& a, const Value& b) {
  if (a.size() != b.size()) return false;
  bool equal = true;
  a.each([&](const Value& key, const Value& value) {
    const auto other = b.find(key);
    equal = other && value == *other;
    return equal;
  });
  return equal;
}

bool equal_held(const Value* a, const Value* b) {
  return a == nullptr || b == nullptr ? a == b : *a == *b;
}

bool equal_opaque(const Opaque& a, const Opaque& b) {
  return a.type_name() == b.type_name() && a.equals(b);
}

}  // namespace

Value Value::boolean(bool value) noexcept {
  Value out;
  out.kind_ = Kind::Bool;
  out.number_.integer = value ? 1 : 0;
  return out;
}

Value Value::integer(std::int64_t value) noexcept {
  Value out;
  out.kind_ = Kind::Int;
  out.number_.integer = value;
  return out;
}

Value Value::uinteger(std::uint64_t value) noexcept {
  Value out;
  out.kind_ = Kind::Uint;
  out.number_.uinteger = value;
  return out;
}

Value Value::number(double value) noexcept {
  Value out;
  out.kind_ = Kind::Double;
  out.number_.real = value;
  return out;
}

Value Value::view(std::string_view text) noexcept {
  Value out;
  out.kind_ = Kind::String;
  out.number_.uinteger = text.size();
  out.text_ = text.data();
  return out;
}

Value Value::string(std::string value) {
  auto owned = std::make_shared<const std::string>(std::move(value));
  Value out = view(*owned);
  out.owner_ = std::move(owned);
  return out;
}

Value Value::bytes(std::string value) {
  Value out = string(std::move(value));
  out.kind_ = Kind::Bytes;
  return out;
}

Value Value::type(std::string name) {
  Value out = string(std::move(name));
  out.kind_ = Kind::Type;
  return out;
}

Value Value::timestamp(Timestamp value) noexcept {
  Value out;
  out.kind_ = Kind::Timestamp;
  out.number_.integer = value.seconds;
  out.nanos_ = value.nanos;
  return out;
}

Value Value::duration(std::int64_t nanoseconds) noexcept {
  Value out = integer(nanoseconds);
  out.kind_ = Kind::Duration;
  return out;
}

Value Value::list(std::vector<Value> elements) {
  return list(std::make_shared<const OwnList>(std::move(elements)));
}

Value Value::list(std::shared_ptr<const List> list) noexcept {
  Value out;
  out.kind_ = Kind::List;
  out.owner_ = std::move(list);
  return out;
}

Value Value::map(std::vector<std::pair<Value, Value>> entries) {
  return map(std::make_shared<const OwnMap>(std::move(entries)));
}

Value Value::map(std::shared_ptr<const Map> map) noexcept {
  Value out;
  out.kind_ = Kind::Map;
  out.owner_ = std::move(map);
  return out;
}

Value Value::optional(std::optional<Value> value) {
  Value out;
  out.kind_ = Kind::Optional;
  if (value) out.owner_ = std::make_shared<const Value>(*std::move(value));
  return out;
}

Value Value::opaque(std::shared_ptr<const Opaque> value) noexcept {
  Value out;
  out.kind_ = Kind::Opaque;
  out.owner_ = std::move(value);
  return out;
}

Value Value::json(api::Value value) noexcept {
  switch (value.kind()) {
    case api::Value::Kind::Bool: return boolean(value.boolean());
    case api::Value::Kind::Integer: return integer(value.integer());
    case api::Value::Kind::Double: return number(value.number());
    case api::Value::Kind::String: return view(value.string());
    case api::Value::Kind::Array:
    case api::Value::Kind::Object: {
      Value out;
      out.kind_ = value.is_array() ? Kind::List : Kind::Map;
      out.json_ = value;
      return out;
    }
    case api::Value::Kind::Missing:
    case api::Value::Kind::Null: break;
  }
  return {};
}

std::string_view Value::type_name() const noexcept {
  if (kind_ == Kind::Opaque) return as_opaque()->type_name();
  static constexpr std::array<std::string_view, 13> kNames = {"null_type",
                                                              "bool",
                                                              "int",
                                                              "uint",
                                                              "double",
                                                              "string",
                                                              "bytes",
                                                              "list",
                                                              "map",
                                                              "google.protobuf.Timestamp",
                                                              "google.protobuf.Duration",
                                                              "type",
                                                              "optional_type"};
  return kNames[static_cast<std::size_t>(kind_)];
}

std::string_view Value::as_string() const noexcept {
  if (kind_ != Kind::String && kind_ != Kind::Bytes && kind_ != Kind::Type) return {};
  return {text_, static_cast<std::size_t>(number_.uinteger)};
}

Timestamp Value::as_timestamp() const noexcept {
  return kind_ == Kind::Timestamp ? Timestamp{number_.integer, nanos_} : Timestamp{};
}

const Opaque* Value::as_opaque() const noexcept {
  return kind_ == Kind::Opaque ? static_cast<const Opaque*>(owner_.get()) : nullptr;
}

const Value* Value::held() const noexcept {
  return kind_ == Kind::Optional ? static_cast<const Value*>(owner_.get()) : nullptr;
}

std::size_t Value::size() const noexcept {
  switch (kind_) {
    case Kind::String:
    case Kind::Bytes: return static_cast<std::size_t>(number_.uinteger);
    case Kind::List: return owner_ ? static_cast<const List*>(owner_.get())->size() : json_.size();
    case Kind::Map: return owner_ ? static_cast<const Map*>(owner_.get())->size() : json_.size();
    default: return 0;
  }
}

Value Value::at(std::size_t index) const {
  if (kind_ != Kind::List) return {};
  return owner_ ? static_cast<const List*>(owner_.get())->at(index) : json(json_.at(index));
}

std::optional<Value> Value::find(const Value& key) const {
  if (kind_ != Kind::Map) return std::nullopt;
  if (owner_) return static_cast<const Map*>(owner_.get())->find(key);
  return key.is(Kind::String) ? find(key.as_string()) : std::nullopt;
}

std::optional<Value> Value::find(std::string_view key) const {
  if (kind_ != Kind::Map) return std::nullopt;
  if (owner_) return static_cast<const Map*>(owner_.get())->find(view(key));
  const api::Value member = json_[key];
  return member ? std::optional(json(member)) : std::nullopt;
}

void Value::each(const std::function<bool(const Value&, const Value&)>& visit) const {
  if (kind_ != Kind::Map) return;
  if (owner_) return static_cast<const Map*>(owner_.get())->each(visit);
  for (auto it = json_.begin(); it != json_.end(); ++it) {
    if (!visit(view(it.key()), json(*it))) return;
  }
}

bool operator==(const Value& a, const Value& b) {
  using Kind = Value::Kind;
  if (is_number(a) && is_number(b)) return compare_numbers(a, b) == 0;
  if (a.kind_ != b.kind_) return false;
  switch (a.kind_) {
    case Kind::Null: return true;
    case Kind::Bool: return a.as_bool() == b.as_bool();
    case Kind::String:
    case Kind::Bytes:
    case Kind::Type: return a.as_string() == b.as_string();
    case Kind::List: return equal_lists(a, b);
    case Kind::Map: return equal_maps(a, b);
    case Kind::Timestamp: return a.as_timestamp() == b.as_timestamp();
    case Kind::Duration: return a.as_duration() == b.as_duration();
    case Kind::Optional: return equal_held(a.held(), b.held());
    case Kind::Opaque: return equal_opaque(*a.as_opaque(), *b.as_opaque());
    default: return false;
  }
}

std::optional<int> compare(const Value& a, const Value& b) {
  using Kind = Value::Kind;
  if (is_number(a) && is_number(b)) return compare_numbers(a, b);
  if (a.kind() != b.kind()) return std::nullopt;
  switch (a.kind()) {
    case Kind::Bool: return order_of(a.as_bool(), b.as_bool());
    case Kind::String:
    case Kind::Bytes: return order_of(a.as_string(), b.as_string());
    case Kind::Timestamp: return order_of(a.as_timestamp(), b.as_timestamp());
    case Kind::Duration: return order_of(a.as_duration(), b.as_duration());
    default: return std::nullopt;
  }
}

std::string Value::to_text() const {
  switch (kind_) {
    case Kind::Null: return "null";
    case Kind::Bool: return as_bool() ? "true" : "false";
    case Kind::Int: return std::to_string(as_int());
    case Kind::Uint: return std::to_string(as_uint()) + "u";
    case Kind::Double: return format_double(as_double());
    case Kind::String: return quote(as_string());
    case Kind::Bytes: return "b" + quote(as_string());
    case Kind::Timestamp: return "timestamp(\"" + format_timestamp(as_timestamp()) + "\")";
    case Kind::Duration: return "duration(\"" + format_seconds(as_duration()) + "\")";
    case Kind::Type: return std::string(as_string());
    case Kind::Opaque: return std::string(type_name()) + "(...)";
    case Kind::Optional: return held() == nullptr ? "optional.none()" : "optional.of(" + held()->to_text() + ")";
    case Kind::List: {
      std::string out = "[";
      for (std::size_t i = 0; i < size(); ++i) out += (i == 0 ? "" : ", ") + at(i).to_text();
      return out + "]";
    }
    case Kind::Map: {
      std::string out = "{";
      each([&](const Value& key, const Value& value) {
        out += (out.size() == 1 ? "" : ", ") + key.to_text() + ": " + value.to_text();
        return true;
      });
      return out + "}";
    }
  }
  return {};
}

}  // namespace kubernel::cel
