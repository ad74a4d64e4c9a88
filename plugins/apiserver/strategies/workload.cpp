// SPDX-License-Identifier: Apache-2.0
//
// Kinds that hold a pod template: deployments, replica sets, stateful sets, daemon sets, jobs, cron jobs.
#include <algorithm>

#include <kubernel/api/selector.h>
#include <kubernel/api/value.h>

#include "strategies/strategy.h"

namespace kubernel::apiserver {

namespace {

bool selects(const json& selector, const json& labels) {
  const auto parsed_selector = api::Document::parse(selector.dump());
  const auto parsed_labels = api::Document::parse(labels.is_object() ? labels.dump() : "{}");
  if (!parsed_selector || !parsed_labels) return false;
  const auto match = api::LabelSelector::from_api((*parsed_selector)->root());
  return match && match->matches((*parsed_labels)->root());
}

void check_not_negative(const json& document, std::initializer_list<const char*> path, const std::string& name, Causes& causes) {
  const json& value = member(document, path);
  if (value.is_number_integer() && value.get<std::int64_t>() < 0) {
    causes.push_back(invalid_value(name, value.dump(), "must be greater than or equal to 0"));
  }
}

class WorkloadStrategy final : public Strategy {
 public:
  using Strategy::Strategy;

  void prepare_create(json& document) const override {
    Strategy::prepare_create(document);
    if (info().plural == "jobs") generate_job_selector(document);
  }

  void validate(const json& document, Causes& causes) const override {
    const std::string_view kind = info().plural;
    if (kind == "podtemplates") {
      validate_pod_spec(member(document, {"template", "spec"}), "template.spec", causes);
      return;
    }
    if (kind == "cronjobs") {
      check_template(member(document, {"spec", "jobTemplate", "spec", "template"}), "spec.jobTemplate.spec.template",
                     {"OnFailure", "Never"}, causes);
      if (text(document, {"spec", "schedule"}).empty()) causes.push_back(required("spec.schedule", ""));
      return;
    }
    for (const char* field : {"replicas", "minReadySeconds", "revisionHistoryLimit", "parallelism", "completions", "backoffLimit"}) {
      check_not_negative(document, {"spec", field}, std::string("spec.") + field, causes);
    }
    check_template(member(document, {"spec", "template"}), "spec.template",
                   kind == "jobs" ? std::vector<std::string>{"OnFailure", "Never"} : std::vector<std::string>{"Always"}, causes);
    if (kind != "replicationcontrollers") check_selector(document, causes);
  }

  void validate_update(const json& document, const json& old, Causes& causes) const override {
    if (info().plural == "replicationcontrollers" || info().plural == "cronjobs" || info().plural == "podtemplates") return;
    immutable(document, old, "selector", causes);
    if (info().plural == "jobs") {
      immutable(document, old, "completionMode", causes);
      const bool suspended = flag(old, {"spec", "suspend"}) && member(old, {"status", "startTime"}).is_null();
      if (!suspended) immutable(document, old, "template", causes);
    }
    if (info().plural == "statefulsets") check_stateful_set(document, old, causes);
  }

 private:
  static void immutable(const json& document, const json& old, const char* field, Causes& causes) {
    const json& now = member(document, {"spec", field});
    if (now != member(old, {"spec", field})) {
      causes.push_back(invalid_value(std::string("spec.") + field, now.dump(), "field is immutable"));
    }
  }

  static void check_stateful_set(const json& document, const json& old, Causes& causes) {
    json now = member(document, {"spec"});
    const json& then = member(old, {"spec"});
    for (const char* field : {"replicas", "ordinals", "template", "updateStrategy", "revisionHistoryLimit",
                              "persistentVolumeClaimRetentionPolicy", "minReadySeconds"}) {
      copy_member(now, then, field);
    }
    if (now == then) return;
    causes.push_back(forbidden_field("spec",
                                     "updates to statefulset spec for fields other than 'replicas', 'ordinals', 'template', "
                                     "'updateStrategy', 'revisionHistoryLimit', 'persistentVolumeClaimRetentionPolicy' and "
                                     "'minReadySeconds' are forbidden"));
  }

  static void check_template(const json& pod_template, const std::string& path, const std::vector<std::string>& policies,
                             Causes& causes) {
    validate_labels(member(pod_template, {"metadata", "labels"}), path + ".labels", causes);
    validate_pod_spec(member(pod_template, {"spec"}), path + ".spec", causes);
    const std::string policy = text(pod_template, {"spec", "restartPolicy"});
    if (std::find(policies.begin(), policies.end(), policy) == policies.end()) {
      causes.push_back(not_supported(path + ".spec.restartPolicy", quote(policy), policies));
    }
  }

  void check_selector(const json& document, Causes& causes) const {
    const json& selector = member(document, {"spec", "selector"});
    if (selector.is_null()) {
      causes.push_back(required("spec.selector", ""));
      return;
    }
    if (member(selector, {"matchLabels"}).empty() && member(selector, {"matchExpressions"}).empty()) {
      std::string kind(info().kind);
      std::transform(kind.begin(), kind.end(), kind.begin(), [](unsigned char c) { return static_cast<char>(c >= 'A' && c <= 'Z' ? c + 32 : c); });
      causes.push_back(invalid_value("spec.selector", "{}", "empty selector is invalid for " + kind));
      return;
    }
    const json& labels = member(document, {"spec", "template", "metadata", "labels"});
    if (!selects(selector, labels)) {
      causes.push_back(invalid_value("spec.template.metadata.labels", labels.is_null() ? "null" : labels.dump(),
                                     "`selector` does not match template `labels`"));
    }
  }

  // A job selects its own pods by its uid, unless the client asks to choose the selector.
  static void generate_job_selector(json& document) {
    if (flag(document, {"spec", "manualSelector"})) return;
    const std::string uid = text(document, {"metadata", "uid"});
    const std::string name = text(document, {"metadata", "name"});
    json& labels = make_member(document, {"spec", "template", "metadata", "labels"});
    labels["batch.kubernetes.io/job-name"] = name;
    labels["job-name"] = name;
    labels["batch.kubernetes.io/controller-uid"] = uid;
    labels["controller-uid"] = uid;
    make_member(document, {"spec", "selector", "matchLabels", "batch.kubernetes.io/controller-uid"}) = uid;
  }
};

}  // namespace

std::unique_ptr<Strategy> make_workload_strategy(const schema::ResourceInfo& info, Traits traits) {
  return std::make_unique<WorkloadStrategy>(info, std::move(traits));
}

}  // namespace kubernel::apiserver
