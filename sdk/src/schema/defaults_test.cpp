// SPDX-License-Identifier: Apache-2.0
#include <kubernel/schema/codec.h>

#include <gtest/gtest.h>

namespace kubernel::schema {
namespace {

using nlohmann::json;

struct Row {
  const char* group;
  const char* version;
  const char* kind;
  const char* before;
  const char* after;
};

std::ostream& operator<<(std::ostream& out, const Row& row) {
  return out << row.kind << " " << row.before;
}

json defaulted(const Row& row, json document) {
  apply_defaults(*find_kind(row.group, row.version, row.kind), document);
  return document;
}

class Defaults : public testing::TestWithParam<Row> {};

TEST_P(Defaults, AreUpstreams) {
  const json result = defaulted(GetParam(), json::parse(GetParam().before));
  EXPECT_EQ(result.dump(), json::parse(GetParam().after).dump());
  EXPECT_EQ(defaulted(GetParam(), result).dump(), result.dump()) << "must be idempotent";
}

#define CONTAINER_DEFAULTS "\"terminationMessagePath\":\"/dev/termination-log\",\"terminationMessagePolicy\":\"File\""
#define POD_DEFAULTS                                                                    \
  "\"dnsPolicy\":\"ClusterFirst\",\"restartPolicy\":\"Always\",\"securityContext\":{}," \
  "\"terminationGracePeriodSeconds\":30,\"schedulerName\":\"default-scheduler\""

INSTANTIATE_TEST_SUITE_P(
    Core, Defaults,
    testing::Values(
        Row{"", "v1", "Pod",
            R"({"spec":{"containers":[{"name":"a","image":"busybox","ports":[{"containerPort":80}],
                "livenessProbe":{"httpGet":{"port":80}},"resources":{"limits":{"cpu":"1","memory":"1Gi"},"requests":{"cpu":"0.1005"}}},
                {"name":"b","image":"r:5000/x"},{"name":"c","image":"r:5000/x:v1"},{"name":"d","image":"x@sha256:00"}]}})",
            R"({"spec":{"enableServiceLinks":true,)" POD_DEFAULTS R"(,"containers":[
                {"name":"a","image":"busybox","imagePullPolicy":"Always",)" CONTAINER_DEFAULTS R"(,
                 "ports":[{"containerPort":80,"protocol":"TCP"}],
                 "livenessProbe":{"httpGet":{"port":80,"path":"/","scheme":"HTTP"},"timeoutSeconds":1,"periodSeconds":10,
                                  "successThreshold":1,"failureThreshold":3},
                 "resources":{"limits":{"cpu":"1","memory":"1Gi"},"requests":{"cpu":"101m","memory":"1Gi"}}},
                {"name":"b","image":"r:5000/x","imagePullPolicy":"Always",)" CONTAINER_DEFAULTS R"(},
                {"name":"c","image":"r:5000/x:v1","imagePullPolicy":"IfNotPresent",)" CONTAINER_DEFAULTS R"(},
                {"name":"d","image":"x@sha256:00","imagePullPolicy":"IfNotPresent",)" CONTAINER_DEFAULTS R"(}]}})"},
        Row{"", "v1", "Pod",
            R"({"spec":{"hostNetwork":true,"containers":[{"image":"a:1","ports":[{"containerPort":80}]}],
                "volumes":[{"name":"e"},{"name":"s","secret":{}},{"name":"h","hostPath":{"path":"/"}},
                           {"name":"p","projected":{"sources":[{"serviceAccountToken":{"path":"t"}}]}}],
                "resources":{"limits":{"cpu":"2"}}}})",
            R"({"spec":{"enableServiceLinks":true,"hostNetwork":true,)" POD_DEFAULTS R"(,
                "containers":[{"image":"a:1","imagePullPolicy":"IfNotPresent",)" CONTAINER_DEFAULTS R"(,
                               "ports":[{"containerPort":80,"hostPort":80,"protocol":"TCP"}]}],
                "volumes":[{"name":"e","emptyDir":{}},{"name":"s","secret":{"defaultMode":420}},
                           {"name":"h","hostPath":{"path":"/","type":""}},
                           {"name":"p","projected":{"defaultMode":420,
                             "sources":[{"serviceAccountToken":{"path":"t","expirationSeconds":3600}}]}}],
                "resources":{"limits":{"cpu":"2"},"requests":{"cpu":"2"}}}})"},
        Row{"", "v1", "Service", R"({"spec":{"ports":[{"port":80},{"port":81,"targetPort":"x","protocol":"UDP"}]}})",
            R"({"spec":{"ports":[{"port":80,"targetPort":80,"protocol":"TCP"},{"port":81,"targetPort":"x","protocol":"UDP"}],
                "sessionAffinity":"None","type":"ClusterIP","internalTrafficPolicy":"Cluster"}})"},
        Row{"", "v1", "Service", R"({"spec":{"type":"LoadBalancer","sessionAffinity":"ClientIP"},
                "status":{"loadBalancer":{"ingress":[{"ip":"1.2.3.4"},{"hostname":"h"}]}}})",
            R"({"spec":{"type":"LoadBalancer","sessionAffinity":"ClientIP","externalTrafficPolicy":"Cluster",
                "sessionAffinityConfig":{"clientIP":{"timeoutSeconds":10800}},"internalTrafficPolicy":"Cluster",
                "allocateLoadBalancerNodePorts":true},
                "status":{"loadBalancer":{"ingress":[{"ip":"1.2.3.4","ipMode":"VIP"},{"hostname":"h"}]}}})"},
        Row{"", "v1", "Service", R"({"spec":{"type":"ExternalName","externalName":"a.b"}})",
            R"({"spec":{"type":"ExternalName","externalName":"a.b","sessionAffinity":"None"}})"},
        Row{"", "v1", "Namespace", R"({"metadata":{"name":"a"}})",
            R"({"metadata":{"name":"a","labels":{"kubernetes.io/metadata.name":"a"}},"status":{"phase":"Active"}})"},
        Row{"", "v1", "Node", R"({"status":{"capacity":{"cpu":"2","memory":"1000.0005"}}})",
            R"({"status":{"capacity":{"cpu":"2","memory":"1000001m"},"allocatable":{"cpu":"2","memory":"1000001m"}}})"},
        Row{"", "v1", "Secret", R"({"data":{}})", R"({"data":{},"type":"Opaque"})"},
        Row{"", "v1", "ConfigMap", R"({})", R"({})"},
        Row{"", "v1", "LimitRange",
            R"({"spec":{"limits":[{"type":"Container","max":{"cpu":"1"},"min":{"memory":"1Mi"}},{"type":"Pod","max":{"cpu":"1"}}]}})",
            R"({"spec":{"limits":[{"type":"Container","max":{"cpu":"1"},"min":{"memory":"1Mi"},"default":{"cpu":"1"},
                "defaultRequest":{"cpu":"1","memory":"1Mi"}},{"type":"Pod","max":{"cpu":"1"}}]}})"},
        Row{"", "v1", "PersistentVolumeClaim", R"({"spec":{"accessModes":["ReadWriteOnce"]}})",
            R"({"spec":{"accessModes":["ReadWriteOnce"],"volumeMode":"Filesystem"},"status":{"phase":"Pending"}})"}));

