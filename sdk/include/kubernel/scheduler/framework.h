// SPDX-License-Identifier: Apache-2.0
//
// The scheduling framework (KEP-624): the points at which plugins decide where a pod runs.
//
// A scheduler plugin is one class that derives from Plugin and from the interface of each point it has something to say
// at:
//
//   class NodeName final : public Plugin, public Filter { … };
//
// The scheduler finds the interfaces by dynamic_cast. What a plugin knows about one pod lives in the Cycle, never in
// the plugin, so one instance serves every pod at once.

#pragma once

#include <chrono>
#include <cstdint>
#include <functional>
#include <memory>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include <kubernel/api/object.h>
#include <kubernel/base/clock.h>
#include <kubernel/base/context.h>
#include <kubernel/base/export.h>
#include <kubernel/base/log.h>
#include <kubernel/base/metrics.h>
#include <kubernel/base/random.h>
#include <kubernel/base/result.h>
#include <kubernel/client/client.h>
#include <kubernel/client/events.h>
#include <kubernel/client/informer.h>
#include <kubernel/scheduler/node_info.h>

namespace kubernel::scheduler {

/// The answer to "may this pod run here?". A "no" is an answer, not an Error.
///
/// Copying one shares its reasons, so a filter that says the same "no" of many nodes makes it once and returns copies.
class KUBERNEL_EXPORT Verdict {
 public:
  enum class Kind : std::uint8_t {
    Fits,
    Unschedulable,  ///< No, but evicting other pods could change that.
    Unresolvable,   ///< No, whatever is evicted; preemption skips this node.
    Skip,           ///< From PreFilter and PreScore: this plugin's Filter or Score has nothing to say about this pod.
    Wait,           ///< From Permit: hold the pod until allowed, rejected or timed out.
  };

  static Verdict fits() noexcept { return Verdict(Kind::Fits); }
  static Verdict unschedulable(std::string why) { return refused(Kind::Unschedulable, {std::move(why)}); }
  static Verdict unresolvable(std::string why) { return refused(Kind::Unresolvable, {std::move(why)}); }
  /// A "no" of either kind with several reasons ("Insufficient cpu", "Insufficient memory").
  static Verdict refused(Kind kind, std::vector<std::string> reasons) { return Verdict(kind, std::move(reasons)); }
  static Verdict skip() noexcept { return Verdict(Kind::Skip); }
  static Verdict wait() noexcept { return Verdict(Kind::Wait); }

  Kind kind() const noexcept { return kind_; }
  bool ok() const noexcept { return kind_ == Kind::Fits || kind_ == Kind::Skip; }
  /// Shown to users in the FailedScheduling event, upstream's wording; empty when the pod fits.
  const std::vector<std::string>& reasons() const noexcept;

 private:
  explicit Verdict(Kind kind) noexcept : kind_(kind) {}
  Verdict(Kind kind, std::vector<std::string> reasons)
      : reasons_(std::make_shared<const std::vector<std::string>>(std::move(reasons))), kind_(kind) {}
  std::shared_ptr<const std::vector<std::string>> reasons_;  // Null: none.
  Kind kind_;
};

/// What a plugin remembers about the pod being scheduled, between its points: whatever is costly to compute.
class KUBERNEL_EXPORT CycleData {
 public:
  virtual ~CycleData();
  /// A copy that preemption may change while it imagines pods gone.
  virtual std::unique_ptr<CycleData> clone() const = 0;
};

/// One pod on its way through the scheduler.
///
/// Threads: filter() and score() read it from several threads at once; data is written only by the points that run
/// alone.
struct KUBERNEL_EXPORT Cycle {
  std::shared_ptr<const PodInfo> pod;
  /// Null from PreBind on: a pod that is being bound, or that waits for permission, keeps no picture of the cluster
  /// alive.
  std::shared_ptr<const Snapshot> snapshot;
  std::vector<std::unique_ptr<CycleData>> data;  ///< One slot per plugin, at PluginContext::index.
  std::vector<bool> skip_filter;                 ///< Per plugin: its PreFilter said Skip. Empty: none did.
  std::vector<bool> skip_score;                  ///< Per plugin: its PreScore said Skip. Empty: none did.
  /// False when no plugin's data changes with the pods that are imagined on a node: then nobody needs a clone for that.
  bool data_follows_pods = true;
  /// Pods with the same one get the same answers from the filters of one profile for one NodeInfo with the same pods
  /// nominated to it. Set when no node fits; empty when some answer depends on more than that.
  std::string signature = {};

