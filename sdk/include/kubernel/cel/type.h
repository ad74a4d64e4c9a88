// SPDX-License-Identifier: Apache-2.0
//
// cel::Type: what is known about a value before it is there. Checking is gradual: dyn goes with everything.

#pragma once

#include <cstdint>
#include <memory>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include <kubernel/base/export.h>
#include <kubernel/base/result.h>

namespace kubernel::cel {

/// Copying one is cheap. Threads: immutable.
class KUBERNEL_EXPORT Type {
 public:
  enum class Kind : std::uint8_t {
    Dyn,
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
    Object,     ///< Named, with known fields.
    Opaque,     ///< Named; known by its functions.
    Parameter,  ///< "A" in a function's signature.
  };
  using Fields = std::vector<std::pair<std::string, Type>>;

  Type() = default;                 ///< dyn.
  Type(Kind kind) : kind_(kind) {}  // NOLINT(google-explicit-constructor): a kind without parameters is a type.
  static Type list(Type element);
  static Type map(Type key, Type value);
  static Type optional(Type held);
  static Type object(std::string name, Fields fields);
  static Type opaque(std::string name);
  static Type parameter(std::string name);
  /// Reads "int", "list(string)", "map(string, dyn)", "optional(int)", "type", a single capital letter as a parameter;
  /// any other name is opaque. Errors: Invalid.
  static Result<Type> parse(std::string_view text);

  Kind kind() const noexcept { return kind_; }
  bool is_dyn() const noexcept { return kind_ == Kind::Dyn; }
  const std::string& name() const noexcept;
  /// Of a list or optional one, of a map two; dyn when not said.
  Type element(std::size_t index = 0) const;
  /// The field's type; null when the object has no such field.
  const Type* field(std::string_view name) const noexcept;

  /// "map(string, dyn)".
  std::string to_string() const;
  friend KUBERNEL_EXPORT bool operator==(const Type& a, const Type& b);

 private:
  struct Detail;
  Kind kind_ = Kind::Dyn;
  std::shared_ptr<const Detail> detail_;
};

}  // namespace kubernel::cel
