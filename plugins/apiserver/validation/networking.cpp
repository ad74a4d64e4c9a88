// SPDX-License-Identifier: Apache-2.0
//
// Endpoints, endpoint slices, network policies, ingresses.
#include <set>

#include "validation/object_rules.h"

namespace kubernel::apiserver::validation {

namespace {

// An address a cluster's traffic may not be sent to.
void check_not_special(const Field& address) {
  const std::string ip = address.text();
  const auto refuse = [&](const char* why) { address.invalid(why); };
  if (ip == "0.0.0.0" || ip == "::") refuse("may not be unspecified (0.0.0.0 or ::)");
  if (ip.starts_with("127.") || ip == "::1") refuse("may not be in the loopback range (127.0.0.0/8, ::1/128)");
  if (ip.starts_with("169.254.") || ip.starts_with("fe80:"))
    refuse("may not be in the link-local range (169.254.0.0/16, fe80::/10)");
  if (ip.starts_with("224.0.0.") || ip.starts_with("ff02:"))
    refuse("may not be in the link-local multicast range (224.0.0.0/24, ff02::/10)");
}

void check_endpoint_address(const Field& address) {
  if (!address["ip"].zero()) {
    check_ip(address["ip"]);
    check_not_special(address["ip"]);
  }
  check_name_rule(address["hostname"], NameRule::Label);
  check_name_rule(address["nodeName"], NameRule::Subdomain);
}

void check_slice_address(const Field& address, const std::string& type) {
  if (type == "FQDN") {
    address.invalid(check_name(NameRule::Subdomain, address.text(), false));
    return;
  }
  if (type == "IPv4" && !is_ipv4(address.text())) {
    address.invalid("must be a valid IPv4 address");
  } else if (type == "IPv6" && (!is_ip(address.text()) || is_ipv4(address.text()))) {
    address.invalid("must be a valid IPv6 address");
  }
  check_not_special(address);
}

void check_policy_ports(const Field& ports) {
  ports.each([](const Field& port, std::size_t) {
    const Field number = port["port"];
    const Field end = port["endPort"];
    check_port_number_or_name(number);
    if (!end.set()) return;
    if (!number.set()) {
      end.invalid("may not be specified when `port` is not specified");
    } else if (number.value().is_string()) {
      end.invalid("may not be specified when `port` is non-numeric");
    } else if (end.number() < number.number()) {
      end.invalid("must be greater than or equal to `port`");
    }
    check_port_number(end);
  });
}

void check_peers(const Field& peers) {
  peers.each([](const Field& peer, std::size_t) {
    int kinds = 0;
    for (const char* field : {"podSelector", "namespaceSelector"}) {
      if (!peer[field].set()) continue;
      ++kinds;
      check_selector(peer[field]);
    }
    const Field block = peer["ipBlock"];
    if (block.set()) {
      if (!block["cidr"].zero()) check_cidr(block["cidr"]);
      block["except"].each([](const Field& range, std::size_t) { check_cidr(range); });
      if (kinds > 0) peer.forbidden("may not specify both ipBlock and another peer");
      ++kinds;
    }
    if (kinds == 0) peer.required("must specify a peer");
  });
}

void check_backend(const Field& backend) {
  const Field service = backend["service"];
  const bool resource = backend["resource"].set();
  if (resource && service.set()) {
    backend.invalid_as("\"\"", "cannot set both resource and service backends");
  } else if (service.set()) {
    check_name_rule(service["name"], NameRule::Label1035);
    const Field port = service["port"];
    if (!port["name"].zero() && !port["number"].zero()) {
      service.invalid_as("\"\"", "cannot set both port name & port number");
    } else if (!port["name"].zero()) {
      check_port_name(port["name"]);
    } else if (!port["number"].zero()) {
      check_port_number(port["number"]);
    } else {
      service.required("port name or number is required");
    }
  } else if (!resource) {
    backend.required("resource or service backend is required");
  }
}

void check_http_path(const Field& path) {
  const Field text = path["path"];
  const std::string type = path["pathType"].text();
  if (type == "Exact" || type == "Prefix") {
    if (!text.text().starts_with('/')) {
      text.with(text.set() ? text.value() : json("")).invalid("must be an absolute path");
    } else {
      for (const char* part : {"//", "/./", "/../", "%2f", "%2F"}) {
        if (text.text().find(part) != std::string::npos) text.invalid("must not contain '" + std::string(part) + "'");
      }
      for (const char* end : {"/..", "/."}) {
        if (text.text().ends_with(end)) text.invalid("cannot end with '" + std::string(end) + "'");
      }
    }
  } else if (type == "ImplementationSpecific" && !text.zero() && !text.text().starts_with('/')) {
    text.invalid("must be an absolute path");
  }
  check_backend(path["backend"]);
}

void check_host(const Field& host) {
  if (host.zero()) return;
  if (is_ip(host.text())) host.invalid("must be a DNS name, not an IP address");
  const std::string name = host.text();
  if (!name.starts_with("*.") && name.find('*') == std::string::npos) {
    host.invalid(check_name(NameRule::Subdomain, name, false));
  } else if (!name.starts_with("*.") || !check_name(NameRule::Subdomain, name.substr(2), false).empty()) {
    host.invalid(
        "a wildcard DNS-1123 subdomain must start with '*.', followed by a valid DNS subdomain, which must consist of "
        "lower case "
        "alphanumeric characters, '-' or '.' and end with an alphanumeric character (e.g. '*.example.com', regex used "
        "for "
        "validation is '\\*\\.[a-z0-9]([-a-z0-9]*[a-z0-9])?(\\.[a-z0-9]([-a-z0-9]*[a-z0-9])?)*')");
  }
}

}  // namespace

void check_endpoints(const Field& endpoints) {
  endpoints["subsets"].each([](const Field& subset, std::size_t) {
    if (subset["addresses"].zero() && subset["notReadyAddresses"].zero()) {
      subset.required("must specify `addresses` or `notReadyAddresses`");
    }
    for (const char* list : {"addresses", "notReadyAddresses"}) {
      subset[list].each([](const Field& address, std::size_t) { check_endpoint_address(address); });
    }
    subset["ports"].each([&](const Field& port, std::size_t) {
      if (subset["ports"].size() > 1 && port["name"].zero()) {
        port["name"].required();
      } else {
        check_name_rule(port["name"], NameRule::Label);
      }
      check_port_number(port["port"].set() ? port["port"] : port["port"].with(json(0)));
    });
  });
}

void check_endpoint_slice(const Field& slice) {
  const std::string type = slice["addressType"].text();
  const Field endpoints = slice["endpoints"];
  if (endpoints.size() > 1000) endpoints.too_many(endpoints.size(), 1000);
  endpoints.each([&](const Field& endpoint, std::size_t) {
    const Field addresses = endpoint["addresses"];
    if (addresses.zero()) addresses.required("must contain at least 1 address");
    addresses.each([&](const Field& address, std::size_t) { check_slice_address(address, type); });
    check_name_rule(endpoint["nodeName"], NameRule::Subdomain);
    check_name_rule(endpoint["hostname"], NameRule::Label);
  });
  const Field ports = slice["ports"];
  if (ports.size() > 20000) ports.too_many(ports.size(), 20000);
  std::set<std::string> names;
  ports.each([&](const Field& port, std::size_t) {
    check_name_rule(port["name"], NameRule::Label);
    if (!names.insert(port["name"].text()).second) port["name"].duplicate_as(quote(port["name"].text()));
    if (!port["appProtocol"].zero()) check_label_name(port["appProtocol"]);
  });
}

void check_endpoint_slice_update(const Field& slice, const json& old) {
  check_unchanged(slice["addressType"], member(old, {"addressType"}));
}

void check_network_policy(const Field& policy) {
  const Field spec = policy["spec"];
  check_selector(spec["podSelector"]);
  spec["ingress"].each([](const Field& rule, std::size_t) {
    check_policy_ports(rule["ports"]);
    check_peers(rule["from"]);
  });
  spec["egress"].each([](const Field& rule, std::size_t) {
    check_policy_ports(rule["ports"]);
    check_peers(rule["to"]);
  });
  if (spec["policyTypes"].size() > 2) spec["policyTypes"].invalid("may not specify more than two policyTypes");
}

void check_ingress(const Field& ingress) {
  const Field spec = ingress["spec"];
  if (spec["rules"].zero() && !spec["defaultBackend"].set())
    spec.invalid_as("{}", "either `defaultBackend` or `rules` must be specified");
  if (spec["defaultBackend"].set()) check_backend(spec["defaultBackend"]);
  spec["rules"].each([](const Field& rule, std::size_t) {
    check_host(rule["host"]);
    rule["http"]["paths"].each([](const Field& path, std::size_t) { check_http_path(path); });
  });
  spec["tls"].each([](const Field& tls, std::size_t) {
    tls["hosts"].each([](const Field& host, std::size_t) { check_host(host); });
    check_name_rule(tls["secretName"], NameRule::Subdomain);
  });
  check_name_rule(spec["ingressClassName"], NameRule::Subdomain);
}

void check_ingress_class(const Field& ingress_class) {
  const Field controller = ingress_class["spec"]["controller"];
  const std::string text = controller.text();
  if (text.size() > 250) controller.too_long(250);
  const std::size_t slash = text.find('/');
  constexpr std::string_view kPathCharacters =
      "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789/-._~%!$&'()*+,;=:";
  if (text.empty()) {
    controller.required();
  } else if (slash == std::string::npos || slash == 0 || slash + 1 == text.size()) {
    controller.invalid("must be a domain-prefixed path (such as \"acme.io/foo\")");
  } else {
    for (const std::string& why : check_name(NameRule::Subdomain, text.substr(0, slash), false)) {
      controller.invalid_as(quote(text.substr(0, slash)), why);
    }
    const std::string path = text.substr(slash + 1);
    if (path.find_first_not_of(kPathCharacters) != std::string::npos) {
      controller.invalid_as(quote(path),
                            "Invalid path (regex used for validation is '[A-Za-z0-9/\\-._~%!$&'()*+,;=:]+')");
    }
  }
  const Field parameters = ingress_class["spec"]["parameters"];
  if (!parameters.set()) return;
  if (parameters["apiGroup"].set()) check_name_rule(parameters["apiGroup"], NameRule::Subdomain);
  for (const char* field : {"kind", "name"}) {
    if (parameters[field].zero()) {
      parameters[field].required();
    } else {
      parameters[field].invalid(check_name(NameRule::PathSegment, parameters[field].text(), false));
    }
  }
  const Field scope = parameters["scope"];
  const Field ns = parameters["namespace"];
  if (!scope.set()) {
    scope.required();
  } else if (scope.text() == "Namespace") {
    if (!ns.set()) {
      ns.required("`parameters.scope` is set to 'Namespace'");
    } else {
      ns.invalid(check_name(NameRule::Label, ns.text(), false));
    }
  } else if (scope.text() == "Cluster") {
    if (ns.set()) ns.forbidden("`parameters.scope` is set to 'Cluster'");
  } else {
    scope.not_supported({"Cluster", "Namespace"});
  }
}

void check_ingress_class_update(const Field& ingress_class, const json& old) {
  check_unchanged(ingress_class["spec"]["controller"], member(old, {"spec", "controller"}));
}

}  // namespace kubernel::apiserver::validation