  /// A copy whose data may be changed (CycleData::clone()): for imagining other pods on a node.
  Cycle clone() const;
};

/// What happened in the cluster, for deciding which waiting pods are worth another try.
enum class ClusterEvent : std::uint8_t {
  NodeAdded,
  NodeDeleted,
  NodeAllocatableChanged,
  NodeLabelsChanged,
  NodeTaintsChanged,  ///< Also spec.unschedulable.
  NodeConditionsChanged,
  PodAssigned,      ///< A pod was bound (or assumed to be), or a bound pod's labels changed.
  PodDeleted,       ///< A bound pod went away, or (then `after` is set) asks for less than before.
  PodUpdated,       ///< The waiting pod itself changed.
  ResourceChanged,  ///< An object of EventInterest::resource was added, changed or deleted.
};

/// "Try again on this event", narrowed by a hint (KEP-4247): return false when the change cannot help the pod.
struct EventInterest {
  ClusterEvent event = ClusterEvent::NodeAdded;
  /// Empty: always worth a try. `before` is empty for additions, `after` for deletions. Threads: any.
  std::function<bool(const PodInfo& pod, const api::Object& before, const api::Object& after)> helps;
  /// With ResourceChanged: of what ("persistentvolumeclaims"). The scheduler then watches it.
  api::Resource resource = {};
  /// Where most changes concern few pods: the names of what a pod waits for, and of what a change is about. Only pods
  /// that share a name with the change are asked (`helps`), so that it costs nothing for the others; a change without
  /// names (absent) may concern any pod. A plugin that knows whom a change helps takes uids of pods for names. Both are
  /// set, or none; names_of_change is called once for each event, in their order. Threads: any.
  std::function<std::vector<std::string>(const PodInfo& pod)> names_of_pod = {};
  std::function<std::optional<std::vector<std::string>>(const api::Object& before, const api::Object& after)>
      names_of_change = {};
};

/// The base of every scheduler plugin.
///
/// Threads: one instance; the points say which of them run concurrently. No plugin starts threads.
class KUBERNEL_EXPORT Plugin {
 public:
  virtual ~Plugin();
  /// Events after which a pod this plugin refused is worth another try. Listing too few leaves pods pending; the
  /// queue retries all every 5 minutes anyway.
  virtual std::vector<EventInterest> retry_on() const = 0;
};

/// Keeps a pod out of the queue (scheduling gates): it is not tried before an event of retry_on(), or a change of the
/// pod itself, and this plugin agrees. Threads: any; must be quick, the queue waits for it.
class KUBERNEL_EXPORT PreEnqueue {
 public:
  virtual ~PreEnqueue();
  virtual Verdict pre_enqueue(const PodInfo& pod) const = 0;
};

struct QueuedPod {
  std::shared_ptr<const PodInfo> pod;
  Clock::TimePoint queued_at;        ///< When it came, or when its last attempt failed.
  Clock::TimePoint first_queued_at;  ///< When it first could be tried; time behind gates does not count.
  int attempts = 0;
};

/// Orders the active queue; exactly one per profile. Must be a strict weak order. Threads: any.
class KUBERNEL_EXPORT QueueSort {
 public:
  virtual ~QueueSort();
  virtual bool before(const QueuedPod& a, const QueuedPod& b) const = 0;
};

struct PreFilterResult {
  Verdict verdict = Verdict::fits();
  std::optional<std::vector<std::string>> nodes;  ///< When set, only these nodes can fit: the others are not looked at.
  std::unique_ptr<CycleData> data;
};

/// Runs once per pod, before its filters. May do what is too costly per node.
class KUBERNEL_EXPORT PreFilter {
 public:
  virtual ~PreFilter();
  virtual Result<PreFilterResult> pre_filter(const CallContext& ctx, const PodInfo& pod, const Snapshot& snapshot) = 0;
};

/// How a plugin's data changes when preemption imagines a pod gone from a node, or another one there. For plugins whose
/// data depends on other pods. Runs on cloned data.
class KUBERNEL_EXPORT PreFilterExtensions {
 public:
  virtual ~PreFilterExtensions();
  virtual void pod_added(CycleData& data, const PodInfo& pod, const PodInfo& added, const NodeInfo& node) const = 0;
  virtual void pod_removed(CycleData& data, const PodInfo& pod, const PodInfo& removed, const NodeInfo& node) const = 0;
};

/// Threads: filter() is called for many nodes at once from several threads. It is const, does no I/O, takes no lock,
/// allocates only to say no, and finishes in microseconds.
/// Errors: only for input that should not exist. The pod goes back to the queue with back-off.
class KUBERNEL_EXPORT Filter {
 public:
  virtual ~Filter();
  /// `data`: what this plugin's pre_filter gave; null when it gave none.
  virtual Result<Verdict> filter(const PodInfo& pod, const CycleData* data, const NodeInfo& node) const = 0;
};

/// For a Filter whose answers depend on nothing but the pod and the NodeInfo: on no other node, no other object of the
/// API, not on the time. What it said of a node then holds until the node changes, also for pods like this one.
class KUBERNEL_EXPORT LocalFilter {
 public:
  virtual ~LocalFilter();
  /// Appends all of the pod that the answers depend on. False: for this pod they depend on more than it and the node.
  virtual bool sign(const PodInfo& pod, std::string& signature) const = 0;
};

struct NodeVerdict {
  const NodeInfo* node = nullptr;
  std::string_view plugin;  ///< Lives as long as the scheduler.
  Verdict verdict = Verdict::fits();
};

/// Why no node fits.
struct KUBERNEL_EXPORT Refusals {
  std::vector<NodeVerdict> nodes;  ///< Of the nodes that were looked at, in the order of the snapshot.
  Verdict others = Verdict::refused(Verdict::Kind::Unresolvable,
                                    {});  ///< Of all others: what a PreFilter said of the pod, or of nodes it left out.

