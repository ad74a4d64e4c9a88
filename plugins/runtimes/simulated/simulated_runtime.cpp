// SPDX-License-Identifier: Apache-2.0
#include "simulated_runtime.h"

#include <cerrno>
#include <cstdio>
#include <filesystem>
#include <fstream>
#include <system_error>

#include <nlohmann/json.hpp>

#include <kubernel/api/time.h>

namespace kubernel::runtime::simulated {
namespace {

constexpr int kKilled = 128 + 9, kTerminated = 128 + 15;
constexpr std::chrono::milliseconds kPoolIsFull{100};

Error not_found(std::string_view what, std::string_view id) {
  return Error(Reason::NotFound, std::string(what) + " " + std::string(id) + " does not exist");
}

std::string new_id(Random& random) {
  std::string out;
  for (int i = 0; i < 4; ++i) {
    char part[17];
    std::snprintf(part, sizeof part, "%016llx", static_cast<unsigned long long>(random.next()));
    out += part;
  }
  return out;
}

// "2026-01-02T03:04:05.000000006Z stdout F text", as CRI wants it.
Result<void> write_log_line(const std::string& path, WallTime time, const std::string& text) {
  const auto ns = std::chrono::duration_cast<std::chrono::nanoseconds>(time.time_since_epoch()).count() % 1'000'000'000;
  char fraction[16];
  std::snprintf(fraction, sizeof fraction, ".%09lldZ", static_cast<long long>(ns));
  std::string stamp = api::format_time(time);
  stamp.pop_back();
  errno = 0;
  std::ofstream file(path, std::ios::binary | std::ios::app);
  file << stamp << fraction << " stdout F " << text << "\n";
  file.close();
  if (!file) {
    return Error(Reason::Internal, "cannot write " + path + ": " +
                                       std::error_code(errno != 0 ? errno : EIO, std::generic_category()).message());
  }
  return {};
}

std::string log_text(const ContainerStatus& status) {
  const std::string who = "simulated container " + status.name;
  if (status.state == State::Running) return who + " started (attempt " + std::to_string(status.attempt) + ")";
  return who + " exited with code " + std::to_string(status.exit_code);
}

class Listening final : public Subscription {
 public:
  explicit Listening(std::function<void()> end) : end_(std::move(end)) {}
  ~Listening() override { end_(); }

 private:
  std::function<void()> end_;
};

}  // namespace

struct SimulatedRuntime::Shared : std::enable_shared_from_this<Shared> {
  using Sandboxes = std::map<std::string, std::unique_ptr<Sandbox>, std::less<>>;

  Shared(const Behaviour& behaviour, StateFiles state, const Surroundings& around, const SimulatedImages& store)
      : defaults(behaviour), files(std::move(state)), surroundings(around), images(store) {}

  Sandbox* find_sandbox(std::string_view id) {
    const auto at = sandboxes.find(id);
    return at == sandboxes.end() ? nullptr : at->second.get();
  }

  std::pair<Sandbox*, Container*> find(std::string_view id) {
    for (auto& [name, sandbox] : sandboxes) {
      if (const auto at = sandbox->containers.find(id); at != sandbox->containers.end())
        return {sandbox.get(), &at->second};
    }
    return {nullptr, nullptr};
  }

  // The rest is called with the mutex held, unless it says otherwise.

  Result<void> save(const Sandbox& sandbox) { return files.write(sandbox.status.id, to_json(sandbox)); }

  // Takes all steps of the container that are due and sets the timer for the next. True when there was one.
  bool catch_up(Container& container) {
    bool changed = false;
    while (container.step(surroundings.clock.wall_now())) {
      changed = true;
      const auto& status = container.status;
      const auto when = status.state == State::Running ? status.started_at : status.finished_at;
      if (auto written = write_log_line(status.log_path, *when, log_text(status)); !written) {
        log_warning(surroundings.log, "cannot log for a simulated container", {{"error", written.error()}});
      }
    }
    arm(container);
    return changed;
  }

  void arm(Container& container) {
    container.timer.reset();
    const auto due = container.next_step();
    if (!due) return;
    const auto wait = std::max<Clock::TimePoint::duration>(*due - surroundings.clock.wall_now(), {});
    container.timer = step_at(surroundings.clock.now() + wait, container.status.id);
  }

  // Destroying a timer may wait for its callback: that takes no mutex but the retries', and no timer is destroyed with
  // that held.
  std::unique_ptr<Subscription> step_at(Clock::TimePoint when, const std::string& id) {
    return surroundings.clock.call_at(when, [weak = weak_from_this(), id] {
      const auto self = weak.lock();
      if (!self) return;
      const auto queued = self->surroundings.blocking.submit([weak, id] {
        if (const auto alive = weak.lock()) alive->step(id);
      });
      if (!queued && queued.error().reason() == Reason::TooManyRequests) self->retry(id);
    });
  }

