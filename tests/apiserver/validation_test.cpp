// SPDX-License-Identifier: Apache-2.0
//
// The hand-written rules of each kind, through the whole pipeline: one row per rule, with the fields and words a client
// sees.
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "fixture.h"
#include "rule_rows.h"

namespace kubernel::apiserver {
namespace {

TEST(Validation, Metadata) {
  check_creates(
      api::resources::kConfigMaps, "default", R"({"metadata":{"name":"a"}})",
      {
          {"label key",
           R"({"metadata":{"labels":{"a b":"x"}}})",
           {R"(Invalid metadata.labels: Invalid value: "a b": name part must consist of alphanumeric characters, '-', '_' or '.', and must start and end with an alphanumeric character (e.g. 'MyName',  or 'my.name',  or '123-abc', regex used for validation is '([A-Za-z0-9][-A-Za-z0-9_.]*)?[A-Za-z0-9]'))"}},
          {"annotation keys may have upper case", R"({"metadata":{"annotations":{"A.example/B":"any thing"}}})", {}},
          {"finalizers are qualified",
           R"({"metadata":{"finalizers":["mine"]}})",
           {R"(Invalid metadata.finalizers: Invalid value: "mine": name is neither a standard finalizer name nor is it fully qualified)"}},
          {"one controller",
           R"({"metadata":{"ownerReferences":[{"apiVersion":"v1","kind":"Pod","name":"p","uid":"1","controller":true},
        {"apiVersion":"v1","kind":"Pod","name":"q","uid":"2","controller":true}]}})",
           {R"(Invalid metadata.ownerReferences: Invalid value: [{"apiVersion":"v1","controller":true,"kind":"Pod","name":"p","uid":"1"},{"apiVersion":"v1","controller":true,"kind":"Pod","name":"q","uid":"2"}]: Only one reference can have Controller set to true. Found "true" in references for p and q)"}},
      });
}

constexpr const char* kGoodPod = R"({"metadata":{"name":"p"},"spec":{"containers":[{"name":"c","image":"i"}]}})";

TEST(Validation, Containers) {
  check_creates(
      api::resources::kPods, "default", kGoodPod,
      {
          {"names and images",
           R"({"spec":{"containers":[{},{"name":"B","image":"i"},{"name":"c","image":" i"}]}})",
           {"Required spec.containers[0].name: Required value", "Required spec.containers[0].image: Required value",
            R"(Invalid spec.containers[1].name: Invalid value: "B": a lowercase RFC 1123 label must consist of lower case alphanumeric characters or '-', and must start and end with an alphanumeric character (e.g. 'my-name',  or '123-abc', regex used for validation is '[a-z0-9]([-a-z0-9]*[a-z0-9])?'))",
            R"(Invalid spec.containers[2].image: Invalid value: " i": must not have leading or trailing whitespace)"}},
          {"init containers share the names",
           R"({"spec":{"initContainers":[{"name":"c","image":"i","livenessProbe":{"exec":{"command":["x"]}}}]}})",
           {R"(Duplicate spec.initContainers[0].name: Duplicate value: "c")",
            "Forbidden spec.initContainers[0].livenessProbe: Forbidden: may not be set for init containers without "
            "restartPolicy=Always"}},
          {"ports",
           R"({"spec":{"containers":[{"name":"c","image":"i","ports":[{"containerPort":70000,"name":"Web"},{"name":"a"},
        {"containerPort":1,"hostPort":2},{"containerPort":3,"hostPort":2}]}]}})",
           {R"(Invalid spec.containers[0].ports[0].name: Invalid value: "Web": must contain only alpha-numeric characters (a-z, 0-9), and hyphens (-))",
            "Invalid spec.containers[0].ports[0].containerPort: Invalid value: 70000: must be between 1 and 65535, "
            "inclusive",
            "Required spec.containers[0].ports[1].containerPort: Required value",
            R"(Duplicate spec.containers[0].ports[3].hostPort: Duplicate value: "TCP//2")"}},
          {"environment",
           R"({"spec":{"containers":[{"name":"c","image":"i","env":[{"name":"a=b"},{"name":"x","valueFrom":{}},
        {"name":"y","value":"1","valueFrom":{"fieldRef":{"fieldPath":"spec.foo"}}}]}]}})",
           {R"(Invalid spec.containers[0].env[0].name: Invalid value: "a=b": a valid environment variable name must consist only of printable ASCII characters other than '=')",
            R"(Invalid spec.containers[0].env[1].valueFrom: Invalid value: "": must specify one of: `fieldRef`, `resourceFieldRef`, `configMapKeyRef`, `secretKeyRef` or `fileKeyRef`)",
            R"(Invalid spec.containers[0].env[2].valueFrom: Invalid value: "": may not be specified when `value` is not empty)",
            R"(Invalid spec.containers[0].env[2].valueFrom.fieldRef.fieldPath: Invalid value: "spec.foo": error converting fieldPath: field label not supported: spec.foo)"}},
          {"resources",
           R"({"spec":{"containers":[{"name":"c","image":"i","resources":{"limits":{"cpu":"1"},"requests":{"x":"1","cpu":"2"}}}]}})",
           {R"(Invalid spec.containers[0].resources.requests: Invalid value: "2": must be less than or equal to cpu limit of 1)",
            R"(Invalid spec.containers[0].resources.requests[x]: Invalid value: "x": must be a standard resource type or fully qualified)",
            R"(Invalid spec.containers[0].resources.requests[x]: Invalid value: "x": must be a standard resource for containers)"}},
          {"probes",
           R"({"spec":{"containers":[{"name":"c","image":"i","livenessProbe":{"successThreshold":2},
        "readinessProbe":{"exec":{"command":["a"]},"tcpSocket":{"port":1},"periodSeconds":-1}}]}})",
           {"Required spec.containers[0].livenessProbe: Required value: must specify a handler type",
            "Invalid spec.containers[0].livenessProbe.successThreshold: Invalid value: 2: must be 1",
            "Forbidden spec.containers[0].readinessProbe.tcpSocket: Forbidden: may not specify more than 1 handler "
            "type",
            "Invalid spec.containers[0].readinessProbe.periodSeconds: Invalid value: -1: must be greater than or equal "
            "to 0"}},
          {"mounts",
           R"({"spec":{"volumes":[{"name":"v","emptyDir":{}}],"containers":[{"name":"c","image":"i","volumeMounts":[
        {"name":"v","mountPath":"/a","subPath":"../x"},{"name":"w","mountPath":"/a"}]}]}})",
           {R"(Invalid spec.containers[0].volumeMounts[0].subPath: Invalid value: "../x": must not contain '..')",
            R"(NotFound spec.containers[0].volumeMounts[1].name: Not found: "w")",
            R"(Invalid spec.containers[0].volumeMounts[1].mountPath: Invalid value: "/a": must be unique)"}},
      });
}

