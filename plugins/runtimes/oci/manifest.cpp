// SPDX-License-Identifier: Apache-2.0
#include "manifest.h"

#include <sys/utsname.h>

#include <algorithm>

#include <nlohmann/json.hpp>

#include "files.h"

namespace kubernel::runtime::oci {
namespace {

using nlohmann::json;

constexpr std::size_t kMaxLayers = 127;  // Docker's limit; overlayfs takes more.

Result<json> parse_object(std::string_view text, std::string_view what) {
  json document = json::parse(text, nullptr, false);
  if (!document.is_object()) return Error(Reason::Invalid, std::string(what) + " is not a JSON object");
  return document;
}

std::string string_at(const json& object, const char* key) {
  const auto found = object.find(key);
  return found != object.end() && found->is_string() ? found->get<std::string>() : std::string();
}

std::vector<std::string> strings_at(const json& object, const char* key) {
  std::vector<std::string> out;
  const auto found = object.find(key);
  if (found == object.end() || !found->is_array()) return out;
  for (const json& item : *found) {
    if (item.is_string()) out.push_back(item.get<std::string>());
  }
  return out;
}

Result<Descriptor> read_descriptor(const json& value) {
  if (!value.is_object()) return Error(Reason::Invalid, "a descriptor is not an object");
  Descriptor out;
  out.media_type = string_at(value, "mediaType");
  out.digest = string_at(value, "digest");
  if (!valid_digest(out.digest)) return Error(Reason::Invalid, "\"" + out.digest + "\" is not a SHA-256 digest");
  if (const auto size = value.find("size"); size != value.end() && size->is_number_integer())
    out.size = size->get<std::int64_t>();
  if (out.size < 0) return Error(Reason::Invalid, "blob " + out.digest + " has a negative size");
  if (const auto platform = value.find("platform"); platform != value.end() && platform->is_object()) {
    out.architecture = string_at(*platform, "architecture");
    out.os = string_at(*platform, "os");
    out.variant = string_at(*platform, "variant");
  }
  if (const auto notes = value.find("annotations"); notes != value.end() && notes->is_object()) {
    for (const auto& [key, text] : notes->items()) {
      if (text.is_string()) out.annotations[key] = text.get<std::string>();
    }
  }
  return out;
}

Result<std::vector<Descriptor>> read_descriptors(const json& list) {
  if (!list.is_array()) return Error(Reason::Invalid, "a list of descriptors is not an array");
  std::vector<Descriptor> out;
  for (const json& item : list) {
    KUBERNEL_TRY(Descriptor descriptor, read_descriptor(item));
    out.push_back(std::move(descriptor));
  }
  return out;
}

}  // namespace

Result<Manifest> parse_manifest(std::string_view text) {
  KUBERNEL_TRY(const json document, parse_object(text, "the manifest"));
  Manifest out;
  if (const auto manifests = document.find("manifests"); manifests != document.end()) {
    out.is_index = true;
    KUBERNEL_TRY(out.manifests, read_descriptors(*manifests));
    return out;
  }
  if (!document.contains("config") || !document.contains("layers")) {
    return Error(Reason::Invalid, "the manifest is neither an image manifest of schema version 2 nor an index");
  }
  KUBERNEL_TRY(out.config, read_descriptor(document["config"]));
  KUBERNEL_TRY(out.layers, read_descriptors(document["layers"]));
  if (out.layers.size() > kMaxLayers) return Error(Reason::Invalid, "the image has more than 127 layers");
  return out;
}

Result<ImageConfig> parse_image_config(std::string_view text) {
  KUBERNEL_TRY(const json document, parse_object(text, "the image config"));
  ImageConfig out;
  if (const auto rootfs = document.find("rootfs"); rootfs != document.end() && rootfs->is_object()) {
    out.diff_ids = strings_at(*rootfs, "diff_ids");
  }
  if (!std::ranges::all_of(out.diff_ids, valid_digest))
    return Error(Reason::Invalid, "the image config has a diff_id that is no SHA-256 digest");
  const auto config = document.find("config");
  if (config == document.end() || !config->is_object()) return out;
  out.entrypoint = strings_at(*config, "Entrypoint");
  out.command = strings_at(*config, "Cmd");
  out.env = strings_at(*config, "Env");
  out.working_dir = string_at(*config, "WorkingDir");
  out.user = string_at(*config, "User");
  out.stop_signal = string_at(*config, "StopSignal");
  return out;
}

std::string machine_architecture() {
  utsname name{};
  uname(&name);
  const std::string machine = name.machine;
  if (machine == "x86_64") return "amd64";
  if (machine == "aarch64") return "arm64";
  if (machine.starts_with("armv")) return "arm";
  if (machine == "i686" || machine == "i386") return "386";
  return machine;  // ppc64le, s390x, riscv64 are called the same.
}

const Descriptor* choose_platform(const std::vector<Descriptor>& manifests) {
  const std::string architecture = machine_architecture();
  const Descriptor* best = nullptr;
  for (const Descriptor& candidate : manifests) {
    if (candidate.os != "linux" || candidate.architecture != architecture) continue;
    // Of several variants the plain one, then the highest: "v8" for arm64, "v7" before "v6" for arm.
    if (best == nullptr ||
        (!best->variant.empty() && (candidate.variant.empty() || candidate.variant > best->variant))) {
      best = &candidate;
    }
  }
  // An index with a single entry that names no platform can mean only that one.
  if (best == nullptr && manifests.size() == 1 && manifests.front().architecture.empty()) best = &manifests.front();
  return best;
}

std::vector<std::string> chain_ids(const std::vector<std::string>& diff_ids) {
  std::vector<std::string> out;
  for (const std::string& diff : diff_ids) out.push_back(out.empty() ? diff : sha256_digest(out.back() + " " + diff));
  return out;
}

}  // namespace kubernel::runtime::oci
