// SPDX-License-Identifier: Apache-2.0
//
// Kinds that hold a pod template: deployments, replica sets, stateful sets, daemon sets, jobs, cron jobs.
#include "strategies/strategy.h"

namespace kubernel::apiserver {

namespace {

class WorkloadStrategy final : public Strategy {
 public:
  using Strategy::Strategy;

  void prepare_create(json& document) const override {
    Strategy::prepare_create(document);
    if (info().plural == "jobs") generate_job_selector(document);
  }

 private:
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
