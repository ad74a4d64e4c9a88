// SPDX-License-Identifier: Apache-2.0
//
// Strategic merge patch: apimachinery pkg/util/strategicpatch and the directives described in the community's
// "strategic merge patch" design document.
#include <kubernel/schema/patch.h>

#include <algorithm>
#include <string>
#include <string_view>
#include <vector>

#include <nlohmann/json.hpp>

namespace kubernel::schema {

using nlohmann::json;

namespace {

constexpr const char* kDirective = "$patch";
constexpr const char* kRetainKeys = "$retainKeys";
constexpr std::string_view kDeleteFromPrimitives = "$deleteFromPrimitiveList/";
constexpr std::string_view kElementOrder = "$setElementOrder/";

bool is_directive(std::string_view key) {
  return key == kDirective || key == kRetainKeys || key.starts_with(kDeleteFromPrimitives) ||
         key.starts_with(kElementOrder);
}

// A value that is new to the document, without the instructions in it.
json without_directives(const json& patch) {
  if (patch.is_array()) {
    json out = json::array();
    for (const json& element : patch) {
      if (element.is_object() && element.contains(kDirective)) continue;
      out.push_back(without_directives(element));
    }
    return out;
  }
  if (!patch.is_object()) return patch;
  json out = json::object();
  for (const auto& [key, value] : patch.items()) {
    if (!is_directive(key) && !value.is_null()) out[key] = without_directives(value);
  }
  return out;
}

bool merges(const Field* field) {
  return field != nullptr &&
         (field->patch_strategy == PatchStrategy::Merge || field->patch_strategy == PatchStrategy::MergeRetainKeys);
}

const Type* element_type(const Field* field) {
  return field == nullptr ? nullptr : field->type;
}

// Orders list elements: by merge key for objects, by value for scalars.
class ElementIdentity {
 public:
  explicit ElementIdentity(std::string_view merge_key) : key_(merge_key) {}

  bool same(const json& a, const json& b) const {
    if (!a.is_object() || !b.is_object()) return a == b;
    const auto x = a.find(key_);
    const auto y = b.find(key_);
    return x != a.end() && y != b.end() && *x == *y;
  }
  json::const_iterator find(const json& list, const json& element) const {
    return std::find_if(list.begin(), list.end(), [&](const json& candidate) { return same(candidate, element); });
  }
  std::ptrdiff_t index(const json& list, const json& element) const {
    const auto found = find(list, element);
    return found == list.end() ? -1 : found - list.begin();
  }

 private:
  std::string key_;
};

json sorted_like(std::vector<json> elements, const json& order, const ElementIdentity& identity) {
  std::ranges::stable_sort(
      elements, [&](const json& a, const json& b) { return identity.index(order, a) < identity.index(order, b); });
  return elements;
}

// Puts `merged` in the order the client asked for; elements the client did not name keep their place
// relative to the ones the server had.
json ordered(const json& merged, const json& wanted, const json& server, const ElementIdentity& identity) {
  std::vector<json> named;
  std::vector<json> others;
  for (const json& element : merged) {
    (identity.index(wanted, element) >= 0 ? named : others).push_back(element);
  }
  const json left = sorted_like(std::move(others), server, identity);
  const json right = sorted_like(std::move(named), wanted, identity);

  json out = json::array();
  auto l = left.begin();
  auto r = right.begin();
  while (l != left.end() || r != right.end()) {
    bool take_left = r == right.end();
    if (l != left.end() && r != right.end()) {
      const auto li = identity.index(server, *l);
      const auto ri = identity.index(server, *r);
      take_left = li >= 0 && ri >= 0 && li < ri;
    }
    out.push_back(take_left ? *l++ : *r++);
  }
  return out;
}

class Merger {
 public:
  Result<json> object(const Type* type, const json& original, const json& patch) {
    if (const auto directive = patch.find(kDirective); directive != patch.end()) {
      if (*directive == "replace") return without_directives(patch);
      if (*directive == "delete") return json::object();
      if (*directive != "merge") return Error(Reason::BadRequest, "unknown patch type found: " + directive->dump());
    }
    json out = original;
    KUBERNEL_CHECK_OK(retain_keys(out, patch));
    KUBERNEL_CHECK_OK(delete_primitives(out, patch));
    for (const auto& [key, value] : patch.items()) {
      if (is_directive(key)) continue;
      const Field* field = type == nullptr ? nullptr : type->find(key);
      KUBERNEL_CHECK_OK(member(out, key, value, field, patch));
    }
    return reorder_untouched(type, std::move(out), original, patch);
  }

 private:
  static Result<void> retain_keys(json& out, const json& patch) {
    const auto keys = patch.find(kRetainKeys);
    if (keys == patch.end()) return {};
    if (!keys->is_array()) return Error(Reason::BadRequest, "invalid patch: $retainKeys must be a list");
    for (auto it = out.begin(); it != out.end();) {
      const bool kept = std::find(keys->begin(), keys->end(), it.key()) != keys->end();
      it = kept ? std::next(it) : out.erase(it);
    }
    return {};
  }