TEST(Validation, PodSpec) {
  check_creates(
      api::resources::kPods, "default", kGoodPod,
      {
          {"a volume has one source",
           R"({"spec":{"volumes":[{"name":"v"},{"name":"w","emptyDir":{},"hostPath":{"path":"/x"}},{"name":"w","secret":{}}]}})",
           {"Forbidden spec.volumes[1].hostPath: Forbidden: may not specify more than 1 volume type",
            R"(Duplicate spec.volumes[2].name: Duplicate value: "w")",
            "Required spec.volumes[2].secret.secretName: Required value"}},
          {"DNS",
           R"({"spec":{"dnsPolicy":"None","hostname":"A","activeDeadlineSeconds":0}})",
           {"Invalid spec.activeDeadlineSeconds: Invalid value: 0: must be between 1 and 2147483647, inclusive",
            R"(Invalid spec.hostname: Invalid value: "A": a lowercase RFC 1123 label must consist of lower case alphanumeric characters or '-', and must start and end with an alphanumeric character (e.g. 'my-name',  or '123-abc', regex used for validation is '[a-z0-9]([-a-z0-9]*[a-z0-9])?'))",
            "Required spec.dnsConfig: Required value: must provide `dnsConfig` when `dnsPolicy` is None"}},
          {"placement",
           R"({"spec":{"tolerations":[{"operator":"Equal","value":"x"},{"key":"k","tolerationSeconds":3}],
        "affinity":{"nodeAffinity":{"requiredDuringSchedulingIgnoredDuringExecution":{"nodeSelectorTerms":[{"matchExpressions":[{"key":"a","operator":"In"}]}]}}},
        "topologySpreadConstraints":[{"maxSkew":0,"topologyKey":"zone","whenUnsatisfiable":"ScheduleAnyway","minDomains":2}]}})",
           {"Required "
            "spec.affinity.nodeAffinity.requiredDuringSchedulingIgnoredDuringExecution.nodeSelectorTerms[0]."
            "matchExpressions[0].values: Required value: must be specified when `operator` is 'In' or 'NotIn'",
            R"(Invalid spec.tolerations[0].operator: Invalid value: "Equal": operator must be Exists when `key` is empty, which means "match all values and all keys")",
            R"(Invalid spec.tolerations[1].effect: Invalid value: "": effect must be 'NoExecute' when `tolerationSeconds` is set)",
            "Invalid spec.topologySpreadConstraints[0].maxSkew: Invalid value: 0: must be greater than zero",
            "Invalid spec.topologySpreadConstraints[0].minDomains: Invalid value: 2: can only use minDomains if "
            "whenUnsatisfiable=DoNotSchedule, not ScheduleAnyway"}},
      });
}