  // Without the mutex.
  void retry(const std::string& id) {
    auto timer = step_at(surroundings.clock.now() + kPoolIsFull, id);
    const std::lock_guard lock(retries_mutex);
    retries[id].swap(timer);
  }
  void forget_retry(const std::string& id) {
    decltype(retries)::node_type ended;
    const std::lock_guard lock(retries_mutex);
    ended = retries.extract(id);
  }

  // Without the mutex.
  void step(const std::string& id) {
    forget_retry(id);
    {
      const std::lock_guard lock(mutex);
      const auto [sandbox, container] = find(id);
      if (container == nullptr || !catch_up(*container)) return;
      if (auto saved = save(*sandbox); !saved) {
        log_warning(surroundings.log, "cannot keep a simulated sandbox's state", {{"error", saved.error()}});
      }
    }
    notify({id});
  }

  // Without the mutex.
  void notify(const std::vector<std::string>& ids) {
    const std::lock_guard lock(listeners_mutex);
    for (const auto& id : ids) {
      for (const auto& [key, listener] : listeners) listener(id);
    }
  }

  // Ends the container now. True when it had not ended.
  bool end(Container& container, int code, int signal) {
    auto& status = container.status;
    if (status.state == State::Exited) return false;
    const bool ran = status.state == State::Running;
    status.starting = false;
    container.starts_at.reset();
    container.ends_at = surroundings.clock.wall_now();
    container.end_code = code;
    container.end_signal = signal;
    status.state = State::Running;
    if (ran) return catch_up(container);
    container.step(*container.ends_at);  // It never ran: nothing to log.
    arm(container);
    return true;
  }

