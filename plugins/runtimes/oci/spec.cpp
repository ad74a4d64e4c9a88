// SPDX-License-Identifier: Apache-2.0
#include "spec.h"

#include <sys/stat.h>
#include <sys/sysmacros.h>

#include <algorithm>
#include <array>
#include <charconv>
#include <csignal>
#include <cstring>
#include <filesystem>
#include <map>
#include <set>

#include <nlohmann/json.hpp>

#include "files.h"

namespace kubernel::runtime::oci {
namespace {

using nlohmann::json;

// By number (capability.h).
constexpr std::array kCapabilities = {"CHOWN",
                                      "DAC_OVERRIDE",
                                      "DAC_READ_SEARCH",
                                      "FOWNER",
                                      "FSETID",
                                      "KILL",
                                      "SETGID",
                                      "SETUID",
                                      "SETPCAP",
                                      "LINUX_IMMUTABLE",
                                      "NET_BIND_SERVICE",
                                      "NET_BROADCAST",
                                      "NET_ADMIN",
                                      "NET_RAW",
                                      "IPC_LOCK",
                                      "IPC_OWNER",
                                      "SYS_MODULE",
                                      "SYS_RAWIO",
                                      "SYS_CHROOT",
                                      "SYS_PTRACE",
                                      "SYS_PACCT",
                                      "SYS_ADMIN",
                                      "SYS_BOOT",
                                      "SYS_NICE",
                                      "SYS_RESOURCE",
                                      "SYS_TIME",
                                      "SYS_TTY_CONFIG",
                                      "MKNOD",
                                      "LEASE",
                                      "AUDIT_WRITE",
                                      "AUDIT_CONTROL",
                                      "SETFCAP",
                                      "MAC_OVERRIDE",
                                      "MAC_ADMIN",
                                      "SYSLOG",
                                      "WAKE_ALARM",
                                      "BLOCK_SUSPEND",
                                      "AUDIT_READ",
                                      "PERFMON",
                                      "BPF",
                                      "CHECKPOINT_RESTORE"};

// What a container has unless told otherwise (containerd's set).
constexpr std::array kDefaultCapabilities = {
    "CHOWN",  "DAC_OVERRIDE", "FSETID",  "FOWNER",           "MKNOD",      "NET_RAW", "SETGID",
    "SETUID", "SETFCAP",      "SETPCAP", "NET_BIND_SERVICE", "SYS_CHROOT", "KILL",    "AUDIT_WRITE"};

constexpr std::array kMaskedPaths = {"/proc/asound",     "/proc/acpi",        "/proc/interrupts",
                                     "/proc/kcore",      "/proc/keys",        "/proc/latency_stats",
                                     "/proc/timer_list", "/proc/timer_stats", "/proc/sched_debug",
                                     "/proc/scsi",       "/sys/firmware",     "/sys/devices/virtual/powercap"};
constexpr std::array kReadonlyPaths = {"/proc/bus", "/proc/fs", "/proc/irq", "/proc/sys", "/proc/sysrq-trigger"};

constexpr const char* kDefaultPath = "PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin";
constexpr std::int64_t kPauseOomScore = -998;  // As upstream: the pause process goes last.
constexpr std::uint32_t kPauseUser = 65'535;

// Objects and arrays are built by these: a braced list of pairs is easily read as the wrong one.
template <class... Pairs>
json object(Pairs&&... pairs) {
  json out = json::object();
  (out.emplace(std::forward<Pairs>(pairs).first, std::forward<Pairs>(pairs).second), ...);
  return out;
}
template <class T>
std::pair<const char*, json> field(const char* key, const T& value) {
  return {key, json(value)};
}
template <class Range>
json strings(const Range& range) {
  json out = json::array();
  for (const auto& text : range) out.emplace_back(std::string(text));
  return out;
}

}  // namespace

Result<std::vector<std::string>> container_capabilities(const SecurityOptions& security, const Machine& machine) {
  std::set<std::string> wanted;
  const auto known = [](std::string_view name) {
    return std::ranges::any_of(kCapabilities, [&](const char* c) { return name == c; });
  };
  const auto plain = [](std::string name) {
    std::ranges::transform(name, name.begin(), [](unsigned char c) { return static_cast<char>(std::toupper(c)); });
    return name.starts_with("CAP_") ? name.substr(4) : name;
  };
  const auto all_of = [&](const std::vector<std::string>& names) {
    return std::ranges::any_of(names, [&](const auto& n) { return plain(n) == "ALL"; });
  };
  if (security.privileged || all_of(security.add_capabilities)) {
    wanted.insert(kCapabilities.begin(), kCapabilities.end());
  } else if (!all_of(security.drop_capabilities)) {
    wanted.insert(kDefaultCapabilities.begin(), kDefaultCapabilities.end());
  }
  for (const std::vector<std::string>* list : {&security.add_capabilities, &security.drop_capabilities}) {
    for (const std::string& given : *list) {
      const std::string name = plain(given);
      if (name == "ALL") continue;
      if (!known(name)) return Error(Reason::Invalid, "unknown capability \"CAP_" + name + "\"");
      if (list == &security.add_capabilities) wanted.insert(name);
      if (list == &security.drop_capabilities && !security.privileged) wanted.erase(name);
    }
  }
  std::vector<std::string> out;
  // Asking for one that this process lacks fails the whole container.
  for (const std::string& name : machine.capabilities) {
    if (wanted.contains(plain(name))) out.push_back(name);
  }
  return out;
}

namespace {

std::int64_t oom_score(std::int64_t wanted, const Machine& machine) {
  return machine.may_lower_oom_score ? wanted : std::max(wanted, machine.oom_score_adj);
}

json resources_of(const Resources& r, const Machine& machine) {
  json cpu = json::object();
  if (r.cpu_shares > 0) cpu["shares"] = std::max<std::int64_t>(2, r.cpu_shares);
  if (r.cpu_quota_us > 0) cpu["quota"] = r.cpu_quota_us;
  if (r.cpu_period_us > 0) cpu["period"] = r.cpu_period_us;
  if (!r.cpuset_cpus.empty()) cpu["cpus"] = r.cpuset_cpus;
  if (!r.cpuset_mems.empty()) cpu["mems"] = r.cpuset_mems;
  json out = json::object();
  if (!cpu.empty()) out["cpu"] = cpu;
  if (r.memory_limit > 0) {
    out["memory"] = object(field("limit", r.memory_limit));
    if (machine.accounts_swap) out["memory"]["swap"] = r.memory_limit;  // Memory and swap together: none of the latter.
  }
  if (r.pids_limit > 0) out["pids"] = object(field("limit", r.pids_limit));
  return out;
}

json device_rules(bool privileged) {
  json rules = json::array();
  rules.push_back(object(field("allow", privileged), field("access", "rwm")));
  return rules;
}

json mount(const char* destination, const char* type, const std::string& source,
           std::initializer_list<const char*> options) {
  return object(field("destination", destination), field("type", type), field("source", source),
                field("options", strings(options)));
}

json namespace_of(const char* type, const std::string& path = {}) {
  json out = object(field("type", type));
  if (!path.empty()) out["path"] = path;
  return out;
}

std::string namespace_path(const SandboxPlace& sandbox, const char* name) {
  return "/proc/" + std::to_string(sandbox.pause_pid) + "/ns/" + name;
}

json namespaces_of(const ContainerSpecInput& input) {
  const SandboxPlace& sandbox = input.sandbox;
  json out = json::array();
  out.push_back(namespace_of("mount"));
  if (sandbox.pid == NamespaceMode::Container) out.push_back(namespace_of("pid"));
  if (sandbox.pid == NamespaceMode::Pod) out.push_back(namespace_of("pid", namespace_path(sandbox, "pid")));
  if (sandbox.ipc != NamespaceMode::Node) out.push_back(namespace_of("ipc", namespace_path(sandbox, "ipc")));
  if (sandbox.network != NamespaceMode::Node) {
    out.push_back(namespace_of("network", sandbox.network_namespace_path));
    out.push_back(namespace_of("uts", namespace_path(sandbox, "uts")));
  }
  if (input.machine.cgroup_v2) out.push_back(namespace_of("cgroup"));
  return out;
}

const char* propagation_of(Mount::Propagation propagation) {
  switch (propagation) {
    case Mount::Propagation::Private: return "rprivate";
    case Mount::Propagation::HostToContainer: return "rslave";
    case Mount::Propagation::Bidirectional: return "rshared";
  }
  return "rprivate";
}

json default_mounts(const ContainerSpecInput& input) {
  const bool privileged = input.config.security.privileged;
  const char* access = privileged ? "rw" : "ro";
  json out = json::array();
  out.push_back(mount("/proc", "proc", "proc", {"nosuid", "noexec", "nodev"}));
  out.push_back(mount("/dev", "tmpfs", "tmpfs", {"nosuid", "strictatime", "mode=755", "size=65536k"}));
  out.push_back(mount("/dev/pts", "devpts", "devpts",
                      {"nosuid", "noexec", "newinstance", "ptmxmode=0666", "mode=0620", "gid=5"}));
  out.push_back(mount("/dev/mqueue", "mqueue", "mqueue", {"nosuid", "noexec", "nodev"}));
  out.push_back(mount("/sys", "sysfs", "sysfs", {"nosuid", "noexec", "nodev", access}));
  out.push_back(mount("/sys/fs/cgroup", "cgroup", "cgroup", {"nosuid", "noexec", "nodev", "relatime", access}));
  out.push_back(mount("/dev/shm", "bind", input.sandbox.shm_path, {"rbind", "rw"}));
  return out;
}

// A mount point may lie in another mount, so shallow ones come first (as containerd does).
Result<json> mounts_of(const ContainerSpecInput& input) {
  std::vector<json> all;
  std::set<std::string> taken;
  for (const Mount& given : input.config.mounts) {
    const std::string path = std::filesystem::path(given.container_path).lexically_normal().string();
    if (!path.starts_with('/'))
      return Error(Reason::Invalid, "mount path \"" + given.container_path + "\" is not absolute");
    if (path == "/") return Error(Reason::Invalid, "a mount cannot replace the root of a container");
    taken.insert(path.ends_with('/') ? path.substr(0, path.size() - 1) : path);
  }
  for (json& standard : default_mounts(input)) {
    if (!taken.contains(standard["destination"].get<std::string>())) all.push_back(std::move(standard));
  }
  if (!taken.contains("/etc/hostname") && !input.sandbox.hostname_file.empty()) {
    all.push_back(mount("/etc/hostname", "bind", input.sandbox.hostname_file,
                        {"rbind", "rprivate", input.config.security.readonly_rootfs ? "ro" : "rw"}));
  }
  for (const Mount& given : input.config.mounts) {
    all.push_back(mount(given.container_path.c_str(), "bind", given.host_path,
                        {"rbind", propagation_of(given.propagation), given.readonly ? "ro" : "rw"}));
  }
  std::ranges::stable_sort(all, {}, [](const json& m) {
    const std::string path = std::filesystem::path(m["destination"].get<std::string>()).lexically_normal().string();
    return std::ranges::count(path, '/');
  });
  return json(all);
}

json environment_of(const ContainerSpecInput& input) {
  std::vector<std::string> out;
  const auto set = [&](const std::string& entry) {
    const std::string key = entry.substr(0, entry.find('=') + 1);
    const auto same = std::ranges::find_if(out, [&](const std::string& other) { return other.starts_with(key); });
    if (same == out.end()) {
      out.push_back(entry);
    } else {
      *same = entry;
    }
  };
  set(kDefaultPath);
  if (!input.sandbox.hostname.empty()) set("HOSTNAME=" + input.sandbox.hostname);
  if (input.config.tty) set("TERM=xterm");
  for (const std::string& entry : input.image.env) {
    if (entry.find('=') != std::string::npos) set(entry);
  }
  for (const auto& [name, value] : input.config.env) set(name + "=" + value);
  return strings(out);
}

json user_json(const ProcessUser& user) {
  json out = object(field("uid", user.uid), field("gid", user.gid));
  if (!user.groups.empty()) out["additionalGids"] = user.groups;
  return out;
}

Result<json> process_of(const ContainerSpecInput& input) {
  const ContainerConfig& config = input.config;
  const std::vector<std::string> args = command_line(config, input.image);
  if (args.empty()) return Error(Reason::Invalid, "no command specified");
  std::string cwd = !config.working_dir.empty() ? config.working_dir : input.image.working_dir;
  if (cwd.empty()) cwd = "/";
  if (!cwd.starts_with('/')) return Error(Reason::Invalid, "working directory \"" + cwd + "\" is not absolute");
  KUBERNEL_TRY(const std::vector<std::string> held, container_capabilities(config.security, input.machine));
  const json list = strings(held);
  const json capabilities = object(field("bounding", list), field("effective", list), field("permitted", list));
  return object(field("terminal", config.tty), field("user", user_json(input.user)), field("args", strings(args)),
                field("env", environment_of(input)), field("cwd", cwd), field("capabilities", capabilities),
                field("noNewPrivileges", config.security.no_new_privileges),
                field("oomScoreAdj", oom_score(config.resources.oom_score_adj, input.machine)));
}

json linux_of(const ContainerSpecInput& input) {
  const SecurityOptions& security = input.config.security;
  json out = object(field("cgroupsPath", input.cgroup_path), field("namespaces", namespaces_of(input)),
                    field("resources", resources_of(input.config.resources, input.machine)));
  out["resources"]["devices"] = device_rules(security.privileged);
  const auto propagates = [&](Mount::Propagation p) {
    return std::ranges::any_of(input.config.mounts, [&](const Mount& m) { return m.propagation == p; });
  };
  if (propagates(Mount::Propagation::Bidirectional)) {
    out["rootfsPropagation"] = "rshared";
  } else if (propagates(Mount::Propagation::HostToContainer)) {
    out["rootfsPropagation"] = "rslave";
  }
  if (security.privileged) {
    json devices = json::array();
    for (const Device& d : input.machine.devices) {
      devices.push_back(object(field("path", d.path), field("type", d.type), field("major", d.major),
                               field("minor", d.minor), field("fileMode", d.mode), field("uid", d.uid),
                               field("gid", d.gid)));
    }
    out["devices"] = devices;
  } else {
    out["maskedPaths"] = security.masked_paths.empty() ? strings(kMaskedPaths) : strings(security.masked_paths);
    out["readonlyPaths"] = security.readonly_paths.empty() ? strings(kReadonlyPaths) : strings(security.readonly_paths);
    if (!input.seccomp_json.empty()) out["seccomp"] = json::parse(input.seccomp_json);
  }
  return out;
}

std::vector<Device> read_devices() {
  std::vector<Device> out;
  // The container gets its own of these, and terminals of the machine are not for it.
  static const std::set<std::string> kSkipped = {"/dev/pts",     "/dev/shm",  "/dev/fd",   "/dev/mqueue",
                                                 "/dev/console", "/dev/.lxc", "/dev/.udev"};
  std::error_code code;
  for (auto it = std::filesystem::recursive_directory_iterator("/dev", code);
       !code && it != std::filesystem::recursive_directory_iterator(); it.increment(code)) {
    const std::string path = it->path().string();
    if (kSkipped.contains(path)) {
      it.disable_recursion_pending();
      continue;
    }
    struct stat info {};
    if (lstat(path.c_str(), &info) != 0 || (!S_ISCHR(info.st_mode) && !S_ISBLK(info.st_mode))) continue;
    out.push_back({path, S_ISCHR(info.st_mode) ? "c" : "b", static_cast<std::int64_t>(major(info.st_rdev)),
                   static_cast<std::int64_t>(minor(info.st_rdev)), info.st_mode & 07777U, info.st_uid, info.st_gid});
  }
  std::ranges::sort(out, {}, &Device::path);
  return out;
}

}  // namespace

Result<Machine> read_machine(bool cgroup_v2, bool accounts_swap) {
  Machine out;
  out.cgroup_v2 = cgroup_v2;
  out.accounts_swap = accounts_swap;
  KUBERNEL_TRY(const std::string status, read_file("/proc/self/status"));
  KUBERNEL_TRY(const std::string score, read_file("/proc/self/oom_score_adj"));
  std::from_chars(score.data(), score.data() + score.size(), out.oom_score_adj);
  const std::size_t line = status.find("CapBnd:\t");
  if (line == std::string::npos) return Error(Reason::Internal, "/proc/self/status has no CapBnd line");
  std::uint64_t bounding = 0;
  std::from_chars(status.data() + line + 8, status.data() + status.size(), bounding, 16);
  for (std::size_t i = 0; i < kCapabilities.size(); ++i) {
    if ((bounding >> i & 1U) != 0) out.capabilities.push_back(std::string("CAP_") + kCapabilities[i]);
  }
  out.may_lower_oom_score = std::ranges::count(out.capabilities, "CAP_SYS_RESOURCE") > 0;
  out.devices = read_devices();
  return out;
}

std::vector<std::string> command_line(const ContainerConfig& config, const ImageConfig& image) {
  std::vector<std::string> out = config.command.empty() ? image.entrypoint : config.command;
  const std::vector<std::string>& rest = !config.args.empty() || !config.command.empty() ? config.args : image.command;
  out.insert(out.end(), rest.begin(), rest.end());
  return out;
}

Result<std::string> make_container_spec(const ContainerSpecInput& input) {
  KUBERNEL_TRY(const json process, process_of(input));
  KUBERNEL_TRY(const json mounts, mounts_of(input));
  json spec = object(
      field("ociVersion", "1.0.2"), field("process", process), field("mounts", mounts), field("linux", linux_of(input)),
      field("root", object(field("path", input.rootfs), field("readonly", input.config.security.readonly_rootfs))));
  if (!input.config.annotations.empty()) spec["annotations"] = input.config.annotations;
  return spec.dump();
}

std::string make_pause_spec(const PauseSpecInput& input) {
  const SandboxConfig& config = input.config;
  json namespaces = json::array();
  namespaces.push_back(namespace_of("mount"));
  if (config.pid != NamespaceMode::Node) namespaces.push_back(namespace_of("pid"));
  if (config.ipc != NamespaceMode::Node) namespaces.push_back(namespace_of("ipc"));
  if (config.network != NamespaceMode::Node) {
    namespaces.push_back(namespace_of("network", config.network_namespace_path));
    namespaces.push_back(namespace_of("uts"));
  }
  json mounts = json::array();
  mounts.push_back(mount("/proc", "proc", "proc", {"nosuid", "noexec", "nodev"}));
  mounts.push_back(mount("/dev", "tmpfs", "tmpfs", {"nosuid", "strictatime", "mode=755", "size=64k"}));
  ProcessUser user;
  user.uid = user.gid = kPauseUser;
  const json none = json::array();
  const json process =
      object(field("terminal", false), field("user", user_json(user)), field("args", strings(std::array{"/pause"})),
             field("env", none), field("cwd", "/"),
             field("capabilities", object(field("bounding", none), field("effective", none), field("permitted", none))),
             field("noNewPrivileges", true), field("oomScoreAdj", oom_score(kPauseOomScore, input.machine)));
  json linux_part = object(
      field("cgroupsPath", input.cgroup_path), field("namespaces", namespaces),
      field("resources", object(field("devices", device_rules(false)), field("cpu", object(field("shares", 2))))),
      field("maskedPaths", strings(kMaskedPaths)), field("readonlyPaths", strings(kReadonlyPaths)));
  if (!config.sysctls.empty()) linux_part["sysctl"] = config.sysctls;
  json spec =
      object(field("ociVersion", "1.0.2"), field("process", process), field("mounts", mounts),
             field("linux", linux_part), field("root", object(field("path", input.rootfs), field("readonly", true))));
  if (config.network != NamespaceMode::Node && !config.hostname.empty()) spec["hostname"] = config.hostname;
  return spec.dump();
}

Result<std::string> make_exec_process(std::string_view container_spec, const ExecOptions& options) {
  json spec = json::parse(container_spec, nullptr, false);
  if (!spec.is_object() || !spec.contains("process"))
    return Error(Reason::Invalid, "the container's config.json is damaged");
  json process = spec["process"];
  process["args"] = strings(options.command);
  process["terminal"] = options.tty;
  const auto has_term = [](const json& env) {
    return std::ranges::any_of(env, [](const json& e) { return e.get<std::string>().starts_with("TERM="); });
  };
  if (options.tty && !has_term(process["env"])) process["env"].push_back("TERM=xterm");
  return process.dump();
}

std::string make_resources(const Resources& resources, const Machine& machine) {
  return resources_of(resources, machine).dump();
}

std::optional<int> parse_signal(std::string_view text) {
  int value = 0;
  const auto [end, code] = std::from_chars(text.data(), text.data() + text.size(), value);
  if (code == std::errc() && end == text.data() + text.size())
    return value > 0 && value <= SIGRTMAX ? std::optional(value) : std::nullopt;
  if (text.starts_with("SIG")) text.remove_prefix(3);
  for (int signal = 1; signal < 32; ++signal) {
    const char* name = sigabbrev_np(signal);
    if (name != nullptr && text == name) return signal;
  }
  // RTMIN, RTMIN+3, RTMAX, RTMAX-1
  const bool from_min = text.starts_with("RTMIN");
  if (!from_min && !text.starts_with("RTMAX")) return std::nullopt;
  text.remove_prefix(5);
  if (text.empty()) return from_min ? SIGRTMIN : SIGRTMAX;
  if (text.front() != (from_min ? '+' : '-')) return std::nullopt;
  int offset = 0;
  const auto [stop, error] = std::from_chars(text.data() + 1, text.data() + text.size(), offset);
  if (error != std::errc() || stop != text.data() + text.size() || offset > SIGRTMAX - SIGRTMIN) return std::nullopt;
  return from_min ? SIGRTMIN + offset : SIGRTMAX - offset;
}

}  // namespace kubernel::runtime::oci
