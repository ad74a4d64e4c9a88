// SPDX-License-Identifier: Apache-2.0
//
// JSON from a client: our parser against nlohmann's, and an object's way from text through the schema and back.

#include <algorithm>

#include <nlohmann/json.hpp>

#include <kubernel/api/object.h>
#include <kubernel/schema/codec.h>
#include <kubernel/schema/table.h>

#include "target.h"

using kubernel::fuzz::must;
namespace api = kubernel::api;
namespace schema = kubernel::schema;

// We have a limit that nlohmann has not.
static bool deep(std::string_view input) {
  return std::count_if(input.begin(), input.end(), [](char c) { return c == '[' || c == '{'; }) > 500;
}

KUBERNEL_FUZZ(input) {
  const auto document = api::Document::parse(std::string(input));
  const auto ours = schema::find_kind("", "v1", "Pod");
  must(ours != nullptr, "there are pods");
  for (const auto strictness : {schema::Strictness::Ignore, schema::Strictness::Strict}) {
    auto decoded = schema::decode_json(*ours, input, strictness);
    if (!decoded) continue;
    must(document.has_value(), "what the schema's decoder takes, the parser takes");
    schema::apply_defaults(*ours, decoded->document);
    std::vector<kubernel::Cause> causes;
    schema::validate(*ours, decoded->document, causes);
    const std::string text = schema::encode_json(*ours, decoded->document);
    const auto again = schema::decode_json(*ours, text, schema::Strictness::Strict);
    must(again.has_value(), "what was written can be read");
    must(schema::encode_json(*ours, again->document) == text, "what was written reads as it was");
    const auto object = api::Object::parse(text);
    if (object) static_cast<void>((*object)["spec"]["containers"].size());
  }
  static_cast<void>(api::Object::parse(std::string(input)));
  // As Go we take what nlohmann refuses: half a surrogate pair and bytes that are no UTF-8 become U+FFFD.
  if (document)
    must(nlohmann::json::accept((*document)->root().dump()), "what our parser took is JSON when written again");
  if (nlohmann::json::accept(input)) must(document.has_value() || deep(input), "what nlohmann takes, our parser takes");
}
