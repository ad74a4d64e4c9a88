// SPDX-License-Identifier: Apache-2.0

#include "gang_scheduling.h"

#include <algorithm>
#include <charconv>
#include <functional>
#include <map>
#include <mutex>
#include <optional>
#include <set>

#include <nlohmann/json.hpp>

#include <kubernel/api/time.h>

namespace kubernel::plugins {
namespace {

using namespace scheduler;
using std::chrono::milliseconds;

constexpr const char* kGroupLabel = "scheduling.kubernel.io/group";
constexpr const char* kMinMember = "scheduling.kubernel.io/min-member";
constexpr const char* kTimeout = "scheduling.kubernel.io/group-timeout";
constexpr const char* kName = "GangScheduling";

struct Group {
  std::string id;  // namespace/name
  std::size_t min_member = 0;
  std::optional<milliseconds> timeout;
};

// Absent: the pod stands alone.
std::optional<Group> group_of(const api::Object& pod) {
  const std::string_view name = pod.labels()[kGroupLabel].string();
  const std::string_view text = pod.annotations()[kMinMember].string();
  Group out{pod.ns() + "/" + std::string(name), 0, std::nullopt};
  const auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), out.min_member);
  if (name.empty() || error != std::errc() || end != text.data() + text.size() || out.min_member == 0)
    return std::nullopt;
  if (const auto timeout = api::parse_duration(pod.annotations()[kTimeout].string()); timeout && timeout->count() > 0) {
    out.timeout = std::chrono::duration_cast<milliseconds>(*timeout);
  }
  return out;
}

// What is known of one group.
struct Members {
  struct Pod {
    std::size_t min_member = 0;
    bool bound = false;
  };
  std::map<std::string, Pod, std::less<>> pods;  // By uid: those that exist and have not ended.
  std::set<std::string, std::less<>> reserved;   // Uids that have a place and are not bound yet.

  // What the most demanding pod says.
  std::size_t wanted() const {
    std::size_t out = 0;
    for (const auto& [uid, pod] : pods) out = std::max(out, pod.min_member);
    return out;
  }
  std::size_t placed() const {
    std::size_t out = reserved.size();
    for (const auto& [uid, pod] : pods) out += pod.bound && !reserved.contains(uid) ? 1 : 0;
    return out;
  }
};

