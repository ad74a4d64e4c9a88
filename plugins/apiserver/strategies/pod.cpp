// SPDX-License-Identifier: Apache-2.0
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
  traits.status_metadata = {"labels", "annotations", "finalizers"};  // Old kubelets would lose the owners.
  traits.returns_deleted = true;
  traits.read_fields = pod_fields;
  traits.indexed_field = "spec.nodeName";
  traits.field_labels = {"spec.nodeName",    "spec.restartPolicy", "spec.schedulerName", "spec.serviceAccountName",
                         "spec.hostNetwork", "status.phase",       "status.podIP",       "status.nominatedNodeName"};
  return traits;
}

class PodStrategy final : public Strategy {
 public:
  explicit PodStrategy(const schema::ResourceInfo& info) : Strategy(info, pod_traits()) {}

  void prepare_create(json& document) const override {
    Strategy::prepare_create(document);
    document["status"] = {{"phase", "Pending"}, {"qosClass", qos_class(document)}};
    if (!member(document, {"spec", "schedulingGates"}).empty()) {
      document["status"]["conditions"] =
          json::array({json{{"type", "PodScheduled"},
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
