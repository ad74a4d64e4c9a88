// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <atomic>
#include <chrono>
#include <memory>
#include <mutex>
#include <set>
#include <string>
#include <unordered_map>
#include <vector>

#include <kubernel/controller/reconciler.h>

#include "node_template.h"

namespace kubernel::plugins {

struct SimulationSettings {
  std::vector<NodeTemplate> templates;
  std::chrono::seconds lease_duration{40};
  std::chrono::milliseconds start_delay{0}, job_duration{1000}, stop_delay{0};
};

// Keeps the simulated nodes Ready and plays their pods' lives. A key with a namespace is a pod, one without a node; the
// queue's one timer waits for all that is due later.
//
// Threads: as Reconciler.
class Simulation final : public controller::Reconciler {
 public:
  Simulation(SimulationSettings settings, client::ApiClient& api, Clock& clock);

  Result<void> watch(client::InformerFactory& informers, controller::KeyQueue& queue) override;
  Result<controller::Next> reconcile(const CallContext& ctx, const api::ObjectKey& key) override;

  // What watch() has asked for.
  const std::vector<std::shared_ptr<client::Informer>>& informers() const { return informers_; }
  // Queues the templates' nodes; once the informers have synced.
  void make_nodes();
  // Nodes of templates that do not exist yet.
  std::size_t missing_nodes() const;

 private:
  Result<controller::Next> reconcile_node(const CallContext& ctx, const std::string& name);
  Result<void> create_node(const CallContext& ctx, const std::string& name);
  Result<void> keep_ready(const CallContext& ctx, const api::Object& node);
  Result<void> renew_lease(const CallContext& ctx, const api::Object& node);
  Result<controller::Next> reconcile_pod(const CallContext& ctx, const api::ObjectKey& key);
  Result<void> write_pod(const CallContext& ctx, const api::Object& pod, bool completed);
  void pod_changed(const api::Object* before, const api::Object& after);
  std::string next_ip();

  const SimulationSettings settings_;
  client::ApiClient& api_;
  Clock& clock_;
  controller::KeyQueue* queue_ = nullptr;
  std::shared_ptr<client::Informer> nodes_, pods_;
  std::vector<std::shared_ptr<client::Informer>> informers_;  // Both.
  std::vector<std::unique_ptr<Subscription>> subscriptions_;
  std::unordered_map<std::string, std::pair<const NodeTemplate*, std::size_t>> planned_;  // By node name.
  std::atomic<std::uint32_t> next_ip_ = 0;

  mutable std::mutex mutex_;
  std::set<std::string> created_;  // Planned nodes that exist, or did: they are not made again.
};

}  // namespace kubernel::plugins
