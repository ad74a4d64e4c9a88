// SPDX-License-Identifier: Apache-2.0
#include <kubernel/api/object.h>

#include <atomic>
#include <charconv>
#include <utility>

#include <nlohmann/json.hpp>

#include <kubernel/schema/codec.h>

#include "api/document.h"
#include "api/json_writer.h"

namespace kubernel::api {
namespace {

Error wrong_type(std::string_view field, std::string_view wanted) {
  std::string message = std::string(field) + " is not " + std::string(wanted);
  ErrorDetails details;
  details.causes.push_back({"FieldValueTypeInvalid", message, std::string(field)});
  return Error(Reason::Invalid, std::move(message), std::move(details));
}

Result<void> read_string(Value value, std::string_view field, std::string& out) {
  if (!value || value.is_null()) return {};
  if (!value.is_string()) return wrong_type(field, "a string");
  out = value.string();
  return {};
}

/// Absent and null read as missing.
Result<Value> read_object(Value value, std::string_view field) {
  if (!value || value.is_null()) return Value();
  if (!value.is_object()) return wrong_type(field, "an object");
  return value;
}

Result<void> read_owners(Value owners, Head& head) {
  if (!owners || owners.is_null()) return {};
  if (!owners.is_array()) return wrong_type("metadata.ownerReferences", "an array");
  for (const Value owner : owners) {
    if (owner["controller"].boolean()) head.controller_uid = owner["uid"].string();
  }
  return {};
}

Result<void> read_metadata(Value metadata, Head& head) {
  KUBERNEL_CHECK_OK(read_string(metadata["name"], "metadata.name", head.key.name));
  KUBERNEL_CHECK_OK(read_string(metadata["namespace"], "metadata.namespace", head.key.ns));
  KUBERNEL_CHECK_OK(read_string(metadata["uid"], "metadata.uid", head.uid));
  std::string revision;
  KUBERNEL_CHECK_OK(read_string(metadata["resourceVersion"], "metadata.resourceVersion", revision));
  // An aggregated API may use versions that are no numbers; then none of ours is known.
  std::from_chars(revision.data(), revision.data() + revision.size(), head.resource_version);
  const Value generation = metadata["generation"];
  if (generation && !generation.is_null() && generation.kind() != Value::Kind::Integer) {
    return wrong_type("metadata.generation", "an integer");
  }
  head.generation = generation.integer();
  std::string deletion;
  KUBERNEL_CHECK_OK(read_string(metadata["deletionTimestamp"], "metadata.deletionTimestamp", deletion));
  head.deleting = !deletion.empty();
  KUBERNEL_CHECK_OK(read_object(metadata["labels"], "metadata.labels"));
  KUBERNEL_CHECK_OK(read_object(metadata["annotations"], "metadata.annotations"));
  return read_owners(metadata["ownerReferences"], head);
}

Result<Head> read_head(Value root) {
  if (!root.is_object()) return Error(Reason::BadRequest, "the body is not a JSON object");
  Head head;
  std::string api_version;
  std::string kind;
  KUBERNEL_CHECK_OK(read_string(root["apiVersion"], "apiVersion", api_version));
  KUBERNEL_CHECK_OK(read_string(root["kind"], "kind", kind));
  head.gvk = make_gvk(api_version, kind);
  KUBERNEL_TRY(const Value metadata, read_object(root["metadata"], "metadata"));
  KUBERNEL_CHECK_OK(read_metadata(metadata, head));
  return head;
}

}  // namespace

struct Object::Rep {
  std::string json;
  Head head;
  mutable std::atomic<void*> body{nullptr};  ///< A released NodeBlock over `json`.
  mutable std::atomic<const std::shared_ptr<const std::string>*> protobuf{nullptr};

  Rep() = default;
  ~Rep() {
    detail::NodeBlock::own(body.load());
    delete protobuf.load();
  }
  Rep(const Rep&) = delete;
  Rep& operator=(const Rep&) = delete;
};

Object::Object(std::shared_ptr<const Rep> rep) noexcept : rep_(std::move(rep)) {}

Result<Object> Object::parse(std::string json_text) {
  return parse(std::move(json_text), {});
}

Result<Object> Object::parse(std::string json_text, const std::function<void(const Value&)>& look) {
  auto rep = std::make_shared<Rep>();
  json_text.shrink_to_fit();
  rep->json = std::move(json_text);
  KUBERNEL_TRY(const detail::NodeBlock block, detail::NodeBlock::parse(rep->json));
  const Value body = detail::ValueAccess::make(block.root());
  KUBERNEL_TRY(rep->head, read_head(body));
  if (look) look(body);
  // The nodes go again: most objects of a cache are only ever sent on as bytes.
  return Object(std::shared_ptr<const Rep>(std::move(rep)));
}

Object Object::copy() const {
  if (rep_ == nullptr) return {};
  auto rep = std::make_shared<Rep>();
  rep->json = rep_->json;
  rep->head = rep_->head;
  return Object(std::shared_ptr<const Rep>(std::move(rep)));
}

Result<Object> Object::from_json(const nlohmann::json& document) {
  std::string text;
  detail::write_json(document, text);
  return parse(std::move(text));
}

const Head& Object::head() const noexcept {
  static const Head kNone;
  return rep_ != nullptr ? rep_->head : kNone;
}

const std::string& Object::json() const noexcept {
  static const std::string kNone;
  return rep_ != nullptr ? rep_->json : kNone;
}

Value Object::body() const {
  if (rep_ == nullptr) return {};
  void* memory = rep_->body.load(std::memory_order_acquire);
  if (memory == nullptr) {
    auto block = detail::NodeBlock::parse(rep_->json);
    if (!block) return {};  // Not reached: parse() read the same text.
    void* made = block->release();
    if (rep_->body.compare_exchange_strong(memory, made, std::memory_order_acq_rel)) {
      memory = made;
    } else {
      detail::NodeBlock::own(made);  // Another thread was first.
    }
  }
  return detail::ValueAccess::make(detail::NodeBlock::root_of(memory));
}

nlohmann::json Object::to_json() const {
  if (rep_ == nullptr) return nullptr;
  return body().to_json();
}

Result<std::shared_ptr<const std::string>> Object::protobuf() const {
  if (rep_ == nullptr) return Error(Reason::NotAcceptable, "an object that holds nothing has no protobuf form");
  using Bytes = std::shared_ptr<const std::string>;
  const Bytes* made = rep_->protobuf.load(std::memory_order_acquire);
  if (made == nullptr) {
    KUBERNEL_TRY(std::string bytes, schema::encode_protobuf(body()));
    auto fresh = std::make_unique<const Bytes>(std::make_shared<const std::string>(std::move(bytes)));
    if (rep_->protobuf.compare_exchange_strong(made, fresh.get(), std::memory_order_acq_rel)) made = fresh.release();
  }
  return *made;
}

Result<Object> Object::with(const std::function<void(nlohmann::json&)>& edit) const {
  nlohmann::json document = to_json();
  edit(document);
  return from_json(document);
}

}  // namespace kubernel::api
