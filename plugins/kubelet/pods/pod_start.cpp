// SPDX-License-Identifier: Apache-2.0
//
// PodWorker's way from a planned container to a running one: back-off, image, configuration, hooks.
#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <filesystem>
#include <fstream>

#include <fmt/format.h>

#include <kubernel/api/time.h>

#include "pods/environment.h"
#include "pods/pod_worker.h"

namespace kubernel::kubelet {

namespace {

using runtime::State;

constexpr std::chrono::seconds kConfigRetry{10};
constexpr std::chrono::seconds kStartTimeout{120};
constexpr std::chrono::minutes kPostStartTimeout{30};

std::string policy_of(const ContainerSpec& container) {
  const std::string_view policy = container.value["imagePullPolicy"].string();
  // "localhost/x" without a port names an image that was loaded on this node: there is no registry to ask.
  if (policy != "Never" && registry_of(container.value["image"].string()) == "localhost") return "IfNotPresent";
  if (!policy.empty()) return std::string(policy);
  const std::string_view image = container.value["image"].string();
  const auto colon = image.rfind(':');
  const bool tagged = colon != std::string_view::npos && image.find('/', colon) == std::string_view::npos;
  const bool latest = !tagged || image.substr(colon + 1) == "latest";
  return latest && image.find('@') == std::string_view::npos ? "Always" : "IfNotPresent";
}

}  // namespace

void PodWorker::waiting(const std::string& container, std::string reason, std::string message) {
  facts_[container].waiting_reason = std::move(reason);
  facts_[container].waiting_message = std::move(message);
}

// Starts one container as far as it goes. True when it runs now.
bool PodWorker::start(const api::Object& pod, const Plan::Start& what) {
  const ContainerSpec& container = what.container;
  if (in_back_off(pod, what)) return false;
  const auto image = ensure_image(pod, container);
  if (!image) return false;
  if (const auto* left = runtime_.newest(container.name); left != nullptr && left->state == State::Created) {
    // Made by a kubelet that ended before it could start it.
    if (auto removed = kit_.runtime.remove_container(kit_.tasks.context(), left->id); !removed) {
      start_failed(pod, container, "CreateContainerError", removed.error());
      return false;
    }
    kit_.cache.container_removed(left->id);
  }
  if (what.last != nullptr) {
    restart_back_off_.note_try(container.name + "/" + spec_hash(container), kit_.tasks.clock().now());
  }
  auto started = create_and_start(pod, what, *image);
  runtime_ = kit_.cache.pod(uid_);
  if (!started) return false;
  facts_[container.name] = {};
  return true;
}

bool PodWorker::in_back_off(const api::Object& pod, const Plan::Start& what) {
  if (what.last == nullptr) return false;
  const auto& clock = kit_.tasks.clock();
  auto ended = clock.now();
  if (what.last->finished_at) {
    const auto ago = std::max(clock.wall_now() - *what.last->finished_at, Clock::WallTime::duration::zero());
    ended -= std::chrono::duration_cast<Clock::TimePoint::duration>(ago);
  }
  const std::string key = what.container.name + "/" + spec_hash(what.container);
  const auto allowed = restart_back_off_.allowed_at(key, ended);
  if (clock.now() >= allowed) return false;
  wake_at(allowed);
  if (facts_[what.container.name].waiting_reason == "CrashLoopBackOff") return true;
  const auto seconds = std::chrono::nanoseconds(restart_back_off_.delay(key));
  waiting(what.container.name, "CrashLoopBackOff",
          fmt::format("back-off {} restarting failed container={} pod={}", api::format_duration(seconds),
                      what.container.name, format_pod(pod)));
  event("Warning", "BackOff",
        fmt::format("Back-off restarting failed container {} in pod {}", what.container.name, format_pod(pod)));
  return true;
}

std::optional<runtime::Image> PodWorker::ensure_image(const api::Object& pod, const ContainerSpec& container) {
  if (pulls_.contains(container.name)) return finish_pull(pod, container);
  const std::string reference(container.value["image"].string());
  if (const std::string problem = reference_problem(reference); !problem.empty()) {
    event("Warning", "InspectFailed", fmt::format("Failed to apply default image tag \"{}\": {}", reference, problem));
    event("Warning", "Failed", "Error: InvalidImageName");
    waiting(container.name, "InvalidImageName",
            fmt::format("Failed to apply default image tag \"{}\": {}", reference, problem));
    return std::nullopt;  // Only another specification helps.
  }
  const std::string policy = policy_of(container);
  if (policy != "Always") {
    auto found = kit_.images.images().find(kit_.tasks.context(), reference);
    if (!found) {
      start_failed(pod, container, "ImageInspectError", found.error());
      return std::nullopt;
    }
    if (*found) {
      event("Normal", "Pulled", fmt::format("Container image \"{}\" already present on machine", reference));
      return **std::move(found);
    }
    if (policy == "Never") {
      const std::string message =
          fmt::format("Container image \"{}\" is not present with pull policy of Never", reference);
      if (facts_[container.name].waiting_reason != "ErrImageNeverPull") {
        event("Warning", "ErrImageNeverPull", message);
        event("Warning", "Failed", "Error: ErrImageNeverPull");
      }
      waiting(container.name, "ErrImageNeverPull", message);
      wake_after(kConfigRetry);  // Somebody may load the image.
      return std::nullopt;
    }
  }
  return begin_pull(pod, container);
}

std::optional<runtime::Image> PodWorker::begin_pull(const api::Object& pod, const ContainerSpec& container) {
  const std::string reference(container.value["image"].string());
  const auto now = kit_.tasks.clock().now();
  const auto since = pull_failed_at_.contains(reference) ? pull_failed_at_[reference] : now;
  const auto allowed = pull_back_off_.allowed_at(reference, since);
  if (now < allowed) {
    wake_at(allowed);
    ContainerFacts& facts = facts_[container.name];
    if (facts.waiting_reason == "ImagePullBackOff") return std::nullopt;
    const std::string text = fmt::format("Back-off pulling image \"{}\"", reference);
    event("Normal", "BackOff", text);
    event("Warning", "Failed", "Error: ImagePullBackOff");
    const std::string last = facts.waiting_reason == "ErrImagePull" ? ": ErrImagePull: " + facts.waiting_message : "";
    waiting(container.name, "ImagePullBackOff", text + last);
    return std::nullopt;
  }
  event("Normal", "Pulling", fmt::format("Pulling image \"{}\"", reference));
  pulls_[container.name] = kit_.images.pull(reference, pull_credentials(pod, reference), [weak = weak_from_this()] {
    if (const auto self = weak.lock()) self->wake();
  });
  return std::nullopt;
}

std::optional<runtime::Image> PodWorker::finish_pull(const api::Object& pod, const ContainerSpec& container) {
  const auto pull = pulls_[container.name];
  auto result = pull->result();
  if (!result) return std::nullopt;
  pulls_.erase(container.name);
  const std::string reference(container.value["image"].string());
  if (*result) {
    pull_back_off_.forget(reference);
    pull_failed_at_.erase(reference);
    const auto took = std::chrono::duration_cast<std::chrono::milliseconds>(pull->finished_at() - pull->started_at());
    event("Normal", "Pulled",
          fmt::format("Successfully pulled image \"{0}\" in {1} ({1} including waiting). Image size: {2} bytes.",
                      reference, api::format_duration(took), (*result)->size_bytes));
    return **std::move(result);
  }
  if (kit_.tasks.stopping()) return std::nullopt;
  const std::string message = fmt::format("failed to pull image \"{}\": {}", reference, result->error().message());
  event("Warning", "Failed", fmt::format("Failed to pull image \"{}\": {}", reference, result->error().message()));
  event("Warning", "Failed", "Error: ErrImagePull");
  log_warning(kit_.log, "image pull failed",
              {{"pod", format_pod(pod)}, {"image", reference}, {"error", result->error()}});
  waiting(container.name, "ErrImagePull", message);
  const auto now = kit_.tasks.clock().now();
  pull_back_off_.note_try(reference, now);
  pull_failed_at_[reference] = now;
  wake_after(std::chrono::seconds(3));  // Then it says ImagePullBackOff.
  return std::nullopt;
}

std::vector<runtime::Credentials> PodWorker::pull_credentials(const api::Object& pod, const std::string& reference) {
  std::vector<runtime::Credentials> out;
  for (const api::Value ref : pod["spec"]["imagePullSecrets"]) {
    const api::ObjectKey key{pod.ns(), std::string(ref["name"].string())};
    auto secret = kit_.objects.get(kit_.tasks.context(), api::resources::kSecrets, key, uid_);
    if (!secret) {
      event(
          "Warning", "FailedToRetrieveImagePullSecret",
          fmt::format("Unable to retrieve some image pull secrets ({}); attempting to pull the image may not succeed.",
                      key.name));
      continue;
    }
    auto found = credentials_in(*secret, reference);
    if (!found) {
      log_warning(kit_.log, "unusable image pull secret", {{"pod", format_pod(pod)}, {"error", found.error()}});
      continue;
    }
    out.insert(out.end(), found->begin(), found->end());
  }
  return out;
}

Result<std::vector<runtime::Mount>> PodWorker::make_mounts(const api::Object& pod, const ContainerSpec& container,
                                                           const Environment& environment, std::uint32_t attempt) {
  KUBERNEL_TRY(auto mounts, volume_mounts(container.value, pod, volume_paths_, [&](std::string_view text) {
                 return expand(text, [&](std::string_view name) -> const std::string* {
                   for (const auto& [known, value] : environment) {
                     if (known == name) return &value;
                   }
                   return nullptr;
                 });
               }));
  const auto taken = [&](std::string_view path) {
    return std::any_of(mounts.begin(), mounts.end(), [&](const auto& m) { return m.container_path == path; });
  };
  KUBERNEL_CHECK_OK(write_pod_files(pod));
  for (const char* name : {"hosts", "resolv.conf"}) {
    const std::string path = std::string("/etc/") + name;
    if (!taken(path))
      mounts.push_back({path, directory() + "/etc-" + name, false, runtime::Mount::Propagation::Private});
  }
  const std::string message_path(container.value["terminationMessagePath"].string("/dev/termination-log"));
  if (!message_path.empty() && !taken(message_path)) {
    const std::string base = directory() + "/containers/" + container.name;
    std::error_code error;
    std::filesystem::create_directories(base, error);
    const std::string file = base + "/" + std::to_string(attempt);
    // Whatever user the container has may write its last words.
    const int fd = error ? -1 : ::open(file.c_str(), O_CREAT | O_TRUNC | O_WRONLY | O_CLOEXEC, 0666);
    if (fd < 0 || ::fchmod(fd, 0666) != 0) {
      if (fd >= 0) ::close(fd);
      return Error(Reason::Internal, file + ": cannot be made");
    }
    ::close(fd);
    mounts.push_back({message_path, file, false, runtime::Mount::Propagation::Private});
  }
  return mounts;
}

Result<runtime::ContainerConfig> PodWorker::make_config(const api::Object& pod, const Plan::Start& what,
                                                        const runtime::Image& image) {
  const auto source = [&](const api::Resource& resource) {
    return [this, &pod, resource](std::string_view name) -> Result<std::map<std::string, std::string>> {
      KUBERNEL_TRY(const auto object,
                   kit_.objects.get(kit_.tasks.context(), resource, {pod.ns(), std::string(name)}, uid_));
      return ObjectSource::data_of(resource, object);
    };
  };
  const ConfigSource sources{source(api::resources::kConfigMaps), source(api::resources::kSecrets)};
  const auto services = service_variables(kit_.services(), pod.ns(), pod["spec"]["enableServiceLinks"].boolean(true));
  KUBERNEL_TRY(auto environment, container_environment(pod, what.container, facts_of(pod), sources, services));
  KUBERNEL_TRY(auto mounts, make_mounts(pod, what.container, environment, what.attempt));
  ContainerInput input{.pod = pod,
                       .container = what.container,
                       .attempt = what.attempt,
                       .image = image,
                       .environment = std::move(environment),
                       .mounts = std::move(mounts),
                       .node_memory_bytes = kit_.node.memory_bytes,
                       .lowest_oom_score_adj = kit_.node.lowest_oom_score_adj,
                       .volume_groups = {}};
  if (const api::Value group = pod["spec"]["securityContext"]["fsGroup"]; group && !group.is_null()) {
    input.volume_groups.push_back(group.integer());
  }
  return container_config(std::move(input));
}

void PodWorker::start_failed(const api::Object& pod, const ContainerSpec& container, std::string reason,
                             const Error& error) {
  if (kit_.tasks.stopping()) return;
  event("Warning", "Failed", "Error: " + error.message());
  log_warning(kit_.log, "cannot start a container",
              {{"pod", format_pod(pod)}, {"container", container.name}, {"reason", reason}, {"error", error}});
  waiting(container.name, std::move(reason), error.message());
  wake_after(kConfigRetry);
}

Result<void> PodWorker::create_and_start(const api::Object& pod, const Plan::Start& what, const runtime::Image& image) {
  const ContainerSpec& container = what.container;
  const auto* sandbox = runtime_.ready_sandbox();
  if (sandbox == nullptr) return Error(Reason::Internal, "the pod's sandbox has ended");
  auto config = make_config(pod, what, image);
  if (!config) {
    start_failed(pod, container, "CreateContainerConfigError", config.error());
    return std::move(config).error();
  }
  std::error_code ignored;  // A missing directory shows as the runtime's error.
  std::filesystem::create_directories(pod_log_directory(kit_.config.log_directory, pod) + "/" + container.name,
                                      ignored);
  auto id = kit_.runtime.create_container(kit_.tasks.context(kStartTimeout), sandbox->id, *config);
  if (!id) {
    start_failed(pod, container, "CreateContainerError", id.error());
    return std::move(id).error();
  }
  event("Normal", "Created", "Created container: " + container.name);
  auto started = kit_.runtime.start_container(kit_.tasks.context(kStartTimeout), *id);
  KUBERNEL_CHECK_OK(kit_.cache.update_container(kit_.tasks.context(), *id));
  if (!started) {
    start_failed(pod, container, "RunContainerError", started.error());
    return started;
  }
  event("Normal", "Started", "Started container " + container.name);
  if (container.value["lifecycle"]["postStart"]) {
    post_start_[*id] =
        run_hook(pod, container, *id, "postStart", std::chrono::duration_cast<std::chrono::seconds>(kPostStartTimeout));
  }
  return {};
}

// Runs a lifecycle hook elsewhere; the worker is woken when it is through.
std::shared_ptr<PodWorker::Hook> PodWorker::run_hook(const api::Object& pod, const ContainerSpec& container,
                                                     const std::string& id, const char* which,
                                                     std::chrono::seconds timeout) {
  auto hook = std::make_shared<Hook>();
  const auto ips = pod_ips(pod);
  const std::string ip = ips.empty() ? std::string() : ips.front();
  kit_.tasks.run([self = shared_from_this(), hook, pod, name = container.name, id, ip, which, timeout] {
    Result<void> result;
    if (const auto spec = find_container(pod, name)) {
      const api::Value handler = spec->value["lifecycle"][which];
      if (const api::Value pause = handler["sleep"]) {
        self->finish_hook_later(hook, std::chrono::seconds(pause["seconds"].integer()));
        return;
      }
      const ProbeOutcome outcome = self->kit_.prober.handlers().run({pod, *spec, id, ip}, handler, timeout);
      if (outcome.verdict != ProbeOutcome::Verdict::Success) result = Error(Reason::Internal, outcome.message);
    }
    self->finish_hook(hook, std::move(result));
  });
  return hook;
}

void PodWorker::finish_hook(const std::shared_ptr<Hook>& hook, Result<void> result) {
  {
    const std::lock_guard lock(hook->mutex);
    hook->result = std::move(result);
    hook->done_at = kit_.tasks.clock().now();
  }
  wake();
}

void PodWorker::finish_hook_later(const std::shared_ptr<Hook>& hook, std::chrono::seconds delay) {
  const std::lock_guard lock(hook->mutex);
  hook->timer = kit_.tasks.run_after(delay, [weak = weak_from_this(), weak_hook = std::weak_ptr(hook)] {
    const auto self = weak.lock();
    const auto alive = weak_hook.lock();
    if (self && alive) self->finish_hook(alive, {});
  });
}

// Collects finished postStart hooks; false while one runs.
bool PodWorker::check_post_start(const api::Object& pod) {
  bool all_done = true;
  for (auto at = post_start_.begin(); at != post_start_.end();) {
    const auto* status = runtime_.by_id(at->first);
    const bool running = status != nullptr && status->state == State::Running;
    if (running && !at->second->done()) {
      all_done = false;
      ++at;
      continue;
    }
    std::optional<Result<void>> result;
    {
      const std::lock_guard lock(at->second->mutex);
      result = at->second->result;
    }
    const std::string id = at->first;
    at = post_start_.erase(at);
    if (!running || !result || *result) continue;
    event("Warning", "FailedPostStartHook", "PostStartHook failed: " + result->error().message());
    step_stop(*status, kit_.tasks.clock().now() + termination_grace_of(pod), "FailedPostStartHook");
    all_done = false;
  }
  return all_done;
}

}  // namespace kubernel::kubelet
