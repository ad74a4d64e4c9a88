// SPDX-License-Identifier: Apache-2.0
#include "bootstrap.h"

#include <nlohmann/json.hpp>

#include "strategies/allocator.h"

namespace kubernel::apiserver {

namespace {

using nlohmann::json;

Result<void> ensure(const CallContext& ctx, client::ApiClient& client, const api::Resource& resource,
                    const std::string& ns, const json& document) {
  auto made = client.create(ctx, resource, {ns, ""}, document, {});
  if (!made && made.error().reason() != Reason::AlreadyExists) return std::move(made).error().wrap("bootstrap");
  return {};
}

// Creates the object, or makes the members it names equal in the one that is there.
Result<void> enforce(const CallContext& ctx, client::ApiClient& client, const api::Resource& resource,
                     const std::string& ns, const json& document) {
  auto made = client.create(ctx, resource, {ns, ""}, document, {});
  if (made) return {};
  if (made.error().reason() != Reason::AlreadyExists) return std::move(made).error().wrap("bootstrap");
  const api::ObjectKey key{ns, document["metadata"]["name"].get<std::string>()};
  auto patched = client.patch(ctx, resource, key, client::PatchType::Merge, document, {});
  if (!patched) return std::move(patched).error().wrap("bootstrap");
  return {};
}

json priority_class(const char* name, std::int64_t value, const char* description) {
  return {{"metadata", {{"name", name}}}, {"value", value}, {"description", description}};
}

Result<void> publish_endpoint(const CallContext& ctx, client::ApiClient& client, const BootstrapOptions& options) {
  if (options.advertise_address.empty() || options.advertise_port == 0) return {};
  const json subsets = json::array(
      {json{{"addresses", json::array({json{{"ip", options.advertise_address}}})},
            {"ports", json::array({json{{"name", "https"}, {"port", options.advertise_port}, {"protocol", "TCP"}}})}}});
  KUBERNEL_CHECK_OK(enforce(
      ctx, client, api::resources::kEndpoints, "default",
      {{"metadata", {{"name", "kubernetes"}, {"labels", {{"endpointslice.kubernetes.io/skip-mirror", "true"}}}}},
       {"subsets", subsets}}));
  return enforce(
      ctx, client, api::resources::kEndpointSlices, "default",
      {{"metadata", {{"name", "kubernetes"}, {"labels", {{"kubernetes.io/service-name", "kubernetes"}}}}},
       {"addressType", "IPv4"},
       {"endpoints", json::array({json{{"addresses", json::array({options.advertise_address})},
                                       {"conditions", {{"ready", true}}}}})},
       {"ports", json::array({json{{"name", "https"}, {"port", options.advertise_port}, {"protocol", "TCP"}}})}});
}

}  // namespace

Result<void> bootstrap(const CallContext& ctx, client::ApiClient& client, const BootstrapOptions& options) {
  for (const char* name : {"kube-system", "kube-public", "kube-node-lease", "default"}) {
    KUBERNEL_CHECK_OK(ensure(ctx, client, api::resources::kNamespaces, "", {{"metadata", {{"name", name}}}}));
  }
  KUBERNEL_CHECK_OK(
      ensure(ctx, client, api::resources::kPriorityClasses, "",
             priority_class("system-node-critical", 2'000'001'000,
                            "Used for system critical pods that must not be moved from their current node.")));
  KUBERNEL_CHECK_OK(
      ensure(ctx, client, api::resources::kPriorityClasses, "",
             priority_class("system-cluster-critical", 2'000'000'000,
                            "Used for system critical pods that must run in the cluster, but can be moved to "
                            "another node if necessary.")));
  KUBERNEL_TRY(const AddressRange range, AddressRange::parse(options.service_cidr));
  KUBERNEL_CHECK_OK(
      ensure(ctx, client, {"networking.k8s.io", "v1", "servicecidrs"}, "",
             {{"metadata", {{"name", "kubernetes"}}}, {"spec", {{"cidrs", json::array({range.text()})}}}}));
  KUBERNEL_CHECK_OK(ensure(
      ctx, client, api::resources::kServices, "default",
      {{"metadata", {{"name", "kubernetes"}, {"labels", {{"component", "apiserver"}, {"provider", "kubernetes"}}}}},
       {"spec",
        {{"clusterIP", range.at(1)},
         {"ports",
          json::array({json{{"name", "https"},
                            {"port", 443},
                            {"protocol", "TCP"},
                            {"targetPort", options.advertise_port == 0 ? 6443 : options.advertise_port}}})}}}}));
  return publish_endpoint(ctx, client, options);
}

Result<void> repair_addresses(const CallContext& ctx, client::ApiClient& client) {
  const api::Resource addresses{"networking.k8s.io", "v1", "ipaddresses"};
  KUBERNEL_TRY(const client::ObjectList all, client.list(ctx, addresses, {}));
  for (const api::Object& address : all.items) {
    const api::Value owner = address["spec"]["parentRef"];
    if (owner["resource"].string() != "services" || !owner["group"].string().empty()) continue;
    const api::ObjectKey key{std::string(owner["namespace"].string()), std::string(owner["name"].string())};
    const auto service = client.get(ctx, api::resources::kServices, key, "");
    const bool used = service ? (*service)["spec"]["clusterIP"].string() == address.name()
                              : service.error().reason() != Reason::NotFound;
    if (used) continue;
    client::DeleteOptions options;
    options.precondition_uid = address.uid();
    auto removed = client.remove(ctx, addresses, address.key(), options);
    if (!removed && removed.error().reason() != Reason::NotFound) return std::move(removed).error();
  }
  return {};
}

}  // namespace kubernel::apiserver
