// SPDX-License-Identifier: Apache-2.0
//
// Content negotiation and query parameters, as upstream reads them.

#pragma once

#include <cstdint>
#include <span>
#include <string>
#include <string_view>

#include <kubernel/base/result.h>
#include <kubernel/net/http.h>

namespace kubernel::apiserver {

enum class Encoding : std::uint8_t { Json, Protobuf };
/// What an object or list is turned into before it is encoded.
enum class Form : std::uint8_t { Plain, Table, Metadata, AggregatedDiscovery };

struct Accepted {
  Encoding encoding = Encoding::Json;
  Form form = Form::Plain;
  bool list_form = false;    ///< as=PartialObjectMetadataList rather than PartialObjectMetadata.
  std::string form_version;  ///< "v1", "v1beta1"; discovery: "v2", "v2beta1".
  bool pretty = false;
};

/// What a request may be answered with; the first acceptable of the client's choices in its order.
struct Choices {
  bool protobuf = true;
  bool table = true;
  bool aggregated_discovery = false;
};
/// Errors: NotAcceptable.
Result<Accepted> negotiate(const net::Request& request, const Choices& choices);

/// The first of the client's choices that is offered; the first of `offered` when it takes anything. For documents that
/// have media types of their own. Errors: NotAcceptable.
Result<std::string_view> choose_type(const net::Request& request, std::span<const std::string_view> offered);

/// The media type of the body without parameters; "application/json" when the request names none.
std::string body_type(const net::Request& request);

/// Upstream's reading of a flag: "watch", "watch=", "watch=1", "watch=true" are true; "0" and "false" are not; another
/// value is true.
bool flag_param(const net::Request& request, std::string_view name);
/// Errors: BadRequest for text that is no number.
Result<std::int64_t> number_param(const net::Request& request, std::string_view name, std::int64_t fallback);
std::string text_param(const net::Request& request, std::string_view name);

}  // namespace kubernel::apiserver
