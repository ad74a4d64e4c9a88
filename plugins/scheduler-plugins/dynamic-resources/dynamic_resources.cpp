// SPDX-License-Identifier: Apache-2.0

#include "dynamic_resources.h"

#include <algorithm>

#include <nlohmann/json.hpp>

#include <kubernel/api/time.h>
#include <kubernel/scheduler/binding_wait.h>

#include "allocator.h"
#include "binding.h"
#include "claim_cache.h"

namespace kubernel::plugins {
namespace {

using namespace scheduler;
using api::Object;
using api::Value;
using nlohmann::json;

constexpr const char* kFinalizer = "resource.kubernetes.io/delete-protection";
constexpr std::size_t kMaxReservations = 256;  // ResourceClaimReservedForMaxSize.
constexpr int kMaxWrites = 5;                  // client-go's DefaultRetry.

bool is_allocated(const Object& claim) {
  return static_cast<bool>(claim.pointer("/status/allocation"));
}

bool is_reserved_for(const Object& claim, const PodInfo& pod) {
  const Value users = claim.pointer("/status/reservedFor");
  return std::any_of(users.begin(), users.end(), [&](Value user) { return user["uid"].string() == pod.uid(); });
}

struct Arguments {
  std::chrono::nanoseconds binding_timeout = std::chrono::minutes(10);
  bool device_taint_rules = false;
};

struct Data final : CycleData {
  std::vector<Object> claims;
  std::vector<ClaimRequests> to_allocate;
  std::shared_ptr<const Inventory> inventory;
  AllocatedDevices allocated;
  std::map<std::string, json> decided;  // By uid: allocations that are pending from Reserve on.
  bool hopeless = false;                // One of the claims will never be ready for binding.
  // Extended resources that may be had as devices, with their classes, and the claim for all of them.
  std::map<std::string, std::string> extended;
  std::string extended_uid;
  const PodInfo* pod = nullptr;  // The cycle's.
  std::shared_ptr<const ExtendedClaim> for_all, decided_extended;
  Object stale;          // What an earlier attempt left of such a claim.
  Object extended_made;  // The claim, once it is in the API.

