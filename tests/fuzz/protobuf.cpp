// SPDX-License-Identifier: Apache-2.0
//
// Protobuf from a client, with and without the envelope.

#include <nlohmann/json.hpp>

#include <kubernel/api/value.h>
#include <kubernel/schema/codec.h>

#include "target.h"

using kubernel::fuzz::must;
namespace api = kubernel::api;
namespace schema = kubernel::schema;

KUBERNEL_FUZZ(input) {
  static_cast<void>(schema::protobuf_message(input));
  if (const auto decoded = schema::decode_protobuf(input)) {
    const std::string text = decoded->document.dump(-1, ' ', false, nlohmann::json::error_handler_t::replace);
    const auto document = api::Document::parse(text);
    must(document.has_value(), "what protobuf said is JSON");
    if (const auto encoded = schema::encode_protobuf((*document)->root())) {
      must(schema::decode_protobuf(*encoded).has_value(), "what was encoded can be decoded");
    }
  }
  // The first byte chooses a type.
  if (input.empty()) return;
  const auto types = schema::types();
  const schema::Type& type = *types[(static_cast<unsigned char>(input[0]) * 37U) % types.size()];
  static_cast<void>(schema::decode_message(type, input.substr(1)));
}
