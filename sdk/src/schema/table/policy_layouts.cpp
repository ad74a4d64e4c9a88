// SPDX-License-Identifier: Apache-2.0
//
// Layouts of policy, RBAC, certificates, admission, flow control and the API's own machinery.
#include <array>

#include "schema/table/layout.h"

namespace kubernel::schema::table {

using api::Value;
using nlohmann::json;

namespace {

json role_reference(const Row& row) {
  const Value role = row.body["roleRef"];
  return std::string(role["kind"].string()) + "/" + std::string(role["name"].string());
}

json subjects_of(const Row& row, std::string_view kind) {
  std::string out;
  for (const Value subject : row.body["subjects"]) {
    if (subject["kind"].string() != kind) continue;
    std::string shown(subject["name"].string());
    if (kind == "ServiceAccount") shown = std::string(subject["namespace"].string()) + "/" + shown;
    out += (out.empty() ? "" : ", ") + shown;
  }
  return out;
}
json user_subjects(const Row& row) {
  return subjects_of(row, "User");
}
json group_subjects(const Row& row) {
  return subjects_of(row, "Group");
}
json service_account_subjects(const Row& row) {
  return subjects_of(row, "ServiceAccount");
}

json csr_duration(const Row& row) {
  const Value seconds = row.body["spec"]["expirationSeconds"];
  return seconds ? api::human_duration(std::chrono::seconds(seconds.integer())) : "<none>";
}

json csr_condition(const Row& row) {
  std::string out = "Pending";
  if (condition(row, "Approved")) out = "Approved";
  if (condition(row, "Denied")) out = "Denied";
  if (condition(row, "Failed")) out += ",Failed";
  if (!row.body["status"]["certificate"].string().empty()) out += ",Issued";
  return out;
}

json pod_certificate_state(const Row& row) {
  for (const std::string_view type : {"Issued", "Denied", "Failed"}) {
    if (condition(row, type)) return std::string(type);
  }
  return "Pending";
}

json param_kind(const Row& row) {
  const Value kind = row.body["spec"]["paramKind"];
  return kind ? std::string(kind["apiVersion"].string()) + "/" + std::string(kind["kind"].string()) : "<unset>";
}

json param_reference(const Row& row) {
  const Value reference = row.body["spec"]["paramRef"];
  if (!reference) return "<unset>";
  if (const auto found = reference["name"].string(); !found.empty()) {
    return std::string(reference["namespace"].string("*")) + "/" + std::string(found);
  }
  return reference["selector"] ? selector_text(reference["selector"], "<error>") : "<unset>";
}

json missing_priority_level(const Row& row) {
  return std::string(condition(row, "Dangling")["status"].string("?"));
}

json storage_versions(const Row& row) {
  std::vector<std::string> versions;
  for (const Value version : row.body["status"]["storageVersions"]) {
    versions.push_back(std::string(version["apiServerID"].string()) + "=" +
                       std::string(version["encodingVersion"].string()));
  }
  return first_three(versions, "<unset>");
}

json migrated_resource(const Row& row) {
  const Value resource = row.body["spec"]["resource"];
  const auto group = resource["group"].string();
  return std::string(resource["resource"].string()) + (group.empty() ? "" : "." + std::string(group));
}

json api_service_target(const Row& row) {
  const Value service = row.body["spec"]["service"];
  return service ? std::string(service["namespace"].string()) + "/" + std::string(service["name"].string()) : "Local";
}

json api_service_available(const Row& row) {
  const Value available = condition(row, "Available");
  if (!available) return "Unknown";
  const std::string status(available["status"].string());
  const std::string reason(available["reason"].string());
  return status == "True" || reason.empty() ? status : status + " (" + reason + ")";
}

constexpr std::array kDisruptionBudget = {
    kName, ColumnRule{"Min Available", "string", 0, scalar<"/spec/minAvailable", "N/A">},
    ColumnRule{"Max Unavailable", "string", 0, scalar<"/spec/maxUnavailable", "N/A">},
    ColumnRule{"Allowed Disruptions", "integer", 0, integer<"/status/disruptionsAllowed">}, kAge};
constexpr std::array kBinding = {kName,
                                 ColumnRule{"Role", "string", 0, role_reference},
                                 kAge,
                                 ColumnRule{"Users", "string", 1, user_subjects},
                                 ColumnRule{"Groups", "string", 1, group_subjects},
                                 ColumnRule{"ServiceAccounts", "string", 1, service_account_subjects}};
constexpr ColumnRule kSignerName{"SignerName", "string", 0, text<"/spec/signerName", "<none>">};
constexpr std::array kSigningRequest = {kName,
                                        kAge,
                                        kSignerName,
                                        ColumnRule{"Requestor", "string", 0, text<"/spec/username">},
                                        ColumnRule{"RequestedDuration", "string", 0, csr_duration},
                                        ColumnRule{"Condition", "string", 0, csr_condition}};
constexpr std::array kTrustBundle = {kName, kSignerName};
constexpr std::array kPodCertificateRequest = {
    kName,
    ColumnRule{"PodName", "string", 0, text<"/spec/podName">},
    ColumnRule{"ServiceAccountName", "string", 0, text<"/spec/serviceAccountName">},
    ColumnRule{"NodeName", "string", 0, text<"/spec/nodeName">},
    ColumnRule{"SignerName", "string", 0, text<"/spec/signerName">},
    ColumnRule{"State", "string", 0, pod_certificate_state}};
constexpr std::array kWebhooks = {kName, ColumnRule{"Webhooks", "integer", 0, size<"/webhooks">}, kAge};
constexpr ColumnRule kParamKind{"ParamKind", "string", 0, param_kind};
constexpr std::array kValidatingPolicy = {kName, ColumnRule{"Validations", "integer", 0, size<"/spec/validations">},
                                          kParamKind, kAge};
constexpr std::array kMutatingPolicy = {kName, ColumnRule{"Mutations", "integer", 0, size<"/spec/mutations">},
                                        kParamKind, kAge};
constexpr std::array kPolicyBinding = {kName, ColumnRule{"PolicyName", "string", 0, text<"/spec/policyName">},
                                       ColumnRule{"ParamRef", "string", 0, param_reference}, kAge};
constexpr std::array kFlowSchema = {
    kName,
    ColumnRule{"PriorityLevel", "string", 0, text<"/spec/priorityLevelConfiguration/name">},
    ColumnRule{"MatchingPrecedence", "string", 0, integer<"/spec/matchingPrecedence">},
    ColumnRule{"DistinguisherMethod", "string", 0, text<"/spec/distinguisherMethod/type", "<none>">},
    kAge,
    ColumnRule{"MissingPL", "string", 0, missing_priority_level}};
constexpr std::array kPriorityLevel = {
    kName,
    ColumnRule{"Type", "string", 0, text<"/spec/type">},
    ColumnRule{"NominalConcurrencyShares", "string", 0, scalar<"/spec/limited/nominalConcurrencyShares", "<none>">},
    ColumnRule{"Queues", "string", 0, scalar<"/spec/limited/limitResponse/queuing/queues", "<none>">},
    ColumnRule{"HandSize", "string", 0, scalar<"/spec/limited/limitResponse/queuing/handSize", "<none>">},
    ColumnRule{"QueueLengthLimit", "string", 0,
               scalar<"/spec/limited/limitResponse/queuing/queueLengthLimit", "<none>">},
    kAge};
constexpr std::array kStorageVersion = {
    kName, ColumnRule{"CommonEncodingVersion", "string", 0, text<"/status/commonEncodingVersion", "<unset>">},
    ColumnRule{"StorageVersions", "string", 0, storage_versions}, kAge};
constexpr std::array kMigration = {kName, ColumnRule{"Resource", "string", 0, migrated_resource}};
constexpr std::array kApiService = {kName, ColumnRule{"Service", "string", 0, api_service_target},
                                    ColumnRule{"Available", "string", 0, api_service_available}, kAge};

constexpr std::string_view kAdmission = "admissionregistration.k8s.io";
constexpr std::string_view kRbac = "rbac.authorization.k8s.io";
constexpr std::string_view kFlow = "flowcontrol.apiserver.k8s.io";

constexpr std::array kLayouts = {Layout{"policy", "v1", "PodDisruptionBudget", kDisruptionBudget},
                                 Layout{kRbac, "v1", "RoleBinding", kBinding},
                                 Layout{kRbac, "v1", "ClusterRoleBinding", kBinding},
                                 Layout{"certificates.k8s.io", "v1", "CertificateSigningRequest", kSigningRequest},
                                 Layout{"certificates.k8s.io", "", "ClusterTrustBundle", kTrustBundle},
                                 Layout{"certificates.k8s.io", "", "PodCertificateRequest", kPodCertificateRequest},
                                 Layout{kAdmission, "v1", "MutatingWebhookConfiguration", kWebhooks},
                                 Layout{kAdmission, "v1", "ValidatingWebhookConfiguration", kWebhooks},
                                 Layout{kAdmission, "", "ValidatingAdmissionPolicy", kValidatingPolicy},
                                 Layout{kAdmission, "", "ValidatingAdmissionPolicyBinding", kPolicyBinding},
                                 Layout{kAdmission, "", "MutatingAdmissionPolicy", kMutatingPolicy},
                                 Layout{kAdmission, "", "MutatingAdmissionPolicyBinding", kPolicyBinding},
                                 Layout{kFlow, "v1", "FlowSchema", kFlowSchema},
                                 Layout{kFlow, "v1", "PriorityLevelConfiguration", kPriorityLevel},
                                 Layout{"internal.apiserver.k8s.io", "", "StorageVersion", kStorageVersion},
                                 Layout{"storagemigration.k8s.io", "", "StorageVersionMigration", kMigration},
                                 Layout{"apiregistration.k8s.io", "v1", "APIService", kApiService}};

}  // namespace

std::span<const Layout> policy_layouts() {
  return kLayouts;
}

}  // namespace kubernel::schema::table
