// SPDX-License-Identifier: Apache-2.0
#include <algorithm>
#include <array>

#include "strategies/strategy.h"

namespace kubernel::apiserver {

namespace {

FieldValues pod_fields(api::Value body) {
  const api::Value spec = body["spec"];
  const api::Value status = body["status"];
  return {{"spec.nodeName", std::string(spec["nodeName"].string())},
          {"spec.restartPolicy", std::string(spec["restartPolicy"].string())},
          {"spec.schedulerName", std::string(spec["schedulerName"].string())},
          {"spec.serviceAccountName", std::string(spec["serviceAccountName"].string())},
          {"spec.hostNetwork", spec["hostNetwork"].boolean() ? "true" : "false"},
          {"status.phase", std::string(status["phase"].string())},
          {"status.podIP", std::string(status["podIP"].string())},
          {"status.nominatedNodeName", std::string(status["nominatedNodeName"].string())}};
}

Traits pod_traits() {
  Traits traits;
  traits.generation_of = {"spec"};
  traits.status_writes_labels = true;
  traits.returns_deleted = true;
  traits.read_fields = pod_fields;
  traits.indexed_field = "spec.nodeName";
  traits.field_labels = {"spec.nodeName",    "spec.restartPolicy", "spec.schedulerName", "spec.serviceAccountName",
                         "spec.hostNetwork", "status.phase",       "status.podIP",       "status.nominatedNodeName"};
  return traits;
}

constexpr std::string_view kOnlyThese =
    "pod updates may not change fields other than `spec.containers[*].image`,`spec.initContainers[*].image`,"
    "`spec.activeDeadlineSeconds`,`spec.tolerations` (only additions to existing tolerations),"
    "`spec.terminationGracePeriodSeconds` (allow it to be set to 1 if it was previously negative)";

// Makes `spec`'s fields that may change equal to those of `old`, so that whatever still differs may not.
void cover_mutable(json& spec, const json& old) {
  for (const char* list : {"containers", "initContainers"}) {
    json& now = make_member(spec, {list});
    const json& then = member(old, {list});
    if (!now.is_array() || !then.is_array() || now.size() != then.size()) continue;
    for (std::size_t i = 0; i < now.size(); ++i) copy_member(now[i], then[i], "image");
  }
  if (member(spec, {"initContainers"}).is_null()) spec.erase("initContainers");
  copy_member(spec, old, "activeDeadlineSeconds");
  const json& before = member(old, {"tolerations"});
  const json& after = member(spec, {"tolerations"});
  const bool only_added = !before.is_array() || std::all_of(before.begin(), before.end(), [&](const json& one) {
    return after.is_array() && std::find(after.begin(), after.end(), one) != after.end();
  });
  if (only_added) copy_member(spec, old, "tolerations");
  if (number(old, {"terminationGracePeriodSeconds"}) < 0 && number(spec, {"terminationGracePeriodSeconds"}) == 1) {
    copy_member(spec, old, "terminationGracePeriodSeconds");
  }
  const json& gates = member(old, {"schedulingGates"});
  const json& gates_now = member(spec, {"schedulingGates"});
  if (gates.is_array() && (gates_now.is_null() || (gates_now.is_array() && gates_now.size() < gates.size()))) {
    // A gate may be taken away, and while there is one the pod's placement may be narrowed.
    copy_member(spec, old, "schedulingGates");
    copy_member(spec, old, "nodeSelector");
    copy_member(spec, old, "affinity");
  }
}

class PodStrategy final : public Strategy {
 public:
  explicit PodStrategy(const schema::ResourceInfo& info) : Strategy(info, pod_traits()) {}

  void prepare_create(json& document) const override {
    Strategy::prepare_create(document);
    document["status"] = {{"phase", "Pending"}, {"qosClass", qos_class(document)}};
    if (!member(document, {"spec", "schedulingGates"}).empty()) {
      document["status"]["conditions"] = json::array({json{{"type", "PodScheduled"},
                                                           {"status", "False"},
                                                           {"reason", "SchedulingGated"},
                                                           {"message", "Scheduling is blocked due to non-empty scheduling gates"}}});
    }
  }

  void prepare_status(json& document, const json& old) const override {
    const json qos = member(old, {"status", "qosClass"});
    Strategy::prepare_status(document, old);
    if (!qos.is_null()) make_member(document, {"status", "qosClass"}) = qos;
  }

  void validate(const json& document, Causes& causes) const override {
    validate_pod_spec(member(document, {"spec"}), "spec", causes);
  }

  void validate_update(const json& document, const json& old, Causes& causes) const override {
    json spec = member(document, {"spec"});
    const json& before = member(old, {"spec"});
    cover_mutable(spec, before);
    if (spec != before) causes.push_back(forbidden_field("spec", kOnlyThese));
    const json& deadline = member(document, {"spec", "activeDeadlineSeconds"});
    const json& earlier = member(before, {"activeDeadlineSeconds"});
    if (earlier.is_number() && (deadline.is_null() || deadline.get<std::int64_t>() > earlier.get<std::int64_t>())) {
      causes.push_back(invalid_value("spec.activeDeadlineSeconds", deadline.dump(),
                                     "must be less than or equal to previous value"));
    }
  }

  std::int64_t grace_seconds(const json& document, std::optional<std::int64_t> asked) const override {
    const std::string phase = text(document, {"status", "phase"});
    if (text(document, {"spec", "nodeName"}).empty() || phase == "Succeeded" || phase == "Failed") return 0;
    const std::int64_t period = asked ? *asked : number(document, {"spec", "terminationGracePeriodSeconds"}, 30);
    return period < 0 ? 1 : period;
  }

};

}  // namespace

std::unique_ptr<Strategy> make_pod_strategy(const schema::ResourceInfo& info) {
  return std::make_unique<PodStrategy>(info);
}

}  // namespace kubernel::apiserver
