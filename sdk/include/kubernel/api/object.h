// SPDX-License-Identifier: Apache-2.0
//
// Object: an immutable API object shared between caches, queues and watchers.

#pragma once

#include <cstdint>
#include <functional>
#include <memory>
#include <string>
#include <string_view>

#include <nlohmann/json_fwd.hpp>

#include <kubernel/api/resource.h>
#include <kubernel/api/value.h>
#include <kubernel/base/export.h>
#include <kubernel/base/result.h>

namespace kubernel::api {

/// The part of metadata the machinery itself reads; parsed once, when the object is made.
struct Head {
  GroupVersionKind gvk;
  ObjectKey key;
  std::string uid;
  std::int64_t resource_version = 0;  ///< The store's revision; 0 before the first write.
  std::int64_t generation = 0;
  bool deleting = false;       ///< metadata.deletionTimestamp is set.
  std::string controller_uid;  ///< uid of the owner with controller=true, or empty.
};

/// A handle to an immutable object: its JSON bytes, a parsed head, and on demand its parsed body and its protobuf
/// bytes, each made at most once and shared by every copy of the handle.
///
/// Copying an Object copies a pointer. No function hands out a mutable reference, so an object taken
/// from a cache cannot be changed under another reader's feet; with() is the only way to a different one.
///
/// Threads: all const member functions may be called concurrently.
class KUBERNEL_EXPORT Object {
 public:
  Object() noexcept = default;  ///< Holds nothing; only assignable and testable.

  /// Takes JSON text. Unknown fields are kept, never dropped; no schema is consulted.
  ///
  /// Errors: BadRequest for malformed JSON; Invalid when metadata has a field of the wrong type.
  static Result<Object> parse(std::string json_text);
  /// The same, and shows the body to `look` before it is dropped again, which saves parsing it twice. The value must
  /// not be kept.
  static Result<Object> parse(std::string json_text, const std::function<void(const Value& body)>& look);
  static Result<Object> from_json(const nlohmann::json& document);

  explicit operator bool() const noexcept { return rep_ != nullptr; }

  const Head& head() const noexcept;
  const ObjectKey& key() const noexcept { return head().key; }
  const std::string& name() const noexcept { return head().key.name; }
  const std::string& ns() const noexcept { return head().key.ns; }
  const std::string& uid() const noexcept { return head().uid; }

  /// Compact JSON, exactly as it goes on the wire.
  const std::string& json() const noexcept;

  /// The parsed body; built on first use.
  Value body() const;
  Value operator[](std::string_view key) const { return body()[key]; }
  Value pointer(std::string_view path) const { return body().pointer(path); }
  Value labels() const { return body()["metadata"]["labels"]; }
  Value annotations() const { return body()["metadata"]["annotations"]; }

  /// A copy to edit.
  nlohmann::json to_json() const;

  /// Protobuf with the "k8s\0" envelope, encoded on first use.
  /// Errors: NotAcceptable when the kind has no protobuf form (custom resources).
  Result<std::shared_ptr<const std::string>> protobuf() const;

  /// Returns a new object equal to this one after `edit` has run on a copy of the
  /// document. `edit` must not keep the reference it is given.
  ///
  /// Errors: those of from_json(), when the edit broke the metadata.
  Result<Object> with(const std::function<void(nlohmann::json&)>& edit) const;

  /// An equal object that shares nothing with this one: a body that is built for it goes with it. For readers of an
  /// object that a cache keeps as bytes.
  Object copy() const;

  /// True when both are handles to the same representation.
  bool same_as(const Object& other) const noexcept { return rep_ == other.rep_; }

 private:
  struct Rep;
  explicit Object(std::shared_ptr<const Rep> rep) noexcept;

  std::shared_ptr<const Rep> rep_;
};

}  // namespace kubernel::api