  /// The snapshot's nodes that evicting pods might open: those with a verdict Unschedulable.
  std::vector<const NodeInfo*> preemptable(const Snapshot& snapshot) const;
  const Verdict& of(std::string_view node) const;
  /// "0/3 nodes are available: 1 Insufficient cpu, 2 node(s) were unschedulable.": upstream's words and order.
  std::string message(std::size_t all_nodes) const;
};

struct PostFilterResult {
  /// Fits: a node is nominated. Unschedulable: no way found, and why; the next plugin is asked. Unresolvable: none will
  /// be found.
  Verdict verdict = Verdict::refused(Verdict::Kind::Unschedulable, {});
  /// Set: becomes status.nominatedNodeName, which "" clears. Absent: leave it as it is.
  std::optional<std::string> nominated_node;
};

/// Runs when no node fits (preemption). The first plugin whose verdict is Fits or Unresolvable ends it.
class KUBERNEL_EXPORT PostFilter {
 public:
  virtual ~PostFilter();
  virtual Result<PostFilterResult> post_filter(const CallContext& ctx, const Cycle& cycle,
                                               const Refusals& refusals) = 0;
};

struct PreScoreResult {
  Verdict verdict = Verdict::fits();
  std::unique_ptr<CycleData> data;  ///< Replaces what pre_filter gave, when set.
};

/// Runs once per pod, after the filters, with the nodes that fit.
class KUBERNEL_EXPORT PreScore {
 public:
  virtual ~PreScore();
  virtual Result<PreScoreResult> pre_score(const CallContext& ctx, const PodInfo& pod, const Snapshot& snapshot,
                                           std::span<const NodeInfo* const> nodes) = 0;
};

inline constexpr std::int64_t kMaxNodeScore = 100;

/// Threads and Errors: score() as Filter; normalize() runs alone, once per pod.
class KUBERNEL_EXPORT Score {
 public:
  virtual ~Score();
  /// Any number; after normalize() it must be in [0, kMaxNodeScore].
  virtual Result<std::int64_t> score(const PodInfo& pod, const CycleData* data, const NodeInfo& node,
                                     const Snapshot& snapshot) const = 0;
  /// Brings the scores of all nodes into [0, kMaxNodeScore]. May leave them as they are.
  virtual void normalize(const PodInfo& pod, const CycleData* data, std::span<std::int64_t> scores) const = 0;
};

/// Threads: reserve() and permit() run in the scheduling cycle, one pod at a time, and must not block; the interfaces
/// after them and unreserve() are called for several pods at once, on the blocking executor, and may do I/O. For one
/// pod they run in order.
class KUBERNEL_EXPORT Reserve {
 public:
  virtual ~Reserve();
  virtual Verdict reserve(const CallContext& ctx, const Cycle& cycle, std::string_view node) = 0;
  /// Must be idempotent; also called when reserve() itself refused.
  virtual void unreserve(const CallContext& ctx, const Cycle& cycle, std::string_view node) = 0;
};

/// A pod that Permit plugins hold. Threads: any.
class KUBERNEL_EXPORT WaitingPod {
 public:
  virtual ~WaitingPod();
  virtual const PodInfo& pod() const = 0;
  virtual void allow(std::string_view plugin) = 0;
  virtual void reject(std::string_view plugin, std::string why) = 0;
};

struct PermitResult {
  Verdict verdict = Verdict::fits();
  std::chrono::milliseconds timeout{0};  ///< With Wait; the pod is rejected when it passes. At most 15 minutes.
};
class KUBERNEL_EXPORT Permit {
 public:
  virtual ~Permit();
  virtual PermitResult permit(const CallContext& ctx, const Cycle& cycle, std::string_view node) = 0;
};

class KUBERNEL_EXPORT PreBind {
 public:
  virtual ~PreBind();
  virtual Result<Verdict> pre_bind(const CallContext& ctx, const Cycle& cycle, std::string_view node) = 0;
};

/// The first plugin that does not Skip binds the pod.
class KUBERNEL_EXPORT Bind {
 public:
  virtual ~Bind();
  virtual Result<Verdict> bind(const CallContext& ctx, const Cycle& cycle, std::string_view node) = 0;
};

class KUBERNEL_EXPORT PostBind {
 public:
  virtual ~PostBind();
  virtual void post_bind(const CallContext& ctx, const Cycle& cycle, std::string_view node) = 0;
};

/// A process outside that is asked too (KubeSchedulerConfiguration's extenders): the part preemption needs.
class KUBERNEL_EXPORT PreemptExtender {
 public:
  virtual ~PreemptExtender();
  virtual const std::string& name() const = 0;
  /// True when its failure is no reason not to preempt.
  virtual bool ignorable() const = 0;
  /// True when the pod asks for something the extender manages.
  virtual bool interested_in(const PodInfo& pod) const = 0;

