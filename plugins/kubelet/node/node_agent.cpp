// SPDX-License-Identifier: Apache-2.0
#include "node/node_agent.h"

#include <algorithm>

#include <nlohmann/json.hpp>

#include <kubernel/api/time.h>

namespace kubernel::kubelet {

namespace {

using nlohmann::json;

constexpr const char* kLeaseNamespace = "kube-node-lease";
constexpr std::chrono::minutes kReportAnyway{5};
constexpr std::chrono::milliseconds kFirstRetry{200}, kLastRetry{7000};
constexpr int kLeaseRetries = 5;

}  // namespace

NodeAgent::NodeAgent(const Config& config, client::ApiClient& api, Tasks& tasks, Logger& log,
                     std::function<NodeInput()> observe, std::function<void(const api::Object& node)> registered)
    : config_(config),
      api_(api),
      tasks_(tasks),
      log_(log),
      observe_(std::move(observe)),
      registered_(std::move(registered)) {}

NodeAgent::~NodeAgent() {
  stop();
}

void NodeAgent::start() {
  tasks_.run([this] { tick_status(); });
  tasks_.run([this] { tick_lease(); });
}

void NodeAgent::stop() {
  std::unique_ptr<Subscription> status, lease;  // Destroyed outside the lock.
  const std::lock_guard lock(mutex_);
  stopped_ = true;
  status = std::move(status_timer_);
  lease = std::move(lease_timer_);
}

std::string NodeAgent::problem() const {
  const std::lock_guard lock(mutex_);
  return problem_;
}

void NodeAgent::again(std::unique_ptr<Subscription>& timer, std::chrono::milliseconds delay,
                      void (NodeAgent::*what)()) {
  auto fresh = tasks_.run_after(delay, [this, what] { (this->*what)(); });
  const std::lock_guard lock(mutex_);
  if (!stopped_) timer.swap(fresh);
}

void NodeAgent::observe_soon() {
  {
    // A look that has begun may have seen the state before: it looks again when it ends.
    const std::lock_guard lock(mutex_);
    look_again_ = true;
    if (looking_) return;
  }
  again(status_timer_, std::chrono::milliseconds(0), &NodeAgent::tick_status);
}

// One look ends: the next comes after `delay`, or at once when somebody asked meanwhile.
void NodeAgent::look_after(std::chrono::milliseconds delay) {
  {
    const std::lock_guard lock(mutex_);
    looking_ = false;
    if (look_again_) delay = std::chrono::milliseconds(0);
  }
  again(status_timer_, delay, &NodeAgent::tick_status);
}

Result<api::Object> NodeAgent::register_node(const NodeInput& input) {
  const api::ObjectKey key{{}, config_.node_name};
  auto node = api_.get(tasks_.context(), api::resources::kNodes, key, {});
  if (!node && node.error().reason() == Reason::NotFound) {
    auto made = api_.create(tasks_.context(), api::resources::kNodes, {}, node_document(input), {});
    if (made) {
      log_info(log_, "node registered", {{"node", config_.node_name}});
      return made;
    }
    if (made.error().reason() != Reason::AlreadyExists) return made;
    node = api_.get(tasks_.context(), api::resources::kNodes, key, {});
  }
  if (!node) return node;
  json document = node->to_json();
  bool changed = fresh_start_ && fix_labels(input, document);
  if (!config_.pod_cidrs.empty() && (*node)["spec"]["podCIDR"].string().empty()) {
    document["spec"]["podCIDR"] = config_.pod_cidrs.front();
    document["spec"]["podCIDRs"] = config_.pod_cidrs;
    changed = true;
  }
  if (changed) {
    KUBERNEL_TRY(auto fixed, api_.update(tasks_.context(), api::resources::kNodes, key, document, {}));
    node = fixed;
  }
  fresh_start_ = false;
  return node;
}

Result<void> NodeAgent::write_status(const NodeInput& input, const api::Object& node) {
  const auto now = tasks_.clock().now();
  const api::Value old = node["status"];
  json status = node_status(input, old);
  const bool changed = status_changed(old ? old.to_json() : json::object(), status);
  if (!changed && last_write_ && now - *last_write_ < kReportAnyway) return {};
  json document = node.to_json();
  document["status"] = std::move(status);
  const client::WriteOptions options{.subresource = "status", .field_manager = "kubelet"};
  KUBERNEL_TRY(const auto written,
               api_.update(tasks_.context(), api::resources::kNodes, node.key(), document, options));
  last_write_ = now;
  return {};
}

void NodeAgent::tick_status() {
  const std::lock_guard one(status_mutex_);
  {
    const std::lock_guard lock(mutex_);
    looking_ = true;
    look_again_ = false;
  }
  const NodeInput input = observe_();
  auto node = register_node(input);
  Result<void> result;
  if (node) {
    result = write_status(input, *node);
  } else {
    result = std::move(node).error();
  }
  if (tasks_.stopping()) return;
  if (result) {
    failures_ = 0;
    {
      const std::lock_guard lock(mutex_);
      problem_.clear();
    }
    registered_(*node);
    look_after(config_.node_status_period);
    return;
  }
  // The API may be away: that is no reason to stop running pods.
  const bool lost_race =
      result.error().reason() == Reason::Conflict;  // Somebody else wrote meanwhile: nothing is wrong.
  if (!lost_race) log_warning(log_, "cannot report the node", {{"node", config_.node_name}, {"error", result.error()}});
  const auto delay = std::min(kFirstRetry * (1 << std::min(failures_++, 6)), kLastRetry);
  look_after(delay);
}

Result<void> NodeAgent::renew_lease() {
  const api::ObjectKey key{kLeaseNamespace, config_.node_name};
  if (!lease_) {
    auto found = api_.get(tasks_.context(), api::resources::kLeases, key, {});
    if (found) {
      lease_ = *found;
    } else if (found.error().reason() != Reason::NotFound) {
      return std::move(found).error();
    }
  }
  json lease = json::object();
  if (lease_) {
    lease = lease_->to_json();
  } else {
    lease["apiVersion"] = "coordination.k8s.io/v1";
    lease["kind"] = "Lease";
    lease["metadata"]["name"] = key.name;
    lease["metadata"]["namespace"] = key.ns;
    // With its Node as owner the lease goes when the Node goes.
    auto node = api_.get(tasks_.context(), api::resources::kNodes, {{}, config_.node_name}, {});
    if (!node) return std::move(node).error();
    json owner = json::object();
    owner["apiVersion"] = "v1";
    owner["kind"] = "Node";
    owner["name"] = config_.node_name;
    owner["uid"] = node->uid();
    lease["metadata"]["ownerReferences"].push_back(std::move(owner));
  }
  lease["spec"]["holderIdentity"] = config_.node_name;
  lease["spec"]["leaseDurationSeconds"] = config_.lease_duration.count();
  lease["spec"]["renewTime"] = api::format_micro_time(tasks_.clock().wall_now());
  auto written = lease_ ? api_.update(tasks_.context(), api::resources::kLeases, key, lease, {})
                        : api_.create(tasks_.context(), api::resources::kLeases, {kLeaseNamespace, {}}, lease, {});
  if (!written) {
    lease_.reset();  // Read it again before the next try.
    return std::move(written).error();
  }
  lease_ = *written;
  return {};
}

void NodeAgent::tick_lease() {
  auto renewed = renew_lease();
  for (int retry = 1; !renewed && retry < kLeaseRetries && renewed.error().reason() == Reason::Conflict; ++retry) {
    renewed = renew_lease();
  }
  if (tasks_.stopping()) return;
  const std::chrono::milliseconds period = config_.lease_duration / 4;
  // Before the Node is there, there can be no lease: look again soon.
  const bool registered = problem().empty();
  if (!renewed && registered) {
    log_warning(log_, "cannot renew the node's lease", {{"node", config_.node_name}, {"error", renewed.error()}});
  }
  again(lease_timer_, renewed ? period : std::min(period, registered ? kLastRetry : kFirstRetry),
        &NodeAgent::tick_lease);
}

}  // namespace kubernel::kubelet
