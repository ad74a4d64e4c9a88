// SPDX-License-Identifier: Apache-2.0
//
// Deployments, replica sets, daemon sets, stateful sets, replication controllers (apps/validation, core/validation).
#include "validation/pod_rules.h"
#include "validation/rules.h"

namespace kubernel::apiserver::validation {

namespace {

void check_workload_selector(const Field& spec, const std::string& kind) {
  const Field selector = spec["selector"];
  if (!selector.set()) {
    selector.required();
    return;
  }
  check_selector(selector);
  if (is_empty_selector(selector.value())) selector.invalid("empty selector is invalid for " + kind);
}

void check_workload_template(const Field& spec, const char* kind, bool deadline_refused) {
  const Field pods = spec["template"];
  const Field labels = pods["metadata"]["labels"];
  const json& selector = spec["selector"].value();
  if (!selector.is_null() && !is_empty_selector(selector) && !selects(selector, labels.value())) {
    labels.invalid("`selector` does not match template `labels`");
  }
  check_pod_template(pods);
  const Field policy = pods["spec"]["restartPolicy"];
  if (policy.set() && policy.text() != "Always") policy.not_supported({"Always"});
  if (deadline_refused && pods["spec"]["activeDeadlineSeconds"].set()) {
    pods["spec"]["activeDeadlineSeconds"].forbidden(std::string("activeDeadlineSeconds in ") + kind +
                                                    " is not Supported");
  }
}

void check_rolling_deployment(const Field& update) {
  const Field unavailable = update["maxUnavailable"];
  const Field surge = update["maxSurge"];
  check_int_or_percent(unavailable, true);
  check_int_or_percent(surge, false);
  if (int_or_percent(unavailable.value()) == 0 && int_or_percent(surge.value()) == 0) {
    unavailable.with(unavailable.set() ? unavailable.value() : json(0)).invalid("may not be 0 when `maxSurge` is 0");
  }
}

void check_deployment_strategy(const Field& strategy) {
  const std::string type = strategy["type"].text();
  const Field rolling = strategy["rollingUpdate"];
  if (type == "Recreate" && rolling.set()) rolling.forbidden("may not be specified when strategy `type` is 'Recreate'");
  if (type != "RollingUpdate") return;
  if (rolling.set()) {
    check_rolling_deployment(rolling);
  } else {
    rolling.required("this should be defaulted and never be nil");
  }
}

void check_daemon_set_strategy(const Field& strategy) {
  if (strategy["type"].text() != "RollingUpdate") return;
  const Field rolling = strategy["rollingUpdate"];
  if (!rolling.set()) {
    rolling.required();
    return;
  }
  const Field unavailable = rolling["maxUnavailable"];
  const Field surge = rolling["maxSurge"];
  check_int_or_percent(unavailable, true);
  check_int_or_percent(surge, true);
  const bool some_unavailable = int_or_percent(unavailable.value()) != 0;
  const bool some_surge = int_or_percent(surge.value()) != 0;
  if (some_unavailable && some_surge) surge.invalid("may not be set when maxUnavailable is non-zero");
  if (!some_unavailable && !some_surge) unavailable.required("cannot be 0 when maxSurge is 0");
}

void check_stateful_set_strategy(const Field& strategy) {
  const Field rolling = strategy["rollingUpdate"];
  if (strategy["type"].text() == "OnDelete") {
    if (rolling.set()) rolling.invalid("only allowed for updateStrategy 'RollingUpdate'");
    return;
  }
  check_not_negative(rolling["partition"]);
  check_int_or_percent(rolling["maxUnavailable"], true);
  if (rolling["maxUnavailable"].set() && int_or_percent(rolling["maxUnavailable"].value()) == 0) {
    rolling["maxUnavailable"].invalid("cannot be 0");
  }
}

}  // namespace

void check_deployment(const Field& deployment) {
  const Field spec = deployment["spec"];
  for (const char* field : {"replicas", "minReadySeconds", "revisionHistoryLimit", "progressDeadlineSeconds"}) {
    check_not_negative(spec[field]);
  }
  check_workload_selector(spec, "deployment");
  check_workload_template(spec, "ReplicaSet", true);
  check_deployment_strategy(spec["strategy"]);
  const Field deadline = spec["progressDeadlineSeconds"];
  if (deadline.set() && deadline.number() <= spec["minReadySeconds"].number())
    deadline.invalid("must be greater than minReadySeconds");
}

void check_replica_set(const Field& set) {
  const Field spec = set["spec"];
  check_not_negative(spec["replicas"]);
  check_not_negative(spec["minReadySeconds"]);
  check_workload_selector(spec, "replicaset");
  check_workload_template(spec, "ReplicaSet", true);
}

void check_daemon_set(const Field& set) {
  const Field spec = set["spec"];
  check_not_negative(spec["minReadySeconds"]);
  check_not_negative(spec["revisionHistoryLimit"]);
  check_workload_selector(spec, "daemonset");
  check_workload_template(spec, "DaemonSet", true);
  check_daemon_set_strategy(spec["updateStrategy"]);
}

void check_stateful_set(const Field& set) {
  const Field spec = set["spec"];
  for (const char* field : {"replicas", "minReadySeconds", "revisionHistoryLimit"}) check_not_negative(spec[field]);
  check_not_negative(spec["ordinals"]["start"]);
  check_workload_selector(spec, "statefulset");
  check_workload_template(spec, "StatefulSet", true);
  check_stateful_set_strategy(spec["updateStrategy"]);
  check_name_rule(spec["serviceName"], NameRule::Subdomain);
  for (const char* field : {"whenDeleted", "whenScaled"}) {
    const Field policy = spec["persistentVolumeClaimRetentionPolicy"][field];
    if (policy.set() && policy.text() != "Retain" && policy.text() != "Delete")
      policy.not_supported({"Retain", "Delete"});
  }
}

void check_stateful_set_update(const Field& set, const json& old) {
  json now = set["spec"].value();
  const json& then = member(old, {"spec"});
  for (const char* field : {"replicas", "ordinals", "template", "updateStrategy", "revisionHistoryLimit",
                            "persistentVolumeClaimRetentionPolicy", "minReadySeconds"}) {
    copy_member(now, then, field);
  }
  if (now == then) return;
  set["spec"].forbidden(
      "updates to statefulset spec for fields other than 'replicas', 'ordinals', 'template', 'updateStrategy', "
      "'revisionHistoryLimit', "
      "'persistentVolumeClaimRetentionPolicy' and 'minReadySeconds' are forbidden");
}

void check_replication_controller(const Field& controller) {
  const Field spec = controller["spec"];
  check_not_negative(spec["replicas"]);
  check_not_negative(spec["minReadySeconds"]);
  const Field selector = spec["selector"];
  check_labels(selector);
  if (selector.zero()) selector.required();
  if (!spec["template"].set()) {
    spec["template"].required();
    return;
  }
  const Field labels = spec["template"]["metadata"]["labels"];
  if (!selector.zero() && !selects(json{{"matchLabels", selector.value()}}, labels.value())) {
    labels.invalid("`selector` does not match template `labels`");
  }
  check_pod_template(spec["template"]);
  const Field policy = spec["template"]["spec"]["restartPolicy"];
  if (policy.set() && policy.text() != "Always") policy.not_supported({"Always"});
  if (spec["template"]["spec"]["activeDeadlineSeconds"].set()) {
    spec["template"]["spec"]["activeDeadlineSeconds"].forbidden(
        "activeDeadlineSeconds in ReplicationController is not Supported");
  }
}

void check_selector_update(const Field& workload, const json& old) {
  check_unchanged(workload["spec"]["selector"], member(old, {"spec", "selector"}));
}

void check_controller_revision_update(const Field& revision, const json& old) {
  check_unchanged(revision["data"], member(old, {"data"}));
}

void check_pod_template_object(const Field& object) {
  check_pod_template(object["template"]);
}

}  // namespace kubernel::apiserver::validation
