// SPDX-License-Identifier: Apache-2.0
#include "cni_network.h"

#include <fcntl.h>
#include <linux/magic.h>
#include <sys/mount.h>
#include <sys/stat.h>
#include <sys/vfs.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <cerrno>
#include <filesystem>
#include <fstream>
#include <sstream>
#include <system_error>

#include <nlohmann/json.hpp>

#include <kubernel/base/child_process.h>
#include <kubernel/network/host_network.h>

#include "conflist.h"
#include "node_rules.h"

namespace kubernel::network::cni {
namespace {

using nlohmann::json;

constexpr const char* kDevice = "eth0";

Error io_error(std::string_view what, const std::string& path, int code) {
  return {Reason::Internal, "cannot " + std::string(what) + " " + path + ": " + std::generic_category().message(code)};
}

Result<void> make_directory(const std::string& path, mode_t mode) {
  std::error_code code;
  std::filesystem::create_directories(path, code);
  if (code) return io_error("create", path, code.value());
  if (chmod(path.c_str(), mode) != 0) return io_error("set the mode of", path, errno);
  return {};
}

Result<std::string> read_text(const std::string& path) {
  std::ifstream file(path, std::ios::binary);
  if (!file) return Error(Reason::NotFound, "cannot open " + path);
  std::ostringstream text;
  text << file.rdbuf();
  return std::move(text).str();
}

Result<void> write_text(const std::string& path, const std::string& text) {
  std::string temporary = path + ".XXXXXX";
  const UniqueFd fd(mkostemp(temporary.data(), O_CLOEXEC));
  if (!fd) return io_error("create", path, errno);
  if (write(fd.get(), text.data(), text.size()) != static_cast<ssize_t>(text.size()) ||
      rename(temporary.c_str(), path.c_str()) != 0) {
    const Error error = io_error("write", path, errno);
    unlink(temporary.c_str());
    return error;
  }
  return {};
}

bool is_namespace(const std::string& path) {
  struct statfs info {};
  return statfs(path.c_str(), &info) == 0 && info.f_type == NSFS_MAGIC;
}

// It becomes part of paths and of plugins' environment.
Result<void> check_sandbox(const std::string& id) {
  const bool plain =
      std::ranges::all_of(id, [](unsigned char c) { return std::isalnum(c) != 0 || c == '-' || c == '_' || c == '.'; });
  if (id.empty() || id.front() == '.' || !plain)
    return Error(Reason::Invalid, "sandbox id \"" + id + "\" is not a plain name");
  return {};
}

bool executable(const std::string& path) {
  return access(path.c_str(), X_OK) == 0;
}

}  // namespace

struct CniNetwork::Attached {
  std::string conflist, result;
  std::vector<PortMapping> ports;
};

Result<CniNetwork::Attached> CniNetwork::read_record(const std::string& sandbox) const {
  KUBERNEL_TRY(const std::string text, read_text(record_path(sandbox)));
  return catch_as_error("network record of sandbox " + sandbox, [&]() -> Result<Attached> {
    const json value = json::parse(text);
    Attached out;
    out.conflist = value.at("conflist").dump();
    out.result = value.at("result").is_null() ? "" : value.at("result").dump();
    for (const json& port : value.at("ports")) {
      out.ports.push_back({port.at("hostPort").get<int>(), port.at("containerPort").get<int>(),
                           port.at("protocol").get<std::string>(), port.at("hostIp").get<std::string>()});
    }
    return out;
  });
}

Result<void> CniNetwork::check_allowed() const {
  if (options_.host_network_allowed || !in_host_network()) return {};
  return Error(Reason::Forbidden,
               "refusing to change the network of this machine: run the node in a network namespace of its own, or "
               "allow it with `network: host`");
}

Result<std::string> CniNetwork::network_conflist() const {
  if (options_.conf_dir.empty()) {
    const std::lock_guard lock(mutex_);
    if (pod_cidrs_.empty()) return Error(Reason::ServiceUnavailable, "no pod range has been assigned to this node");
    return make_bridge_conflist({options_.bridge, options_.data_dir + "/ipam", options_.mtu, pod_cidrs_});
  }
  std::vector<std::string> names;
  std::error_code code;
  for (const auto& entry : std::filesystem::directory_iterator(options_.conf_dir, code)) {
    const std::string extension = entry.path().extension().string();
    if (extension == ".conflist" || extension == ".conf" || extension == ".json")
      names.push_back(entry.path().string());
  }
  // The first by name counts, as upstream.
  std::ranges::sort(names);
  if (names.empty()) return Error(Reason::ServiceUnavailable, "no network configuration in " + options_.conf_dir);
  KUBERNEL_TRY(const std::string text, read_text(names.front()));
  auto list = normalize_conflist(text);
  if (!list) return std::move(list).error().wrap(names.front());
  return list;
}

std::string CniNetwork::problem() const {
  if (const auto allowed = check_allowed(); !allowed) return allowed.error().message();
  const auto conflist = network_conflist();
  if (!conflist) return conflist.error().message();
  auto types = plugin_types(*conflist);
  if (!types) return types.error().message();
  types->emplace_back("loopback");
  if (options_.conf_dir.empty()) types->emplace_back("host-local");
  for (const std::string& type : *types) {
    if (!executable(options_.bin_dir + "/" + type))
      return "network plugin " + options_.bin_dir + "/" + type + " is not installed";
  }
  return {};
}

Result<void> CniNetwork::configure(const CallContext& ctx, const NodeNetwork& node) {
  KUBERNEL_CHECK_OK(check_allowed());
  for (const std::string& cidr : node.pod_cidrs) {
    if (!valid_cidr(cidr)) return Error(Reason::Invalid, "pod range \"" + cidr + "\" is not an address range");
  }
  KUBERNEL_CHECK_OK(make_directory(options_.data_dir, 0700));
  KUBERNEL_CHECK_OK(make_directory(options_.data_dir + "/results", 0700));
  {
    const std::lock_guard lock(mutex_);
    pod_cidrs_ = node.pod_cidrs;
  }
  const bool dual_stack =
      std::ranges::any_of(node.pod_cidrs, [](const std::string& cidr) { return cidr.find(':') != std::string::npos; });
  KUBERNEL_CHECK_OK(apply_sysctls(dual_stack, !options_.host_network_allowed));
  if (options_.masquerade) {
    std::vector<std::string> cluster = options_.cluster_cidrs;
    for (const NodeNetwork::Peer& peer : node.peers)
      cluster.insert(cluster.end(), peer.pod_cidrs.begin(), peer.pod_cidrs.end());
    KUBERNEL_CHECK_OK(apply_masquerade(ctx, make_masquerade_rules(node.pod_cidrs, cluster)));
  }
  return apply_routes(ctx, node);
}

// By unshare(1): the namespace is made by a process of its own, so no thread of this one is ever in the wrong place.
Result<void> CniNetwork::make_namespace(const CallContext& ctx, const std::string& path) const {
  std::error_code code;
  std::filesystem::create_directories(options_.netns_dir, code);
  if (code) return io_error("create", options_.netns_dir, code.value());
  const UniqueFd file(open(path.c_str(), O_RDONLY | O_CREAT | O_CLOEXEC, 0444));
  if (!file) return io_error("create", path, errno);
  ChildOptions child;
  child.argv = {"unshare", "--net=" + path, "true"};
  child.env = {"PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"};
  KUBERNEL_TRY(const ChildOutput output, run_child(ctx, child));
  if (output.exit_code == 0 && is_namespace(path)) return {};
  return Error(Reason::Internal, "cannot make network namespace " + path + ": " +
                                     output.standard_error.substr(0, output.standard_error.find('\n')));
}

Result<void> CniNetwork::remove_namespace(const std::string& path) const {
  while (umount2(path.c_str(), MNT_DETACH | UMOUNT_NOFOLLOW) == 0) {
  }
  if (unlink(path.c_str()) != 0 && errno != ENOENT) return io_error("remove", path, errno);
  return {};
}

Result<std::string> CniNetwork::run_plugin(const CallContext& ctx, const std::string& command, const std::string& type,
                                           const PodAttachment& pod, const std::string& device,
                                           const std::string& input) const {
  const std::string program = options_.bin_dir + "/" + type;
  const std::string netns = namespace_path(pod.sandbox_id);
  ChildOptions child;
  child.argv = {program};
  child.env = {"PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin", "CNI_COMMAND=" + command,
               "CNI_CONTAINERID=" + pod.sandbox_id,
               // Empty when it is gone: plugins then free what they hold outside of it.
               "CNI_NETNS=" + (command == "DEL" && !is_namespace(netns) ? std::string() : netns),
               "CNI_IFNAME=" + device, "CNI_PATH=" + options_.bin_dir,
               "CNI_ARGS=IgnoreUnknown=1;K8S_POD_NAMESPACE=" + pod.pod_namespace + ";K8S_POD_NAME=" + pod.pod_name +
                   ";K8S_POD_INFRA_CONTAINER_ID=" + pod.sandbox_id + ";K8S_POD_UID=" + pod.pod_uid};
  auto output = run_child(ctx, child, input);
  if (!output) return std::move(output).error().wrap("network plugin " + type);
  if (output->exit_code == 0) return std::move(output->standard_output);
  return Error(Reason::Internal, "network plugin " + plugin_error(type, output->standard_output, output->standard_error,
                                                                  output->exit_code));
}

Result<std::string> CniNetwork::add(const CallContext& ctx, const PodAttachment& pod, const std::string& device,
                                    const std::string& conflist) const {
  KUBERNEL_TRY(const std::vector<std::string> types, plugin_types(conflist));
  std::string result;
  for (std::size_t i = 0; i < types.size(); ++i) {
    KUBERNEL_TRY(const std::string input, plugin_input(conflist, i, pod.ports, result));
    KUBERNEL_TRY(result, run_plugin(ctx, "ADD", types[i], pod, device, input));
  }
  return result;
}

// In reverse order; goes on after a failure, so that one plugin does not keep the others' work.
Result<void> CniNetwork::del(const CallContext& ctx, const PodAttachment& pod, const std::string& device,
                             const Attached& attached) const {
  KUBERNEL_TRY(const std::vector<std::string> types, plugin_types(attached.conflist));
  Result<void> outcome;
  for (std::size_t i = types.size(); i > 0; --i) {
    KUBERNEL_TRY(const std::string input, plugin_input(attached.conflist, i - 1, attached.ports, attached.result));
    auto output = run_plugin(ctx, "DEL", types[i - 1], pod, device, input);
    // A plugin that is not there cannot have done anything, unless it was there when the pod was attached.
    const bool never_ran = !output && output.error().reason() == Reason::NotFound && attached.result.empty();
    if (!output && !never_ran && outcome) outcome = std::move(output).error();
  }
  return outcome;
}

Result<PodAddresses> CniNetwork::attach(const CallContext& ctx, const PodAttachment& pod) {
  KUBERNEL_CHECK_OK(check_allowed());
  KUBERNEL_CHECK_OK(check_sandbox(pod.sandbox_id));
  const std::string path = namespace_path(pod.sandbox_id);
  if (const auto record = read_record(pod.sandbox_id); record && !record->result.empty() && is_namespace(path)) {
    KUBERNEL_TRY(std::vector<std::string> ips, result_addresses(record->result));
    return PodAddresses{path, std::move(ips)};
  }
  // What an interrupted attachment, or one from before a reboot, has left.
  KUBERNEL_CHECK_OK(detach(ctx, pod));
  KUBERNEL_TRY(const std::string conflist, network_conflist());
  KUBERNEL_CHECK_OK(make_directory(options_.data_dir + "/results", 0700));
  json record = json::object();
  record["conflist"] = json::parse(conflist);
  record["result"] = nullptr;
  record["ports"] = json::array();
  for (const PortMapping& port : pod.ports) {
    json mapping = json::object();
    mapping["hostPort"] = port.host_port;
    mapping["containerPort"] = port.container_port;
    mapping["protocol"] = port.protocol;
    mapping["hostIp"] = port.host_ip;
    record["ports"].push_back(std::move(mapping));
  }
  // Before the plugins run: whatever happens then, it is known what to undo.
  KUBERNEL_CHECK_OK(write_text(record_path(pod.sandbox_id), record.dump()));
  auto attached = [&]() -> Result<PodAddresses> {
    KUBERNEL_CHECK_OK(make_namespace(ctx, path));
    KUBERNEL_TRY([[maybe_unused]] const std::string loopback, add(ctx, pod, "lo", make_loopback_conflist()));
    KUBERNEL_TRY(const std::string result, add(ctx, pod, kDevice, conflist));
    KUBERNEL_TRY(std::vector<std::string> ips, result_addresses(result));
    if (ips.empty()) return Error(Reason::Internal, "the network plugins gave the pod no address");
    record["result"] = json::parse(result);
    KUBERNEL_CHECK_OK(write_text(record_path(pod.sandbox_id), record.dump()));
    return PodAddresses{path, std::move(ips)};
  }();
  if (!attached) {
    if (const auto undone = detach({}, pod); !undone) {
      log_warning(log_, "cannot undo a failed network attachment",
                  {{"sandbox", pod.sandbox_id}, {"error", undone.error()}});
    }
  }
  return attached;
}

Result<void> CniNetwork::detach(const CallContext& ctx, const PodAttachment& pod) {
  KUBERNEL_CHECK_OK(check_allowed());
  KUBERNEL_CHECK_OK(check_sandbox(pod.sandbox_id));
  const std::string path = namespace_path(pod.sandbox_id);
  auto record = read_record(pod.sandbox_id);
  if (!record && record.error().reason() != Reason::NotFound) {
    log_warning(log_, "a network record is damaged; freeing what the present configuration knows",
                {{"error", record.error()}});
    if (auto conflist = network_conflist()) record = Attached{*std::move(conflist), "", pod.ports};
  }
  if (record) KUBERNEL_CHECK_OK(del(ctx, pod, kDevice, *record));
  KUBERNEL_CHECK_OK(remove_namespace(path));
  if (unlink(record_path(pod.sandbox_id).c_str()) != 0 && errno != ENOENT)
    return io_error("remove", record_path(pod.sandbox_id), errno);
  return {};
}

Result<std::unique_ptr<PodNetwork>> open_network(const NetworkContext& context) {
  return catch_as_error("plugin cni", [&]() -> Result<std::unique_ptr<PodNetwork>> {
    const json config = json::parse(context.config_json);
    CniOptions options;
    options.bin_dir = config.value("binDir", "/usr/lib/cni");
    options.conf_dir = config.value("confDir", "");
    options.data_dir = config.value("dataDir", "/var/lib/kubernel/cni");
    options.netns_dir = config.value("netnsDir", "/run/netns");
    options.bridge = config.value("bridge", "cni0");
    options.mtu = config.value("mtu", 0);
    options.masquerade = config.value("masquerade", true);
    options.cluster_cidrs = config.value("clusterCidrs", std::vector<std::string>());
    options.host_network_allowed = context.host_network_allowed;
    for (const std::string& cidr : options.cluster_cidrs) {
      if (!valid_cidr(cidr))
        return Error(Reason::Invalid, "plugin cni: clusterCidrs: \"" + cidr + "\" is not an address range");
    }
    return std::unique_ptr<PodNetwork>(std::make_unique<CniNetwork>(std::move(options), context.log));
  });
}

}  // namespace kubernel::network::cni
