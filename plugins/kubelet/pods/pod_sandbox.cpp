// SPDX-License-Identifier: Apache-2.0
//
// PodWorker and what a pod's containers share: sandbox, network, volumes, files.
#include <algorithm>
#include <cctype>
#include <filesystem>
#include <fstream>
#include <sstream>

#include "pods/pod_files.h"
#include "pods/pod_worker.h"

namespace kubernel::kubelet {

namespace {

constexpr std::chrono::seconds kSandboxTimeout{240};

std::string read_file(const std::string& path) {
  std::ifstream file(path);
  std::stringstream text;
  text << file.rdbuf();
  return text.str();
}

Result<void> write_file(const std::string& path, const std::string& text) {
  // In place: these files are bind-mounted, and a new file would not be seen.
  if (read_file(path) == text && std::filesystem::exists(path)) return {};
  std::ofstream file(path, std::ios::trunc);
  file << text;
  file.close();
  if (!file) return Error(Reason::Internal, path + ": cannot be written");
  return {};
}

std::vector<std::string> split_commas(const std::string& text) {
  std::vector<std::string> out;
  std::istringstream parts(text);
  for (std::string part; std::getline(parts, part, ',');) {
    if (!part.empty()) out.push_back(part);
  }
  return out;
}

std::vector<network::PortMapping> port_mappings(const api::Object& pod) {
  std::vector<network::PortMapping> out;
  for (const auto& container : containers_of(pod)) {
    for (const api::Value port : container.value["ports"]) {
      if (port["hostPort"].integer() == 0) continue;
      std::string protocol(port["protocol"].string("TCP"));
      for (char& c : protocol) c = static_cast<char>(std::tolower(static_cast<unsigned char>(c)));
      out.push_back({static_cast<int>(port["hostPort"].integer()), static_cast<int>(port["containerPort"].integer()),
                     protocol, std::string(port["hostIP"].string())});
    }
  }
  return out;
}

}  // namespace

std::vector<std::string> PodWorker::pod_ips(const api::Object& pod) const {
  if (host_network(pod)) return runtime_.sandboxes.empty() ? std::vector<std::string>{} : kit_.node.host_ips;
  const auto* sandbox = runtime_.ready_sandbox();
  return sandbox == nullptr ? std::vector<std::string>{}
                            : split_commas(label_of(sandbox->annotations, kPodIpsAnnotation));
}

PodFacts PodWorker::facts_of(const api::Object& pod) const {
  PodFacts out;
  out.node_name = kit_.config.node_name;
  out.host_ips = kit_.node.host_ips;
  out.pod_ips = pod_ips(pod);
  out.allocatable_cpu = kit_.node.allocatable_cpu;
  out.allocatable_memory = kit_.node.allocatable_memory;
  out.allocatable_storage = kit_.node.allocatable_storage;
  return out;
}

bool PodWorker::mount_volumes(const api::Object& pod) {
  const auto now = kit_.tasks.clock().now();
  auto paths = kit_.volumes.mount(kit_.tasks.context(kSandboxTimeout), pod, facts_of(pod));
  if (paths) {
    volume_paths_ = *std::move(paths);
    volumes_gone_ = false;
    retry_back_off_.forget("volumes");
    return true;
  }
  event("Warning", "FailedMount", paths.error().message());
  retry_back_off_.note_try("volumes", now);
  wake_after(retry_back_off_.delay("volumes"));
  return false;
}

bool PodWorker::make_sandbox(const api::Object& pod, std::uint32_t attempt) {
  const auto now = kit_.tasks.clock().now();
  const auto allowed = retry_back_off_.allowed_at("sandbox", next_sandbox_from_);
  if (now < allowed) {
    wake_at(allowed);
    return false;
  }
  if (attempt > 0) event("Normal", "SandboxChanged", "Pod sandbox changed, it will be killed and re-created.");
  auto made = try_make_sandbox(pod, attempt);
  if (made) {
    retry_back_off_.forget("sandbox");
    return true;
  }
  if (kit_.tasks.stopping()) return false;
  retry_back_off_.note_try("sandbox", now);
  next_sandbox_from_ = now;
  wake_after(retry_back_off_.delay("sandbox"));
  const bool not_ready = made.error().reason() == Reason::ServiceUnavailable && kit_.network == nullptr;
  event("Warning", not_ready ? "NetworkNotReady" : "FailedCreatePodSandBox",
        not_ready ? made.error().message() : "Failed to create pod sandbox: " + made.error().message());
  log_warning(kit_.log, "cannot make a pod's sandbox", {{"pod", format_pod(pod)}, {"error", made.error()}});
  return false;
}

Result<network::PodAddresses> PodWorker::attach_network(const api::Object& pod, const std::string& network_id) {
  if (kit_.network == nullptr) {
    return Error(Reason::ServiceUnavailable, "network is not ready: no network plugin is loaded");
  }
  const network::PodAttachment attachment{pod.name(), pod.ns(), pod.uid(), network_id, port_mappings(pod)};
  auto addresses = kit_.network->attach(kit_.tasks.context(kSandboxTimeout), attachment);
  if (!addresses) return std::move(addresses).error().wrap("network");
  return addresses;
}

Result<void> PodWorker::try_make_sandbox(const api::Object& pod, std::uint32_t attempt) {
  KUBERNEL_CHECK_OK(stop_sandboxes());
  SandboxInput input{.pod = pod,
                     .attempt = attempt,
                     .log_directory = pod_log_directory(kit_.config.log_directory, pod),
                     .cgroup_root = kit_.config.cgroup_root,
                     .cluster_domain = kit_.config.cluster_domain,
                     .network_namespace_path = {},
                     .network_id = {},
                     .pod_ips = {}};
  std::error_code error;
  std::filesystem::create_directories(input.log_directory, error);
  if (error) return Error(Reason::Internal, input.log_directory + ": " + error.message());
  if (!host_network(pod)) {
    input.network_id = uid_ + "-" + std::to_string(attempt);
    KUBERNEL_TRY(auto addresses, attach_network(pod, input.network_id));
    input.network_namespace_path = addresses.namespace_path;
    input.pod_ips = addresses.ips;
    detached_.erase(input.network_id);
  }
  const runtime::SandboxConfig config = sandbox_config(input);
  auto id = kit_.runtime.run_sandbox(kit_.tasks.context(kSandboxTimeout), config);
  if (!id) {
    // The namespace and its addresses would be lost: the next attempt has the same name, but the pod may end before it.
    if (!input.network_id.empty()) {
      const network::PodAttachment attachment{pod.name(), pod.ns(), pod.uid(), input.network_id, {}};
      if (auto freed = kit_.network->detach(kit_.tasks.context(), attachment); !freed) {
        log_warning(kit_.log, "cannot detach a pod's network", {{"pod", format_pod(pod)}, {"error", freed.error()}});
      }
    }
    return std::move(id).error();
  }
  runtime::SandboxStatus sandbox;
  sandbox.id = *id;
  sandbox.pod_name = config.pod_name;
  sandbox.pod_namespace = config.pod_namespace;
  sandbox.pod_uid = config.pod_uid;
  sandbox.attempt = attempt;
  sandbox.ready = true;
  sandbox.created_at = kit_.tasks.clock().wall_now();
  sandbox.network_namespace_path = config.network_namespace_path;
  sandbox.labels = config.labels;
  sandbox.annotations = config.annotations;
  kit_.cache.put_sandbox(std::move(sandbox));
  runtime_ = kit_.cache.pod(uid_);
  return {};
}

Result<void> PodWorker::write_pod_files(const api::Object& pod) {
  std::error_code error;
  std::filesystem::create_directories(directory(), error);
  if (error) return Error(Reason::Internal, directory() + ": " + error.message());
  const auto ips = pod_ips(pod);
  const std::string hosts = host_network(pod) ? host_hosts_file(read_file("/etc/hosts"), pod)
                                              : hosts_file(pod, ips, kit_.config.cluster_domain);
  KUBERNEL_CHECK_OK(write_file(directory() + "/etc-hosts", hosts));
  const DnsInput dns{kit_.config.cluster_dns, kit_.config.cluster_domain, read_file(kit_.config.resolv_conf)};
  return write_file(directory() + "/etc-resolv.conf", resolv_conf(pod, dns));
}

Result<void> PodWorker::stop_sandbox(const runtime::SandboxStatus& sandbox) {
  if (sandbox.ready) {
    KUBERNEL_CHECK_OK(kit_.runtime.stop_sandbox(kit_.tasks.context(kSandboxTimeout), sandbox.id));
    kit_.cache.sandbox_stopped(sandbox.id);
  }
  const std::string network_id = label_of(sandbox.annotations, kNetworkIdAnnotation);
  if (network_id.empty() || kit_.network == nullptr || detached_.contains(network_id)) return {};
  const network::PodAttachment attachment{sandbox.pod_name, sandbox.pod_namespace, sandbox.pod_uid, network_id, {}};
  KUBERNEL_CHECK_OK(kit_.network->detach(kit_.tasks.context(kSandboxTimeout), attachment));
  detached_.insert(network_id);
  return {};
}

Result<void> PodWorker::stop_sandboxes() {
  for (const auto& sandbox : runtime_.sandboxes) {
    KUBERNEL_CHECK_OK(stop_sandbox(sandbox));
    for (const auto& container : runtime_.containers) {
      if (container.sandbox_id != sandbox.id || container.state == runtime::State::Exited) continue;
      KUBERNEL_CHECK_OK(kit_.cache.update_container(kit_.tasks.context(), container.id));
      kit_.prober.end_container(container.id);
    }
  }
  runtime_ = kit_.cache.pod(uid_);
  return {};
}

Result<void> PodWorker::remove_sandboxes() {
  for (const auto& sandbox : runtime_.sandboxes) {
    KUBERNEL_CHECK_OK(kit_.runtime.remove_sandbox(kit_.tasks.context(kSandboxTimeout), sandbox.id));
    kit_.cache.sandbox_removed(sandbox.id);
  }
  runtime_ = kit_.cache.pod(uid_);
  return {};
}

}  // namespace kubernel::kubelet
