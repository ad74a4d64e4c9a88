// SPDX-License-Identifier: Apache-2.0
//
// The hand-written rules of kinds that hold no pods, through the whole pipeline.
#include "rule_rows.h"

namespace kubernel::apiserver {
namespace {

const api::Resource kCertificateSigningRequests{"certificates.k8s.io", "v1", "certificatesigningrequests"};
const api::Resource kHorizontalPodAutoscalers{"autoscaling", "v2", "horizontalpodautoscalers"};
const api::Resource kIngressClasses{"networking.k8s.io", "v1", "ingressclasses"};
const api::Resource kIngresses{"networking.k8s.io", "v1", "ingresses"};
const api::Resource kLimitRanges{"", "v1", "limitranges"};
const api::Resource kMutatingWebhookConfigurations{"admissionregistration.k8s.io", "v1",
                                                   "mutatingwebhookconfigurations"};
const api::Resource kNetworkPolicies{"networking.k8s.io", "v1", "networkpolicies"};
const api::Resource kPodDisruptionBudgets{"policy", "v1", "poddisruptionbudgets"};
const api::Resource kResourceQuotas{"", "v1", "resourcequotas"};
const api::Resource kRuntimeClasses{"node.k8s.io", "v1", "runtimeclasses"};
const api::Resource kStorageClasses{"storage.k8s.io", "v1", "storageclasses"};
const api::Resource kValidatingWebhookConfigurations{"admissionregistration.k8s.io", "v1",
                                                     "validatingwebhookconfigurations"};

TEST(ObjectRules, IngressClasses) {
  constexpr const char* kClass = R"({"metadata":{"name":"c"},"spec":{"controller":"acme.io/foo"}})";
  check_creates(
      kIngressClasses, "", kClass,
      {
          {"a controller is a path below a domain",
           R"({"spec":{"controller":"acme"}})",
           {R"(Invalid spec.controller: Invalid value: "acme": must be a domain-prefixed path (such as "acme.io/foo"))"}},
          {"and there is one", R"({"spec":{"controller":""}})", {"Required spec.controller: Required value"}},
          {"the path is one of HTTP",
           R"({"spec":{"controller":"acme.io/a b"}})",
           {R"(Invalid spec.controller: Invalid value: "a b": Invalid path (regex used for validation is '[A-Za-z0-9/\-._~%!$&'()*+,;=:]+'))"}},
          {"scope of parameters: Cluster by default", R"({"spec":{"parameters":{"kind":"K","name":"n"}}})", {}},
          {"a namespace for the scope Namespace",
           R"({"spec":{"parameters":{"kind":"K","name":"n","scope":"Namespace"}}})",
           {"Required spec.parameters.namespace: Required value: `parameters.scope` is set to 'Namespace'"}},
          {"none for the scope Cluster",
           R"({"spec":{"parameters":{"kind":"K","name":"n","scope":"Cluster","namespace":"x"}}})",
           {"Forbidden spec.parameters.namespace: Forbidden: `parameters.scope` is set to 'Cluster'"}},
          {"no other scope",
           R"({"spec":{"parameters":{"kind":"K","name":"n","scope":"World"}}})",
           {R"(NotSupported spec.parameters.scope: Unsupported value: "World": supported values: "Cluster", "Namespace")"}},
      });
  check_updates(kIngressClasses, "", kClass,
                {
                    {"the controller stays",
                     R"({"spec":{"controller":"acme.io/bar"}})",
                     {R"(Invalid spec.controller: Invalid value: "acme.io/bar": field is immutable)"}},
                });
}

TEST(ObjectRules, RuntimeClasses) {
  constexpr const char* kClass = R"({"metadata":{"name":"c"},"handler":"runc"})";
  check_creates(
      kRuntimeClasses, "", kClass,
      {
          {"a handler is a label",
           R"({"handler":"Run"})",
           {R"(Invalid handler: Invalid value: "Run": a lowercase RFC 1123 label must consist of lower case alphanumeric characters or '-', and must start and end with an alphanumeric character (e.g. 'my-name',  or '123-abc', regex used for validation is '[a-z0-9]([-a-z0-9]*[a-z0-9])?'))"}},
          {"overhead is of resources",
           R"({"overhead":{"podFixed":{"cpu":"-1"}}})",
           {R"(Invalid overhead.podFixed[cpu]: Invalid value: "-1": must be greater than or equal to 0)"}},
          {"tolerations",
           R"({"scheduling":{"tolerations":[{"operator":"Equal","value":"x"}]}})",
           {R"(Invalid scheduling.tolerations[0].operator: Invalid value: "Equal": operator must be Exists when `key` is empty, which means "match all values and all keys")"}},
      });
  check_updates(kRuntimeClasses, "", kClass,
                {
                    {"the handler stays",
                     R"({"handler":"kata"})",
                     {R"(Invalid handler: Invalid value: "kata": field is immutable)"}},
                });
}

TEST(ObjectRules, SigningRequests) {
  // base64 of a PEM block with that title; what is in it is its signer's business.
  constexpr const char* kRequest =
      R"({"metadata":{"name":"c"},"spec":{"signerName":"example.com/signer","usages":["client auth"],
        "request":"LS0tLS1CRUdJTiBDRVJUSUZJQ0FURSBSRVFVRVNULS0tLS0K"}})";
  check_creates(
      kCertificateSigningRequests, "", kRequest,
      {
          {"a request is PEM",
           R"({"spec":{"request":"eA=="}})",
           {R"(Invalid spec.request: Invalid value: "eA==": PEM block type must be CERTIFICATE REQUEST)"}},
          {"usages", R"({"spec":{"usages":null}})", {"Required spec.usages: Required value"}},
          {"not shorter than ten minutes",
           R"({"spec":{"expirationSeconds":599}})",
           {"Invalid spec.expirationSeconds: Invalid value: 599: may not specify a duration less than 600 seconds (10 "
            "minutes)"}},
          {"a signer has a domain and a path",
           R"({"spec":{"signerName":"signer"}})",
           {R"(Invalid spec.signerName: Invalid value: "signer": must be a fully qualified domain and path of the form 'example.com/signer-name')"}},
          {"of two words at least",
           R"({"spec":{"signerName":"com/signer"}})",
           {R"(Invalid spec.signerName: Invalid value: "com": should be a domain with at least two segments separated by dots)"}},
      });
}

