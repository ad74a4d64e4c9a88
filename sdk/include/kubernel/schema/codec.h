// SPDX-License-Identifier: Apache-2.0
//
// Decoding, checking and encoding objects by their schema.

#pragma once

#include <span>
#include <string>
#include <string_view>
#include <vector>

#include <nlohmann/json.hpp>  // lint: allow(layers) Decoded holds a document.

#include <kubernel/api/value.h>
#include <kubernel/base/export.h>
#include <kubernel/base/result.h>
#include <kubernel/schema/schema.h>

namespace kubernel::schema {

/// fieldValidation of the API (KEP-2885).
enum class Strictness : std::uint8_t { Ignore, Warn, Strict };

struct Decoded {
  /// Members known to the schema only, with Go's JSON rules (case-sensitive names; null for a member means absent).
  nlohmann::json document;
  /// Unknown and duplicate fields, upstream's wording: `unknown field "spec.foo"`, `duplicate field "spec.foo"`.
  std::vector<std::string> warnings;
};

/// Reads JSON text as `type`. Unknown fields are dropped and reported.
///
/// Errors: BadRequest for malformed JSON, a value of the wrong type (upstream's wording: `json: cannot unmarshal string
/// into Go struct field PodSpec.spec.replicas of type int32`), numbers out of range, malformed quantities or times,
/// and, when Strict, for unknown or duplicate fields (`strict decoding error: unknown field "spec.foo"`).
KUBERNEL_EXPORT Result<Decoded> decode_json(const Type& type, std::string_view text, Strictness strictness);

/// Reads protobuf: the "k8s\0" envelope around a runtime.Unknown whose kind names a registered type.
/// `document` gets apiVersion and kind and is as decode_json() would make it from the same object's JSON.
/// Errors: BadRequest.
KUBERNEL_EXPORT Result<Decoded> decode_protobuf(std::string_view bytes);

/// Writes `value` (an object of a registered kind with apiVersion and kind) as "k8s\0" + runtime.Unknown, with
/// upstream's rules: fields ascend, non-pointer scalars and messages always written, maps sorted. Errors: NotAcceptable
/// when the kind has no protobuf form.
KUBERNEL_EXPORT Result<std::string> encode_protobuf(api::Value value);

/// Reads a message without envelope. Errors: BadRequest.
KUBERNEL_EXPORT Result<nlohmann::json> decode_message(const Type& type, std::string_view message);

/// The message alone, without envelope, of any type that has one. Errors: NotAcceptable.
KUBERNEL_EXPORT Result<std::string> encode_message(const Type& type, api::Value value);

/// The message inside the envelope: what encode_message() makes, and what a list's items are. Errors: BadRequest.
/// Lifetime: a part of `bytes`.
KUBERNEL_EXPORT Result<std::string_view> protobuf_message(std::string_view bytes);

/// A list with its envelope, spliced from its items' messages. `metadata` is the ListMeta.
KUBERNEL_EXPORT std::string encode_protobuf_list(std::string_view api_version, std::string_view kind,
                                                 api::Value metadata, std::span<const std::string_view> items);

/// One frame of a protobuf watch stream, without the four bytes of length in front: `object` is an object with its
/// envelope.
KUBERNEL_EXPORT std::string encode_watch_event(std::string_view event_type, std::string_view object);

/// Fills the defaults of `document`, an object of `type`: the +default markers and the rules of defaults.jsonl
/// (apps/v1 Deployment strategy, Service ports' protocol, probes' thresholds, …). Idempotent.
KUBERNEL_EXPORT void apply_defaults(const Type& type, nlohmann::json& document);

/// Checks the declarative markers: required, enum, bounds, lengths, formats, unions, list-map key uniqueness.
/// Adds one cause per violation in field order, upstream's wording. Does not check hand-written rules.
KUBERNEL_EXPORT void validate(const Type& type, const nlohmann::json& document, std::vector<Cause>& causes);

/// Compact JSON of `document` with upstream's member order and omission rules (Go's encoding of the struct): what is
/// stored and served.
KUBERNEL_EXPORT std::string encode_json(const Type& type, const nlohmann::json& document);

}  // namespace kubernel::schema