  struct Victims {
    std::string node;
    std::vector<std::shared_ptr<const PodInfo>> pods;
    std::int64_t budget_violations = 0;
  };
  /// The candidates the extender agrees with, with the victims it wants.
  virtual Result<std::vector<Victims>> preempt(const CallContext& ctx, const PodInfo& pod,
                                               std::vector<Victims> candidates, const Snapshot& snapshot) = 0;
};

/// What the scheduler offers its plugins beyond the cycle. Threads: any; the functions that take a Cycle as the Cycle.
class KUBERNEL_EXPORT Handle {
 public:
  virtual ~Handle();
  /// Calls `visit` for each pod that waits for permission.
  virtual void for_each_waiting(const std::function<void(WaitingPod&)>& visit) = 0;
  /// Runs every Filter on one node as if it looked like `node`. Pods of no lower priority that are nominated to run
  /// there count, and then also do not: the pod must fit either way (it may need them, by affinity, and they may never
  /// come).
  virtual Result<Verdict> run_filters(const Cycle& cycle, const NodeInfo& node) = 0;
  /// Tells the PreFilterExtensions of every plugin that filters that `pod` is imagined on `node` (which shows it
  /// already), or gone from it.
  virtual void pod_added(Cycle& cycle, const PodInfo& pod, const NodeInfo& node) = 0;
  virtual void pod_removed(Cycle& cycle, const PodInfo& pod, const NodeInfo& node) = 0;
  /// Pods that preemption made room for on the node, and that are not there yet.
  virtual std::vector<std::shared_ptr<const PodInfo>> nominated_pods(std::string_view node) = 0;
  /// Calls `work(i)` for each i below `count`, on the caller's thread and the compute pool; returns when all are done.
  /// `work` must not throw.
  virtual void parallel_for(std::size_t count, const std::function<void(std::size_t)>& work) = 0;
  /// Takes a pod that sleeps in the queue to the front of the line, without waiting for an event; nothing when it is
  /// not there.
  virtual void activate(std::string_view uid) = 0;
  /// Those that have a say in preemption, in the order of the configuration.
  virtual std::vector<PreemptExtender*> preempt_extenders() = 0;
  virtual client::EventRecorder& events() = 0;
  /// Runs `task` on the blocking pool, a few at a time and in the order they came: what calls the API, so that nobody
  /// waits for it. `task` must not throw. The scheduler's stop() waits for those that have begun and drops the others.
  virtual void run_in_background(std::function<void(const CallContext& ctx)> task) = 0;
};

/// Which extended resources nodes may have as devices instead of as a number (KEP-5004): told by the plugin of a
/// profile that gives out devices, asked by the one that counts amounts.
class KUBERNEL_EXPORT DeviceResources {
 public:
  using Lookup = std::function<bool(std::string_view resource)>;
  /// Called at most once, in make(). `lookup` may be called from any thread and must be quick.
  void answer_with(Lookup lookup) { lookup_ = std::move(lookup); }
  /// False for all while nobody answers. Threads: any, once the profile's plugins are made.
  bool contains(std::string_view resource) const { return lookup_ && lookup_(resource); }

 private:
  Lookup lookup_;
};

/// Lent to a plugin for its whole life.
struct PluginContext {
  std::string config_json;  ///< The plugin's arguments, checked against its schema.
  std::size_t index = 0;    ///< Its slot in Cycle::data.
  Handle& handle;
  client::ApiClient& api;
  client::InformerFactory& informers;  ///< Ask in make(); they sync before the first pod is scheduled.
  Logger& log;
  Clock& clock;
  Metrics& metrics;
  Random& random;
  /// Shared by the plugins of a profile. Null in tests of a plugin alone.
  std::shared_ptr<DeviceResources> device_resources = nullptr;
};

/// Extension point "scheduler"; names are upstream's plugin names ("NodeResourcesFit").
struct PluginSpec {
  static constexpr std::string_view kPoint = "scheduler";
  int weight = 1;  ///< Of its scores, 1 to 100: upstream's default for the plugin.
  Result<std::unique_ptr<Plugin>> (*make)(const PluginContext& context) = nullptr;
};

}  // namespace kubernel::scheduler