constexpr const char* kWebhooks = R"({"metadata":{"name":"w"},"webhooks":[{"name":"a.example.com","sideEffects":"None",
  "admissionReviewVersions":["v1"],"clientConfig":{"url":"https://example.com/a"},
  "rules":[{"operations":["CREATE"],"apiGroups":[""],"apiVersions":["v1"],"resources":["pods"]}]}]})";

// A merge patch replaces lists whole, so a row's webhook is made of this and the row's members.
std::string webhook(const char* members) {
  json hook = json::parse(kWebhooks)["webhooks"][0];
  hook.merge_patch(json::parse(members));
  return json{{"webhooks", json::array({hook})}}.dump();
}

TEST(ObjectRules, Webhooks) {
  struct {
    const char* rule;
    const char* members;
    std::vector<std::string> causes;
  } const kRows[] = {
      {"a name of three words",
       R"({"name":"example.com"})",
       {R"(Invalid webhooks[0].name: Invalid value: "example.com": should be a domain with at least three segments separated by dots)"}},
      {"side effects are said, and harmless",
       R"({"sideEffects":"Some"})",
       {R"(NotSupported webhooks[0].sideEffects: Unsupported value: "Some": supported values: "None", "NoneOnDryRun")"}},
      {"a timeout of up to half a minute",
       R"({"timeoutSeconds":31})",
       {"Invalid webhooks[0].timeoutSeconds: Invalid value: 31: the timeout value must be between 1 and 30 seconds"}},
      {"one client",
       R"({"clientConfig":{"url":null}})",
       {"Required webhooks[0].clientConfig: Required value: exactly one of url or service is required"}},
      {"https only",
       R"({"clientConfig":{"url":"http://example.com"}})",
       {R"(Invalid webhooks[0].clientConfig.url: Invalid value: "http": 'https' is the only allowed URL scheme; desired format: https://host[/path])"}},
      {"no query",
       R"({"clientConfig":{"url":"https://example.com/a?b=c"}})",
       {R"(Invalid webhooks[0].clientConfig.url: Invalid value: "b=c": query parameters are not permitted in the URL)"}},
      {"a service's path",
       R"({"clientConfig":{"url":null,"service":{"namespace":"n","name":"s","path":"a//b","port":70000}}})",
       {R"(Invalid webhooks[0].clientConfig.service.path: Invalid value: "a//b": must start with a '/')",
        R"(Invalid webhooks[0].clientConfig.service.path: Invalid value: "a//b": segment[0] may not be empty)",
        R"(Invalid webhooks[0].clientConfig.service.path: Invalid value: "a//b": segment[1] may not be empty)",
        "Invalid webhooks[0].clientConfig.service.port: Invalid value: 70000: port is not valid: must be between 1 and "
        "65535, inclusive"}},
      {"a version the server speaks",
       R"({"admissionReviewVersions":["v2"]})",
       {R"(Invalid webhooks[0].admissionReviewVersions: Invalid value: ["v2"]: must include at least one of v1, v1beta1)"}},
      {"a star stands alone",
       R"({"rules":[{"operations":["*","CREATE"],"apiGroups":["*","a"],"apiVersions":["*"],"resources":["*/*","pods"]}]})",
       {R"(Invalid webhooks[0].rules[0].operations: Invalid value: ["*","CREATE"]: if '*' is present, must not specify other operations)",
        R"(Invalid webhooks[0].rules[0].apiGroups: Invalid value: ["*","a"]: if '*' is present, must not specify other API groups)",
        R"(Invalid webhooks[0].rules[0].resources: Invalid value: ["*/*","pods"]: if '*/*' is present, must not specify other resources)"}},
      {"a rule has resources",
       R"({"rules":[{"operations":["CREATE"],"apiGroups":[""],"apiVersions":["v1"]}]})",
       {"Required webhooks[0].rules[0].resources: Required value"}},
  };
  for (const auto& row : kRows) {
    const std::string change = webhook(row.members);
    check_creates(kValidatingWebhookConfigurations, "", kWebhooks, {{row.rule, change.c_str(), row.causes}});
    check_creates(kMutatingWebhookConfigurations, "", kWebhooks, {{row.rule, change.c_str(), row.causes}});
  }
}