TEST(Validation, PodUpdates) {
  check_updates(
      api::resources::kPods, "default",
      R"({"metadata":{"name":"p"},"spec":{"activeDeadlineSeconds":9,"containers":[{"name":"c","image":"i"}]}})",
      {
          {"the image may change",
           R"({"spec":{"containers":[{"name":"c","image":"j","imagePullPolicy":"Always","terminationMessagePath":"/dev/termination-log","terminationMessagePolicy":"File","resources":{}}]}})",
           {"Forbidden spec: Forbidden: pod updates may not change fields other than "
            "`spec.containers[*].image`,`spec.initContainers[*].image`,`spec.activeDeadlineSeconds`,`spec.tolerations` "
            "(only additions to existing tolerations),`spec.terminationGracePeriodSeconds` (allow it to be set to 1 if "
            "it was previously negative)"}},
          {"the deadline only shrinks",
           R"({"spec":{"activeDeadlineSeconds":10}})",
           {"Invalid spec.activeDeadlineSeconds: Invalid value: 10: must be less than or equal to previous value"}},
          {"containers stay",
           R"({"spec":{"containers":[{"name":"c","image":"i"},{"name":"d","image":"i"}]}})",
           {"Forbidden spec.containers: Forbidden: pod updates may not add or remove containers"}},
          {"labels may change", R"({"metadata":{"labels":{"a":"b"}}})", {}},
      });
}

TEST(Validation, Services) {
  check_creates(
      api::resources::kServices, "default", R"({"metadata":{"name":"s"},"spec":{"ports":[{"port":80}]}})",
      {
          {"ports", R"({"spec":{"ports":[]}})", {"Required spec.ports: Required value"}},
          {"headless without ports", R"({"spec":{"clusterIP":"None","ports":null}})", {}},
          {"several ports have names",
           R"({"spec":{"ports":[{"port":80},{"port":81,"name":"a"},{"port":0,"name":"a","targetPort":"X"}]}})",
           {"Required spec.ports[0].name: Required value", R"(Duplicate spec.ports[2].name: Duplicate value: "a")",
            "Invalid spec.ports[2].port: Invalid value: 0: must be between 1 and 65535, inclusive",
            R"(Invalid spec.ports[2].targetPort: Invalid value: "X": must contain only alpha-numeric characters (a-z, 0-9), and hyphens (-))",
            R"(Invalid spec.ports[2].targetPort: Invalid value: "X": must contain at least one letter (a-z))"}},
          {"node ports of a cluster service",
           R"({"spec":{"ports":[{"port":80,"nodePort":30000}]}})",
           {"Forbidden spec.ports[0].nodePort: Forbidden: may not be used when `type` is 'ClusterIP'"}},
          {"an external name",
           R"({"spec":{"type":"ExternalName","ports":null}})",
           {"Required spec.externalName: Required value"}},
          {"affinity",
           R"({"spec":{"sessionAffinity":"ClientIP","sessionAffinityConfig":{"clientIP":{"timeoutSeconds":0}}}})",
           {"Invalid spec.sessionAffinityConfig.clientIP.timeoutSeconds: Invalid value: 0: must be greater than 0 and "
            "less than 86400"}},
      });
}

