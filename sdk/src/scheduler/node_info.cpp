// SPDX-License-Identifier: Apache-2.0
#include <kubernel/scheduler/node_info.h>

#include <algorithm>
#include <map>

#include <kubernel/api/time.h>

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

using Nodes = std::vector<std::shared_ptr<const NodeInfo>>;

// One node of each zone in turn (upstream's nodeTree). `nodes`: sorted by name.
Nodes interleaved(Nodes nodes) {
  std::map<std::pair<std::string_view, std::string_view>, Nodes> zones;
  for (auto& node : nodes) {
    const Value labels = node->labels();
    zones[{labels["topology.kubernetes.io/region"].string(), labels["topology.kubernetes.io/zone"].string()}].push_back(
        std::move(node));
  }
  Nodes out;
  out.reserve(nodes.size());
  for (std::size_t i = 0; out.size() < nodes.size(); ++i) {
    for (auto& [zone, members] : zones) {
      if (i < members.size()) out.push_back(std::move(members[i]));
    }
  }
  return out;
}

// From the end: what changes is mostly what came last.
std::vector<std::shared_ptr<const PodInfo>>::iterator find_last(std::vector<std::shared_ptr<const PodInfo>>& pods,
                                                                const PodInfo& pod) {
  for (auto at = pods.end(); at != pods.begin();) {
    if ((--at)->get() == &pod) return at;
  }
  return pods.end();
}

const std::size_t* find_number(const std::vector<std::pair<std::string, std::size_t>>& sorted, std::string_view name) {
  const auto at =
      std::ranges::lower_bound(sorted, name, {}, [](const auto& entry) { return std::string_view(entry.first); });
  return at != sorted.end() && at->first == name ? &at->second : nullptr;
}

}  // namespace

bool ports_conflict(const HostPort& a, const HostPort& b) noexcept {
  if (a.port != b.port || a.protocol != b.protocol) return false;
  return a.ip == b.ip || a.ip == kAnyAddress || b.ip == kAnyAddress;
}

PodInfo::PodInfo(api::Object pod)
    : object(std::move(pod)),
      spec(object.body()["spec"]),
      requests(pod_requests(spec, object.body()["status"])),
      scoring_requests(pod_requests_for_scoring(spec, object.body()["status"])),
      priority(spec["priority"].integer()),
      node_name(spec["nodeName"].string()),
      started(api::read_time(object.pointer("/status/startTime"))) {
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
    taints.push_back({std::string(taint["key"].string()), std::string(taint["value"].string()),
                      effect_of(taint["effect"].string())});
  }
  std::vector<std::pair<std::string, std::int64_t>> found;
  for (const Value image : object.body()["status"]["images"]) {
    for (const Value image_name : image["names"]) {
      found.emplace_back(image_name.string(), image["sizeBytes"].integer());
    }
  }
  std::ranges::sort(found);
  images = std::make_shared<const std::vector<std::pair<std::string, std::int64_t>>>(std::move(found));
}

void NodeInfo::add_pod(std::shared_ptr<const PodInfo> pod) {
  generation = 0;
  const auto at = std::ranges::lower_bound(priorities, pod->priority, {}, &std::pair<std::int64_t, std::size_t>::first);
  if (at != priorities.end() && at->first == pod->priority) {
    ++at->second;
  } else {
    priorities.insert(at, {pod->priority, 1});
  }
  requested += pod->requests;
  scoring_requested += pod->scoring_requests;
  used_ports.insert(used_ports.end(), pod->host_ports.begin(), pod->host_ports.end());
  pods.push_back(std::move(pod));
}

bool NodeInfo::remove_pod(std::string_view uid) {
  const auto found = std::ranges::find_if(pods, [&](const auto& pod) { return pod->uid() == uid; });
  if (found == pods.end()) return false;
  take_out(found);
  return true;
}

bool NodeInfo::remove_pod(const PodInfo& pod) {
  const auto found = find_last(pods, pod);
  if (found == pods.end()) return false;
  take_out(found);
  return true;
}

bool NodeInfo::replace_pod(const PodInfo& before, std::shared_ptr<const PodInfo> now) {
  const auto found = find_last(pods, before);
  if (found == pods.end()) return false;
  *found = std::move(now);
  generation = 0;
  return true;
}

void NodeInfo::take_out(std::vector<std::shared_ptr<const PodInfo>>::iterator at) {
  const auto pod = std::move(*at);
  pods.erase(at);
  generation = 0;
  const auto alike =
      std::ranges::lower_bound(priorities, pod->priority, {}, &std::pair<std::int64_t, std::size_t>::first);
  if (--alike->second == 0) priorities.erase(alike);
  requested -= pod->requests;
  scoring_requested -= pod->scoring_requests;
  for (const HostPort& port : pod->host_ports) {
    if (const auto used = std::ranges::find(used_ports, port); used != used_ports.end()) used_ports.erase(used);
  }
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

struct Snapshot::Layout {
  std::vector<std::pair<std::string, std::size_t>> positions;     // By node name, sorted.
  std::vector<std::pair<std::string, std::size_t>> image_counts;  // Sorted by name.
};

Snapshot::Snapshot(std::vector<std::shared_ptr<const NodeInfo>> nodes) : nodes_(std::move(nodes)) {
  const auto by_name = [](const auto& node) -> const std::string& { return node->name; };
  if (!std::ranges::is_sorted(nodes_, {}, by_name)) std::ranges::sort(nodes_, {}, by_name);
  nodes_ = interleaved(std::move(nodes_));

  auto layout = std::make_shared<Layout>();
  std::map<std::string_view, std::size_t> counts;
  for (std::size_t i = 0; i < nodes_.size(); ++i) {
    layout->positions.emplace_back(nodes_[i]->name, i);
    for (const auto& [image, size] : *nodes_[i]->images) ++counts[image];
  }
  std::ranges::sort(layout->positions);
  for (const auto& [image, count] : counts) layout->image_counts.emplace_back(image, count);
  layout_ = std::move(layout);
}

Snapshot::Snapshot(std::vector<std::shared_ptr<const NodeInfo>> nodes, std::shared_ptr<const ChangeLog> log,
                   std::uint64_t version)
    : Snapshot(std::move(nodes)) {
  log_ = std::move(log);
  version_ = version;
}

std::optional<std::vector<SnapshotChange>> Snapshot::changes_since(std::uint64_t version) const {
  return log_ == nullptr ? std::nullopt : log_->between(version, version_);
}

const NodeInfo* Snapshot::find(std::string_view name) const noexcept {
  const std::size_t* const at = layout_ == nullptr ? nullptr : find_number(layout_->positions, name);
  return at == nullptr ? nullptr : nodes_[*at].get();
}

std::size_t Snapshot::nodes_with_image(std::string_view image) const noexcept {
  const std::size_t* const count = layout_ == nullptr ? nullptr : find_number(layout_->image_counts, image);
  return count == nullptr ? 0 : *count;
}

void Snapshot::update(std::span<const std::shared_ptr<const NodeInfo>> changed, std::uint64_t version) {
  for (const auto& node : changed) {
    if (const std::size_t* at = find_number(layout_->positions, node->name)) nodes_[*at] = node;
  }
  version_ = version;
}

std::string normalized_image_name(std::string_view name) {
  const auto slash = name.rfind('/');
  const std::string_view last = slash == std::string_view::npos ? name : name.substr(slash + 1);
  return std::string(name) +
         (last.find(':') == std::string_view::npos && last.find('@') == std::string_view::npos ? ":latest" : "");
}

}  // namespace kubernel::scheduler