TEST(ObjectRules, Autoscalers) {
  check_creates(
      kHorizontalPodAutoscalers, "default",
      R"({"metadata":{"name":"h"},"spec":{"maxReplicas":3,"scaleTargetRef":{"kind":"Deployment","name":"d"}}})",
      {
          {"bounds",
           R"({"spec":{"minReplicas":0,"maxReplicas":-1}})",
           {"Invalid spec.minReplicas: Invalid value: 0: must be greater than or equal to 1",
            "Invalid spec.maxReplicas: Invalid value: -1: must be greater than or equal to 1",
            "Invalid spec.maxReplicas: Invalid value: -1: must be greater than or equal to `minReplicas`"}},
          {"in order",
           R"({"spec":{"minReplicas":4}})",
           {"Invalid spec.maxReplicas: Invalid value: 3: must be greater than or equal to `minReplicas`"}},
          {"a metric has its source",
           R"({"spec":{"metrics":[{"type":"Resource"}]}})",
           {"Required spec.metrics[0].resource: Required value: must populate information for the given metric "
            "source"}},
          {"and only it",
           R"({"spec":{"metrics":[{"type":"Resource","resource":{"name":"cpu","target":{"type":"Utilization","averageUtilization":50}},
        "pods":{"metric":{"name":"m"},"target":{"type":"AverageValue","averageValue":"1"}}}]}})",
           {"Forbidden spec.metrics[0].pods: Forbidden: must populate the given metric source only"}},
          {"one target",
           R"({"spec":{"metrics":[{"type":"Resource","resource":{"name":"cpu","target":{"type":"Utilization","averageUtilization":0,"averageValue":"1"}}}]}})",
           {"Forbidden spec.metrics[0].resource.target.averageValue: Forbidden: may not set both a target raw value "
            "and a target utilization",
            "Invalid spec.metrics[0].resource.target.averageUtilization: Invalid value: 0: must be greater than 0"}},
          {"behaviour",
           R"({"spec":{"behavior":{"scaleUp":{"stabilizationWindowSeconds":3601,"policies":[{"type":"Pods","value":0,"periodSeconds":1801}]}}}})",
           {"Invalid spec.behavior.scaleUp.stabilizationWindowSeconds: Invalid value: 3601: must be less than or equal "
            "to 3600",
            "Invalid spec.behavior.scaleUp.policies[0].value: Invalid value: 0: must be greater than zero",
            "Invalid spec.behavior.scaleUp.policies[0].periodSeconds: Invalid value: 1801: must be less than or equal "
            "to 1800"}},
      });
}

