// SPDX-License-Identifier: Apache-2.0
#include "pods/resources.h"

#include <algorithm>

#include <kubernel/api/quantity.h>

namespace kubernel::kubelet {

namespace {

constexpr std::int64_t kMinShares = 2, kMaxShares = 262'144, kSharesPerCpu = 1024;
constexpr std::int64_t kPeriodUs = 100'000, kMinQuotaUs = 1'000;
constexpr std::int64_t kGuaranteedOom = -997, kBestEffortOom = 1000;

}  // namespace

std::int64_t cpu_shares(std::int64_t milli) {
  return std::clamp(milli * kSharesPerCpu / 1000, kMinShares, kMaxShares);
}

std::int64_t cpu_quota(std::int64_t milli) {
  if (milli <= 0) return 0;
  return std::max(milli * kPeriodUs / 1000, kMinQuotaUs);
}

std::int64_t oom_score_adj(const api::Object& pod, const ContainerSpec& container, std::int64_t node_memory_bytes,
                           std::int64_t lowest) {
  std::int64_t wanted = kBestEffortOom;
  const QosClass qos = qos_class_of(pod);
  const bool critical = pod["spec"]["priority"].integer() >= 2'000'000'000;
  if (qos == QosClass::Guaranteed || critical) {
    wanted = kGuaranteedOom;
  } else if (qos == QosClass::Burstable) {
    const std::int64_t request = api::Quantity::read(container.value["resources"]["requests"]["memory"]).value();
    wanted = node_memory_bytes > 0 ? 1000 - (1000 * request) / node_memory_bytes : kBestEffortOom - 1;
    wanted = std::max<std::int64_t>(wanted, 1000 + kGuaranteedOom);
    if (wanted >= kBestEffortOom) wanted = kBestEffortOom - 1;
  }
  return std::max(wanted, lowest);
}

runtime::Resources container_resources(const api::Object& pod, const ContainerSpec& container,
                                       std::int64_t node_memory_bytes, std::int64_t lowest_oom_score_adj) {
  const api::Value resources = container.value["resources"];
  const api::Value request = resources["requests"]["cpu"], limit = resources["limits"]["cpu"];
  const std::int64_t limit_milli = api::Quantity::read(limit).milli_value();
  runtime::Resources out;
  // A limit without a request is a request, as in the API's defaulting.
  out.cpu_shares = cpu_shares(request ? api::Quantity::read(request).milli_value() : limit_milli);
  out.cpu_quota_us = cpu_quota(limit_milli);
  if (out.cpu_quota_us > 0) out.cpu_period_us = kPeriodUs;
  out.memory_limit = api::Quantity::read(resources["limits"]["memory"]).value();
  out.oom_score_adj = oom_score_adj(pod, container, node_memory_bytes, lowest_oom_score_adj);
  return out;
}

runtime::Resources pod_resources(const api::Object& pod) {
  struct Sum {
    std::int64_t request_milli = 0, limit_milli = 0, memory = 0;
    bool cpu_limited = true, memory_limited = true;

    void add(const ContainerSpec& container) {
      const api::Value resources = container.value["resources"];
      const api::Value request = resources["requests"]["cpu"];
      const std::int64_t limit = api::Quantity::read(resources["limits"]["cpu"]).milli_value();
      const std::int64_t bytes = api::Quantity::read(resources["limits"]["memory"]).value();
      request_milli += request ? api::Quantity::read(request).milli_value() : limit;
      limit_milli += limit;
      memory += bytes;
      cpu_limited = cpu_limited && limit > 0;
      memory_limited = memory_limited && bytes > 0;
    }
    void raise_to(const Sum& other) {
      request_milli = std::max(request_milli, other.request_milli);
      limit_milli = std::max(limit_milli, other.limit_milli);
      memory = std::max(memory, other.memory);
      cpu_limited = cpu_limited && other.cpu_limited;
      memory_limited = memory_limited && other.memory_limited;
    }
  };
  // An init container runs beside the sidecars before it; app containers run beside all sidecars.
  Sum total, sidecars, largest_init;
  for (const ContainerSpec& container : init_containers_of(pod)) {
    if (container.sidecar) {
      sidecars.add(container);
    } else {
      Sum with_sidecars = sidecars;
      with_sidecars.add(container);
      largest_init.raise_to(with_sidecars);
    }
  }
  total = sidecars;
  for (const ContainerSpec& container : app_containers_of(pod)) total.add(container);
  total.raise_to(largest_init);
  runtime::Resources out;
  out.cpu_shares = cpu_shares(total.request_milli);
  if (total.cpu_limited) out.cpu_quota_us = cpu_quota(total.limit_milli);
  if (out.cpu_quota_us > 0) out.cpu_period_us = kPeriodUs;
  if (total.memory_limited) out.memory_limit = total.memory;
  return out;
}

std::string pod_cgroup(const api::Object& pod, std::string_view root) {
  std::string path(root == "/" ? std::string_view{} : root);
  path += "/kubepods";
  switch (qos_class_of(pod)) {
    case QosClass::Guaranteed: break;
    case QosClass::Burstable: path += "/burstable"; break;
    case QosClass::BestEffort: path += "/besteffort"; break;
  }
  return path + "/pod" + pod.uid();
}

}  // namespace kubernel::kubelet
