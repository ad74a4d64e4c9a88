// SPDX-License-Identifier: Apache-2.0
//
// Containers of a pod: ports, environment, mounts, probes, hooks, resources, security.
#include <algorithm>
#include <set>

#include "validation/pod_rules.h"

namespace kubernel::apiserver::validation {

namespace {

void check_ports(const Field& ports) {
  std::set<std::string> names;
  ports.each([&](const Field& port, std::size_t) {
    if (!port["name"].zero()) {
      const std::size_t before = port.causes().size();
      check_port_name(port["name"]);
      if (port.causes().size() == before && !names.insert(port["name"].text()).second) port["name"].duplicate();
    }
    if (port["containerPort"].zero()) {
      port["containerPort"].required();
    } else {
      check_port_number(port["containerPort"]);
    }
    if (!port["hostPort"].zero()) check_port_number(port["hostPort"]);
    if (!port["hostIP"].zero()) check_ip(port["hostIP"]);
  });
}

void check_divisor(const Field& reference, const std::string& resource) {
  if (!reference["divisor"].set()) return;
  const std::string divisor = reference["divisor"].quantity().to_string();
  if (divisor == "0") return;
  const auto one_of = [&](std::initializer_list<std::string_view> list) {
    return std::find(list.begin(), list.end(), divisor) != list.end();
  };
  if (resource.ends_with(".cpu")) {
    if (!one_of({"1m", "1"})) {
      reference["divisor"].invalid_as(quote(resource),
                                      "only divisor's values 1m and 1 are supported with the cpu resource");
    }
    return;
  }
  if (one_of({"1", "1k", "1M", "1G", "1T", "1P", "1E", "1Ki", "1Mi", "1Gi", "1Ti", "1Pi", "1Ei"})) return;
  const std::string what = resource.ends_with(".memory")              ? "memory"
                           : resource.ends_with(".ephemeral-storage") ? "local ephemeral storage"
                                                                      : "hugepages";
  reference["divisor"].invalid_as(
      quote(resource),
      "only divisor's values 1, 1k, 1M, 1G, 1T, 1P, 1E, 1Ki, 1Mi, 1Gi, 1Ti, 1Pi, 1Ei are supported with the " + what +
          " resource");
}

void check_key_reference(const Field& reference) {
  if (!reference["key"].zero()) check_config_key(reference["key"]);
}

void check_value_from(const Field& variable) {
  const Field from = variable["valueFrom"];
  if (!from.set()) return;
  int sources = 0;
  if (from["fieldRef"].set()) {
    ++sources;
    check_field_reference(from["fieldRef"], {"metadata.name", "metadata.namespace", "metadata.uid", "spec.nodeName",
                                             "spec.serviceAccountName", "status.hostIP", "status.hostIPs",
                                             "status.podIP", "status.podIPs"});
  }
  if (from["resourceFieldRef"].set()) {
    ++sources;
    check_resource_reference(from["resourceFieldRef"], false);
  }
  for (const char* name : {"configMapKeyRef", "secretKeyRef"}) {
    if (!from[name].set()) continue;
    ++sources;
    check_key_reference(from[name]);
  }
  if (from["fileKeyRef"].set()) ++sources;
  if (sources == 0) {
    from.invalid_as(
        "\"\"",
        "must specify one of: `fieldRef`, `resourceFieldRef`, `configMapKeyRef`, `secretKeyRef` or `fileKeyRef`");
  }
  if (!variable["value"].zero()) {
    if (sources != 0) from.invalid_as("\"\"", "may not be specified when `value` is not empty");
  } else if (sources > 1) {
    from.invalid_as("\"\"", "may not have more than one field specified at a time");
  }
}

void check_env(const Field& container) {
  container["env"].each([](const Field& variable, std::size_t) {
    check_env_name(variable["name"]);
    check_value_from(variable);
  });
  container["envFrom"].each([](const Field& source, std::size_t) {
    if (!source["prefix"].zero()) check_env_name(source["prefix"]);
    int sources = 0;
    for (const char* name : {"configMapRef", "secretRef"}) {
      if (!source[name].set()) continue;
      ++sources;
      if (source[name]["name"].zero()) source[name]["name"].required();
    }
    if (sources == 0) source.invalid_as("\"\"", "must specify one of: `configMapRef` or `secretRef`");
    if (sources > 1) source.invalid_as("\"\"", "may not have more than one field specified at a time");
  });
}

void check_mounts(const Field& container, const PodContext& pod) {
  std::set<std::string> paths;
  container["volumeMounts"].each([&](const Field& mount, std::size_t) {
    const Field name = mount["name"];
    if (!name.zero() && !pod.volumes.contains(name.text())) name.not_found();
    if (!mount["mountPath"].zero() && !paths.insert(mount["mountPath"].text()).second)
      mount["mountPath"].invalid("must be unique");
    check_relative_path(mount["subPath"]);
    if (!mount["subPathExpr"].zero()) {
      if (!mount["subPath"].zero()) mount["subPathExpr"].invalid("subPathExpr and subPath are mutually exclusive");
      check_relative_path(mount["subPathExpr"]);
    }
    if (mount["mountPropagation"].text() == "Bidirectional" && !container["securityContext"]["privileged"].flag()) {
      mount["mountPropagation"].forbidden("Bidirectional mount propagation is available only to privileged containers");
    }
  });
  container["volumeDevices"].each([&](const Field& device, std::size_t) {
    if (!device["name"].zero()) {
      const auto claim = pod.volumes.find(device["name"].text());
      if (claim == pod.volumes.end()) {
        device["name"].not_found();
      } else if (!claim->second) {
        device["name"].invalid("can only use volume source type of PersistentVolumeClaim or Ephemeral for block mode");
      }
    }
    if (!device["devicePath"].zero()) {
      check_no_backsteps(device["devicePath"]);
      if (!paths.insert(device["devicePath"].text()).second) device["devicePath"].invalid("must be unique");
    }
  });
}

bool is_header_name(const std::string& name) {
  return !name.empty() && std::all_of(name.begin(), name.end(), [](char c) {
    return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9') || c == '-';
  });
}

void check_http_get(const Field& get) {
  if (get["path"].zero()) get["path"].required();
  check_port_number_or_name(get["port"]);
  get["httpHeaders"].each([&](const Field& header, std::size_t) {
    if (!is_header_name(header["name"].text())) {
      get["httpHeaders"].invalid_as(
          quote(header["name"].text()),
          "a valid HTTP header must consist of alphanumeric characters or '-' (e.g. 'X-Header-Name', regex "
          "used for validation is '[-A-Za-z0-9]+')");
    }
  });
}

void check_handler(const Field& handler, std::int64_t grace) {
  int handlers = 0;
  const auto take = [&](const char* name) {
    if (!handler[name].set()) return false;
    if (handlers++ > 0) {
      handler[name].forbidden("may not specify more than 1 handler type");
      return false;
    }
    return true;
  };
  if (take("exec") && handler["exec"]["command"].zero()) handler["exec"]["command"].required();
  if (take("httpGet")) check_http_get(handler["httpGet"]);
  if (take("tcpSocket")) check_port_number_or_name(handler["tcpSocket"]["port"]);
  if (take("grpc")) check_port_number(handler["grpc"]["port"]);
  if (take("sleep")) {
    const Field seconds = handler["sleep"]["seconds"];
    if (seconds.number() < 0 || seconds.number() > grace) {
      handler["sleep"]
          .with(seconds.value())
          .invalid("must be non-negative and less than terminationGracePeriodSeconds (" + std::to_string(grace) + ")");
    }
  }
  if (handlers == 0) handler.required("must specify a handler type");
}

enum class ProbeKind { Liveness, Readiness, Startup };

void check_probe(const Field& probe, ProbeKind kind, std::int64_t grace) {
  if (!probe.set()) return;
  check_handler(probe, grace);
  for (const char* name :
       {"initialDelaySeconds", "timeoutSeconds", "periodSeconds", "successThreshold", "failureThreshold"}) {
    check_not_negative(probe[name]);
  }
  const Field own_grace = probe["terminationGracePeriodSeconds"];
  if (kind == ProbeKind::Readiness) {
    if (own_grace.set()) own_grace.invalid("must not be set for readinessProbes");
    return;
  }
  if (own_grace.set() && own_grace.number() <= 0) own_grace.invalid("must be greater than 0");
  if (probe["successThreshold"].set() && probe["successThreshold"].number() != 1)
    probe["successThreshold"].invalid("must be 1");
}

void check_hooks(const Field& container, std::int64_t grace) {
  for (const char* hook : {"postStart", "preStop"}) {
    if (container["lifecycle"][hook].set()) check_handler(container["lifecycle"][hook], grace);
  }
  check_probe(container["livenessProbe"], ProbeKind::Liveness, grace);
  check_probe(container["readinessProbe"], ProbeKind::Readiness, grace);
  check_probe(container["startupProbe"], ProbeKind::Startup, grace);
}

void check_security(const Field& context) {
  if (!context.set()) return;
  check_between(context["runAsUser"], 0, 2147483647);
  check_between(context["runAsGroup"], 0, 2147483647);
  check_seccomp(context["seccompProfile"]);
  check_app_armor(context["appArmorProfile"]);
  const Field escalation = context["allowPrivilegeEscalation"];
  if (!escalation.set() || escalation.flag()) return;
  if (context["privileged"].flag()) {
    context.invalid("cannot set `allowPrivilegeEscalation` to false and `privileged` to true");
  }
  const json& added = context["capabilities"]["add"].value();
  if (added.is_array() && std::find(added.begin(), added.end(), "CAP_SYS_ADMIN") != added.end()) {
    context.invalid("cannot set `allowPrivilegeEscalation` to false and `capabilities.Add` CAP_SYS_ADMIN");
  }
}

void check_restart_policy(const Field& container) {
  const Field policy = container["restartPolicy"];
  if (policy.set() && policy.text() != "Always" && policy.text() != "Never" && policy.text() != "OnFailure") {
    policy.not_supported({"Always", "Never", "OnFailure"});
  }
  if (!container["restartPolicyRules"].zero() && !policy.set())
    policy.required("must specify restartPolicy when restart rules are used");
}

void check_common(const Field& container, const PodContext& pod) {
  check_name_rule(container["name"], NameRule::Label);
  if (container["image"].zero()) container["image"].required();
  check_ports(container["ports"]);
  check_env(container);
  check_mounts(container, pod);
  check_resource_requirements(container["resources"], true);
  check_security(container["securityContext"]);
  check_restart_policy(container);
}

// Two containers that run at the same time cannot have one port of the node.
void check_host_ports(const Field& container, std::set<std::string>& taken) {
  container["ports"].each([&](const Field& port, std::size_t) {
    if (port["hostPort"].zero()) return;
    const std::string key =
        port["protocol"].text() + "/" + port["hostIP"].text() + "/" + std::to_string(port["hostPort"].number());
    if (!taken.insert(key).second) port["hostPort"].duplicate_as(quote(key));
  });
}

}  // namespace

void check_field_reference(const Field& reference, const std::vector<std::string>& supported) {
  static const std::set<std::string> kConvertible = {
      "metadata.annotations", "metadata.labels",    "metadata.name",
      "metadata.namespace",   "metadata.uid",       "spec.nodeName",
      "spec.restartPolicy",   "spec.schedulerName", "spec.serviceAccountName",
      "status.phase",         "status.hostIP",      "status.hostIPs",
      "status.podIP",         "status.podIPs"};
  const Field path = reference["fieldPath"];
  const std::string text = path.text();
  if (text.empty()) return;
  const std::size_t open = text.find("['");
  if (open != std::string::npos && text.ends_with("']")) {
    const std::string map = text.substr(0, open);
    const std::string key = text.substr(open + 2, text.size() - open - 4);
    if (map != "metadata.annotations" && map != "metadata.labels") {
      path.invalid("error converting fieldPath: field label does not support subscript: " + text);
      return;
    }
    for (const std::string& why : check_label_key(key)) path.invalid_as(quote(key), why);
    return;
  }
  if (!kConvertible.contains(text)) {
    path.invalid("error converting fieldPath: field label not supported: " + text);
  } else if (std::find(supported.begin(), supported.end(), text) == supported.end()) {
    path.not_supported(supported);
  }
}

void check_resource_reference(const Field& reference, bool in_volume) {
  static const std::vector<std::string> kSupported = {"limits.cpu",   "limits.ephemeral-storage",   "limits.memory",
                                                      "requests.cpu", "requests.ephemeral-storage", "requests.memory"};
  if (in_volume && reference["containerName"].zero()) reference["containerName"].required();
  const std::string resource = reference["resource"].text();
  if (resource.empty()) return;
  const bool huge = resource.starts_with("limits.hugepages-") || resource.starts_with("requests.hugepages-");
  if (!huge && std::find(kSupported.begin(), kSupported.end(), resource) == kSupported.end()) {
    reference["resource"].not_supported(kSupported);
    return;
  }
  check_divisor(reference, resource);
}

void check_seccomp(const Field& profile) {
  if (!profile.set()) return;
  const Field file = profile["localhostProfile"];
  if (profile["type"].text() == "Localhost") {
    if (file.zero()) {
      file.required("must be set when seccomp type is Localhost");
    } else {
      check_relative_path(file);
    }
  } else if (file.set()) {
    file.invalid("can only be set when seccomp type is Localhost");
  }
}

void check_app_armor(const Field& profile) {
  if (!profile.set()) return;
  const Field name = profile["localhostProfile"];
  if (profile["type"].text() == "Localhost") {
    if (name.zero()) name.required("must be set when AppArmor type is Localhost");
  } else if (name.set()) {
    name.invalid("can only be set when AppArmor type is Localhost");
  }
}

void check_containers(const Field& spec, const PodContext& pod) {
  std::set<std::string> names;
  std::set<std::string> host_ports;
  const Field containers = spec["containers"];
  if (containers.zero()) containers.required();
  containers.each([&](const Field& container, std::size_t) {
    check_common(container, pod);
    check_hooks(container, pod.grace);
    check_host_ports(container, host_ports);
    names.insert(container["name"].text());
  });
  spec["initContainers"].each([&](const Field& container, std::size_t) {
    check_common(container, pod);
    if (!container["name"].zero() && !names.insert(container["name"].text()).second) container["name"].duplicate();
    // Init containers run one after the other.
    std::set<std::string> own;
    check_host_ports(container, own);
    if (container["restartPolicy"].text() == "Always") {
      check_hooks(container, pod.grace);
      return;
    }
    for (const char* field : {"lifecycle", "livenessProbe", "readinessProbe", "startupProbe"}) {
      if (container[field].set())
        container[field].forbidden("may not be set for init containers without restartPolicy=Always");
    }
  });
}

void check_ephemeral_containers(const Field& spec) {
  Causes of_volumes;
  PodContext pod;
  check_volumes(Field(spec.value(), spec.path(), of_volumes), pod);  // For the names; the volumes are legal already.
  std::set<std::string> names;
  std::set<std::string> targets;
  for (const char* list : {"containers", "initContainers"}) {
    spec[list].each([&](const Field& container, std::size_t) {
      names.insert(container["name"].text());
      targets.insert(container["name"].text());
    });
  }
  spec["ephemeralContainers"].each([&](const Field& container, std::size_t) {
    check_common(container, pod);
    if (!container["name"].zero() && !names.insert(container["name"].text()).second) container["name"].duplicate();
    const Field target = container["targetContainerName"];
    if (!target.zero() && !targets.contains(target.text())) target.not_found();
    for (const char* field :
         {"ports", "lifecycle", "livenessProbe", "readinessProbe", "startupProbe", "resources", "resizePolicy"}) {
      if (!container[field].zero()) container[field].forbidden("cannot be set for an Ephemeral Container");
    }
    container["volumeMounts"].each([](const Field& mount, std::size_t) {
      for (const char* field : {"subPath", "subPathExpr"}) {
        if (!mount[field].zero()) mount[field].forbidden("cannot be set for an Ephemeral Container");
      }
    });
  });
}

}  // namespace kubernel::apiserver::validation