TEST(ObjectRules, PersistentVolumesAndClaims) {
  constexpr const char* kVolume =
      R"({"metadata":{"name":"v"},"spec":{"accessModes":["ReadWriteOnce"],"capacity":{"storage":"1Gi"},"hostPath":{"path":"/x"}}})";
  check_creates(
      api::resources::kPersistentVolumes, "", kVolume,
      {
          {"one source",
           R"({"spec":{"nfs":{"server":"s","path":"/p"}}})",
           {"Forbidden spec.nfs: Forbidden: may not specify more than 1 volume type"}},
          {"a source", R"({"spec":{"hostPath":null}})", {"Required spec: Required value: must specify a volume type"}},
          {"a capacity",
           R"({"spec":{"capacity":{"storage":"0"}}})",
           {R"(Invalid spec.capacity[storage]: Invalid value: "0": must be greater than zero)"}},
          {"access modes", R"({"spec":{"accessModes":null}})", {"Required spec.accessModes: Required value"}},
          {"a local volume is somewhere",
           R"({"spec":{"hostPath":null,"local":{"path":"/x"}}})",
           {"Required spec.nodeAffinity: Required value: Local volume requires node affinity"}},
      });
  check_updates(api::resources::kPersistentVolumes, "", kVolume,
                {
                    {"the source stays",
                     R"({"spec":{"hostPath":{"path":"/y"}}})",
                     {"Forbidden spec.persistentvolumesource: Forbidden: spec.persistentvolumesource is immutable "
                      "after creation"}},
                    {"the capacity may change", R"({"spec":{"capacity":{"storage":"2Gi"}}})", {}},
                });
  constexpr const char* kClaim =
      R"({"metadata":{"name":"c"},"spec":{"accessModes":["ReadWriteOnce"],"resources":{"requests":{"storage":"1Gi"}}}})";
  check_creates(api::resources::kPersistentVolumeClaims, "default", kClaim,
                {
                    {"storage",
                     R"({"spec":{"resources":{"requests":{"storage":null}}}})",
                     {"Required spec.resources.requests[storage]: Required value"}},
                    {"once alone",
                     R"({"spec":{"accessModes":["ReadWriteOncePod","ReadWriteOnce"]}})",
                     {"Forbidden spec.accessModes: Forbidden: may not use ReadWriteOncePod with other access modes"}},
                });
  check_updates(api::resources::kPersistentVolumeClaims, "default", kClaim,
                {
                    {"an unbound claim stays",
                     R"({"spec":{"resources":{"requests":{"storage":"2Gi"}}}})",
                     {"Forbidden spec: Forbidden: spec is immutable after creation except resources.requests and "
                      "volumeAttributesClassName for bound claims"}},
                    {"a volume is bound", R"({"spec":{"volumeName":"v"}})", {}},
                });
}

TEST(ObjectRules, StorageClasses) {
  constexpr const char* kClass = R"({"metadata":{"name":"s"},"provisioner":"example.com/p","parameters":{"a":"b"}})";
  check_creates(
      kStorageClasses, "", kClass,
      {
          {"a provisioner", R"({"provisioner":""})", {"Required provisioner: Required value"}},
          {"a policy that is known",
           R"({"reclaimPolicy":"Burn"})",
           {R"(NotSupported reclaimPolicy: Unsupported value: "Burn": supported values: "Delete", "Recycle", "Retain")"}},
      });
  check_updates(kStorageClasses, "", kClass,
                {
                    {"parameters stay",
                     R"({"parameters":{"a":"c"}})",
                     {"Forbidden parameters: Forbidden: updates to parameters are forbidden."}},
                    {"the provisioner stays",
                     R"({"provisioner":"example.com/q"})",
                     {"Forbidden provisioner: Forbidden: updates to provisioner are forbidden."}},
                    {"binding stays",
                     R"({"volumeBindingMode":"WaitForFirstConsumer"})",
                     {R"(Invalid volumeBindingMode: Invalid value: "WaitForFirstConsumer": field is immutable)"}},
                    {"expansion may change", R"({"allowVolumeExpansion":true})", {}},
                });
}