  const Behaviour defaults;
  const StateFiles files;
  const Surroundings surroundings;
  const SimulatedImages& images;
  std::mutex mutex;
  Sandboxes sandboxes;
  std::mutex retries_mutex;
  std::map<std::string, std::unique_ptr<Subscription>> retries;  // Of steps that found the pool full.
  std::mutex listeners_mutex;
  std::uint64_t last_listener = 0;
  std::map<std::uint64_t, std::function<void(std::string)>> listeners;
};

Result<std::unique_ptr<SimulatedRuntime>> SimulatedRuntime::open(const Behaviour& defaults, StateFiles files,
                                                                 const Surroundings& surroundings,
                                                                 const SimulatedImages& images) {
  KUBERNEL_TRY(const auto saved, files.read_all());
  auto shared = std::make_shared<Shared>(defaults, std::move(files), surroundings, images);
  const std::lock_guard lock(shared->mutex);
  for (const auto& file : saved) {
    auto sandbox = parse_sandbox(file.content);
    if (!sandbox) {
      log_warning(surroundings.log, "a simulated sandbox's state is damaged and left out",
                  {{"file", file.name}, {"error", sandbox.error()}});
      continue;
    }
    bool changed = false;
    for (auto& [id, container] : (*sandbox)->containers) changed = shared->catch_up(container) || changed;
    if (changed) KUBERNEL_CHECK_OK(shared->save(**sandbox));
    std::string id = (*sandbox)->status.id;
    shared->sandboxes.emplace(std::move(id), *std::move(sandbox));
  }
  return std::unique_ptr<SimulatedRuntime>(new SimulatedRuntime(shared));
}

SimulatedRuntime::~SimulatedRuntime() {
  {
    const std::lock_guard lock(shared_->mutex);
    for (auto& [id, sandbox] : shared_->sandboxes) {
      for (auto& [name, container] : sandbox->containers) container.timer.reset();
    }
  }
  decltype(shared_->retries) ended;
  const std::lock_guard lock(shared_->retries_mutex);
  ended.swap(shared_->retries);
}

Result<std::string> SimulatedRuntime::run_sandbox(const CallContext&, const SandboxConfig& config) {
  KUBERNEL_CHECK_OK(check_annotations(config.annotations));
  auto sandbox = std::make_unique<Sandbox>();
  const std::string id = new_id(shared_->surroundings.random);
  sandbox->status = {.id = id,
                     .pod_name = config.pod_name,
                     .pod_namespace = config.pod_namespace,
                     .pod_uid = config.pod_uid,
                     .attempt = config.attempt,
                     .ready = true,
                     .created_at = shared_->surroundings.clock.wall_now(),
                     .network_namespace_path = config.network_namespace_path,
                     .labels = config.labels,
                     .annotations = config.annotations};
  sandbox->log_directory = config.log_directory;
  const std::lock_guard lock(shared_->mutex);
  KUBERNEL_CHECK_OK(shared_->save(*sandbox));
  shared_->sandboxes.emplace(id, std::move(sandbox));
  return id;
}

Result<void> SimulatedRuntime::stop_sandbox(const CallContext&, std::string_view id) {
  std::vector<std::string> ended;
  {
    const std::lock_guard lock(shared_->mutex);
    Sandbox* sandbox = shared_->find_sandbox(id);
    if (sandbox == nullptr) return {};
    sandbox->status.ready = false;
    for (auto& [name, container] : sandbox->containers) {
      if (shared_->end(container, kKilled, 9)) ended.push_back(name);
    }
    KUBERNEL_CHECK_OK(shared_->save(*sandbox));
  }
  shared_->notify(ended);
  return {};
}

Result<void> SimulatedRuntime::remove_sandbox(const CallContext& ctx, std::string_view id) {
  KUBERNEL_CHECK_OK(stop_sandbox(ctx, id));
  const std::lock_guard lock(shared_->mutex);
  const auto at = shared_->sandboxes.find(id);
  if (at == shared_->sandboxes.end()) return {};
  KUBERNEL_CHECK_OK(shared_->files.remove(at->first));
  shared_->sandboxes.erase(at);
  return {};
}

Result<std::vector<SandboxStatus>> SimulatedRuntime::list_sandboxes(const CallContext&) {
  const std::lock_guard lock(shared_->mutex);
  std::vector<SandboxStatus> out;
  for (const auto& [id, sandbox] : shared_->sandboxes) out.push_back(sandbox->status);
  return out;
}

Result<std::string> SimulatedRuntime::create_container(const CallContext&, std::string_view sandbox_id,
                                                       const ContainerConfig& config) {
  const std::lock_guard lock(shared_->mutex);
  Sandbox* sandbox = shared_->find_sandbox(sandbox_id);
  if (sandbox == nullptr) return not_found("sandbox", sandbox_id);
  if (!sandbox->status.ready) return Error(Reason::Invalid, "sandbox " + sandbox->status.id + " has been stopped");
  const std::string image = shared_->images.name_of(config.image_id);
  if (image.empty()) return Error(Reason::Invalid, "image " + config.image_id + " does not exist");
  Container container;
  KUBERNEL_TRY(container.behaviour, behaviour_of(shared_->defaults, sandbox->status.annotations, config.name));
  ContainerStatus& status = container.status;
  status.id = new_id(shared_->surroundings.random);
  status.sandbox_id = sandbox->status.id;
  status.name = config.name;
  status.attempt = config.attempt;
  status.state = State::Created;
  status.created_at = shared_->surroundings.clock.wall_now();
  status.image_id = config.image_id;
  status.image_ref = image;
  status.log_path = sandbox->log_directory + "/" + config.log_path;
  status.labels = config.labels;
  status.annotations = config.annotations;
  const std::string id = status.id;
  const auto [at, added] = sandbox->containers.emplace(id, std::move(container));
  if (auto saved = shared_->save(*sandbox); !saved) {
    sandbox->containers.erase(at);
    return std::move(saved).error();
  }
  return id;
}

Result<void> SimulatedRuntime::start_container(const CallContext&, std::string_view id) {
  const std::lock_guard lock(shared_->mutex);
  const auto [sandbox, container] = shared_->find(id);
  if (container == nullptr) return not_found("container", id);
  if (container->status.state != State::Created || container->status.starting) {
    return Error(Reason::Invalid, "container " + std::string(id) + " has been started before");
  }
  container->status.starting = true;
  container->starts_at = shared_->surroundings.clock.wall_now() +
                         std::chrono::duration_cast<WallTime::duration>(container->behaviour.start_after);
  shared_->catch_up(*container);
  return shared_->save(*sandbox);
}

Result<void> SimulatedRuntime::request_stop(const CallContext&, std::string_view id) {
  bool ended = false;
  {
    const std::lock_guard lock(shared_->mutex);
    const auto [sandbox, container] = shared_->find(id);
    if (container == nullptr) return not_found("container", id);
    if (container->status.state == State::Running) {
      const auto takes = std::chrono::duration_cast<WallTime::duration>(container->behaviour.stop_after);
      container->end_by(shared_->surroundings.clock.wall_now() + takes, kTerminated, 15);
      ended = shared_->catch_up(*container);
    } else {
      ended = shared_->end(*container, kTerminated, 15);
    }
    KUBERNEL_CHECK_OK(shared_->save(*sandbox));
  }
  if (ended) shared_->notify({std::string(id)});
  return {};
}

Result<void> SimulatedRuntime::stop_container(const CallContext&, std::string_view id, std::chrono::seconds grace) {
  {
    const std::lock_guard lock(shared_->mutex);
    const auto [sandbox, container] = shared_->find(id);
    if (container == nullptr) return not_found("container", id);
    const bool in_time = grace.count() > 0 && container->behaviour.stop_after <= grace;
    if (!shared_->end(*container, in_time ? kTerminated : kKilled, in_time ? 15 : 9)) return {};
    KUBERNEL_CHECK_OK(shared_->save(*sandbox));
  }
  shared_->notify({std::string(id)});
  return {};
}

Result<void> SimulatedRuntime::remove_container(const CallContext&, std::string_view id) {
  const std::lock_guard lock(shared_->mutex);
  const auto [sandbox, container] = shared_->find(id);
  if (container == nullptr) return {};
  if (container->status.state == State::Running) {
    return Error(Reason::Invalid, "container " + std::string(id) + " is running");
  }
  sandbox->containers.erase(sandbox->containers.find(id));
  return shared_->save(*sandbox);
}

Result<std::vector<ContainerStatus>> SimulatedRuntime::list_containers(const CallContext&) {
  const std::lock_guard lock(shared_->mutex);
  std::vector<ContainerStatus> out;
  for (const auto& [id, sandbox] : shared_->sandboxes) {
    for (const auto& [name, container] : sandbox->containers) out.push_back(container.status);
  }
  return out;
}

std::unique_ptr<Subscription> SimulatedRuntime::on_exit(std::function<void(std::string id)> changed) {
  const std::lock_guard lock(shared_->listeners_mutex);
  const std::uint64_t key = ++shared_->last_listener;
  shared_->listeners.emplace(key, std::move(changed));
  return std::make_unique<Listening>([shared = shared_, key] {
    const std::lock_guard guard(shared->listeners_mutex);
    shared->listeners.erase(key);
  });
}

Result<ContainerStatus> SimulatedRuntime::status(const CallContext&, std::string_view id) {
  const std::lock_guard lock(shared_->mutex);
  const auto [sandbox, container] = shared_->find(id);
  if (container == nullptr) return not_found("container", id);
  return container->status;
}

Result<std::unique_ptr<Session>> SimulatedRuntime::exec(const CallContext& ctx, std::string_view id,
                                                        const ExecOptions&) {
  KUBERNEL_TRY(const auto known, status(ctx, id));
  return Error(Reason::BadRequest,
               "container " + known.name + " is simulated: it has no process to run a command beside");
}

Result<ExecResult> SimulatedRuntime::exec_sync(const CallContext& ctx, std::string_view id,
                                               const std::vector<std::string>&) {
  KUBERNEL_TRY(const auto known, status(ctx, id));
  return Error(Reason::BadRequest,
               "container " + known.name + " is simulated: it has no process to run a command beside");
}

Result<std::unique_ptr<Session>> SimulatedRuntime::attach(const CallContext& ctx, std::string_view id) {
  KUBERNEL_TRY(const auto known, status(ctx, id));
  return Error(Reason::BadRequest, "container " + known.name + " is simulated: it has no process to attach to");
}

Result<void> SimulatedRuntime::update_resources(const CallContext& ctx, std::string_view id, const Resources&) {
  KUBERNEL_TRY(const auto known, status(ctx, id));
  (void)known;
  return {};
}

// Each line opens the file anew, so that a rotated log is left alone by itself.
Result<void> SimulatedRuntime::reopen_log(const CallContext& ctx, std::string_view id) {
  KUBERNEL_TRY(const auto known, status(ctx, id));
  errno = 0;
  std::ofstream file(known.log_path, std::ios::app);
  if (file) return {};
  return Error(Reason::Internal, "cannot write " + known.log_path + ": " +
                                     std::error_code(errno != 0 ? errno : EIO, std::generic_category()).message());
}

Result<Usage> SimulatedRuntime::usage(const CallContext& ctx, std::string_view id) {
  KUBERNEL_TRY(const auto known, status(ctx, id));
  (void)known;
  return Usage{};
}

Result<OpenedRuntime> open_runtime(const RuntimeContext& context) {
  KUBERNEL_TRY(const Behaviour defaults, parse_defaults(context.config_json));
  const auto config = nlohmann::json::parse(context.config_json, nullptr, false);
  return catch_as_error("plugin simulated", [&]() -> Result<OpenedRuntime> {
    const std::string root = config.value("root", "/var/lib/kubernel/simulated");
    const auto below = [&](const char* part) { return root.empty() ? root : root + "/" + part; };
    KUBERNEL_TRY(auto image_files, StateFiles::open(below("images")));
    KUBERNEL_TRY(auto images, SimulatedImages::open(std::move(image_files)));
    KUBERNEL_TRY(auto pod_files, StateFiles::open(below("sandboxes")));
    const SimulatedRuntime::Surroundings surroundings{context.log, context.clock, context.random, context.blocking};
    OpenedRuntime out;
    KUBERNEL_TRY(out.containers, SimulatedRuntime::open(defaults, std::move(pod_files), surroundings, *images));
    out.images = std::move(images);
    out.name = "simulated";
    out.version = "0.1.0";
    return out;
  });
}

}  // namespace kubernel::runtime::simulated