INSTANTIATE_TEST_SUITE_P(
    Groups, Defaults,
    testing::Values(
        Row{"apps", "v1", "Deployment", R"({"spec":{"template":{"spec":{"containers":[{"image":"a:1"}]}}}})",
            R"({"spec":{"replicas":1,"revisionHistoryLimit":10,"progressDeadlineSeconds":600,
                "strategy":{"type":"RollingUpdate","rollingUpdate":{"maxSurge":"25%","maxUnavailable":"25%"}},
                "template":{"spec":{)" POD_DEFAULTS
            R"(,"containers":[{"image":"a:1","imagePullPolicy":"IfNotPresent",)" CONTAINER_DEFAULTS R"(}]}}}})"},
        Row{"apps", "v1", "StatefulSet",
            R"({"spec":{"replicas":0,"template":{"spec":{)" POD_DEFAULTS
            R"(}},"volumeClaimTemplates":[{"metadata":{"name":"d"}}]}})",
            R"({"spec":{"replicas":0,"revisionHistoryLimit":10,"podManagementPolicy":"OrderedReady",
                "persistentVolumeClaimRetentionPolicy":{"whenDeleted":"Retain","whenScaled":"Retain"},
                "updateStrategy":{"type":"RollingUpdate","rollingUpdate":{"partition":0}},
                "template":{"spec":{)" POD_DEFAULTS R"(}},
                "volumeClaimTemplates":[{"apiVersion":"v1","kind":"PersistentVolumeClaim","metadata":{"name":"d"},"spec":{"volumeMode":"Filesystem"},"status":{"phase":"Pending"}}]}})"},
        Row{"apps", "v1", "DaemonSet",
            R"({"spec":{"updateStrategy":{"type":"OnDelete"},"template":{"spec":{)" POD_DEFAULTS R"(}}}})",
            R"({"spec":{"revisionHistoryLimit":10,"updateStrategy":{"type":"OnDelete"},"template":{"spec":{)" POD_DEFAULTS
            R"(}}}})"},
        Row{"batch", "v1", "Job",
            R"({"spec":{"backoffLimitPerIndex":1,"template":{"metadata":{"labels":{"a":"b"}},"spec":{)" POD_DEFAULTS
            R"(}},
                "podFailurePolicy":{"rules":[{"onPodConditions":[{"type":"X"}]}]}}})",
            R"({"metadata":{"labels":{"a":"b"}},"spec":{"backoffLimitPerIndex":1,"backoffLimit":2147483647,"completions":1,
                "parallelism":1,"completionMode":"NonIndexed","suspend":false,"manualSelector":false,
                "podReplacementPolicy":"Failed",
                "podFailurePolicy":{"rules":[{"onPodConditions":[{"type":"X","status":"True"}]}]},
                "template":{"metadata":{"labels":{"a":"b"}},"spec":{)" POD_DEFAULTS R"(}}}})"},
        Row{"batch", "v1", "CronJob",
            R"({"spec":{"jobTemplate":{"spec":{"template":{"spec":{)" POD_DEFAULTS R"(}}}}}})",
            R"({"spec":{"concurrencyPolicy":"Allow","suspend":false,"successfulJobsHistoryLimit":3,"failedJobsHistoryLimit":1,
                "jobTemplate":{"spec":{"template":{"spec":{)" POD_DEFAULTS R"(}}}}}})"},
        Row{"autoscaling", "v2", "HorizontalPodAutoscaler",
            R"({"spec":{"behavior":{"scaleDown":{"selectPolicy":"Min"}}}})",
            R"({"spec":{"minReplicas":1,
                "metrics":[{"type":"Resource","resource":{"name":"cpu","target":{"type":"Utilization","averageUtilization":80}}}],
                "behavior":{"scaleUp":{"stabilizationWindowSeconds":0,"selectPolicy":"Max","policies":[
                  {"type":"Pods","value":4,"periodSeconds":15},{"type":"Percent","value":100,"periodSeconds":15}]},
                  "scaleDown":{"selectPolicy":"Min","policies":[{"type":"Percent","value":100,"periodSeconds":15}]}}}})"},
        Row{"networking.k8s.io", "v1", "NetworkPolicy", R"({"spec":{"egress":[{"ports":[{"port":80}]}]}})",
            R"({"spec":{"egress":[{"ports":[{"port":80,"protocol":"TCP"}]}],"policyTypes":["Ingress","Egress"]}})"},
        Row{"rbac.authorization.k8s.io", "v1", "RoleBinding",
            R"({"roleRef":{"kind":"Role","name":"r"},"subjects":[{"kind":"User","name":"u"},{"kind":"ServiceAccount","name":"s"}]})",
            R"({"roleRef":{"apiGroup":"rbac.authorization.k8s.io","kind":"Role","name":"r"},"subjects":[
                {"kind":"User","name":"u","apiGroup":"rbac.authorization.k8s.io"},{"kind":"ServiceAccount","name":"s"}]})"},
        Row{"storage.k8s.io", "v1", "StorageClass", R"({"provisioner":"p"})",
            R"({"provisioner":"p","reclaimPolicy":"Delete","volumeBindingMode":"Immediate"})"},
        Row{"discovery.k8s.io", "v1", "EndpointSlice", R"({"ports":[{"port":1}]})",
            R"({"ports":[{"port":1,"name":"","protocol":"TCP"}]})"},
        Row{"apiextensions.k8s.io", "v1", "CustomResourceDefinition",
            R"({"spec":{"names":{"kind":"Foo","plural":"foos"},"versions":[{"name":"v1","storage":false},{"name":"v2","storage":true}]}})",
            R"({"spec":{"names":{"kind":"Foo","plural":"foos","singular":"foo","listKind":"FooList"},
                "versions":[{"name":"v1","storage":false},{"name":"v2","storage":true}],"conversion":{"strategy":"None"}},
                "status":{"storedVersions":["v2"]}})"},
        Row{"resource.k8s.io", "v1", "ResourceClaim",
            R"({"spec":{"devices":{"requests":[{"name":"a","exactly":{"deviceClassName":"c"}}]}}})",
            R"({"spec":{"devices":{"requests":[{"name":"a","exactly":{"deviceClassName":"c","allocationMode":"ExactCount","count":1}}]}}})"}));

TEST(ApplyDefaults, TakesAnEmptyObjectOfEveryType) {
  for (const Type* type : types()) {
    json document = json::object();
    EXPECT_NO_THROW(apply_defaults(*type, document)) << type->id;
  }
}

}  // namespace
}  // namespace kubernel::schema