TEST(ObjectRules, Ingresses) {
  check_creates(
      kIngresses, "default",
      R"({"metadata":{"name":"i"},"spec":{"defaultBackend":{"service":{"name":"s","port":{"number":80}}}}})",
      {
          {"something to serve",
           R"({"spec":{"defaultBackend":null}})",
           {"Invalid spec: Invalid value: {}: either `defaultBackend` or `rules` must be specified"}},
          {"one backend",
           R"({"spec":{"defaultBackend":{"service":{"port":{"name":"http"}}}}})",
           {R"(Invalid spec.defaultBackend.service: Invalid value: "": cannot set both port name & port number)"}},
          {"a host is no address",
           R"({"spec":{"rules":[{"host":"1.2.3.4"}]}})",
           {R"(Invalid spec.rules[0].host: Invalid value: "1.2.3.4": must be a DNS name, not an IP address)"}},
          {"absolute paths",
           R"({"spec":{"rules":[{"http":{"paths":[{"path":"a","pathType":"Prefix","backend":{"service":{"name":"s","port":{"number":80}}}}]}}]}})",
           {R"(Invalid spec.rules[0].http.paths[0].path: Invalid value: "a": must be an absolute path)"}},
      });
}

TEST(ObjectRules, NetworkPolicies) {
  check_creates(
      kNetworkPolicies, "default", R"({"metadata":{"name":"n"},"spec":{"podSelector":{}}})",
      {
          {"a peer is one thing",
           R"({"spec":{"ingress":[{"from":[{"podSelector":{},"ipBlock":{"cidr":"10.0.0.0/8"}}]}]}})",
           {"Forbidden spec.ingress[0].from[0]: Forbidden: may not specify both ipBlock and another peer"}},
          {"and something",
           R"({"spec":{"egress":[{"to":[{}]}]}})",
           {"Required spec.egress[0].to[0]: Required value: must specify a peer"}},
          {"a range of ports",
           R"({"spec":{"ingress":[{"ports":[{"port":80,"endPort":79}]}]}})",
           {"Invalid spec.ingress[0].ports[0].endPort: Invalid value: 79: must be greater than or equal to `port`"}},
      });
}

TEST(ObjectRules, QuotasAndLimits) {
  check_creates(kResourceQuotas, "default", R"({"metadata":{"name":"q"},"spec":{"hard":{"pods":"1"}}})",
                {
                    {"amounts are not negative",
                     R"({"spec":{"hard":{"pods":"-1"}}})",
                     {R"(Invalid spec.hard[pods]: Invalid value: "-1": must be greater than or equal to 0)"}},
                });
  check_updates(kResourceQuotas, "default", R"({"metadata":{"name":"q"},"spec":{"hard":{"pods":"1"}}})",
                {
                    {"scopes stay",
                     R"({"spec":{"scopes":["BestEffort"]}})",
                     {R"(Invalid spec.scopes: Invalid value: ["BestEffort"]: field is immutable)"}},
                    {"amounts change", R"({"spec":{"hard":{"pods":"2"}}})", {}},
                });
  check_creates(
      kLimitRanges, "default",
      R"({"metadata":{"name":"l"},"spec":{"limits":[{"type":"Container","max":{"cpu":"1"}}]}})",
      {
          {"the least is not the most",
           R"({"spec":{"limits":[{"type":"Container","max":{"cpu":"1"},"min":{"cpu":"2"}}]}})",
           {R"(Invalid spec.limits[0].min[cpu]: Invalid value: "2": min value 2 is greater than max value 1)",
            // The defaults follow from the maximum.
            R"(Invalid spec.limits[0].min[cpu]: Invalid value: "2": min value 2 is greater than default value 1)",
            R"(Invalid spec.limits[0].min[cpu]: Invalid value: "2": min value 2 is greater than defaultRequest value 1)"}},
          {"pods have no defaults",
           R"({"spec":{"limits":[{"type":"Pod","default":{"cpu":"1"}}]}})",
           {"Forbidden spec.limits[0].default: Forbidden: may not be specified when `type` is 'Pod'"}},
      });
}