class GangScheduling final : public Plugin,
                             public PreEnqueue,
                             public PreFilter,
                             public PostFilter,
                             public Reserve,
                             public Permit,
                             public PostBind {
 public:
  GangScheduling(const PluginContext& context, milliseconds timeout)
      : context_(context),
        timeout_(timeout),
        // The scheduler's own informer, asked for first here, so that this plugin has counted a pod when the scheduler
        // hears of it.
        pods_(context.informers.informer(api::resources::kPods,
                                         {.field_selector = "status.phase!=Succeeded,status.phase!=Failed"})),
        subscription_(pods_->add_handler({[this](const api::Object& pod) { seen(pod); },
                                          [this](const api::Object&, const api::Object& pod) { seen(pod); },
                                          [this](const api::Object& pod) { gone(pod); }})) {}

  Verdict pre_enqueue(const PodInfo& pod) const override {
    const auto group = group_of(pod.object);
    return group ? complete(*group) : Verdict::fits();
  }

  Result<PreFilterResult> pre_filter(const CallContext&, const PodInfo& pod, const Snapshot&) override {
    PreFilterResult out;
    const auto group = group_of(pod.object);
    out.verdict = group ? complete(*group) : Verdict::skip();
    // It has no Filter; a pod whose group is complete has nothing more to be asked.
    if (out.verdict.kind() == Verdict::Kind::Fits) out.verdict = Verdict::skip();
    return out;
  }

  // One of the group fits nowhere, and preemption knows no way: the others would hold their places in vain.
  Result<PostFilterResult> post_filter(const CallContext&, const Cycle& cycle, const Refusals&) override {
    if (const auto group = group_of(cycle.pod->object)) give_up(*group, cycle.pod->uid());
    return PostFilterResult{};
  }

  Verdict reserve(const CallContext&, const Cycle& cycle, std::string_view) override {
    if (const auto group = group_of(cycle.pod->object)) {
      const std::lock_guard lock(mutex_);
      groups_[group->id].reserved.insert(cycle.pod->uid());
    }
    return Verdict::fits();
  }

  // One that gives up its place takes the waiting ones with it.
  void unreserve(const CallContext&, const Cycle& cycle, std::string_view) override {
    if (const auto group = group_of(cycle.pod->object)) give_up(*group, cycle.pod->uid());
  }

  PermitResult permit(const CallContext&, const Cycle& cycle, std::string_view) override {
    const auto group = group_of(cycle.pod->object);
    if (!group) return {};
    {
      const std::lock_guard lock(mutex_);
      const Members& members = groups_[group->id];
      if (members.placed() < std::max(members.wanted(), group->min_member))
        return {Verdict::wait(), group->timeout.value_or(timeout_)};
    }
    for_each_waiting(*group, [](WaitingPod& waiting) { waiting.allow(kName); });
    return {};
  }

  void post_bind(const CallContext&, const Cycle& cycle, std::string_view) override {
    const auto group = group_of(cycle.pod->object);
    if (!group) return;
    const std::lock_guard lock(mutex_);
    Members& members = groups_[group->id];
    members.reserved.erase(cycle.pod->uid());
    // Bound as far as anybody knows, until the API says otherwise.
    if (const auto pod = members.pods.find(cycle.pod->uid()); pod != members.pods.end()) pod->second.bound = true;
    forget_if_empty(group->id);
  }

  std::vector<EventInterest> retry_on() const override {
    const auto completes = [](const PodInfo& pod, const api::Object& before, const api::Object& after) {
      return same_group(pod.object, after ? after : before) && (!before || !after);  // It has grown, or asks for less.
    };
    // Room that the group itself gave back is not enough for the group.
    const auto makes_room = [](const PodInfo& pod, const api::Object& before, const api::Object& after) {
      return !same_group(pod.object, after ? after : before);
    };
    return {{ClusterEvent::ResourceChanged, completes, api::resources::kPods},
            {ClusterEvent::PodUpdated, {}, {}},
            {ClusterEvent::NodeAdded, {}, {}},
            {ClusterEvent::NodeAllocatableChanged, {}, {}},
            {ClusterEvent::NodeTaintsChanged, {}, {}},
            {ClusterEvent::PodDeleted, makes_room, {}}};
  }

 private:
  static bool same_group(const api::Object& a, const api::Object& b) {
    const auto one = group_of(a);
    const auto other = group_of(b);
    return one && other && one->id == other->id;
  }

  void seen(const api::Object& pod) {
    const auto group = group_of(pod);
    if (!group) return;
    if (pod.head().deleting) {
      gone(pod);
      return;
    }
    const std::lock_guard lock(mutex_);
    groups_[group->id].pods[pod.uid()] = {group->min_member, !pod.pointer("/spec/nodeName").string().empty()};
  }

  void gone(const api::Object& pod) {
    const auto group = group_of(pod);
    if (!group) return;
    const std::lock_guard lock(mutex_);
    groups_[group->id].pods.erase(pod.uid());
    forget_if_empty(group->id);
  }

  void forget_if_empty(const std::string& id) {
    const auto found = groups_.find(id);
    if (found != groups_.end() && found->second.pods.empty() && found->second.reserved.empty()) groups_.erase(found);
  }

  Verdict complete(const Group& group) const {
    const std::lock_guard lock(mutex_);
    const auto found = groups_.find(group.id);
    const std::size_t present = found == groups_.end() ? 0 : found->second.pods.size();
    const std::size_t needed =
        found == groups_.end() ? group.min_member : std::max(found->second.wanted(), group.min_member);
    if (present >= needed) return Verdict::fits();
    return Verdict::unresolvable("group " + group.id + " has " + std::to_string(present) + " of " +
                                 std::to_string(needed) + " pods");
  }

  void for_each_waiting(const Group& group, const std::function<void(WaitingPod&)>& visit) const {
    context_.handle.for_each_waiting([&](WaitingPod& waiting) {
      const auto other = group_of(waiting.pod().object);
      if (other && other->id == group.id) visit(waiting);
    });
  }

  // Rejecting a pod calls unreserve() for it: by then nobody of the group has a reservation any more, which ends the
  // recursion.
  void give_up(const Group& group, const std::string& because_of) {
    {
      const std::lock_guard lock(mutex_);
      const auto found = groups_.find(group.id);
      if (found == groups_.end() || found->second.reserved.empty()) return;
      found->second.reserved.clear();
      forget_if_empty(group.id);
    }
    for_each_waiting(group, [&](WaitingPod& waiting) {
      if (waiting.pod().uid() != because_of)
        waiting.reject(kName, "another pod of the group " + group.id + " has no place");
    });
  }

  const PluginContext context_;
  const milliseconds timeout_;
  mutable std::mutex mutex_;
  std::map<std::string, Members> groups_;
  const std::shared_ptr<client::Informer> pods_;
  const std::unique_ptr<Subscription> subscription_;
};

Result<milliseconds> parse_timeout(const std::string& config_json) {
  return milliseconds(std::chrono::seconds(nlohmann::json::parse(config_json).value("permitTimeoutSeconds", 60)));
}

}  // namespace

Result<std::unique_ptr<Plugin>> make_gang_scheduling(const PluginContext& context) {
  KUBERNEL_TRY(const milliseconds timeout,
               catch_as_error("GangScheduling arguments", [&] { return parse_timeout(context.config_json); }));
  return std::make_unique<GangScheduling>(context, timeout);
}

}  // namespace kubernel::plugins
