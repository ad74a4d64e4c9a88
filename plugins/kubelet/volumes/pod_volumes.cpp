// SPDX-License-Identifier: Apache-2.0
#include "volumes/pod_volumes.h"

#include <sys/mount.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cerrno>
#include <cstring>
#include <filesystem>
#include <fstream>

#include <nlohmann/json.hpp>

#include <kubernel/api/quantity.h>
#include <kubernel/api/time.h>

namespace kubernel::kubelet {

namespace {

namespace fs = std::filesystem;
using nlohmann::json;

constexpr std::int64_t kDefaultMode = 0644;
constexpr std::int64_t kDefaultTokenSeconds = 3600;

Error system_error(const std::string& path, const char* what) {
  return Error(Reason::Internal, path + ": " + what + ": " + std::strerror(errno));
}

Result<void> make_directory(const std::string& path, mode_t mode) {
  std::error_code error;
  fs::create_directories(path, error);
  if (error) return Error(Reason::Internal, path + ": " + error.message());
  if (::chmod(path.c_str(), mode) != 0) return system_error(path, "chmod");
  return {};
}

std::optional<std::int64_t> fs_group(const api::Object& pod) {
  const api::Value group = pod["spec"]["securityContext"]["fsGroup"];
  if (!group || group.is_null()) return std::nullopt;
  return group.integer();
}

std::int64_t mode_of(api::Value source) {
  const api::Value mode = source["defaultMode"];
  return mode && !mode.is_null() ? mode.integer() : kDefaultMode;
}

// Checks, or makes, what a hostPath volume names.
Result<std::string> host_path(api::Value source) {
  const std::string path(source["path"].string());
  const std::string_view type = source["type"].string();
  std::error_code error;
  const auto status = fs::status(path, error);
  const auto wrong = [&](const char* what) {
    return Error(Reason::Invalid, "hostPath type check failed: " + path + " is not a " + what);
  };
  if (type == "DirectoryOrCreate" && !fs::exists(status)) {
    KUBERNEL_CHECK_OK(make_directory(path, 0755));
    return path;
  }
  if (type == "FileOrCreate" && !fs::exists(status)) {
    if (!std::ofstream(path, std::ios::app)) return system_error(path, "cannot make the file");
    return path;
  }
  if ((type == "Directory" || type == "DirectoryOrCreate") && !fs::is_directory(status)) return wrong("directory");
  if ((type == "File" || type == "FileOrCreate") && !fs::is_regular_file(status)) return wrong("file");
  if (type == "Socket" && !fs::is_socket(status)) return wrong("socket");
  if (type == "CharDevice" && !fs::is_character_file(status)) return wrong("character device");
  if (type == "BlockDevice" && !fs::is_block_file(status)) return wrong("block device");
  if (type.empty() && !fs::exists(status)) KUBERNEL_CHECK_OK(make_directory(path, 0755));
  return path;
}

std::size_t hash_of(const Payload& payload) {
  std::string all;
  for (const auto& [path, file] : payload) all += path + '\0' + std::to_string(file.mode) + '\0' + file.content + '\0';
  return std::hash<std::string>{}(all);
}

}  // namespace

MountOperations system_mounts() {
  MountOperations out;
  out.mount_tmpfs = [](const std::string& path, std::int64_t size) -> Result<void> {
    const std::string options = size > 0 ? "mode=0755,size=" + std::to_string(size) : "mode=0755";
    if (::mount("tmpfs", path.c_str(), "tmpfs", MS_NOSUID | MS_NODEV, options.c_str()) != 0)
      return system_error(path, "cannot mount tmpfs");
    return {};
  };
  out.unmount = [](const std::string& path) -> Result<void> {
    if (::umount2(path.c_str(), MNT_DETACH) != 0 && errno != EINVAL && errno != ENOENT)
      return system_error(path, "cannot unmount");
    return {};
  };
  out.is_mount_point = [](const std::string& path) {
    struct stat own {
    }, parent{};
    return ::lstat(path.c_str(), &own) == 0 && ::lstat((path + "/..").c_str(), &parent) == 0 &&
           own.st_dev != parent.st_dev;
  };
  return out;
}

PodVolumes::PodVolumes(std::string root_directory, client::ApiClient& api, ObjectSource& objects, Clock& clock,
                       Logger& log, MountOperations mounts)
    : root_(std::move(root_directory)),
      api_(api),
      objects_(objects),
      clock_(clock),
      log_(log),
      mounts_(std::move(mounts)) {}

std::string PodVolumes::pod_directory(const std::string& uid) const {
  return root_ + "/pods/" + uid;
}

std::string PodVolumes::volume_directory(const api::Object& pod, std::string_view plugin, std::string_view name) const {
  return pod_directory(pod.uid()) + "/volumes/kubernetes.io~" + std::string(plugin) + "/" + std::string(name);
}

Result<VolumePaths> PodVolumes::mount(const CallContext& ctx, const api::Object& pod, const PodFacts& facts) {
  KUBERNEL_CHECK_OK(make_directory(root_ + "/pods", 0750));
  KUBERNEL_CHECK_OK(make_directory(pod_directory(pod.uid()), 0750));
  VolumePaths out;
  for (const api::Value volume : pod["spec"]["volumes"]) {
    const std::string name(volume["name"].string());
    auto path = mount_one(ctx, pod, volume, facts);
    if (!path) return std::move(path).error().wrap("MountVolume.SetUp failed for volume \"" + name + "\" ");
    out[name] = *std::move(path);
  }
  return out;
}

Result<std::string> PodVolumes::mount_one(const CallContext& ctx, const api::Object& pod, api::Value volume,
                                          const PodFacts& facts) {
  if (volume["emptyDir"]) return mount_empty_dir(pod, volume);
  if (const auto source = volume["hostPath"]) return host_path(source);
  for (const char* kind : {"configMap", "secret", "downwardAPI", "projected"}) {
    if (volume[kind]) return mount_payload(ctx, pod, volume, facts);
  }
  for (auto at = volume.begin(); at != volume.end(); ++at) {
    if (at.key() != "name")
      return Error(Reason::Invalid, "volumes of kind " + std::string(at.key()) + " are not supported on this node");
  }
  return mount_empty_dir(pod, volume);  // A volume without a source is an emptyDir.
}

Result<std::string> PodVolumes::mount_empty_dir(const api::Object& pod, api::Value volume) {
  const std::string path = volume_directory(pod, "empty-dir", volume["name"].string());
  const bool fresh = !fs::exists(path);
  const bool memory = volume["emptyDir"]["medium"].string() == "Memory";
  // Once made, its mode and owner are the containers' business.
  if (!fresh && (!memory || mounts_.is_mount_point(path))) return path;
  KUBERNEL_CHECK_OK(make_directory(path, 0777));
  if (memory) {
    KUBERNEL_CHECK_OK(mounts_.mount_tmpfs(path, api::Quantity::read(volume["emptyDir"]["sizeLimit"]).value()));
  }
  const auto group = fs_group(pod);
  if (group && ::chown(path.c_str(), static_cast<uid_t>(-1), static_cast<gid_t>(*group)) != 0)
    return system_error(path, "chown");
  if (::chmod(path.c_str(), group ? 02777 : 0777) != 0) return system_error(path, "chmod");
  return path;
}

Result<std::string> PodVolumes::mount_payload(const CallContext& ctx, const api::Object& pod, api::Value volume,
                                              const PodFacts& facts) {
  KUBERNEL_TRY(const Payload payload, payload_of(ctx, pod, volume, facts));
  const bool secret = volume["secret"] || volume["projected"];
  const char* plugin = volume["configMap"]   ? "configmap"
                       : volume["secret"]    ? "secret"
                       : volume["projected"] ? "projected"
                                             : "downward-api";
  const std::string path = volume_directory(pod, plugin, volume["name"].string());
  const std::size_t hash = hash_of(payload);
  {
    const std::lock_guard lock(mutex_);
    auto& written = written_[pod.uid()];
    if (const auto at = written.find(path); at != written.end() && at->second == hash) return path;
  }
  KUBERNEL_CHECK_OK(make_directory(path, 0755));
  if (secret && !mounts_.is_mount_point(path)) {
    // Without the right to mount, the pod's own directory (mode 0750) is what keeps others out.
    if (auto mounted = mounts_.mount_tmpfs(path, 0); !mounted) {
      log_warning(log_, "a secret volume is on disk, not in memory", {{"error", mounted.error()}});
    }
  }
  KUBERNEL_CHECK_OK(write_payload(path, payload, fs_group(pod)));
  const std::lock_guard lock(mutex_);
  written_[pod.uid()][path] = hash;
  return path;
}

Result<Payload> PodVolumes::payload_of(const CallContext& ctx, const api::Object& pod, api::Value volume,
                                       const PodFacts& facts) {
  Payload out;
  if (const auto projected = volume["projected"]) {
    for (const api::Value source : projected["sources"]) {
      KUBERNEL_CHECK_OK(add_source(ctx, pod, source, mode_of(projected), facts, out));
    }
    return out;
  }
  for (const char* kind : {"configMap", "secret", "downwardAPI"}) {
    if (volume[kind]) KUBERNEL_CHECK_OK(add_source(ctx, pod, volume, mode_of(volume[kind]), facts, out));
  }
  return out;
}

Result<void> PodVolumes::add_source(const CallContext& ctx, const api::Object& pod, api::Value source,
                                    std::int64_t default_mode, const PodFacts& facts, Payload& out) {
  if (const auto map = source["configMap"]) {
    return add_object(ctx, pod, api::resources::kConfigMaps, map["name"].string(), map, default_mode, out);
  }
  if (const auto secret = source["secret"]) {
    // A volume says secretName, a projection says name.
    const auto name = secret["secretName"].string();
    return add_object(ctx, pod, api::resources::kSecrets, name.empty() ? secret["name"].string() : name, secret,
                      default_mode, out);
  }
  if (const auto wanted = source["serviceAccountToken"]) {
    const std::string path(wanted["path"].string());
    if (!is_safe_relative(path)) return Error(Reason::Invalid, "invalid path \"" + path + "\"");
    KUBERNEL_TRY(std::string text, token(ctx, pod, wanted));
    out[path] = {std::move(text), static_cast<std::uint32_t>(default_mode)};
    return {};
  }
  if (const auto downward = source["downwardAPI"]) {
    for (const api::Value item : downward["items"]) {
      const std::string path(item["path"].string());
      if (!is_safe_relative(path)) return Error(Reason::Invalid, "invalid path \"" + path + "\"");
      const api::Value field = item["fieldRef"], resource = item["resourceFieldRef"], mode = item["mode"];
      auto value = field ? field_value(pod, field["fieldPath"].string(), facts)
                         : resource_field_value(pod, resource["containerName"].string(), resource["resource"].string(),
                                                resource["divisor"], facts);
      if (!value) return std::move(value).error();
      out[path] = {*std::move(value),
                   static_cast<std::uint32_t>(mode && !mode.is_null() ? mode.integer() : default_mode)};
    }
    return {};
  }
  return Error(Reason::Invalid, "this projected source is not supported on this node");
}

Result<void> PodVolumes::add_object(const CallContext& ctx, const api::Object& pod, const api::Resource& resource,
                                    std::string_view name, api::Value source, std::int64_t default_mode, Payload& out) {
  const bool optional = source["optional"].boolean();
  auto object = objects_.get(ctx, resource, {pod.ns(), std::string(name)}, pod.uid());
  if (!object) {
    if (optional && object.error().reason() == Reason::NotFound) return {};
    return std::move(object).error();
  }
  return add_keys(ObjectSource::data_of(resource, *object), source["items"], default_mode, optional,
                  resource == api::resources::kSecrets ? "secret" : "configmap", out);
}

Result<std::string> PodVolumes::token(const CallContext& ctx, const api::Object& pod, api::Value source) {
  const std::string audience(source["audience"].string());
  const std::int64_t seconds = source["expirationSeconds"].integer(kDefaultTokenSeconds);
  const std::string key = audience + "/" + std::to_string(seconds);
  const auto now = clock_.now();
  {
    const std::lock_guard lock(mutex_);
    const auto& mine = tokens_[pod.uid()];
    if (const auto at = mine.find(key); at != mine.end() && now < at->second.renew_at) return at->second.text;
  }
  std::string account(pod["spec"]["serviceAccountName"].string());
  if (account.empty()) account = "default";
  json request = json::parse(R"({"apiVersion":"authentication.k8s.io/v1","kind":"TokenRequest"})");
  request["spec"]["audiences"] = json::array();
  if (!audience.empty()) request["spec"]["audiences"].push_back(audience);
  request["spec"]["expirationSeconds"] = seconds;
  request["spec"]["boundObjectRef"] = json::parse(R"({"apiVersion":"v1","kind":"Pod"})");
  request["spec"]["boundObjectRef"]["name"] = pod.name();
  request["spec"]["boundObjectRef"]["uid"] = pod.uid();
  client::WriteOptions options;
  options.subresource = "token";
  auto answer = api_.create(ctx, api::resources::kServiceAccounts, {pod.ns(), account}, request, options);
  if (!answer) return std::move(answer).error().wrap("failed to fetch token");
  Token token{std::string((*answer)["status"]["token"].string()), {}};
  if (token.text.empty()) return Error(Reason::Internal, "failed to fetch token: the API answered without one");
  // Upstream: after four fifths of its time, or a day.
  const auto expires = api::read_time((*answer)["status"]["expirationTimestamp"]);
  auto life = expires ? std::chrono::duration_cast<std::chrono::seconds>(*expires - clock_.wall_now())
                      : std::chrono::seconds(seconds);
  life = std::min<std::chrono::seconds>(life * 4 / 5, std::chrono::hours(24));
  token.renew_at = now + std::max(life, std::chrono::seconds(10));
  const std::lock_guard lock(mutex_);
  tokens_[pod.uid()][key] = token;
  return token.text;
}

std::optional<Clock::TimePoint> PodVolumes::refresh_at(const std::string& uid) const {
  const std::lock_guard lock(mutex_);
  const auto at = tokens_.find(uid);
  if (at == tokens_.end()) return std::nullopt;
  std::optional<Clock::TimePoint> first;
  for (const auto& [key, token] : at->second) {
    if (!first || token.renew_at < *first) first = token.renew_at;
  }
  return first;
}

Result<void> PodVolumes::unmount(const std::string& uid) {
  {
    const std::lock_guard lock(mutex_);
    tokens_.erase(uid);
    written_.erase(uid);
  }
  const std::string base = pod_directory(uid);
  std::error_code error;
  if (!fs::exists(base, error)) return {};
  for (const auto& plugin : fs::directory_iterator(base + "/volumes", error)) {
    for (const auto& volume : fs::directory_iterator(plugin.path(), error)) {
      const std::string path = volume.path().string();
      if (mounts_.is_mount_point(path)) KUBERNEL_CHECK_OK(mounts_.unmount(path));
      // Never descend into what is still a mount: it may be somebody's data.
      if (mounts_.is_mount_point(path)) return Error(Reason::Internal, path + ": is still mounted");
    }
  }
  error.clear();
  fs::remove_all(base, error);
  if (error) return Error(Reason::Internal, base + ": " + error.message());
  return {};
}

}  // namespace kubernel::kubelet
