// SPDX-License-Identifier: Apache-2.0
#include "eviction.h"

#include <algorithm>

#include <kubernel/api/time.h>

namespace kubernel::plugins::node_lifecycle {

using api::Object;
using api::Value;

bool tolerates(Value toleration, Value taint) {
  const auto effect = toleration["effect"].string();
  if (!effect.empty() && effect != taint["effect"].string()) return false;
  const auto key = toleration["key"].string();
  if (!key.empty() && key != taint["key"].string()) return false;
  const auto op = toleration["operator"].string();
  if (op == "Exists") return true;
  return (op.empty() || op == "Equal") && !key.empty() && toleration["value"].string() == taint["value"].string();
}

std::optional<Clock::WallTime> leaves_at(const Object& pod, const Object& node,
                                         const std::function<Clock::WallTime(Value taint)>& since) {
  std::optional<Clock::WallTime> earliest;
  const auto leave = [&](Clock::WallTime at) { earliest = earliest ? std::min(*earliest, at) : at; };
  for (const Value taint : node.pointer("/spec/taints")) {
    if (taint["effect"].string() != "NoExecute") continue;
    Value match;
    for (const Value toleration : pod.pointer("/spec/tolerations")) {
      if (!match && tolerates(toleration, taint)) match = toleration;
    }
    if (!match) {
      leave(Clock::WallTime::min());
      continue;
    }
    const Value seconds = match["tolerationSeconds"];
    if (!seconds || seconds.is_null()) continue;  // For ever.
    const auto added = api::read_time(taint["timeAdded"]);
    leave((added ? *added : since(taint)) + std::chrono::seconds(std::max<std::int64_t>(seconds.integer(), 0)));
  }
  return earliest;
}

}  // namespace kubernel::plugins::node_lifecycle
