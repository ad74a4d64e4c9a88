// SPDX-License-Identifier: Apache-2.0
#include "simulated_images.h"

#include <nlohmann/json.hpp>

#include <kubernel/crypto/pki.h>

namespace kubernel::runtime::simulated {
namespace {

constexpr const char* kFile = "images";

Image make_image(const std::string& reference) {
  Image out;
  out.id = "sha256:" + crypto::sha256_hex(reference);
  const std::size_t at = reference.find('@');
  if (at == std::string::npos) {
    out.tags = {reference};
    out.digests = {reference.substr(0, reference.rfind(':')) + "@" + out.id};
  } else {
    out.digests = {reference};
  }
  return out;
}

}  // namespace

std::string full_reference(std::string_view reference) {
  std::string out(reference);
  const std::size_t slash = out.find('/');
  const std::string first = out.substr(0, slash);
  const bool registry =
      slash != std::string::npos && (first.find_first_of(".:") != std::string::npos || first == "localhost");
  if (!registry) out = (slash == std::string::npos ? "docker.io/library/" : "docker.io/") + out;
  if (const std::size_t at = out.find('@'); at != std::string::npos) {
    // Of "name:tag@digest" the digest counts.
    const std::size_t colon = out.substr(0, at).rfind(':');
    if (colon != std::string::npos && colon > out.substr(0, at).rfind('/')) out.erase(colon, at - colon);
    return out;
  }
  if (out.find(':', out.rfind('/')) == std::string::npos) out += ":latest";
  return out;
}

Result<std::unique_ptr<SimulatedImages>> SimulatedImages::open(StateFiles files) {
  KUBERNEL_TRY(const auto saved, files.read_all());
  auto out = std::unique_ptr<SimulatedImages>(new SimulatedImages(std::move(files)));
  for (const auto& file : saved) {
    if (file.name != kFile) continue;
    const auto names = nlohmann::json::parse(file.content, nullptr, false);
    if (!names.is_array()) return Error(Reason::Invalid, "the list of simulated images is damaged: remove images.json");
    for (const auto& name : names) {
      if (name.is_string()) out->images_[name.get<std::string>()] = make_image(name.get<std::string>());
    }
  }
  return out;
}

Result<void> SimulatedImages::save() const {
  auto names = nlohmann::json::array();
  for (const auto& [name, image] : images_) names.push_back(name);
  return files_.write(kFile, names.dump());
}

Result<std::optional<Image>> SimulatedImages::find(const CallContext&, std::string_view reference) {
  const std::lock_guard lock(mutex_);
  for (const auto& [name, image] : images_) {
    if (image.id == reference) return std::optional(image);
  }
  const auto at = images_.find(full_reference(reference));
  if (at == images_.end()) return std::optional<Image>();
  return std::optional(at->second);
}

Result<std::vector<Image>> SimulatedImages::list(const CallContext&) {
  const std::lock_guard lock(mutex_);
  std::vector<Image> out;
  for (const auto& [name, image] : images_) out.push_back(image);
  return out;
}

Result<Image> SimulatedImages::pull(const CallContext&, std::string_view reference, const std::optional<Credentials>&) {
  const std::string name = full_reference(reference);
  const std::lock_guard lock(mutex_);
  const auto [at, added] = images_.try_emplace(name);
  if (!added) return at->second;
  at->second = make_image(name);
  if (auto saved = save(); !saved) {
    images_.erase(at);
    return std::move(saved).error();
  }
  return at->second;
}

Result<std::vector<Image>> SimulatedImages::load(const CallContext&, const std::string& path) {
  return Error(Reason::BadRequest, path + ": the runtime simulated keeps no images; every name can be pulled");
}

Result<void> SimulatedImages::remove(const CallContext&, std::string_view reference) {
  const std::lock_guard lock(mutex_);
  const std::size_t before = images_.size();
  std::erase_if(images_, [&](const auto& one) { return one.second.id == reference; });
  images_.erase(full_reference(reference));
  return images_.size() == before ? Result<void>() : save();
}

std::string SimulatedImages::name_of(std::string_view id) const {
  const std::lock_guard lock(mutex_);
  for (const auto& [name, image] : images_) {
    if (image.id == id) return name;
  }
  return {};
}

}  // namespace kubernel::runtime::simulated
