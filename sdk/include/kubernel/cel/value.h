// SPDX-License-Identifier: Apache-2.0
//
// cel::Value: what an expression of the Common Expression Language computes with.
//
// API objects are not copied into it: a Value over JSON is a handle on the object's own document, and its members
// become Values when an expression reads them.

#pragma once

#include <cstddef>
#include <cstdint>
#include <functional>
#include <memory>
#include <optional>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include <kubernel/api/value.h>
#include <kubernel/base/export.h>

namespace kubernel::cel {

class Value;

/// A list of one's own. Threads: immutable.
class KUBERNEL_EXPORT List {
 public:
  virtual ~List();
  virtual std::size_t size() const = 0;
  /// Precondition: index < size().
  virtual Value at(std::size_t index) const = 0;
};

/// A map of one's own. Threads: immutable.
class KUBERNEL_EXPORT Map {
 public:
  virtual ~Map();
  virtual std::size_t size() const = 0;
  virtual std::optional<Value> find(const Value& key) const = 0;
  /// Visits the entries until `visit` returns false.
  virtual void each(const std::function<bool(const Value& key, const Value& value)>& visit) const = 0;
};

/// A value of a type that expressions know by its functions only (quantity, semver, URL, …). Threads: immutable.
class KUBERNEL_EXPORT Opaque {
 public:
  virtual ~Opaque();
  /// The type's name in expressions and messages. Lifetime: static.
  virtual std::string_view type_name() const = 0;
  /// `other` has the same type_name().
  virtual bool equals(const Opaque& other) const = 0;
};

/// Seconds since 1970-01-01T00:00:00Z, and nanoseconds (0 to 999,999,999) on top.
struct Timestamp {
  std::int64_t seconds = 0;
  std::int32_t nanos = 0;
  friend auto operator<=>(const Timestamp&, const Timestamp&) = default;
};

/// Copying one is cheap: it shares what is large.
///
/// Lifetime: made by json() or view(), it refers to the document or the text; everything else it owns. Threads:
/// immutable.
class KUBERNEL_EXPORT Value {
 public:
  enum class Kind : std::uint8_t {
    Null,
    Bool,
    Int,
    Uint,
    Double,
    String,
    Bytes,
    List,
    Map,
    Timestamp,
    Duration,
    Type,
    Optional,
    Opaque,
  };

  Value() noexcept = default;  ///< null.
  static Value boolean(bool value) noexcept;
  static Value integer(std::int64_t value) noexcept;
  static Value uinteger(std::uint64_t value) noexcept;
  static Value number(double value) noexcept;
  static Value string(std::string value);
  static Value bytes(std::string value);
  /// A string that lives elsewhere.
  static Value view(std::string_view text) noexcept;
  static Value timestamp(Timestamp value) noexcept;
  static Value duration(std::int64_t nanoseconds) noexcept;
  /// The type of that name as a value ("int", "google.protobuf.Timestamp").
  static Value type(std::string name);
  static Value list(std::vector<Value> elements);
  static Value list(std::shared_ptr<const List> list) noexcept;
  /// Entries with distinct keys (bool, int, uint, string).
  static Value map(std::vector<std::pair<Value, Value>> entries);
  static Value map(std::shared_ptr<const Map> map) noexcept;
  static Value optional(std::optional<Value> value);
  static Value opaque(std::shared_ptr<const Opaque> value) noexcept;
  /// Any JSON; missing becomes null.
  static Value json(api::Value value) noexcept;

  Kind kind() const noexcept { return kind_; }
  bool is(Kind kind) const noexcept { return kind_ == kind; }
  /// The name its type has in expressions ("int", "list", "google.protobuf.Duration").
  std::string_view type_name() const noexcept;

  /// Precondition of each: the kind is right; otherwise they give nothing (0, "", null).
  bool as_bool() const noexcept { return kind_ == Kind::Bool && number_.integer != 0; }
  std::int64_t as_int() const noexcept { return kind_ == Kind::Int || kind_ == Kind::Duration ? number_.integer : 0; }
  std::uint64_t as_uint() const noexcept { return kind_ == Kind::Uint ? number_.uinteger : 0; }
  double as_double() const noexcept { return kind_ == Kind::Double ? number_.real : 0; }
  /// Also of Bytes, and the name of a Type.
  std::string_view as_string() const noexcept;
  Timestamp as_timestamp() const noexcept;
  /// Nanoseconds.
  std::int64_t as_duration() const noexcept { return kind_ == Kind::Duration ? number_.integer : 0; }
  const Opaque* as_opaque() const noexcept;
  /// What an Optional holds; null when it holds nothing.
  const Value* held() const noexcept;

  /// Elements of a list, entries of a map, bytes of a string or Bytes.
  std::size_t size() const noexcept;
  /// Precondition: a list, index < size().
  Value at(std::size_t index) const;
  /// Of a map.
  std::optional<Value> find(const Value& key) const;
  std::optional<Value> find(std::string_view key) const;
  /// Visits the entries of a map until `visit` returns false.
  void each(const std::function<bool(const Value& key, const Value& value)>& visit) const;

  /// CEL's equality: numbers of different types compare by their value; else values of different types differ.
  friend KUBERNEL_EXPORT bool operator==(const Value& a, const Value& b);

  /// For people: as an expression would write it.
  std::string to_text() const;

 private:
  union Number {
    std::int64_t integer;
    std::uint64_t uinteger;
    double real;
  };
  Kind kind_ = Kind::Null;
  std::int32_t nanos_ = 0;
  Number number_{.integer = 0};  // Also the length of a string.
  const char* text_ = nullptr;
  api::Value json_;
  std::shared_ptr<const void> owner_;
};

/// -1, 0, 1, or absent when the two have no order (CEL's < on numbers, strings, bytes, bools, times, durations).
KUBERNEL_EXPORT std::optional<int> compare(const Value& a, const Value& b);

}  // namespace kubernel::cel
