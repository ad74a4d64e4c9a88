// SPDX-License-Identifier: Apache-2.0
#include "pods/image_puller.h"

#include <cctype>

#include <nlohmann/json.hpp>

#include <kubernel/crypto/pki.h>

namespace kubernel::kubelet {

namespace {

using nlohmann::json;

constexpr std::string_view kDefaultRegistry = "docker.io";

// "https://index.docker.io/v1/" and "registry:5000/team" both name a registry; upstream compares hosts and path
// prefixes.
std::string normalized(std::string_view key) {
  for (const std::string_view scheme : {"https://", "http://"}) {
    if (key.starts_with(scheme)) key.remove_prefix(scheme.size());
  }
  std::string out(key);
  while (out.ends_with('/')) out.pop_back();
  for (const std::string_view suffix : {"/v1", "/v2"}) {
    if (out.ends_with(suffix)) out.resize(out.size() - suffix.size());
  }
  if (out == "index.docker.io" || out == "registry-1.docker.io") out = kDefaultRegistry;
  return out;
}

bool covers(const std::string& key, std::string_view reference) {
  std::string full(reference);
  const std::string registry = registry_of(reference);
  if (!full.starts_with(registry + "/")) full = registry + "/" + full;
  if (!full.starts_with(key)) return false;
  return full.size() == key.size() || full[key.size()] == '/' || full[key.size()] == ':' || full[key.size()] == '@';
}

std::optional<runtime::Credentials> entry_credentials(const json& entry) {
  runtime::Credentials out{entry.value("username", ""), entry.value("password", "")};
  if (const auto auth = entry.value("auth", ""); !auth.empty()) {
    auto decoded = crypto::base64_decode(auth);
    if (!decoded) return std::nullopt;
    const auto colon = decoded->find(':');
    if (colon == std::string::npos) return std::nullopt;
    out = {decoded->substr(0, colon), decoded->substr(colon + 1)};
  }
  if (out.username.empty()) return std::nullopt;
  return out;
}

}  // namespace

std::optional<Result<runtime::Image>> Pull::result() const {
  const std::lock_guard lock(mutex_);
  return result_;
}

Clock::TimePoint Pull::finished_at() const {
  const std::lock_guard lock(mutex_);
  return finished_at_;
}

ImagePuller::ImagePuller(runtime::ImageStore& images, Tasks& tasks, int parallel)
    : images_(images), tasks_(tasks), parallel_(parallel) {}

std::shared_ptr<Pull> ImagePuller::pull(const std::string& reference, std::vector<runtime::Credentials> credentials,
                                        std::function<void()> done) {
  auto pull = std::make_shared<Pull>();
  pull->started_at_ = tasks_.clock().now();
  {
    const std::lock_guard lock(mutex_);
    queue_.push_back({pull, reference, std::move(credentials), std::move(done)});
  }
  next();
  return pull;
}

void ImagePuller::next() {
  auto job = std::make_shared<Waiting>();
  {
    const std::lock_guard lock(mutex_);
    if (running_ >= parallel_ || queue_.empty()) return;
    *job = std::move(queue_.front());
    queue_.pop_front();
    ++running_;
  }
  tasks_.run([this, job] {
    run(*job);
    {
      const std::lock_guard lock(mutex_);
      --running_;
    }
    next();
    job->done();
  });
}

void ImagePuller::run(Waiting& job) {
  std::vector<std::optional<runtime::Credentials>> tries(job.credentials.begin(), job.credentials.end());
  if (tries.empty()) tries.emplace_back(std::nullopt);
  std::optional<Result<runtime::Image>> result;
  for (const auto& credentials : tries) {
    result.emplace(images_.pull(tasks_.context(), job.reference, credentials));
    if (*result) break;
  }
  const std::lock_guard lock(job.pull->mutex_);
  job.pull->finished_at_ = tasks_.clock().now();
  job.pull->result_ = std::move(result);
}

std::string registry_of(std::string_view reference) {
  const auto slash = reference.find('/');
  if (slash == std::string_view::npos) return std::string(kDefaultRegistry);
  const std::string_view first = reference.substr(0, slash);
  const bool is_host =
      first.find('.') != std::string_view::npos || first.find(':') != std::string_view::npos || first == "localhost";
  return is_host ? normalized(first) : std::string(kDefaultRegistry);
}

std::string reference_problem(std::string_view reference) {
  const std::string prefix = "couldn't parse image name \"" + std::string(reference) + "\": ";
  if (reference.empty()) return prefix + "repository name must have at least one component";
  const auto at = reference.find('@');
  std::string_view name = reference.substr(0, at);
  const auto colon = name.rfind(':');
  if (colon != std::string_view::npos && name.find('/', colon) == std::string_view::npos) {
    const std::string_view tag = name.substr(colon + 1);
    for (const char c : tag) {
      if (std::isalnum(static_cast<unsigned char>(c)) == 0 && c != '_' && c != '.' && c != '-')
        return prefix + "invalid reference format";
    }
    if (tag.empty() || tag.size() > 128) return prefix + "invalid reference format";
    name = name.substr(0, colon);
  }
  // Only a registry's host may have capitals and a port.
  const auto slash = name.find('/');
  const std::string_view first = slash == std::string_view::npos ? std::string_view{} : name.substr(0, slash);
  const bool has_host = first.find_first_of(".:") != std::string_view::npos || first == "localhost";
  const std::string_view path = has_host ? name.substr(slash + 1) : name;
  if (path.empty()) return prefix + "invalid reference format";
  for (const char c : path) {
    if (std::isupper(static_cast<unsigned char>(c)) != 0)
      return prefix + "invalid reference format: repository name (" + std::string(path) + ") must be lowercase";
    if (std::isalnum(static_cast<unsigned char>(c)) == 0 && c != '_' && c != '.' && c != '-' && c != '/')
      return prefix + "invalid reference format";
  }
  return {};
}

Result<std::vector<runtime::Credentials>> credentials_in(const api::Object& secret, std::string_view reference) {
  const bool old_form = secret["type"].string() == "kubernetes.io/dockercfg";
  const std::string_view encoded = secret["data"][old_form ? ".dockercfg" : ".dockerconfigjson"].string();
  const auto unreadable = [&] {
    return Error(Reason::Invalid,
                 "secret " + secret.ns() + "/" + secret.name() + " holds no readable docker configuration");
  };
  auto text = crypto::base64_decode(encoded);
  if (!text) return unreadable();
  auto found = catch_as_error("docker configuration", [&]() -> Result<std::vector<runtime::Credentials>> {
    const json document = json::parse(*text);
    std::vector<runtime::Credentials> out;
    const json auths = old_form ? document : document.value("auths", json::object());
    for (const auto& [key, entry] : auths.items()) {
      if (!covers(normalized(key), reference)) continue;
      if (auto credentials = entry_credentials(entry)) out.push_back(*std::move(credentials));
    }
    return out;
  });
  // The parser's message may quote the secret.
  if (!found) return unreadable();
  return found;
}

}  // namespace kubernel::kubelet