TEST(Validation, Deployments) {
  check_creates(
      api::resources::kDeployments, "default", std::string(kDeployment).c_str(),
      {
          {"selector",
           R"({"spec":{"selector":{"matchLabels":{"app":"other"}},"replicas":-1}})",
           {"Invalid spec.replicas: Invalid value: -1: must be greater than or equal to 0",
            R"(Invalid spec.template.metadata.labels: Invalid value: {"app":"web"}: `selector` does not match template `labels`)"}},
          {"no selector", R"({"spec":{"selector":null}})", {"Required spec.selector: Required value"}},
          {"an empty selector",
           R"({"spec":{"selector":{"matchLabels":null}}})",
           {"Invalid spec.selector: Invalid value: {}: empty selector is invalid for deployment"}},
          {"nothing may move",
           R"({"spec":{"strategy":{"rollingUpdate":{"maxSurge":0,"maxUnavailable":0}}}})",
           {"Invalid spec.strategy.rollingUpdate.maxUnavailable: Invalid value: 0: may not be 0 when `maxSurge` is 0"}},
          {"restart policy",
           R"({"spec":{"template":{"spec":{"restartPolicy":"Never"}}}})",
           {R"(NotSupported spec.template.spec.restartPolicy: Unsupported value: "Never": supported values: "Always")"}},
          {"progress",
           R"({"spec":{"progressDeadlineSeconds":5,"minReadySeconds":5}})",
           {"Invalid spec.progressDeadlineSeconds: Invalid value: 5: must be greater than minReadySeconds"}},
      });
  check_updates(
      api::resources::kDeployments, "default", std::string(kDeployment).c_str(),
      {
          {"the selector stays",
           R"({"spec":{"selector":{"matchLabels":{"app":"b"}},"template":{"metadata":{"labels":{"app":"b"}}}}})",
           {R"(Invalid spec.selector: Invalid value: {"matchLabels":{"app":"b"}}: field is immutable)"}},
          {"the image changes", R"({"spec":{"template":{"spec":{"containers":[{"name":"c","image":"other"}]}}}})", {}},
      });
}

TEST(Validation, Jobs) {
  constexpr const char* kJob =
      R"({"metadata":{"name":"j"},"spec":{"template":{"spec":{"restartPolicy":"Never","containers":[{"name":"c","image":"i"}]}}}})";
  check_creates(
      api::resources::kJobs, "default", kJob,
      {
          {"restart policy",
           R"({"spec":{"template":{"spec":{"restartPolicy":null}},"parallelism":-1}})",
           {"Invalid spec.parallelism: Invalid value: -1: must be greater than or equal to 0",
            R"(Required spec.template.spec.restartPolicy: Required value: valid values: "OnFailure", "Never")"}},
          {"indexed", R"({"spec":{"completionMode":"Indexed"}})", {}},
          {"per index",
           R"({"spec":{"backoffLimitPerIndex":1}})",
           {"Invalid spec.backoffLimitPerIndex: Invalid value: 1: requires indexed completion mode"}},
      });
  check_updates(api::resources::kJobs, "default", kJob,
                {
                    {"parallelism changes", R"({"spec":{"parallelism":3}})", {}},
                    {"completions stay",
                     R"({"spec":{"completions":3}})",
                     {"Invalid spec.completions: Invalid value: 3: field is immutable"}},
                });
}

TEST(Validation, CronJobs) {
  check_creates(
      api::resources::kCronJobs, "default",
      R"({"metadata":{"name":"j"},"spec":{"schedule":"*/5 0-6,9 1 JAN-mar ?","jobTemplate":{"spec":{"template":{"spec":{"restartPolicy":"Never","containers":[{"name":"c","image":"i"}]}}}}}})",
      {
          {"fields",
           R"({"spec":{"schedule":"* * *"}})",
           {R"(Invalid spec.schedule: Invalid value: "* * *": expected exactly 5 fields, found 3: [* * *])"}},
          {"bounds",
           R"({"spec":{"schedule":"60 * * * *"}})",
           {R"(Invalid spec.schedule: Invalid value: "60 * * * *": end of range (60) above maximum (59): 60)"}},
          {"descriptor", R"({"spec":{"schedule":"@daily"}})", {}},
          {"zone",
           R"({"spec":{"schedule":"TZ=UTC 0 0 * * *"}})",
           {R"(Invalid spec.schedule: Invalid value: "TZ=UTC 0 0 * * *": cannot use TZ or CRON_TZ in schedule, use timeZone field instead)"}},
      });
}

TEST(Validation, AStatusWriteDoesNotAskForTheRulesOfTheSpec) {
  Fixture f;
  const auto made = f.create(api::resources::kDeployments, "default", kDeployment);
  json object = made.to_json();
  object["spec"]["replicas"] = -1;
  object["status"]["replicas"] = 2;
  const auto updated =
      f.client().update({}, api::resources::kDeployments, made.key(), object, {.subresource = "status"});
  ASSERT_TRUE(updated) << updated.error().message();
  EXPECT_EQ((*updated)["spec"]["replicas"].integer(), 1);
}

}  // namespace
}  // namespace kubernel::apiserver
