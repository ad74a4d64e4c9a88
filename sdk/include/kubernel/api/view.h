// SPDX-License-Identifier: Apache-2.0
//
// What the generated typed views are made of.
//
// For each API type T of the schema there is a class kubernel::api::<group>::<version>::T, e.g.
// api::core::v1::PodSpec, made from types.jsonl by sdk/schema/generate.py and found in
// <kubernel/api/views/core_v1.h>. A view is one Value: read through it, never write. Accessors are the JSON field names
// in snake_case (nodeName -> node_name(), podIP -> pod_ip(), a C++ keyword gets a trailing _):
//
//   api::core::v1::Pod pod(object);
//   for (const auto container : pod.spec().containers()) use(container.name(), container.image());
//
//   JSON field                        accessor returns
//   string (also named ones)          std::string_view, "" when absent (the schema's default when it has one)
//   int32, int64 / float64 / bool     std::int64_t / double / bool, 0/false or the schema's default when absent
//   pointer to one of these           std::optional of it
//   bytes                             std::string_view of the base64 text
//   struct or pointer to one          its view; explicit operator bool tells whether it is there
//   []T / map[string]T                List<T> / Map<T> with T as above
//   Quantity, Time, MicroTime, Duration, IntOrString, RawExtension, FieldsV1, JSON   Value (see quantity.h, time.h,
//   int_or_string.h)
//
// Embedded structs (TypeMeta, inline) are flattened. Every view has `Value raw() const`. A view is made from a Value,
// and that of a kind from an Object. Lifetime: as the Value's; an Object must outlive the views on it.

#pragma once

#include <cstddef>
#include <optional>
#include <string_view>

#include <kubernel/api/value.h>
#include <kubernel/base/export.h>

namespace kubernel::api {

class Object;

/// What all generated views derive from.
class KUBERNEL_EXPORT View {
 public:
  explicit View(Value value) noexcept : value_(value) {}
  explicit View(const Object& object);

  /// True when the value is there and not null.
  explicit operator bool() const noexcept { return value_ && !value_.is_null(); }
  Value raw() const noexcept { return value_; }

 protected:
  Value at_(const char* name) const noexcept { return value_[name]; }
  std::string_view text_(const char* name, std::string_view fallback = {}) const noexcept {
    return value_[name].string(fallback);
  }
  std::int64_t integer_(const char* name, std::int64_t fallback = 0) const noexcept {
    return value_[name].integer(fallback);
  }
  double number_(const char* name, double fallback = 0) const noexcept { return value_[name].number(fallback); }
  bool flag_(const char* name, bool fallback = false) const noexcept { return value_[name].boolean(fallback); }

 private:
  Value value_;
};

namespace detail {
template <class T>
T read(Value v) {
  return T(v);
}
template <>
inline std::string_view read<std::string_view>(Value v) {
  return v.string();
}
template <>
inline std::int64_t read<std::int64_t>(Value v) {
  return v.integer();
}
template <>
inline double read<double>(Value v) {
  return v.number();
}
template <>
inline bool read<bool>(Value v) {
  return v.boolean();
}
template <class T>
std::optional<T> read_optional(Value v) {
  if (!v || v.is_null()) return std::nullopt;
  return read<T>(v);
}
}  // namespace detail

/// The elements of a JSON array as T. Absent reads as empty.
template <class T>
class List {
 public:
  explicit List(Value v) noexcept : value_(v) {}

  class Iterator {
   public:
    explicit Iterator(Value::Iterator at) noexcept : at_(at) {}
    T operator*() const { return detail::read<T>(*at_); }
    Iterator& operator++() noexcept {
      ++at_;
      return *this;
    }
    friend bool operator==(const Iterator&, const Iterator&) = default;

   private:
    Value::Iterator at_;
  };
  Iterator begin() const noexcept { return Iterator(value_.begin()); }
  Iterator end() const noexcept { return Iterator(value_.end()); }
  std::size_t size() const noexcept { return value_.size(); }
  bool empty() const noexcept { return value_.empty(); }
  T operator[](std::size_t index) const { return detail::read<T>(value_.at(index)); }
  Value value() const noexcept { return value_; }

 private:
  Value value_;
};

/// The members of a JSON object as name and T. Absent reads as empty.
template <class T>
class Map {
 public:
  explicit Map(Value v) noexcept : value_(v) {}

  struct Entry {
    std::string_view key;
    T value;
  };
  class Iterator {
   public:
    explicit Iterator(Value::Iterator at) noexcept : at_(at) {}
    Entry operator*() const { return {at_.key(), detail::read<T>(*at_)}; }
    Iterator& operator++() noexcept {
      ++at_;
      return *this;
    }
    friend bool operator==(const Iterator&, const Iterator&) = default;

   private:
    Value::Iterator at_;
  };
  Iterator begin() const noexcept { return Iterator(value_.begin()); }
  Iterator end() const noexcept { return Iterator(value_.end()); }
  std::size_t size() const noexcept { return value_.size(); }
  bool empty() const noexcept { return value_.empty(); }
  bool contains(std::string_view key) const noexcept { return static_cast<bool>(value_[key]); }
  std::optional<T> find(std::string_view key) const { return detail::read_optional<T>(value_[key]); }
  Value value() const noexcept { return value_; }

 private:
  Value value_;
};

}  // namespace kubernel::api
