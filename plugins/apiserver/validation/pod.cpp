// SPDX-License-Identifier: Apache-2.0
//
// PodSpec, PodTemplateSpec and Pod (core/validation ValidatePodSpec, ValidatePod, ValidatePodUpdate).
#include <algorithm>

#include "validation/pod_rules.h"
#include "validation/rules.h"

namespace kubernel::apiserver::validation {

namespace {

void check_dns(const Field& spec) {
  const Field config = spec["dnsConfig"];
  const Field servers = config["nameservers"];
  if (spec["dnsPolicy"].text() == "None") {
    if (!config.set()) {
      config.required("must provide `dnsConfig` when `dnsPolicy` is None");
    } else if (servers.zero()) {
      servers.required("must provide at least one DNS nameserver when `dnsPolicy` is None");
    }
  }
  if (servers.size() > 3) servers.invalid("must not have more than 3 nameservers");
  servers.each([](const Field& server, std::size_t) { check_ip(server); });
  const Field searches = config["searches"];
  if (searches.size() > 32) searches.invalid("must not have more than 32 search paths");
  std::size_t characters = searches.size() == 0 ? 0 : searches.size() - 1;
  searches.each([&](const Field& search, std::size_t) {
    std::string name = search.text();
    characters += name.size();
    if (name == ".") return;
    if (name.ends_with('.')) name.pop_back();
    // Host names with an underscore, as SRV records have, are legal in a search path.
    std::replace(name.begin(), name.end(), '_', 'a');
    search.invalid(check_name(NameRule::Subdomain, name, false));
  });
  if (characters > 2048)
    searches.invalid("must not have more than 2048 characters (including spaces) in the search list");
  config["options"].each([](const Field& option, std::size_t) {
    if (option["name"].zero()) option.required("must not be empty");
  });
}

bool is_sysctl_name(const std::string& name) {
  const auto word = [](std::string_view part) {
    const auto alnum = [](char c) { return (c >= 'a' && c <= 'z') || (c >= '0' && c <= '9'); };
    return !part.empty() && alnum(part.front()) && alnum(part.back()) &&
           std::all_of(part.begin(), part.end(), [&](char c) { return alnum(c) || c == '-' || c == '_'; });
  };
  if (name.size() > 253) return false;
  std::string_view rest = name;
  for (;;) {
    const std::size_t end = rest.find_first_of("./");
    if (!word(rest.substr(0, end))) return false;
    if (end == std::string_view::npos) return true;
    rest.remove_prefix(end + 1);
  }
}

void check_sysctls(const Field& sysctls) {
  std::vector<std::string> names;
  sysctls.each([&](const Field& sysctl, std::size_t) {
    const Field name = sysctl["name"];
    if (name.zero()) return;
    if (!is_sysctl_name(name.text())) {
      name.invalid(
          "must have at most 253 characters and match regex "
          "^([a-z0-9]([-_a-z0-9]*[a-z0-9])?[\\./])*[a-z0-9]([-_a-z0-9]*[a-z0-9])?$");
    } else if (std::find(names.begin(), names.end(), name.text()) != names.end()) {
      name.duplicate();
    }
    names.push_back(name.text());
  });
}

void check_security_context(const Field& spec) {
  const Field context = spec["securityContext"];
  for (const char* id : {"fsGroup", "runAsUser", "runAsGroup"}) check_between(context[id], 0, 2147483647);
  context["supplementalGroups"].each([](const Field& group, std::size_t) { check_between(group, 0, 2147483647); });
  check_sysctls(context["sysctls"]);
  check_seccomp(context["seccompProfile"]);
  check_app_armor(context["appArmorProfile"]);
  if (spec["shareProcessNamespace"].flag() && spec["hostPID"].flag()) {
    context["shareProcessNamespace"]
        .with(spec["shareProcessNamespace"].value())
        .invalid("ShareProcessNamespace and HostPID cannot both be enabled");
  }
}

void check_host_network(const Field& spec) {
  if (!spec["hostNetwork"].flag()) return;
  for (const char* list : {"containers", "initContainers"}) {
    spec[list].each([](const Field& container, std::size_t) {
      container["ports"].each([](const Field& port, std::size_t) {
        // A template need not repeat the port; the pod made from it has it filled in.
        if (!port["hostPort"].zero() && port["hostPort"].value() != port["containerPort"].value()) {
          port["containerPort"].invalid("must match `hostPort` when `hostNetwork` is true");
        }
      });
    });
  }
}

void check_gates(const Field& spec) {
  spec["readinessGates"].each([](const Field& gate, std::size_t) {
    if (!gate["conditionType"].zero()) check_label_name(gate["conditionType"]);
  });
  spec["schedulingGates"].each([](const Field& gate, std::size_t) {
    if (gate["name"].zero()) return;
    for (const std::string& why : check_label_key(gate["name"].text()))
      gate.invalid_as(quote(gate["name"].text()), why);
  });
}

void check_host_aliases(const Field& aliases) {
  aliases.each([](const Field& alias, std::size_t) {
    check_ip(alias["ip"]);
    alias["hostnames"].each([&](const Field& name, std::size_t) {
      for (const std::string& why : check_name(NameRule::Subdomain, name.text(), false)) {
        alias["hostnames"].invalid_as(quote(name.text()), why);
      }
    });
  });
}

constexpr std::string_view kOnlyThese =
    "pod updates may not change fields other than `spec.containers[*].image`,`spec.initContainers[*].image`,"
    "`spec.activeDeadlineSeconds`,`spec.tolerations` (only additions to existing tolerations),"
    "`spec.terminationGracePeriodSeconds` (allow it to be set to 1 if it was previously negative)";

// Each old toleration is still there; only the seconds of one may have changed.
bool only_added(const json& before, const json& after) {
  if (!before.is_array()) return true;
  return std::all_of(before.begin(), before.end(), [&](json one) {
    one.erase("tolerationSeconds");
    return after.is_array() && std::any_of(after.begin(), after.end(), [&](json other) {
             other.erase("tolerationSeconds");
             return other == one;
           });
  });
}

// Makes `spec`'s fields that may change equal to those of `old`, so that whatever still differs may not.
void cover_mutable(json& spec, const json& old) {
  for (const char* list : {"containers", "initContainers"}) {
    if (!spec.contains(list) || !old.contains(list)) continue;
    for (std::size_t i = 0; i < spec[list].size(); ++i) copy_member(spec[list][i], old[list][i], "image");
  }
  for (const char* field : {"activeDeadlineSeconds", "tolerations"}) copy_member(spec, old, field);
  if (number(old, {"terminationGracePeriodSeconds"}) < 0 && number(spec, {"terminationGracePeriodSeconds"}) == 1) {
    copy_member(spec, old, "terminationGracePeriodSeconds");
  }
  const json& gates = member(old, {"schedulingGates"});
  if (gates.is_array() && !gates.empty()) {
    // A gate may be taken away, and while there was one the pod's placement may be narrowed.
    for (const char* field : {"schedulingGates", "nodeSelector", "affinity"}) copy_member(spec, old, field);
  }
}

void check_gates_removed(const Field& spec, const json& old) {
  const json& before = member(old, {"schedulingGates"});
  spec["schedulingGates"].each([&](const Field& gate, std::size_t) {
    if (!before.is_array() || std::find(before.begin(), before.end(), gate.value()) == before.end()) {
      spec["schedulingGates"].forbidden("only deletion is allowed, but found new scheduling gate '" +
                                        gate["name"].text() + "'");
    }
  });
}

}  // namespace

void check_pod_spec(const Field& spec) {
  PodContext pod;
  pod.grace = spec["terminationGracePeriodSeconds"].number(30);
  check_volumes(spec, pod);
  check_containers(spec, pod);
  check_dns(spec);
  check_security_context(spec);
  check_host_network(spec);
  check_gates(spec);
  check_placement(spec);
  check_host_aliases(spec["hostAliases"]);
  for (const char* field : {"serviceAccountName", "nodeName", "priorityClassName", "runtimeClassName"}) {
    check_name_rule(spec[field], NameRule::Subdomain);
  }
  check_name_rule(spec["hostname"], NameRule::Label);
  check_name_rule(spec["subdomain"], NameRule::Label);
  check_between(spec["activeDeadlineSeconds"], 1, 2147483647);
  check_resource_list(spec["overhead"], true);
}

void check_pod_template(const Field& pod_template) {
  check_labels(pod_template["metadata"]["labels"].as_path(pod_template["labels"].path()));
  check_annotations(pod_template["metadata"]["annotations"].as_path(pod_template["annotations"].path()));
  check_pod_spec(pod_template["spec"]);
  if (!pod_template["spec"]["ephemeralContainers"].zero()) {
    pod_template["spec"]["ephemeralContainers"].forbidden("ephemeral containers not allowed in pod template");
  }
}

void check_pod(const Field& pod) {
  const Field spec = pod["spec"];
  check_pod_spec(spec);
  for (const char* list : {"containers", "initContainers"}) {
    spec[list].each([](const Field& container, std::size_t) {
      const std::string image = container["image"].text();
      constexpr std::string_view kBlank = " \t\r\n\v\f";
      if (!image.empty() && (kBlank.find(image.front()) != std::string_view::npos ||
                             kBlank.find(image.back()) != std::string_view::npos)) {
        container["image"].invalid("must not have leading or trailing whitespace");
      }
    });
  }
}

void check_pod_create(const Field& pod) {
  if (!pod["spec"]["ephemeralContainers"].zero())
    pod["spec"]["ephemeralContainers"].forbidden("cannot be set on create");
}

void check_pod_update(const Field& pod, const json& old) {
  const Field spec = pod["spec"];
  const json& before = member(old, {"spec"});
  for (const char* list : {"containers", "initContainers"}) {
    if (spec[list].size() == member(before, {list}).size()) continue;
    spec[list].forbidden("pod updates may not add or remove containers");
    return;
  }
  const Field deadline = spec["activeDeadlineSeconds"];
  const json& earlier = member(before, {"activeDeadlineSeconds"});
  if (earlier.is_number()) {
    if (!deadline.set()) {
      deadline.invalid("must not update from a positive integer to nil value");
    } else if (deadline.number() > earlier.get<std::int64_t>()) {
      deadline.invalid("must be less than or equal to previous value");
    }
  }
  if (!only_added(member(before, {"tolerations"}), spec["tolerations"].value())) {
    spec["tolerations"].forbidden("existing toleration can not be modified except its tolerationSeconds");
  }
  check_gates_removed(spec, before);
  json covered = spec.value();
  cover_mutable(covered, before);
  if (covered != before) spec.forbidden(kOnlyThese);
}

}  // namespace kubernel::apiserver::validation
