// SPDX-License-Identifier: Apache-2.0
//
// Patches: a document, NUL, a patch; all three kinds are tried.

#include <nlohmann/json.hpp>

#include <kubernel/schema/patch.h>

#include "target.h"

using kubernel::fuzz::must;
using nlohmann::json;
namespace schema = kubernel::schema;

KUBERNEL_FUZZ(input) {
  const json document = json::parse(kubernel::fuzz::take_part(input), nullptr, false);
  const json patch = json::parse(input, nullptr, false);
  if (document.is_discarded() || patch.is_discarded()) return;
  const json before = document;
  static_cast<void>(schema::apply_json_patch(document, patch));
  static_cast<void>(schema::apply_strategic_merge_patch(*schema::find_kind("", "v1", "Pod"), document, patch));
  if (const auto merged = schema::apply_merge_patch(document, patch);
      merged && document.is_object() && merged->is_object()) {
    const json difference = schema::make_merge_patch(document, *merged);
    const auto again = schema::apply_merge_patch(document, difference);
    must(again.has_value() && *again == *merged, "a difference leads from one to the other");
  }
  must(document == before, "a patch leaves the document alone");
}
