// SPDX-License-Identifier: Apache-2.0
#include <kubernel/scheduler/node_info.h>

#include <algorithm>
#include <map>

namespace kubernel::scheduler {
namespace {

using api::Value;

constexpr std::string_view kAnyAddress = "0.0.0.0";

void collect_ports(Value containers, bool restartable_only, bool host_network, std::vector<HostPort>& out) {
  for (const Value container : containers) {
    if (restartable_only && container["restartPolicy"].string() != "Always") continue;
    for (const Value port : container["ports"]) {
      // A pod on the node's network binds its container ports there (API defaulting copies them to hostPort).
      const auto number = host_network ? port["containerPort"].integer() : port["hostPort"].integer();
      if (number <= 0) continue;
      const std::string_view ip = port["hostIP"].string();
      out.push_back({std::string(ip.empty() ? kAnyAddress : ip), std::string(port["protocol"].string("TCP")), number});
    }
  }
}

TaintEffect effect_of(std::string_view text) {
  if (text == "PreferNoSchedule") return TaintEffect::PreferNoSchedule;
  return text == "NoExecute" ? TaintEffect::NoExecute : TaintEffect::NoSchedule;
}

}  // namespace

bool ports_conflict(const HostPort& a, const HostPort& b) noexcept {
  if (a.port != b.port || a.protocol != b.protocol) return false;
  return a.ip == b.ip || a.ip == kAnyAddress || b.ip == kAnyAddress;
}

PodInfo::PodInfo(api::Object pod)
    : object(std::move(pod)),
      spec(object.body()["spec"]),
      requests(pod_requests(spec)),
      scoring_requests(pod_requests_for_scoring(spec)),
      priority(spec["priority"].integer()),
      node_name(spec["nodeName"].string()) {
  const bool host_network = spec["hostNetwork"].boolean();
  collect_ports(spec["containers"], false, host_network, host_ports);
  collect_ports(spec["initContainers"], true, host_network, host_ports);
}

NodeInfo::NodeInfo(api::Object node)
    : object(std::move(node)),
      name(object.name()),
      allocatable(Resources::read(object.body()["status"]["allocatable"])),
      unschedulable(object.body()["spec"]["unschedulable"].boolean()) {
  for (const Value taint : object.body()["spec"]["taints"]) {
    taints.push_back(
        {std::string(taint["key"].string()), std::string(taint["value"].string()), effect_of(taint["effect"].string())});
  }
  for (const Value image : object.body()["status"]["images"]) {
    for (const Value image_name : image["names"]) {
      images.emplace_back(image_name.string(), image["sizeBytes"].integer());
    }
  }
  std::ranges::sort(images);
}

void NodeInfo::add_pod(std::shared_ptr<const PodInfo> pod) {
  requested += pod->requests;
  scoring_requested += pod->scoring_requests;
  used_ports.insert(used_ports.end(), pod->host_ports.begin(), pod->host_ports.end());
  pods.push_back(std::move(pod));
}

bool NodeInfo::remove_pod(std::string_view uid) {
  const auto found = std::ranges::find_if(pods, [&](const auto& pod) { return pod->uid() == uid; });
  if (found == pods.end()) return false;
  const PodInfo& pod = **found;
  requested -= pod.requests;
  scoring_requested -= pod.scoring_requests;
  for (const HostPort& port : pod.host_ports) {
    if (const auto used = std::ranges::find(used_ports, port); used != used_ports.end()) used_ports.erase(used);
  }
  pods.erase(found);
  return true;
}

void ChangeLog::append(SnapshotChange change) {
  const std::lock_guard lock(mutex_);
  changes_.push_back(std::move(change));
  if (changes_.size() <= kCapacity) return;
  changes_.pop_front();
  ++first_;
}

std::uint64_t ChangeLog::end() const {
  const std::lock_guard lock(mutex_);
  return first_ + changes_.size();
}

std::optional<std::vector<SnapshotChange>> ChangeLog::between(std::uint64_t first, std::uint64_t last) const {
  const std::lock_guard lock(mutex_);
  if (first < first_ || last < first || last > first_ + changes_.size()) return std::nullopt;
  const auto begin = changes_.begin() + static_cast<std::ptrdiff_t>(first - first_);
  return std::vector<SnapshotChange>(begin, begin + static_cast<std::ptrdiff_t>(last - first));
}

Snapshot::Snapshot(std::vector<std::shared_ptr<const NodeInfo>> nodes) : nodes_(std::move(nodes)) {
  std::ranges::sort(nodes_, {}, [](const auto& node) -> const std::string& { return node->name; });
  std::map<std::string_view, std::size_t> counts;
  for (const auto& node : nodes_) {
    for (const auto& [image, size] : node->images) ++counts[image];
  }
  for (const auto& [image, count] : counts) image_counts_.emplace_back(image, count);
}

Snapshot::Snapshot(std::vector<std::shared_ptr<const NodeInfo>> nodes, std::shared_ptr<const ChangeLog> log, std::uint64_t version)
    : Snapshot(std::move(nodes)) {
  log_ = std::move(log);
  version_ = version;
}

std::optional<std::vector<SnapshotChange>> Snapshot::changes_since(std::uint64_t version) const {
  return log_ == nullptr ? std::nullopt : log_->between(version, version_);
}

const NodeInfo* Snapshot::find(std::string_view name) const noexcept {
  const auto at = std::ranges::lower_bound(nodes_, name, {}, [](const auto& node) { return std::string_view(node->name); });
  return at != nodes_.end() && (*at)->name == name ? at->get() : nullptr;
}

std::size_t Snapshot::nodes_with_image(std::string_view image) const noexcept {
  const auto at =
      std::ranges::lower_bound(image_counts_, image, {}, [](const auto& entry) { return std::string_view(entry.first); });
  return at != image_counts_.end() && at->first == image ? at->second : 0;
}

std::string normalized_image_name(std::string_view name) {
  const auto slash = name.rfind('/');
  const std::string_view last = slash == std::string_view::npos ? name : name.substr(slash + 1);
  return std::string(name) + (last.find(':') == std::string_view::npos && last.find('@') == std::string_view::npos ? ":latest" : "");
}

}  // namespace kubernel::scheduler