TEST(ObjectRules, DisruptionBudgets) {
  check_creates(
      kPodDisruptionBudgets, "default", R"({"metadata":{"name":"b"},"spec":{"minAvailable":1}})",
      {
          {"one bound",
           R"({"spec":{"maxUnavailable":1}})",
           {R"(Invalid spec: Invalid value: {"maxUnavailable":1,"minAvailable":1}: minAvailable and maxUnavailable cannot be both set)"}},
          {"at most all of them",
           R"({"spec":{"minAvailable":"101%"}})",
           {R"(Invalid spec.minAvailable: Invalid value: "101%": must not be greater than 100%)"}},
      });
}

TEST(ObjectRules, RolesAndBindings) {
  check_creates(
      api::resources::kRoles, "default",
      R"({"metadata":{"name":"r"},"rules":[{"verbs":["get"],"apiGroups":[""],"resources":["pods"]}]})",
      {
          {"verbs",
           R"({"rules":[{"apiGroups":[""],"resources":["pods"]}]})",
           {"Required rules[0].verbs: Required value: verbs must contain at least one value"}},
          {"no URLs in a namespace",
           R"({"rules":[{"verbs":["get"],"nonResourceURLs":["/x"]}]})",
           {R"(Invalid rules[0].nonResourceURLs: Invalid value: ["/x"]: namespaced rules cannot apply to non-resource URLs)"}},
      });
  constexpr const char* kBinding =
      R"({"metadata":{"name":"b"},"roleRef":{"apiGroup":"rbac.authorization.k8s.io","kind":"Role","name":"r"},
    "subjects":[{"kind":"User","apiGroup":"rbac.authorization.k8s.io","name":"u"}]})";
  check_creates(
      api::resources::kRoleBindings, "default", kBinding,
      {
          {"known subjects",
           R"({"subjects":[{"kind":"Robot","name":"u"}]})",
           {R"(NotSupported subjects[0].kind: Unsupported value: "Robot": supported values: "Group", "ServiceAccount", "User")"}},
      });
  check_updates(
      api::resources::kRoleBindings, "default", kBinding,
      {
          {"the role stays",
           R"({"roleRef":{"name":"other"}})",
           {R"(Invalid roleRef: Invalid value: {"apiGroup":"rbac.authorization.k8s.io","kind":"Role","name":"other"}: cannot change roleRef)"}},
      });
}

TEST(ObjectRules, PriorityClasses) {
  check_creates(api::resources::kPriorityClasses, "", R"({"metadata":{"name":"p"},"value":5})",
                {
                    {"users stay below a billion",
                     R"({"value":1000000001})",
                     {"Forbidden value: Forbidden: maximum allowed value of a user defined priority is 1000000000"}},
                    {"names of the system",
                     R"({"metadata":{"name":"system-x"}})",
                     {"Forbidden metadata.name: Forbidden: priority class names with 'system-' prefix are reserved for "
                      "system use only. error: system-x is not a known system priority class"}},
                });
  check_updates(
      api::resources::kPriorityClasses, "", R"({"metadata":{"name":"p"},"value":5})",
      {
          {"the value stays", R"({"value":6})", {"Forbidden value: Forbidden: may not be changed in an update."}},
      });
}

TEST(ObjectRules, Leases) {
  check_creates(api::resources::kLeases, "default", R"({"metadata":{"name":"l"},"spec":{"holderIdentity":"a"}})",
                {
                    {"a duration",
                     R"({"spec":{"leaseDurationSeconds":0}})",
                     {"Invalid spec.leaseDurationSeconds: Invalid value: 0: must be greater than 0"}},
                    {"transitions",
                     R"({"spec":{"leaseTransitions":-1}})",
                     {"Invalid spec.leaseTransitions: Invalid value: -1: must be greater than or equal to 0"}},
                });
}