  std::unique_ptr<CycleData> clone() const override { return std::make_unique<Data>(*this); }
};

// Why a node will not do, made once.
struct Refusals {
  const Verdict elsewhere = Verdict::unresolvable("resourceclaim not available on the node");
  const Verdict no_devices = Verdict::unresolvable("cannot allocate all claims");
  const Verdict stale_claim = Verdict::unresolvable("cannot schedule extended resource claim");
  const Verdict gave_up = Verdict::unresolvable("timed out trying to allocate devices");
};

class DynamicResources final : public Plugin,
                               public PreEnqueue,
                               public PreFilter,
                               public Filter,
                               public PostFilter,
                               public PreScore,
                               public Score,
                               public Reserve,
                               public PreBind {
 public:
  DynamicResources(const Arguments& arguments, const PluginContext& context)
      : arguments_(arguments),
        index_(context.index),
        api_(context.api),
        log_(context.log),
        clock_(context.clock),
        random_(context.random),
        handle_(context.handle),
        cache_(context.informers, arguments.device_taint_rules) {
    const auto claims = context.informers.informer(kResourceClaims, {});
    claims_changed_ = claims->add_handler({[this](const Object&) { claims_change_.changed(); },
                                           [this](const Object&, const Object&) { claims_change_.changed(); },
                                           [this](const Object&) { claims_change_.changed(); }});
    if (context.device_resources) {
      context.device_resources->answer_with(
          [this](std::string_view resource) { return !cache_.extended_classes()->find(resource).empty(); });
    }
  }

  Verdict pre_enqueue(const PodInfo& pod) const override {
    const std::string problem = PodResourceClaims::read(pod, cache_).problem;
    return problem.empty() ? Verdict::fits() : Verdict::unresolvable(problem);
  }

  Result<PreFilterResult> pre_filter(const CallContext&, const PodInfo& pod, const Snapshot&) override {
    PreFilterResult result;
    if (pod.spec["resourceClaims"].empty() && !may_use_devices(pod)) {
      result.verdict = Verdict::skip();
      return result;
    }
    auto data = std::make_unique<Data>();
    const std::string problem = read(pod, *data);
    if (!problem.empty()) {
      result.verdict = Verdict::unresolvable(problem);
    } else if (data->claims.empty() && data->extended.empty()) {
      result.verdict = Verdict::skip();
    } else {
      result.data = std::move(data);
    }
    return result;
  }

  Result<Verdict> filter(const PodInfo&, const CycleData* data, const NodeInfo& node) const override {
    const auto& known = static_cast<const Data&>(*data);
    if (known.hopeless) return refusals_.elsewhere;
    if (known.stale) return refusals_.stale_claim;
    for (const Object& claim : known.claims) {
      if (!reachable(claim, node)) return refusals_.elsewhere;
    }
    KUBERNEL_TRY(const auto special, extended_claim_on(known, node));
    if (known.to_allocate.empty() && !special) return Verdict::fits();
    KUBERNEL_TRY(const auto found, find_devices(wanted(known, special), known.inventory->on(node), known.allocated));
    switch (found.outcome) {
      case SearchOutcome::Found: return Verdict::fits();
      case SearchOutcome::GaveUp: return refusals_.gave_up;
      case SearchOutcome::Impossible: break;
    }
    return refusals_.no_devices;
  }

  // A claim that nobody else uses and that keeps the pod from some node is given back, to be allocated anew.
  Result<PostFilterResult> post_filter(const CallContext& ctx, const Cycle& cycle,
                                       const scheduler::Refusals&) override {
    PostFilterResult result;
    const Data* data = data_of(cycle);
    if (data == nullptr && cycle.pod->spec["resourceClaims"].empty()) return result;
    if (data != nullptr && data->stale) {
      KUBERNEL_CHECK_OK(remove_claim(ctx, data->stale));
      result.verdict = Verdict::unschedulable("deletion of ResourceClaim completed");
      return result;
    }
    if (data == nullptr) {
      result.verdict = Verdict::unschedulable("no new claims to deallocate");
      return result;
    }
    for (const Object& claim : data->claims) {
      const Value users = claim.pointer("/status/reservedFor");
      const bool unused = users.empty() || (users.size() == 1 && is_reserved_for(claim, *cycle.pod));
      const bool in_the_way =
          std::ranges::any_of(cycle.snapshot->nodes(), [&](const auto& node) { return !reachable(claim, *node); });
      if (!is_allocated(claim) || !unused || !(in_the_way || hopeless(claim))) continue;
      json document = claim.to_json();
      document["status"].erase("allocation");
      document["status"].erase("reservedFor");
      document["status"].erase("devices");
      KUBERNEL_CHECK_OK(api_.update(ctx, kResourceClaims, claim.key(), document, {.subresource = "status"}));
      result.verdict = Verdict::unschedulable("deallocation of ResourceClaim completed");
      return result;
    }
    result.verdict = Verdict::unschedulable("still not schedulable");
    return result;
  }

  // Nodes differ by which alternatives they have, and by nothing else.
  Result<PreScoreResult> pre_score(const CallContext&, const PodInfo& pod, const Snapshot&,
                                   std::span<const NodeInfo* const>) override {
    PreScoreResult result;
    result.verdict = Verdict::skip();
    if (pod.spec["resourceClaims"].empty()) return result;
    for (const Object& claim : PodResourceClaims::read(pod, cache_).claims) {
      const Value requests = claim.pointer("/spec/devices/requests");
      const bool choice = std::any_of(requests.begin(), requests.end(),
                                      [](Value request) { return !request["firstAvailable"].empty(); });
      if (choice && !is_allocated(claim)) result.verdict = Verdict::fits();
    }
    return result;
  }

  Result<std::int64_t> score(const PodInfo&, const CycleData* data, const NodeInfo& node,
                             const Snapshot&) const override {
    if (data == nullptr) return 0;
    const auto& known = static_cast<const Data&>(*data);
    if (known.to_allocate.empty()) return 0;
    KUBERNEL_TRY(const auto found, find_devices(known.to_allocate, known.inventory->on(node), known.allocated));
    return found.outcome == SearchOutcome::Found ? preference_score(known.to_allocate, found.allocations) : 0;
  }

  void normalize(const PodInfo&, const CycleData*, std::span<std::int64_t> scores) const override {
    normalize_scores(scores, false);
  }

  Verdict reserve(const CallContext&, const Cycle& cycle, std::string_view node) override {
    Data* data = data_of(cycle);
    if (data == nullptr || (data->to_allocate.empty() && data->extended.empty())) return Verdict::fits();
    const NodeInfo* info = cycle.snapshot->find(node);
    if (info == nullptr) return Verdict::unschedulable("node \"" + std::string(node) + "\" not found");
    // Read anew: another pod may have taken a device, or allocated the same claim, since this one was filtered.
    const std::string problem = read(*cycle.pod, *data);
    if (!problem.empty()) return Verdict::unresolvable(problem);
    auto special = extended_claim_on(*data, *info);
    if (!special) return Verdict::unresolvable(special.error().message());
    data->decided_extended = *std::move(special);
    const auto claims = wanted(*data, data->decided_extended);
    const auto found = find_devices(claims, data->inventory->on(*info), data->allocated);
    if (!found) return Verdict::unresolvable(found.error().message());
    if (found->outcome != SearchOutcome::Found) return refusals_.no_devices;
    for (std::size_t i = 0; i < claims.size(); ++i) {
      const ClaimRequests& claim = claims[i];
      json allocation = allocation_json(claim, found->allocations[i], info->name, random_);
      if (!cache_.begin_allocation(claim.claim.uid(), allocation)) {
        return Verdict::unresolvable("resource claim " + api::to_string(claim.claim.key()) +
                                     " is in the process of being allocated");
      }
      data->decided.insert_or_assign(claim.claim.uid(), std::move(allocation));
    }
    return Verdict::fits();
  }

  void unreserve(const CallContext& ctx, const Cycle& cycle, std::string_view) override {
    Data* data = data_of(cycle);
    if (data == nullptr) return;
    for (const auto& [uid, allocation] : std::exchange(data->decided, {})) cache_.end_allocation(uid, std::nullopt);
    data->decided_extended.reset();
    if (const Object made = std::exchange(data->extended_made, {})) {
      if (auto removed = remove_claim(ctx, made); !removed) {  // Tried again with the pod.
        log_warning(log_, "claim for extended resources stays",
                    {{"claim", api::to_string(made.key())}, {"error", removed.error().message()}});
      }
    }
    for (Object& claim : data->claims) {
      if (!is_allocated(claim) || !is_reserved_for(claim, *cycle.pod)) continue;
      if (auto released = release(ctx, claim, *cycle.pod); released) {
        claim = *std::move(released);
      } else {  // Tried again with the pod.
        log_warning(log_, "claim stays reserved",
                    {{"claim", api::to_string(claim.key())},
                     {"pod", api::to_string(cycle.pod->key())},
                     {"error", released.error().message()}});
      }
    }
  }

  Result<Verdict> pre_bind(const CallContext& ctx, const Cycle& cycle, std::string_view node) override {
    Data* data = data_of(cycle);
    if (data == nullptr) return Verdict::fits();
    for (Object& claim : data->claims) {
      if (is_reserved_for(claim, *cycle.pod)) continue;
      const auto decided = data->decided.find(claim.uid());
      const json* allocation = decided == data->decided.end() ? nullptr : &decided->second;
      auto written = bind_claim(ctx, claim, allocation, *cycle.pod);
      if (allocation != nullptr) {
        cache_.end_allocation(claim.uid(), written ? std::optional(*written) : std::nullopt);
        data->decided.erase(decided);
      }
      if (!written) return std::move(written).error();
      claim = *std::move(written);
    }
    if (data->decided_extended) KUBERNEL_CHECK_OK(bind_extended_claim(ctx, *data, *cycle.pod));
    const bool waits = std::ranges::any_of(data->claims, has_binding_conditions) ||
                       (data->extended_made && has_binding_conditions(data->extended_made));
    if (!waits) return Verdict::fits();
    return wait_until_ready(ctx, *data, *cycle.pod, node);
  }

  std::vector<EventInterest> retry_on() const override {
    std::vector<EventInterest> out = {
        {ClusterEvent::NodeAdded, {}},
        {ClusterEvent::NodeLabelsChanged, {}},
        {ClusterEvent::NodeAllocatableChanged, {}},
        {ClusterEvent::PodUpdated,
         [this](const PodInfo&, const Object&, const Object& after) { return !after || has_claims(PodInfo(after)); }},
        {ClusterEvent::ResourceChanged,
         [this](const PodInfo& pod, const Object& before, const Object& after) {
           return gives_back(before, after) ? has_claims(pod) : is_news_of_own_claim(pod, before, after);
         },
         kResourceClaims, claims_of_pod, claims_of_change},
        {ClusterEvent::ResourceChanged, offers_others, kDeviceClasses},
        // A slice that goes may be what made its pool invalid.
        {ClusterEvent::ResourceChanged,
         [](const PodInfo& pod, const Object& before, const Object& after) {
           return !after || offers_others(pod, before, after);
         },
         kResourceSlices}};
    if (arguments_.device_taint_rules) {
      out.push_back({ClusterEvent::ResourceChanged,
                     [](const PodInfo& pod, const Object& before, const Object& after) {
                       return before && (!after || offers_others(pod, before, after));
                     },
                     kDeviceTaintRules});
    }
    return out;
  }

 private:
  bool has_claims(const PodInfo& pod) const { return PodResourceClaims::read(pod, cache_).problem.empty(); }

  static bool offers_others(const PodInfo&, const Object& before, const Object& after) {
    return after && (!before || !(before["spec"] == after["spec"]));
  }

  // Any pod may want the devices.
  static bool gives_back(const Object& before, const Object& after) {
    return before && is_allocated(before) && (!after || !is_allocated(after));
  }

  // It has come, or has changed in what counts.
  static bool is_news_of_own_claim(const PodInfo& pod, const Object& before, const Object& after) {
    if (!after || after.ns() != pod.key().ns) return false;
    if (after.head().controller_uid != pod.uid() && !names_claim(pod, after.name())) return false;
    return !before || !(before["status"] == after["status"]);
  }

  // By name, or as the owner of claims that are made for it.
  static std::vector<std::string> claims_of_pod(const PodInfo& pod) {
    std::vector<std::string> out{pod.uid()};
    for (const Value entry : pod.spec["resourceClaims"]) {
      if (const auto name = entry["resourceClaimName"].string(); !name.empty())
        out.push_back(pod.key().ns + "/" + std::string(name));
    }
    return out;
  }

  static std::optional<std::vector<std::string>> claims_of_change(const Object& before, const Object& after) {
    if (gives_back(before, after)) return std::nullopt;
    const Object& claim = after ? after : before;
    std::vector<std::string> out{claim.ns() + "/" + claim.name()};
    if (!claim.head().controller_uid.empty()) out.push_back(claim.head().controller_uid);
    return out;
  }

  static bool reachable(const Object& claim, const NodeInfo& node) {
    const Value selector = claim.pointer("/status/allocation/nodeSelector");
    return !selector || matches_node_selector(selector, node);
  }

  bool hopeless(const Object& claim) const {
    return binding_is_hopeless(claim, arguments_.binding_timeout, clock_.wall_now());
  }

  // Absent: not yet.
  std::optional<Result<Verdict>> binding_progress(Data& data) const {
    std::vector<Object*> claims;
    for (Object& claim : data.claims) claims.push_back(&claim);
    if (data.extended_made) claims.push_back(&data.extended_made);
    for (Object* one : claims) {
      Object& claim = *one;
      auto now = cache_.claim(claim.key());
      if (!now && one == &data.extended_made) return std::nullopt;  // The informer has not seen it yet.
      if (!now) return Error(Reason::NotFound, "resourceclaim.resource.k8s.io \"" + claim.name() + "\" not found");
      claim = *std::move(now);
      const auto ready = ready_for_binding(claim);
      if (!ready) return ready.error();
      if (*ready) continue;
      if (hopeless(claim)) return Error(Reason::Timeout, "claim " + claim.name() + " binding timeout");
      return std::nullopt;
    }
    return Verdict::fits();
  }

  // A failure brings the pod back to the queue: the next attempt finds the claim to be hopeless and gives it back.
  Result<Verdict> wait_until_ready(const CallContext& ctx, Data& data, const PodInfo& pod, std::string_view node) {
    handle_.events().record(pod.object, "Normal", "BindingConditionsPending",
                            "waiting for binding conditions for device on node " + std::string(node));
    return claims_change_.until(
        ctx, clock_, arguments_.binding_timeout, [&] { return binding_progress(data); }, "binding devices: stopped",
        "device binding timeout");
  }

  bool may_use_devices(const PodInfo& pod) const {
    if (pod.requests.scalars.empty()) return false;
    const auto classes = cache_.extended_classes();
    return std::ranges::any_of(pod.requests.scalars,
                               [&](const auto& want) { return want.second > 0 && !classes->find(want.first).empty(); });
  }

  // Of the pod's extended resources, what the node can only have as devices; null when that is nothing.
  Result<std::shared_ptr<const ExtendedClaim>> extended_claim_on(const Data& known, const NodeInfo& node) const {
    std::map<std::string, std::string> resources;
    for (const auto& [resource, device_class] : known.extended) {
      if (node.allocatable.amount(resource) == 0) resources.emplace(resource, device_class);
    }
    if (resources.empty()) return std::shared_ptr<const ExtendedClaim>();
    if (resources.size() == known.extended.size()) return known.for_all;
    KUBERNEL_TRY(auto some, make_extended_claim(
                                *known.pod, known.extended_uid, resources,
                                [this](const std::string& name) { return cache_.device_class(name); }, selectors_));
    return std::make_shared<const ExtendedClaim>(std::move(some));
  }

  static std::vector<ClaimRequests> wanted(const Data& known, const std::shared_ptr<const ExtendedClaim>& special) {
    auto out = known.to_allocate;
    if (special) out.push_back(special->requests);
    return out;
  }

  // Which extended resources of the pod may be had as devices; why it has to wait, or nothing.
  std::string read_extended(const PodInfo& pod, Data& data) {
    const auto classes = cache_.extended_classes();
    data.extended.clear();
    for (const auto& [resource, amount] : pod.requests.scalars) {
      if (amount == 0) continue;
      if (const std::string& device_class = classes->find(resource); !device_class.empty())
        data.extended.emplace(resource, device_class);
    }
    if (data.extended.empty()) return {};
    data.pod = &pod;
    data.stale = cache_.extended_claim(pod.uid()).value_or(Object());
    if (data.extended_uid.empty()) data.extended_uid = random_uuid(random_);
    auto claim = make_extended_claim(
        pod, data.extended_uid, data.extended, [this](const std::string& name) { return cache_.device_class(name); },
        selectors_);
    if (!claim) return claim.error().message();
    data.for_all = std::make_shared<const ExtendedClaim>(*std::move(claim));
    return {};
  }

  // Makes the claim, writes the allocation and tells the kubelet which containers get what of it.
  Result<void> bind_extended_claim(const CallContext& ctx, Data& data, const PodInfo& pod) {
    const ExtendedClaim& special = *data.decided_extended;
    const auto decided = data.decided.find(data.extended_uid);
    if (decided == data.decided.end())
      return Error(Reason::Internal, "the claim for extended resources has no devices");
    json document = special.claim.to_json();
    document["metadata"].erase("name");
    document["metadata"].erase("uid");
    auto made = api_.create(ctx, kResourceClaims, {pod.key().ns, {}}, document, {});
    if (!made) return std::move(made).error().wrap("create claim for extended resources " + api::to_string(pod.key()));
    data.extended_made = *std::move(made);
    KUBERNEL_TRY(data.extended_made, bind_claim(ctx, data.extended_made, &decided->second, pod));
    cache_.note_made(data.extended_made);
    cache_.end_allocation(data.extended_uid, std::nullopt);
    data.decided.erase(decided);
    const auto status =
        json::object({{"resourceClaimName", data.extended_made.name()}, {"requestMappings", special.mappings}});
    const auto patch = json::object({{"metadata", json::object({{"uid", pod.uid()}})},
                                     {"status", json::object({{"extendedResourceClaimStatus", status}})}});
    auto patched = api_.patch(ctx, api::resources::kPods, pod.key(), client::PatchType::StrategicMerge, patch,
                              {.subresource = "status"});
    if (!patched)
      return std::move(patched).error().wrap("update pod " + api::to_string(pod.key()) +
                                             " ExtendedResourceClaimStatus");
    return {};
  }

  // With its finalizer, which would keep it.
  Result<void> remove_claim(const CallContext& ctx, const Object& claim) {
    for (int attempt = 1;; ++attempt) {
      auto latest = api_.get(ctx, kResourceClaims, claim.key(), {});
      if (!latest && latest.error().reason() == Reason::NotFound) break;
      if (!latest) return std::move(latest).error();
      if (latest->uid() != claim.uid()) break;
      json document = latest->to_json();
      auto& finalizers = document["metadata"]["finalizers"];
      if (finalizers.is_array()) std::erase(finalizers.get_ref<json::array_t&>(), json(kFinalizer));
      auto freed = api_.update(ctx, kResourceClaims, claim.key(), document, {});
      if (!freed && (freed.error().reason() != Reason::Conflict || attempt == kMaxWrites))
        return std::move(freed).error();
      if (!freed) continue;
      auto removed = api_.remove(ctx, kResourceClaims, claim.key(), {});
      if (!removed && removed.error().reason() != Reason::NotFound) return std::move(removed).error();
      break;
    }
    cache_.note_removed(claim);
    return {};
  }

  // Null when pre_filter had nothing to say about the pod.
  Data* data_of(const Cycle& cycle) const {
    return index_ < cycle.data.size() ? static_cast<Data*>(cycle.data[index_].get()) : nullptr;
  }

  // What the pod's claims are and need now; why it has to wait, or nothing.
  std::string read(const PodInfo& pod, Data& data) {
    auto claims = PodResourceClaims::read(pod, cache_);
    if (!claims.problem.empty()) return claims.problem;
    data.claims = std::move(claims.claims);
    data.to_allocate.clear();
    data.hopeless = false;
    for (const Object& claim : data.claims) {
      if (is_allocated(claim)) {
        data.hopeless = data.hopeless || hopeless(claim);
        if (claim.pointer("/status/reservedFor").size() >= kMaxReservations && !is_reserved_for(claim, pod))
          return "resourceclaim in use";
        continue;
      }
      if (cache_.is_pending(claim.uid()))
        return "resource claim " + api::to_string(claim.key()) + " is in the process of being allocated";
      auto requests = read_requests(
          claim, [this](const std::string& name) { return cache_.device_class(name); }, selectors_);
      if (!requests) return requests.error().message();
      data.to_allocate.push_back(*std::move(requests));
    }
    if (const std::string problem = read_extended(pod, data); !problem.empty()) return problem;
    data.inventory = cache_.inventory();
    data.allocated = cache_.allocated();
    return {};
  }

  // Adds the pod to the claim's users, with the allocation when there is one. Others may write the claim meanwhile.
  Result<Object> bind_claim(const CallContext& ctx, Object claim, const json* allocation, const PodInfo& pod) {
    const std::string name = "claim " + api::to_string(claim.key());
    for (int attempt = 1;; ++attempt) {
      auto written = write_claim(ctx, claim, allocation, pod, name);
      if (written || written.error().reason() != Reason::Conflict || attempt == kMaxWrites) return written;
      auto latest = api_.get(ctx, kResourceClaims, claim.key(), {});
      if (!latest) return std::move(latest).error().wrap("get updated " + name + " after conflict");
      if (latest->uid() != claim.uid()) return Error(Reason::NotFound, name + " got deleted in the meantime");
      claim = *std::move(latest);
    }
  }

  Result<Object> write_claim(const CallContext& ctx, const Object& claim, const json* allocation, const PodInfo& pod,
                             const std::string& name) {
    if (claim.head().deleting) return Error(Reason::NotFound, name + " got deleted in the meantime");
    json document = claim.to_json();
    if (allocation != nullptr) {
      if (is_allocated(claim)) return Error(Reason::AlreadyExists, name + " got allocated elsewhere in the meantime");
      auto& finalizers = document["metadata"]["finalizers"];
      if (finalizers.is_null()) finalizers = json::array();
      if (std::ranges::find(finalizers, json(kFinalizer)) == finalizers.end()) {
        finalizers.push_back(kFinalizer);
        auto updated = api_.update(ctx, kResourceClaims, claim.key(), document, {});
        if (!updated) return std::move(updated).error().wrap("add finalizer to " + name);
        document = updated->to_json();
      }
      document["status"]["allocation"] = *allocation;
      document["status"]["allocation"]["allocationTimestamp"] = api::format_time(clock_.wall_now());
    }
    auto& users = document["status"]["reservedFor"];
    if (users.is_null()) users = json::array();
    users.push_back(json::object({{"resource", "pods"}, {"name", pod.key().name}, {"uid", pod.uid()}}));
    auto updated = api_.update(ctx, kResourceClaims, claim.key(), document, {.subresource = "status"});
    if (!updated)
      return std::move(updated).error().wrap(
          std::string(allocation != nullptr ? "add allocation and reservation to " : "add reservation to ") + name);
    return updated;
  }

  // A patch: it needs no knowledge of the other users.
  Result<Object> release(const CallContext& ctx, const Object& claim, const PodInfo& pod) {
    const auto user = json::object({{"$patch", "delete"}, {"uid", pod.uid()}});
    const auto patch = json::object({{"metadata", json::object({{"uid", claim.uid()}})},
                                     {"status", json::object({{"reservedFor", json::array({user})}})}});
    return api_.patch(ctx, kResourceClaims, claim.key(), client::PatchType::StrategicMerge, patch,
                      {.subresource = "status"});
  }

  const Arguments arguments_;
  const std::size_t index_;
  client::ApiClient& api_;
  Logger& log_;
  Clock& clock_;
  Random& random_;
  Handle& handle_;
  mutable SelectorCache selectors_;  // Locks by itself.
  const struct Refusals refusals_;
  ClaimCache cache_;
  BindingWait claims_change_;
  std::unique_ptr<Subscription> claims_changed_;
};

Result<Arguments> parse_arguments(const std::string& config_json) {
  const auto config = json::parse(config_json);
  Arguments out;
  if (const auto at = config.find("bindingTimeout"); at != config.end()) {
    auto timeout = api::parse_duration(at->get<std::string>());
    if (!timeout) return std::move(timeout).error().wrap("bindingTimeout");
    out.binding_timeout = *timeout;
  }
  out.device_taint_rules = config.value("deviceTaintRules", false);
  return out;
}

}  // namespace

Result<std::unique_ptr<Plugin>> make_dynamic_resources(const PluginContext& context) {
  KUBERNEL_TRY(const Arguments arguments,
               catch_as_error("DynamicResources arguments", [&] { return parse_arguments(context.config_json); }));
  return std::make_unique<DynamicResources>(arguments, context);
}

}  // namespace kubernel::plugins
