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

bool resize_is_infeasible(Value pod_status) {
  for (const Value condition : pod_status["conditions"]) {
    if (condition["type"].string() == "PodResizePending") return condition["reason"].string() == "Infeasible";
  }
  return false;
}

// Adds up the containers of one pod.
class Sum {
 public:
  Sum(Value spec, Value status, const Assumed& assumed) : spec_(spec), status_(status), assumed_(assumed) {}

  Resources of_pod() const {
    Resources total;
    for (const Value container : spec_["containers"]) total += of_container(container, true);

    // Init containers run one after the other, beside the restartable ones that were started before them.
    Resources peak;
    Resources sidecars;
    for (const Value container : spec_["initContainers"]) {
      const bool goes_on = container["restartPolicy"].string() == "Always";
      Resources step = of_container(container, goes_on);
      if (goes_on) {
        total += step;
        sidecars += step;
        step = sidecars;
      } else {
        step += sidecars;
      }
      peak.raise_to(step);
    }
    total.raise_to(peak);

    set_pod_level(total);
    total += Resources::read(spec_["overhead"]);
    total.pods = 1;
    return total;
  }

 private:
  // `resizable`: its resources may be changed while it runs.
  Resources of_container(Value container, bool resizable) const {
    const Value requests = container["resources"]["requests"];
    const Value status = resizable ? status_of(container["name"].string()) : Value();
    const Value in_use = status["resources"];
    if (in_use) return largest(requests, in_use["requests"], status["allocatedResources"]);
    Resources out = Resources::read(requests);
    if (!requests["cpu"]) out.milli_cpu = assumed_.milli_cpu;
    if (!requests["memory"]) out.memory = assumed_.memory;
    return out;
  }

  Resources largest(Value wanted, Value in_use, Value promised) const {
    if (resize_is_infeasible(status_)) wanted = {};
    Resources out = Resources::read(wanted);
    out.raise_to(Resources::read(in_use));
    out.raise_to(Resources::read(promised));
    if (!wanted["cpu"] && !in_use["cpu"] && !promised["cpu"]) out.milli_cpu = assumed_.milli_cpu;
    if (!wanted["memory"] && !in_use["memory"] && !promised["memory"]) out.memory = assumed_.memory;
    return out;
  }

  Value status_of(std::string_view container) const {
    for (const char* list : {"initContainerStatuses", "containerStatuses"}) {
      for (const Value status : status_[list]) {
        if (status["name"].string() == container) return status;
      }
    }
    return {};
  }

  void set_pod_level(Resources& total) const {
    const Value wanted = spec_["resources"]["requests"];
    if (!wanted) return;
    const Value in_use = status_["resources"];
    Resources level = Resources::read(wanted);
    if (in_use) {
      if (resize_is_infeasible(status_)) level = {};
      level.raise_to(Resources::read(in_use["requests"]));
      level.raise_to(Resources::read(status_["allocatedResources"]));
    }
    // The API lets nobody name anything but these and huge pages.
    if (wanted["cpu"]) total.milli_cpu = level.milli_cpu;
    if (wanted["memory"]) total.memory = level.memory;
    for (const auto& [name, unused] : Resources::read(wanted).scalars) slot(total, name) = level.amount(name);
  }

  const Value spec_, status_;
  const Assumed assumed_;
};

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

Resources pod_requests(Value pod_spec, Value pod_status) {
  return Sum(pod_spec, pod_status, {}).of_pod();
}

Resources pod_requests_for_scoring(Value pod_spec, Value pod_status) {
  return Sum(pod_spec, pod_status, {kDefaultMilliCpu, kDefaultMemory}).of_pod();
}

}  // namespace kubernel::scheduler