TEST(ObjectRules, EndpointSlices) {
  constexpr const char* kSlice =
      R"({"metadata":{"name":"e"},"addressType":"IPv4","endpoints":[{"addresses":["10.0.0.1"]}]})";
  check_creates(
      api::resources::kEndpointSlices, "default", kSlice,
      {
          {"addresses of the type",
           R"({"endpoints":[{"addresses":["fd00::1"]}]})",
           {R"(Invalid endpoints[0].addresses[0]: Invalid value: "fd00::1": must be a valid IPv4 address)"}},
          {"not this machine",
           R"({"endpoints":[{"addresses":["127.0.0.1"]}]})",
           {R"(Invalid endpoints[0].addresses[0]: Invalid value: "127.0.0.1": may not be in the loopback range (127.0.0.0/8, ::1/128))"}},
          {"names of ports differ",
           R"({"ports":[{"name":"a"},{"name":"a"}]})",
           {R"(Duplicate ports[1].name: Duplicate value: "a")"}},
      });
  check_updates(api::resources::kEndpointSlices, "default", kSlice,
                {
                    {"the type stays",
                     R"({"addressType":"FQDN","endpoints":[{"addresses":["a.example.com"]}]})",
                     {R"(Invalid addressType: Invalid value: "FQDN": field is immutable)"}},
                });
}

TEST(ObjectRules, SecretsAndConfigMapsThatAreImmutable) {
  check_updates(api::resources::kConfigMaps, "default",
                R"({"metadata":{"name":"a"},"immutable":true,"data":{"k":"v"}})",
                {
                    {"data stays",
                     R"({"data":{"k":"w"}})",
                     {"Forbidden data: Forbidden: field is immutable when `immutable` is set"}},
                    {"and it cannot be undone",
                     R"({"immutable":null})",
                     {"Forbidden immutable: Forbidden: field is immutable when `immutable` is set"}},
                    {"labels may change", R"({"metadata":{"labels":{"a":"b"}}})", {}},
                });
  check_updates(api::resources::kSecrets, "default", R"({"metadata":{"name":"a"},"type":"x","data":{"k":"dg=="}})",
                {
                    {"the type stays", R"({"type":"y"})", {R"(Invalid type: Invalid value: "y": field is immutable)"}},
                    {"data may change", R"({"data":{"k":"dw=="}})", {}},
                });
  check_creates(api::resources::kSecrets, "default", R"({"metadata":{"name":"a"}})",
                {
                    {"a TLS secret has both",
                     R"({"type":"kubernetes.io/tls"})",
                     {"Required data[tls.crt]: Required value", "Required data[tls.key]: Required value"}},
                });
}

TEST(ObjectRules, StatefulAndDaemonSets) {
  constexpr const char* kSet =
      R"({"metadata":{"name":"s"},"spec":{"serviceName":"x","selector":{"matchLabels":{"a":"b"}},
    "template":{"metadata":{"labels":{"a":"b"}},"spec":{"containers":[{"name":"c","image":"i"}]}}}})";
  check_updates(api::resources::kStatefulSets, "default", kSet,
                {
                    {"replicas change", R"({"spec":{"replicas":3}})", {}},
                    {"the service stays",
                     R"({"spec":{"serviceName":"y"}})",
                     {"Forbidden spec: Forbidden: updates to statefulset spec for fields other than 'replicas', "
                      "'ordinals', 'template', 'updateStrategy', 'revisionHistoryLimit', "
                      "'persistentVolumeClaimRetentionPolicy' and 'minReadySeconds' are forbidden"}},
                });
  check_creates(
      api::resources::kDaemonSets, "default", kSet,
      {
          {"pods are started again",
           R"({"spec":{"serviceName":null,"template":{"spec":{"restartPolicy":"Never"}}}})",
           {R"(NotSupported spec.template.spec.restartPolicy: Unsupported value: "Never": supported values: "Always")"}},
      });
}

TEST(ObjectRules, ServicesKeepTheirAddress) {
  check_updates(api::resources::kServices, "default",
                R"({"metadata":{"name":"s"},"spec":{"clusterIP":"10.96.0.20","ports":[{"port":80}]}})",
                {
                    {"the address stays",
                     R"({"spec":{"clusterIP":"10.96.0.21","clusterIPs":["10.96.0.21"]}})",
                     {R"(Invalid spec.clusterIPs[0]: Invalid value: ["10.96.0.21"]: may not change once set)"}},
                    {"ports change", R"({"spec":{"ports":[{"port":81}]}})", {}},
                });
}

}  // namespace
}  // namespace kubernel::apiserver
