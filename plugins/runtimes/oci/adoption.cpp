// SPDX-License-Identifier: Apache-2.0
//
// Taking over what another process of ours left: read its records, look which processes live, watch them again.
#include <filesystem>

#include "runtime_state.h"

namespace kubernel::runtime::oci {
namespace {

std::vector<std::string> names_in(const std::string& directory) {
  std::vector<std::string> out;
  std::error_code code;
  for (const auto& entry : std::filesystem::directory_iterator(directory, code))
    out.push_back(entry.path().filename().string());
  return out;
}

}  // namespace

void OciRuntime::adopt(const CallContext& ctx) {
  for (const std::string& id : names_in(options_.root + "/sandboxes")) adopt_sandbox(id);
  for (const std::string& id : names_in(options_.root + "/containers")) adopt_container(ctx, id);
  // What cannot be removed now stays for the next start; it is no reason not to run the rest.
  const auto report = [this](const Result<void>& discarded) {
    if (!discarded)
      log_warning(surroundings_.log, "cannot remove the rest of an interrupted start", {{"error", discarded.error()}});
  };
  // Sandboxes and containers whose making was interrupted have no record; they were never told to anybody.
  for (const std::string& id : names_in(options_.root + "/sandboxes")) {
    if (find_sandbox(id)) continue;
    SandboxRecord nameless;
    nameless.id = id;
    report(discard_sandbox(ctx, nameless));
  }
  for (const std::string& id : names_in(options_.root + "/containers")) {
    if (find_container(id)) continue;
    ContainerRecord nameless;
    nameless.id = id;
    report(discard_container(ctx, nameless));
  }
}

void OciRuntime::adopt_sandbox(const std::string& id) {
  const auto text = read_file(sandbox_dir(id) + "/state.json");
  if (!text) return;
  auto record = parse_sandbox(*text);
  if (!record || record->id != id) {
    log_warning(surroundings_.log, "discarding a sandbox whose record is damaged", {{"sandbox", id}});
    return;
  }
  const auto sandbox = std::make_shared<Sandbox>();
  sandbox->record = *std::move(record);
  {
    const std::lock_guard lock(mutex_);
    sandboxes_[id] = sandbox;
  }
  watch_pause(sandbox);
}

void OciRuntime::adopt_container(const CallContext& ctx, const std::string& id) {
  const auto text = read_file(container_dir(id) + "/state.json");
  if (!text) return;
  auto record = parse_container(*text);
  if (!record || record->id != id) {
    log_warning(surroundings_.log, "discarding a container whose record is damaged", {{"container", id}});
    return;
  }
  const auto container = std::make_shared<Container>();
  container->record = *std::move(record);
  store_.hold(id, container->record.chain_ids);
  const State state = container->record.state;
  {
    const std::lock_guard lock(mutex_);
    containers_[id] = container;
  }
  if (state == State::Created && exists(container_dir(id) + "/pidfile")) {
    // Its start was interrupted before the command ran. It can be started again.
    if (const auto deleted = monitor_.runtime(ctx, {"delete", "--force", id}); !deleted) {
      log_debug(surroundings_.log, "a half-started container was gone already",
                {{"container", id}, {"error", deleted.error()}});
    }
    std::filesystem::remove(container_dir(id) + "/pidfile");
  }
  if (state == State::Running) watch(container);
}

}  // namespace kubernel::runtime::oci
