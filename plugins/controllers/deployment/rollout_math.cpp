// SPDX-License-Identifier: Apache-2.0
#include "rollout_math.h"

#include <algorithm>
#include <charconv>
#include <cmath>

#include <nlohmann/json.hpp>

#include <kubernel/api/int_or_string.h>

namespace kubernel::plugins::deployment {

using api::Object;
using api::Value;
using nlohmann::json;

std::int64_t spec_replicas(const Object& object) {
  return object.pointer("/spec/replicas").integer(1);
}

std::int64_t status_count(const Object& object, const char* field) {
  return object["status"][field].integer();
}

std::int64_t total_spec_replicas(const ReplicaSets& sets) {
  std::int64_t total = 0;
  for (const Object& set : sets) total += spec_replicas(set);
  return total;
}

std::int64_t total_status(const ReplicaSets& sets, const char* field) {
  std::int64_t total = 0;
  for (const Object& set : sets) total += status_count(set, field);
  return total;
}

bool rolling(const Object& deployment) {
  return deployment.pointer("/spec/strategy/type").string("RollingUpdate") == "RollingUpdate";
}

Fenceposts fenceposts(const Object& deployment) {
  if (!rolling(deployment)) return {};
  const Value update = deployment.pointer("/spec/strategy/rollingUpdate");
  const std::int64_t replicas = spec_replicas(deployment);
  // Validation refuses what is no number and no percentage; should one get here, it counts as 0.
  const auto scaled = [&](const char* field, bool round_up) -> std::int64_t {
    const Value value = update[field];
    if (!value) return (replicas + (round_up ? 3 : 0)) / 4;  // The default, 25%.
    const auto number = api::scaled_value(api::IntOrString::read(value), replicas, round_up);
    return number ? *number : 0;
  };
  Fenceposts out{scaled("maxSurge", true), scaled("maxUnavailable", false)};
  if (out.surge == 0 && out.unavailable == 0) out.unavailable = 1;
  out.unavailable = std::min(out.unavailable, replicas);
  return out;
}

std::int64_t new_set_replicas(const Object& deployment, const ReplicaSets& all, const Object& newest) {
  const std::int64_t wanted = spec_replicas(deployment);
  if (!rolling(deployment)) return wanted;
  const std::int64_t room = wanted + fenceposts(deployment).surge - total_spec_replicas(all);
  const std::int64_t current = spec_replicas(newest);
  if (room <= 0) return current;
  return current + std::min(room, wanted - current);
}

namespace {

std::optional<std::int64_t> number_annotation(const Object& object, std::string_view name) {
  const auto text = object.annotations()[name].string();
  std::int64_t number = 0;
  const auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), number);
  if (text.empty() || error != std::errc{} || end != text.data() + text.size()) return std::nullopt;
  return number;
}

// How much one set grows (or shrinks) when the whole changes from what its annotation says to the new maximum.
std::int64_t fraction(const Object& deployment, const Object& set) {
  if (spec_replicas(deployment) == 0) return -spec_replicas(set);
  const std::int64_t now = spec_replicas(deployment) + fenceposts(deployment).surge;
  const std::int64_t before = number_annotation(set, kMaxReplicas).value_or(status_count(deployment, "replicas"));
  if (before == 0) return 0;
  const double size = static_cast<double>(spec_replicas(set)) * static_cast<double>(now) / static_cast<double>(before);
  return std::llround(size) - spec_replicas(set);
}

}  // namespace

std::map<std::string, std::int64_t> proportional_sizes(const Object& deployment, ReplicaSets active) {
  const std::int64_t wanted = spec_replicas(deployment);
  const std::int64_t allowed = wanted > 0 ? wanted + fenceposts(deployment).surge : 0;
  const std::int64_t to_add = allowed - total_spec_replicas(active);
  // The largest first; of equals, the newer one grows first and the older one shrinks first.
  sort_by_age(active);
  if (to_add > 0) std::ranges::reverse(active);
  std::ranges::stable_sort(active,
                           [](const Object& a, const Object& b) { return spec_replicas(a) > spec_replicas(b); });

  std::map<std::string, std::int64_t> sizes;
  std::int64_t added = 0;
  for (const Object& set : active) {
    std::int64_t share = 0;
    if (spec_replicas(set) != 0 && to_add != added) {
      const std::int64_t left = to_add - added;
      share = to_add > 0 ? std::min(fraction(deployment, set), left) : std::max(fraction(deployment, set), left);
    }
    if (to_add == 0) share = 0;
    sizes[set.name()] = spec_replicas(set) + share;
    added += share;
  }
  // Rounding leaves a rest, which the first takes.
  if (to_add != 0 && !active.empty()) {
    std::int64_t& first = sizes[active.front().name()];
    first = std::max<std::int64_t>(first + to_add - added, 0);
  }
  return sizes;
}

std::int64_t revision_of(const Object& set) {
  return number_annotation(set, kRevision).value_or(0);
}

std::int64_t highest_revision(const ReplicaSets& sets) {
  std::int64_t highest = 0;
  for (const Object& set : sets) highest = std::max(highest, revision_of(set));
  return highest;
}

void sort_by_age(ReplicaSets& sets) {
  std::ranges::sort(sets, [](const Object& a, const Object& b) {
    const auto ta = a.pointer("/metadata/creationTimestamp").string();
    const auto tb = b.pointer("/metadata/creationTimestamp").string();
    return ta != tb ? ta < tb : a.name() < b.name();  // RFC 3339 in UTC sorts as text.
  });
}

bool same_template(const Object& deployment, const Object& set) {
  const auto bare = [](const Object& object) {
    json out = object.pointer("/spec/template").to_json();
    if (!out.is_object()) return json::object();
    const auto metadata = out.find("metadata");
    if (metadata == out.end() || !metadata->is_object()) return out;
    metadata->erase("creationTimestamp");
    if (const auto labels = metadata->find("labels"); labels != metadata->end() && labels->is_object()) {
      labels->erase("pod-template-hash");
      if (labels->empty()) metadata->erase("labels");
    }
    if (metadata->empty()) out.erase("metadata");
    return out;
  };
  return bare(deployment) == bare(set);
}

}  // namespace kubernel::plugins::deployment
