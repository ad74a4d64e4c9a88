// SPDX-License-Identifier: Apache-2.0
//
// Horizontal pod autoscalers (autoscaling/validation), in the form of autoscaling/v2.
#include <array>
#include <string>
#include <utility>

#include "validation/object_rules.h"

namespace kubernel::apiserver::validation {

namespace {

void check_reference(const Field& reference) {
  for (const char* field : {"kind", "name"}) {
    const Field part = reference[field];
    if (part.zero()) {
      part.required();
    } else {
      part.invalid(check_name(NameRule::PathSegment, part.text(), false));
    }
  }
}

void check_metric_name(const Field& metric) {
  if (metric["name"].zero()) {
    metric["name"].required("must specify a metric name");
  } else {
    metric["name"].invalid(check_name(NameRule::PathSegment, metric["name"].text(), false));
  }
  check_selector(metric["selector"]);
}

void check_target(const Field& target) {
  const std::string type = target["type"].text();
  if (type.empty()) target["type"].required("must specify a metric target type");
  if (type != "Utilization" && type != "Value" && type != "AverageValue") {
    target["type"].with(json(type)).invalid("must be either Utilization, Value, or AverageValue");
  }
  for (const char* field : {"value", "averageValue"}) {
    if (target[field].set() && target[field].quantity().sign() != 1) {
      target[field].invalid_as(quote(target[field].quantity().to_string()), "must be positive");
    }
  }
  const Field percent = target["averageUtilization"];
  if (percent.set() && percent.number() < 1) percent.invalid("must be greater than 0");
}

void check_object(const Field& source) {
  check_reference(source["describedObject"]);
  check_metric_name(source["metric"]);
  const Field target = source["target"];
  check_target(target);
  if (!target["value"].set() && !target["averageValue"].set()) {
    target["averageValue"].required("must set either a target value for metric or a per-pod target");
  }
}

void check_pods(const Field& source) {
  check_metric_name(source["metric"]);
  const Field target = source["target"];
  check_target(target);
  if (target["averageValue"].quantity().sign() != 1)
    target["averageValue"].required("must specify a positive target averageValue");
}

void check_external(const Field& source) {
  check_metric_name(source["metric"]);
  const Field target = source["target"];
  check_target(target);
  const bool value = target["value"].set();
  const bool average = target["averageValue"].set();
  if (!value && !average)
    target["averageValue"].required("must set either a target value for metric or a per-pod target");
  if (value && average) target["value"].forbidden("may not set both a target value for metric and a per-pod target");
}

void check_resource(const Field& source) {
  if (source["name"].zero()) source["name"].required("must specify a resource name");
  const Field target = source["target"];
  check_target(target);
  const bool percent = target["averageUtilization"].set();
  const bool average = target["averageValue"].set();
  if (!percent && !average)
    target["averageUtilization"].required("must set either a target raw value or a target utilization");
  if (percent && average)
    target["averageValue"].forbidden("may not set both a target raw value and a target utilization");
}

void check_container_resource(const Field& source) {
  if (source["container"].zero()) source["container"].required("must specify a container");
  check_resource(source);
}

struct Source {
  const char* type;
  const char* field;
  void (*check)(const Field& source);
};

constexpr std::array<Source, 5> kSources = {{{"Object", "object", check_object},
                                             {"Pods", "pods", check_pods},
                                             {"Resource", "resource", check_resource},
                                             {"ContainerResource", "containerResource", check_container_resource},
                                             {"External", "external", check_external}}};

void check_metric(const Field& metric) {
  const std::string type = metric["type"].text();
  if (type.empty()) metric["type"].required("must specify a metric source type");
  const char* expected = nullptr;
  std::vector<std::string> known;
  std::vector<const char*> present;
  for (const Source& source : kSources) {
    known.emplace_back(source.type);
    if (type == source.type) expected = source.field;
    if (!metric[source.field].set()) continue;
    present.push_back(source.field);
    if (present.size() == 1) source.check(metric[source.field]);
  }
  if (expected == nullptr) {
    if (!type.empty()) metric["type"].not_supported(known);
    return;
  }
  if (!metric[expected].set()) metric[expected].required("must populate information for the given metric source");
  for (const char* field : present) {
    if (std::string_view(field) != expected) metric[field].forbidden("must populate the given metric source only");
  }
}

void check_scaling_rules(const Field& rules) {
  if (!rules.set()) return;
  const Field window = rules["stabilizationWindowSeconds"];
  if (window.number() < 0) window.invalid("must be greater than or equal to zero");
  if (window.number() > 3600) window.invalid("must be less than or equal to 3600");
  const Field select = rules["selectPolicy"];
  const std::string choice = select.text();
  if (select.set() && choice != "Max" && choice != "Min" && choice != "Disabled")
    select.not_supported({"Max", "Min", "Disabled"});
  const Field policies = rules["policies"];
  if (policies.zero()) policies.required("must specify at least one Policy");
  policies.each([](const Field& policy, std::size_t) {
    const std::string type = policy["type"].text();
    if (type != "Pods" && type != "Percent") policy["type"].not_supported({"Pods", "Percent"});
    if (policy["value"].number() <= 0)
      policy["value"].with(json(policy["value"].number())).invalid("must be greater than zero");
    const Field period = policy["periodSeconds"];
    if (period.number() <= 0) period.with(json(period.number())).invalid("must be greater than zero");
    if (period.number() > 1800) period.invalid("must be less than or equal to 1800");
  });
}

}  // namespace

void check_autoscaler(const Field& scaler) {
  const Field spec = scaler["spec"];
  const Field low = spec["minReplicas"];
  const Field high = spec["maxReplicas"];
  if (low.set() && low.number() < 1) low.invalid("must be greater than or equal to 1");
  if (!high.set())
    high.with(json(0)).invalid("must be greater than 0");  // The schema has the rule for a number that is there.
  if (low.set() && high.number() < low.number()) high.invalid("must be greater than or equal to `minReplicas`");
  check_reference(spec["scaleTargetRef"]);
  spec["metrics"].each([](const Field& metric, std::size_t) { check_metric(metric); });
  check_scaling_rules(spec["behavior"]["scaleUp"]);
  check_scaling_rules(spec["behavior"]["scaleDown"]);
}

}  // namespace kubernel::apiserver::validation
