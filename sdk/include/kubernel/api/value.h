// SPDX-License-Identifier: Apache-2.0
//
// Value: a read-only view of one JSON value inside a compact, immutable document.
//
// A parsed object is one allocation that refers to the object's own bytes: at most twice the JSON's
// size. Reading never allocates. The mutable form, for building and editing, is nlohmann::json.

#pragma once

#include <cstddef>
#include <cstdint>
#include <iterator>
#include <memory>
#include <optional>
#include <string>
#include <string_view>
#include <utility>

#include <nlohmann/json_fwd.hpp>

#include <kubernel/base/export.h>
#include <kubernel/base/result.h>

namespace kubernel::api {

namespace detail {
struct Node;  // One value of a document; defined in sdk/src/api/document.h.
struct ValueAccess;
}  // namespace detail

/// A pointer-sized handle; copy it freely. A Value that stands for "not there" is falsy, reads as
/// empty/zero/false, and gives more such Values when indexed, so a chain of lookups needs no checks.
///
/// Lifetime: valid as long as the Document (or Object) it came from. Threads: any.
class KUBERNEL_EXPORT Value {
 public:
  enum class Kind : std::uint8_t { Missing, Null, Bool, Integer, Double, String, Array, Object };

  constexpr Value() noexcept = default;

  Kind kind() const noexcept;
  explicit operator bool() const noexcept { return node_ != nullptr; }
  bool is_null() const noexcept { return kind() == Kind::Null; }
  bool is_string() const noexcept { return kind() == Kind::String; }
  bool is_object() const noexcept { return kind() == Kind::Object; }
  bool is_array() const noexcept { return kind() == Kind::Array; }

  /// The value, or the fallback when it is missing, null or of another kind.
  std::string_view string(std::string_view fallback = {}) const noexcept;
  std::int64_t integer(std::int64_t fallback = 0) const noexcept;
  double number(double fallback = 0) const noexcept;
  bool boolean(bool fallback = false) const noexcept;

  /// Elements of an array or members of an object; 0 for anything else.
  std::size_t size() const noexcept;
  bool empty() const noexcept { return size() == 0; }

  /// The member called `key`; missing when this is no object or has none.
  Value operator[](std::string_view key) const noexcept;
  Value operator[](const char* key) const noexcept { return (*this)[std::string_view(key)]; }
  /// The element at `index`; missing when out of range.
  Value at(std::size_t index) const noexcept;
  /// Follows "/spec/containers/0/name" (RFC 6901, without escapes).
  Value pointer(std::string_view path) const noexcept;

  /// Iterates over an array's elements or an object's member values; key() names the member.
  class KUBERNEL_EXPORT Iterator {
   public:
    using iterator_category = std::forward_iterator_tag;
    using value_type = Value;
    using difference_type = std::ptrdiff_t;
    using pointer = const Value*;
    using reference = Value;

    Iterator() noexcept = default;
    Value operator*() const noexcept;
    std::string_view key() const noexcept;  ///< Empty in an array.
    Iterator& operator++() noexcept;
    Iterator operator++(int) noexcept {
      Iterator before = *this;
      ++*this;
      return before;
    }
    friend bool operator==(const Iterator& a, const Iterator& b) noexcept { return a.node_ == b.node_; }

   private:
    friend class Value;
    const detail::Node* node_ = nullptr;
  };
  Iterator begin() const noexcept;
  Iterator end() const noexcept;

  /// Deep equality; the order of object members does not count.
  friend KUBERNEL_EXPORT bool operator==(Value a, Value b) noexcept;

  /// The mutable form: a copy.
  nlohmann::json to_json() const;
  /// Compact JSON text.
  std::string dump() const;

 private:
  friend struct detail::ValueAccess;
  explicit Value(const detail::Node* node) noexcept : node_(node) {}
  const detail::Node* node_ = nullptr;
};

/// Owns the nodes of one parsed JSON text, and the text.
///
/// Threads: immutable; all const members from any thread.
class KUBERNEL_EXPORT Document {
 public:
  /// Parses one JSON value (RFC 8259): strict UTF-8; nesting deeper than 512 is refused.
  /// A duplicate member: the last one wins, as in Go (schema::decode reports duplicates under strict validation).
  ///
  /// Errors: BadRequest with the byte offset.
  static Result<std::shared_ptr<const Document>> parse(std::string text);

  Value root() const noexcept;
  const std::string& text() const noexcept { return text_; }
  /// Bytes held, for the cache's accounting.
  std::size_t memory_bytes() const noexcept;

  ~Document();
  Document(const Document&) = delete;
  Document& operator=(const Document&) = delete;

 private:
  Document() = default;
  std::string text_;
  void* nodes_ = nullptr;
};

}  // namespace kubernel::api
