// SPDX-License-Identifier: Apache-2.0
//
// Kit: what every pod's worker uses.

#pragma once

#include <cstdint>
#include <functional>
#include <string>
#include <vector>

#include <kubernel/api/object.h>
#include <kubernel/api/quantity.h>
#include <kubernel/base/log.h>
#include <kubernel/client/client.h>
#include <kubernel/client/events.h>
#include <kubernel/network/pod_network.h>
#include <kubernel/runtime/container_runtime.h>

#include "config.h"
#include "pods/image_puller.h"
#include "pods/runtime_cache.h"
#include "probes/prober.h"
#include "tasks.h"
#include "volumes/object_source.h"
#include "volumes/pod_volumes.h"

namespace kubernel::kubelet {

// What pods may know of their node. Fixed once the kubelet runs.
struct NodeFacts {
  std::vector<std::string> host_ips;
  std::int64_t memory_bytes = 0, lowest_oom_score_adj = 0;
  api::Quantity allocatable_cpu, allocatable_memory, allocatable_storage;
};

// All references outlive the workers.
struct Kit {
  const Config& config;
  const NodeFacts& node;
  Tasks& tasks;
  Logger& log;
  client::ApiClient& api;
  client::EventRecorder& events;
  runtime::ContainerRuntime& runtime;
  std::string runtime_name;
  RuntimeCache& cache;
  ImagePuller& images;
  Prober& prober;
  PodVolumes& volumes;
  ObjectSource& objects;
  network::PodNetwork* network;  // Null: only pods on the host's network can run.
  std::function<std::vector<api::Object>()> services;
};

}  // namespace kubernel::kubelet