  static Result<void> delete_primitives(json& out, const json& patch) {
    for (const auto& [key, values] : patch.items()) {
      if (!key.starts_with(kDeleteFromPrimitives)) continue;
      if (!values.is_array()) return Error(Reason::BadRequest, "invalid patch: " + key + " must be a list");
      const auto list = out.find(key.substr(kDeleteFromPrimitives.size()));
      if (list == out.end() || !list->is_array()) continue;
      json kept = json::array();
      for (const json& element : *list) {
        if (std::find(values.begin(), values.end(), element) == values.end()) kept.push_back(element);
      }
      *list = std::move(kept);
    }
    return {};
  }

  Result<void> member(json& out, const std::string& key, const json& value, const Field* field, const json& patch) {
    if (value.is_null()) {
      out.erase(key);
      return {};
    }
    const auto current = out.find(key);
    const bool absent = current == out.end() || current->type() != value.type();
    const bool granular = field == nullptr || field->patch_strategy != PatchStrategy::Replace;
    if (value.is_object() && !absent && granular) {
      KUBERNEL_TRY(*current, field != nullptr && field->shape == Shape::Map
                                 ? map(element_type(field), *current, value)
                                 : object(element_type(field), *current, value));
      return {};
    }
    if (value.is_array() && merges(field)) {
      const json empty = json::array();
      KUBERNEL_TRY(json merged, list(*field, absent ? empty : *current, value, order_of(patch, key)));
      out[key] = std::move(merged);
      return {};
    }
    out[key] = without_directives(value);
    return {};
  }

  // map[string]T: the members are T, not fields.
  Result<json> map(const Type* type, const json& original, const json& patch) {
    if (patch.contains(kDirective)) return object(nullptr, original, patch);
    json out = original;
    for (const auto& [key, value] : patch.items()) {
      const auto current = out.find(key);
      if (value.is_null()) {
        out.erase(key);
      } else if (type != nullptr && value.is_object() && current != out.end() && current->is_object()) {
        KUBERNEL_TRY(*current, object(type, *current, value));
      } else {
        out[key] = without_directives(value);
      }
    }
    return out;
  }

  static const json* order_of(const json& patch, const std::string& key) {
    const auto found = patch.find(std::string(kElementOrder) + key);
    return found == patch.end() ? nullptr : &*found;
  }

  Result<json> list(const Field& field, const json& original, const json& patch, const json* order) {
    const ElementIdentity identity(field.patch_merge_key);
    json merged;
    if (field.patch_merge_key.empty()) {
      merged = original;
      for (const json& element : patch) {
        if (identity.find(merged, element) == merged.end()) merged.push_back(element);
      }
    } else {
      KUBERNEL_TRY(merged, object_list(field, original, patch, identity));
    }
    if (order == nullptr) return merged;
    KUBERNEL_CHECK_OK(check_order(patch, *order, identity));
    return ordered(merged, *order, original, identity);
  }

  Result<json> object_list(const Field& field, const json& original, const json& patch,
                           const ElementIdentity& identity) {
    const std::string key(field.patch_merge_key);
    const bool replace = std::any_of(patch.begin(), patch.end(), [](const json& element) {
      return element.is_object() && element.value(kDirective, "") == "replace";
    });
    if (replace) return without_directives(patch);

    json merged = original;
    for (const json& element : patch) {
      if (!element.is_object() || !element.contains(key)) {
        return Error(Reason::BadRequest, "map: " + element.dump() + " does not contain declared merge key: " + key);
      }
      const auto index = identity.index(merged, element);
      if (element.value(kDirective, "") == "delete") {
        if (index >= 0) merged.erase(static_cast<std::size_t>(index));
      } else if (index < 0) {
        merged.push_back(without_directives(element));
      } else {
        KUBERNEL_TRY(merged[static_cast<std::size_t>(index)],
                     object(field.type, merged[static_cast<std::size_t>(index)], element));
      }
    }
    return merged;
  }

  // Every element of the patch must stand in the order list, in the same order.
  static Result<void> check_order(const json& patch, const json& order, const ElementIdentity& identity) {
    if (!order.is_array()) return Error(Reason::BadRequest, "invalid patch: $setElementOrder must be a list");
    std::ptrdiff_t last = -1;
    for (const json& element : patch) {
      if (element.is_object() && element.contains(kDirective)) continue;
      const auto at = identity.index(order, element);
      if (at < 0 || at < last) {
        return Error(Reason::BadRequest, "The order in patch list:\n" + patch.dump() +
                                             "\n doesn't match $setElementOrder list:\n" + order.dump());
      }
      last = at;
    }
    return {};
  }

  // $setElementOrder/x without x in the patch: only the order changes.
  static Result<json> reorder_untouched(const Type* type, json out, const json& original, const json& patch) {
    for (const auto& [directive, order] : patch.items()) {
      if (!directive.starts_with(kElementOrder)) continue;
      const std::string key = directive.substr(kElementOrder.size());
      const auto list = out.find(key);
      const Field* field = type == nullptr ? nullptr : type->find(key);
      if (patch.contains(key) || list == out.end() || !list->is_array() || !merges(field) || !order.is_array())
        continue;
      *list = ordered(*list, order, original.value(key, json::array()), ElementIdentity(field->patch_merge_key));
    }
    return out;
  }
};

}  // namespace

Result<json> apply_strategic_merge_patch(const Type& type, const json& document, const json& patch) {
  if (!patch.is_object()) return Error(Reason::BadRequest, "a strategic merge patch of an object is a JSON object");
  return catch_as_error("strategic merge patch", [&] { return Merger().object(&type, document, patch); });
}

}  // namespace kubernel::schema
