// SPDX-License-Identifier: Apache-2.0
#include "pods/container_config.h"

#include "pods/resources.h"
#include "pods/runtime_cache.h"

namespace kubernel::kubelet {

namespace {

// The masked and read-only paths of Docker's and containerd's default, which upstream asks runtimes for.
const std::vector<std::string> kMaskedPaths = {"/proc/asound",
                                               "/proc/acpi",
                                               "/proc/kcore",
                                               "/proc/keys",
                                               "/proc/latency_stats",
                                               "/proc/timer_list",
                                               "/proc/timer_stats",
                                               "/proc/sched_debug",
                                               "/proc/scsi",
                                               "/sys/firmware",
                                               "/sys/devices/virtual/powercap"};
const std::vector<std::string> kReadonlyPaths = {"/proc/bus", "/proc/fs", "/proc/irq", "/proc/sys",
                                                 "/proc/sysrq-trigger"};

std::map<std::string, std::string> pod_labels(const api::Object& pod) {
  return {{std::string(kPodNameLabel), pod.name()},
          {std::string(kPodNamespaceLabel), pod.ns()},
          {std::string(kPodUidLabel), pod.uid()}};
}

std::map<std::string, std::string> pairs_of(api::Value map) {
  std::map<std::string, std::string> out;
  for (auto it = map.begin(); it != map.end(); ++it) out[std::string(it.key())] = (*it).string();
  return out;
}

std::optional<std::int64_t> number(api::Value container, api::Value pod, const char* name) {
  for (const api::Value from : {container[name], pod[name]}) {
    if (from && !from.is_null()) return from.integer();
  }
  return std::nullopt;
}

void add_strings(api::Value list, std::vector<std::string>& out) {
  for (const api::Value item : list) {
    std::string text(item.string());
    out.push_back(text.starts_with("CAP_") ? text.substr(4) : text);
  }
}

runtime::SecurityOptions security_options(const api::Object& pod, const ContainerSpec& container,
                                          const std::vector<std::int64_t>& groups) {
  const api::Value own = container.value["securityContext"], shared = pod["spec"]["securityContext"];
  runtime::SecurityOptions out;
  out.run_as_user = number(own, shared, "runAsUser");
  out.run_as_group = number(own, shared, "runAsGroup");
  for (const api::Value group : shared["supplementalGroups"]) out.supplemental_groups.push_back(group.integer());
  out.supplemental_groups.insert(out.supplemental_groups.end(), groups.begin(), groups.end());
  add_strings(own["capabilities"]["add"], out.add_capabilities);
  add_strings(own["capabilities"]["drop"], out.drop_capabilities);
  out.privileged = own["privileged"].boolean();
  out.readonly_rootfs = own["readOnlyRootFilesystem"].boolean();
  const api::Value escalation = own["allowPrivilegeEscalation"];
  out.no_new_privileges = escalation && !escalation.is_null() && !escalation.boolean();
  const api::Value seccomp = own["seccompProfile"] ? own["seccompProfile"] : shared["seccompProfile"];
  out.seccomp_unconfined = out.privileged || seccomp["type"].string("Unconfined") == "Unconfined";
  if (!out.privileged && own["procMount"].string() != "Unmasked") {
    out.masked_paths = kMaskedPaths;
    out.readonly_paths = kReadonlyPaths;
  }
  return out;
}

}  // namespace

std::string pod_log_directory(const std::string& root, const api::Object& pod) {
  return root + "/" + pod.ns() + "_" + pod.name() + "_" + pod.uid();
}

runtime::SandboxConfig sandbox_config(const SandboxInput& input) {
  const api::Object& pod = input.pod;
  const api::Value spec = pod["spec"];
  runtime::SandboxConfig out;
  out.pod_name = pod.name();
  out.pod_namespace = pod.ns();
  out.pod_uid = pod.uid();
  out.attempt = input.attempt;
  out.log_directory = input.log_directory;
  out.cgroup_parent = pod_cgroup(pod, input.cgroup_root);
  out.resources = pod_resources(pod);
  out.network_namespace_path = input.network_namespace_path;
  if (host_network(pod)) {
    out.network = runtime::NamespaceMode::Node;  // And with it the node's host name.
  } else {
    out.hostname = hostname_of(pod);
    const std::string full = domain_name_of(pod, input.cluster_domain);
    if (spec["setHostnameAsFQDN"].boolean() && !full.empty()) out.hostname = full;
  }
  if (spec["hostPID"].boolean()) {
    out.pid = runtime::NamespaceMode::Node;
  } else if (spec["shareProcessNamespace"].boolean()) {
    out.pid = runtime::NamespaceMode::Pod;
  }
  if (spec["hostIPC"].boolean()) out.ipc = runtime::NamespaceMode::Node;
  for (const api::Value sysctl : spec["securityContext"]["sysctls"]) {
    out.sysctls[std::string(sysctl["name"].string())] = sysctl["value"].string();
  }
  // The pod's own come first: what the kubelet knows its sandboxes by cannot be overridden.
  out.labels = pairs_of(pod["metadata"]["labels"]);
  out.annotations = pairs_of(pod["metadata"]["annotations"]);
  for (const auto& [name, value] : pod_labels(pod)) out.labels[name] = value;
  out.annotations[std::string(kNetworkIdAnnotation)] = input.network_id;
  std::string ips;
  for (const auto& ip : input.pod_ips) ips += (ips.empty() ? "" : ",") + ip;
  out.annotations[std::string(kPodIpsAnnotation)] = ips;
  out.annotations[std::string(kGraceAnnotation)] = std::to_string(termination_grace_of(pod).count());
  return out;
}

Result<void> check_non_root(const api::Object& pod, const ContainerSpec& container, const runtime::Image& image) {
  const api::Value own = container.value["securityContext"], shared = pod["spec"]["securityContext"];
  const api::Value asked =
      own["runAsNonRoot"] && !own["runAsNonRoot"].is_null() ? own["runAsNonRoot"] : shared["runAsNonRoot"];
  if (!asked.boolean()) return {};
  const std::string who = " (pod: \"" + format_pod(pod) + "\", container: " + container.name + ")";
  if (const auto user = number(own, shared, "runAsUser")) {
    if (*user != 0) return {};
    return Error(Reason::Invalid, "container's runAsUser breaks non-root policy" + who);
  }
  if (image.user && *image.user == 0)
    return Error(Reason::Invalid, "container has runAsNonRoot and image will run as root" + who);
  if (image.user) return {};
  if (image.username.empty())
    return Error(Reason::Invalid, "container has runAsNonRoot and image will run as root" + who);
  return Error(Reason::Invalid, "container has runAsNonRoot and image has non-numeric user (" + image.username +
                                    "), cannot verify user is non-root" + who);
}

Result<runtime::ContainerConfig> container_config(ContainerInput input) {
  const ContainerSpec& container = input.container;
  const api::Value value = container.value;
  KUBERNEL_CHECK_OK(check_non_root(input.pod, container, input.image));
  runtime::ContainerConfig out;
  out.name = container.name;
  out.attempt = input.attempt;
  out.image_id = input.image.id;
  out.command = expand_words(value["command"], input.environment);
  out.args = expand_words(value["args"], input.environment);
  out.working_dir = value["workingDir"].string();
  out.env = std::move(input.environment);
  out.mounts = std::move(input.mounts);
  out.log_path = container.name + "/" + std::to_string(input.attempt) + ".log";
  out.stdin_open = value["stdin"].boolean();
  out.stdin_once = value["stdinOnce"].boolean();
  out.tty = value["tty"].boolean();
  out.stop_signal = value["lifecycle"]["stopSignal"].string();
  out.resources = container_resources(input.pod, container, input.node_memory_bytes, input.lowest_oom_score_adj);
  out.security = security_options(input.pod, container, input.volume_groups);
  if (!out.security.run_as_user) {
    if (input.image.user) {
      out.security.run_as_user = input.image.user;
    } else {
      out.security.run_as_username = input.image.username;
    }
  }
  out.labels = pod_labels(input.pod);
  out.labels[std::string(kContainerNameLabel)] = container.name;
  out.annotations[std::string(kHashAnnotation)] = spec_hash(container);
  out.annotations[std::string(kRestartCountAnnotation)] = std::to_string(input.attempt);
  out.annotations[std::string(kMessagePathAnnotation)] = value["terminationMessagePath"].string("/dev/termination-log");
  out.annotations[std::string(kGraceAnnotation)] = std::to_string(termination_grace_of(input.pod).count());
  return out;
}

}  // namespace kubernel::kubelet
