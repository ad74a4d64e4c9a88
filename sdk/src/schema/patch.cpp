// SPDX-License-Identifier: Apache-2.0
#include <kubernel/schema/patch.h>

#include <nlohmann/json.hpp>

namespace kubernel::schema {

using nlohmann::json;

namespace {

// apiserver's limit on the number of operations in one patch.
constexpr std::size_t kMaxOperations = 10'000;

// Which operation of the patch does not apply, in words. The library's exception names neither the operation nor its
// path.
std::string first_failure(json document, const json& patch) {
  for (const json& operation : patch) {
    try {
      document = document.patch(json::array({operation}));
    } catch (const json::exception&) {
      const auto name = operation.value("op", ""), path = operation.value("path", "");
      if (name == "test") return "testing value " + path + " failed: test failed";
      const auto missing = name == "copy" || name == "move" ? operation.value("from", "") : path;
      return name + " operation does not apply: doc is missing path: \"" + missing + "\": missing value";
    }
  }
  return "the patch does not apply";
}

}  // namespace

Result<json> apply_json_patch(const json& document, const json& patch) {
  if (!patch.is_array()) return Error(Reason::BadRequest, "a JSON patch is an array of operations");
  if (patch.size() > kMaxOperations) {
    return Error(Reason::RequestEntityTooLarge, "the allowed maximum operations in a JSON patch is " +
                                                    std::to_string(kMaxOperations) + ", got " +
                                                    std::to_string(patch.size()));
  }
  try {
    return document.patch(patch);
  } catch (const json::parse_error& e) {
    return Error(Reason::BadRequest, std::string("malformed JSON patch: ") + e.what());
  } catch (const json::exception&) {
    // RFC 6902 section 5: an operation that does not apply makes the whole patch unsuccessful.
    return Error(Reason::Invalid, std::string("the server rejected our request due to an error in our request: ") +
                                      first_failure(document, patch));
  }
}

Result<json> apply_merge_patch(const json& document, const json& patch) {
  if (!patch.is_object()) return Error(Reason::BadRequest, "a merge patch of an object is a JSON object");
  json out = document;
  out.merge_patch(patch);
  return out;
}

json make_merge_patch(const json& original, const json& modified) {
  json patch = json::object();
  for (const auto& [key, before] : original.items()) {
    if (!modified.contains(key)) patch[key] = nullptr;
  }
  for (const auto& [key, after] : modified.items()) {
    const auto before = original.find(key);
    if (before == original.end()) {
      patch[key] = after;
    } else if (before->is_object() && after.is_object()) {
      json inner = make_merge_patch(*before, after);
      if (!inner.empty()) patch[key] = std::move(inner);
    } else if (*before != after) {
      patch[key] = after;
    }
  }
  return patch;
}

}  // namespace kubernel::schema
