// SPDX-License-Identifier: Apache-2.0
#include "oci_runtime.h"

#include <sys/mount.h>
#include <sys/stat.h>

#include <algorithm>
#include <chrono>
#include <filesystem>

#include <kubernel/base/alarm.h>

#include "runtime_state.h"

namespace kubernel::runtime::oci {

OciRuntime::OciRuntime(OciRuntimeOptions options, Cgroups cgroups, const Surroundings& surroundings, Store& store,
                       Machine machine)
    : options_(std::move(options)),
      cgroups_(std::move(cgroups)),
      surroundings_(surroundings),
      store_(store),
      machine_(std::move(machine)),
      monitor_({options_.conmon, options_.runtime, options_.state_dir + "/runtime", options_.state_dir + "/exits"}),
      gate_(std::make_shared<Gate>()),
      listeners_(std::make_shared<Listeners>()) {}

Result<std::unique_ptr<OciRuntime>> OciRuntime::open(const CallContext& ctx, OciRuntimeOptions options, Cgroups cgroups,
                                                     const Surroundings& surroundings, Store& store) {
  KUBERNEL_TRY(Machine machine, read_machine(cgroups.v2(), cgroups.accounts_swap()));
  std::unique_ptr<OciRuntime> runtime(
      new OciRuntime(std::move(options), std::move(cgroups), surroundings, store, std::move(machine)));
  KUBERNEL_CHECK_OK(runtime->prepare_directories());
  KUBERNEL_CHECK_OK(runtime->install_pause());
  runtime->adopt(ctx);
  store.collect_garbage();
  return runtime;
}

OciRuntime::~OciRuntime() {
  std::vector<std::unique_ptr<Subscription>> watches;
  {
    const std::lock_guard lock(mutex_);
    for (auto& [id, container] : containers_) {
      const std::lock_guard inner(container->mutex);
      watches.push_back(std::move(container->watch));
    }
    for (auto& [id, sandbox] : sandboxes_) {
      const std::lock_guard inner(sandbox->mutex);
      watches.push_back(std::move(sandbox->watch));
    }
  }
  watches.clear();
  gate_->close();
}

Result<void> OciRuntime::prepare_directories() {
  for (const char* name : {"", "/sandboxes", "/containers"})
    KUBERNEL_CHECK_OK(make_directories(options_.root + name, 0711));
  KUBERNEL_CHECK_OK(remove_tree(options_.state_dir + "/exec"));
  for (const char* name : {"", "/runtime", "/exits", "/exec"})
    KUBERNEL_CHECK_OK(make_directories(options_.state_dir + name, 0700));
  return {};
}

// One read-only root for all pause processes. Its name is that of its content: a new version never replaces a program
// that runs.
Result<void> OciRuntime::install_pause() {
  KUBERNEL_TRY(const std::string program, read_file(options_.pause));
  pause_rootfs_ = options_.root + "/pause/" + hex_of(sha256_digest(program)).substr(0, 16);
  for (const char* name : {"/proc", "/dev", "/sys"}) KUBERNEL_CHECK_OK(make_directories(pause_rootfs_ + name, 0755));
  const std::string target = pause_rootfs_ + "/pause";
  if (exists(target)) return {};
  KUBERNEL_CHECK_OK(write_file_atomic(target, program, Durable::Yes));
  if (chmod(target.c_str(), 0755) != 0) return file_error("set the mode of", target, errno);
  return {};
}

std::string OciRuntime::new_id() {
  static constexpr char kHex[] = "0123456789abcdef";
  std::string out;
  for (int word = 0; word < 4; ++word) {
    std::uint64_t bits = surroundings_.random.next();
    for (int digit = 0; digit < 16; ++digit, bits >>= 4U) out += kHex[bits & 15U];
  }
  return out;
}

std::int64_t OciRuntime::now_ns() const {
  return std::chrono::duration_cast<std::chrono::nanoseconds>(surroundings_.clock.wall_now().time_since_epoch())
      .count();
}

OciRuntime::ContainerPtr OciRuntime::find_container(std::string_view id) const {
  const std::lock_guard lock(mutex_);
  const auto found = containers_.find(id);
  return found == containers_.end() ? nullptr : found->second;
}

Result<OciRuntime::ContainerPtr> OciRuntime::get_container(std::string_view id) const {
  ContainerPtr container = find_container(id);
  if (!container) return Error(Reason::NotFound, "container \"" + std::string(id) + "\" not found");
  return container;
}

OciRuntime::SandboxPtr OciRuntime::find_sandbox(std::string_view id) const {
  const std::lock_guard lock(mutex_);
  const auto found = sandboxes_.find(id);
  return found == sandboxes_.end() ? nullptr : found->second;
}

std::vector<OciRuntime::ContainerPtr> OciRuntime::containers_of(std::string_view sandbox_id) const {
  std::vector<ContainerPtr> out;
  const std::lock_guard lock(mutex_);
  for (const auto& [id, container] : containers_) {
    const std::lock_guard inner(container->mutex);
    if (container->record.sandbox_id == sandbox_id) out.push_back(container);
  }
  return out;
}

// Runs `task` on the blocking pool, unless the runtime is being destroyed. A full pool refuses; the task is then tried
// again, for an exit that nobody heard of would leave its pod running for ever.
void OciRuntime::run_later(std::function<void()> task) {
  constexpr auto kRetry = std::chrono::milliseconds(50);
  const auto guarded = [gate = gate_, task] {
    if (!gate->enter()) return;
    task();
    gate->leave();
  };
  if (surroundings_.blocking.submit(guarded)) return;
  if (!gate_->enter()) return;
  const auto alarm = std::make_shared<Alarm>();
  alarm->set([&] {
    return surroundings_.clock.call_at(surroundings_.clock.now() + kRetry, [this, task, alarm, gate = gate_] {
      run_later(task);
      gate->leave();
      alarm->cancel();
    });
  });
}

void OciRuntime::notify(const std::string& id) {
  std::vector<std::shared_ptr<Listeners::Listener>> all;
  {
    const std::lock_guard lock(listeners_->mutex);
    all = listeners_->all;
  }
  for (const auto& listener : all) {
    const std::lock_guard running(listener->running);
    if (listener->changed) listener->changed(id);
  }
}

std::unique_ptr<Subscription> OciRuntime::on_exit(std::function<void(std::string id)> changed) {
  class Handle final : public Subscription {
   public:
    Handle(std::weak_ptr<Listeners> listeners, std::shared_ptr<Listeners::Listener> listener)
        : listeners_(std::move(listeners)), listener_(std::move(listener)) {}
    ~Handle() override {
      if (const auto all = listeners_.lock()) {
        const std::lock_guard lock(all->mutex);
        std::erase(all->all, listener_);
      }
      const std::lock_guard running(listener_->running);
      listener_->changed = nullptr;
    }

   private:
    std::weak_ptr<Listeners> listeners_;
    std::shared_ptr<Listeners::Listener> listener_;
  };
  auto listener = std::make_shared<Listeners::Listener>();
  listener->changed = std::move(changed);
  const std::lock_guard lock(listeners_->mutex);
  listeners_->all.push_back(listener);
  return std::make_unique<Handle>(listeners_, listener);
}

void OciRuntime::unmount(const std::string& path) {
  // Detached: a process that still looks at it does not hold the removal up.
  while (umount2(path.c_str(), MNT_DETACH | UMOUNT_NOFOLLOW) == 0) {
  }
}

}  // namespace kubernel::runtime::oci
