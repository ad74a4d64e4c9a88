// SPDX-License-Identifier: Apache-2.0
#include <kubernel/scheduler/resources.h>

#include <algorithm>

#include <kubernel/api/quantity.h>

namespace kubernel::scheduler {
namespace {

using api::Value;

std::int64_t& slot(Resources& resources, std::string_view name) {
  auto& scalars = resources.scalars;
  const auto at =
      std::ranges::lower_bound(scalars, name, {}, [](const auto& entry) { return std::string_view(entry.first); });
  if (at != scalars.end() && at->first == name) return at->second;
  return scalars.emplace(at, std::string(name), 0)->second;
}

struct Assumed {
  std::int64_t milli_cpu = 0;
  std::int64_t memory = 0;
};

Resources container_requests(Value container, const Assumed& assumed) {
  const Value requests = container["resources"]["requests"];
  Resources out = Resources::read(requests);
  if (!requests["cpu"]) out.milli_cpu = assumed.milli_cpu;
  if (!requests["memory"]) out.memory = assumed.memory;
  return out;
}

Resources sum_requests(Value spec, const Assumed& assumed) {
  Resources total;
  for (const Value container : spec["containers"]) total += container_requests(container, assumed);

  // Init containers run one after the other, beside the restartable ones that were started before them.
  Resources peak;
  Resources sidecars;
  for (const Value container : spec["initContainers"]) {
    Resources step = container_requests(container, assumed);
    if (container["restartPolicy"].string() == "Always") {
      total += step;
      sidecars += step;
      step = sidecars;
    } else {
      step += sidecars;
    }
    peak.raise_to(step);
  }
  total.raise_to(peak);

  const Value pod_level = spec["resources"]["requests"];
  const Resources wanted = Resources::read(pod_level);
  if (pod_level["cpu"]) total.milli_cpu = wanted.milli_cpu;
  if (pod_level["memory"]) total.memory = wanted.memory;
  for (const auto& [name, amount] : wanted.scalars) slot(total, name) = amount;

  total += Resources::read(spec["overhead"]);
  total.pods = 1;
  return total;
}

}  // namespace

Resources Resources::read(Value list) {
  Resources out;
  for (auto it = list.begin(); it != list.end(); ++it) {
    const api::Quantity quantity = api::Quantity::read(*it);
    const std::string_view name = it.key();
    if (name == "cpu") {
      out.milli_cpu = quantity.milli_value();
    } else if (name == "memory") {
      out.memory = quantity.value();
    } else if (name == "ephemeral-storage") {
      out.ephemeral_storage = quantity.value();
    } else if (name == "pods") {
      out.pods = quantity.value();
    } else {
      slot(out, name) = quantity.value();
    }
  }
  return out;
}

std::int64_t Resources::amount(std::string_view name) const noexcept {
  if (name == "cpu") return milli_cpu;
  if (name == "memory") return memory;
  if (name == "ephemeral-storage") return ephemeral_storage;
  if (name == "pods") return pods;
  const auto found = std::ranges::find(scalars, name, &std::pair<std::string, std::int64_t>::first);
  return found == scalars.end() ? 0 : found->second;
}

Resources& Resources::operator+=(const Resources& other) {
  milli_cpu += other.milli_cpu;
  memory += other.memory;
  ephemeral_storage += other.ephemeral_storage;
  pods += other.pods;
  for (const auto& [name, amount] : other.scalars) slot(*this, name) += amount;
  return *this;
}

Resources& Resources::operator-=(const Resources& other) {
  milli_cpu -= other.milli_cpu;
  memory -= other.memory;
  ephemeral_storage -= other.ephemeral_storage;
  pods -= other.pods;
  for (const auto& [name, amount] : other.scalars) slot(*this, name) -= amount;
  std::erase_if(scalars, [](const auto& entry) { return entry.second == 0; });
  return *this;
}

void Resources::raise_to(const Resources& other) {
  milli_cpu = std::max(milli_cpu, other.milli_cpu);
  memory = std::max(memory, other.memory);
  ephemeral_storage = std::max(ephemeral_storage, other.ephemeral_storage);
  pods = std::max(pods, other.pods);
  for (const auto& [name, amount] : other.scalars) {
    std::int64_t& mine = slot(*this, name);
    mine = std::max(mine, amount);
  }
}

Resources pod_requests(Value pod_spec) {
  return sum_requests(pod_spec, {});
}

Resources pod_requests_for_scoring(Value pod_spec) {
  return sum_requests(pod_spec, {kDefaultMilliCpu, kDefaultMemory});
}

}  // namespace kubernel::scheduler
