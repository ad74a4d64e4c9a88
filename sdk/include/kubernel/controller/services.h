// SPDX-License-Identifier: Apache-2.0
//
// Which pods stand behind a service, and on which ports.

#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <vector>

#include <nlohmann/json_fwd.hpp>

#include <kubernel/api/object.h>
#include <kubernel/base/export.h>
#include <kubernel/client/informer.h>

namespace kubernel::controller {

/// True for a service whose endpoints a controller keeps: it has a selector and is no ExternalName.
KUBERNEL_EXPORT bool has_managed_endpoints(const api::Object& service);
/// clusterIP is "None".
KUBERNEL_EXPORT bool headless(const api::Object& service);

/// The pod's port for an entry of spec.ports: the number, or the container port with that name and protocol
/// (restartable init containers count); absent when the pod has none of that name.
KUBERNEL_EXPORT std::optional<std::int64_t> target_port(const api::Object& pod, api::Value service_port);
/// {name, port, protocol, appProtocol?} for every port of the service that the pod has, in the service's order.
KUBERNEL_EXPORT nlohmann::json endpoint_ports(const api::Object& service, const api::Object& pod);

/// The addresses of one family ("IPv4" or "IPv6"), from status.podIPs.
KUBERNEL_EXPORT std::vector<std::string> pod_addresses(const api::Object& pod, std::string_view family);
/// "IPv4" or "IPv6" for a textual address.
KUBERNEL_EXPORT std::string_view address_family(std::string_view address);
/// The families a service has endpoints for: spec.ipFamilies, else that of its clusterIP, else IPv4.
KUBERNEL_EXPORT std::vector<std::string> service_families(const api::Object& service);

/// True when a pod can be reached at all: it has an address and has not ended.
KUBERNEL_EXPORT bool reachable(const api::Object& pod);
/// True when the change may matter to an endpoint.
KUBERNEL_EXPORT bool endpoint_changed(const api::Object& before, const api::Object& after);
/// The pod's name in DNS, when it is one of this service; else empty.
KUBERNEL_EXPORT std::string endpoint_hostname(const api::Object& service, const api::Object& pod);

/// Keys of the managed services whose selector matches the pod's labels.
KUBERNEL_EXPORT std::vector<api::ObjectKey> services_of(const client::Informer& services, const api::Object& pod);

}  // namespace kubernel::controller
