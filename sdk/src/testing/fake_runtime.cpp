// SPDX-License-Identifier: Apache-2.0
#include <kubernel/testing/fake_runtime.h>

#include <fcntl.h>
#include <unistd.h>

#include <algorithm>
#include <utility>

namespace kubernel::testing {

using runtime::ContainerConfig;
using runtime::ContainerStatus;
using runtime::Credentials;
using runtime::ExecOptions;
using runtime::ExecResult;
using runtime::Image;
using runtime::Resources;
using runtime::SandboxConfig;
using runtime::SandboxStatus;
using runtime::Session;
using runtime::Usage;

namespace {

void close_if_open(int& fd) {
  if (fd >= 0) ::close(fd);
  fd = -1;
}

void write_all(int fd, std::string_view text) {
  while (fd >= 0 && !text.empty()) {
    const ssize_t n = ::write(fd, text.data(), text.size());
    if (n <= 0) return;
    text.remove_prefix(static_cast<std::size_t>(n));
  }
}

}  // namespace

FakeSession::FakeSession(bool with_stdin, bool tty) : process_(std::make_shared<Process>()) {
  if (with_stdin && ::pipe2(stdin_, O_CLOEXEC | O_NONBLOCK) == 0) process_->in = std::exchange(stdin_[0], -1);
  if (::pipe2(stdout_, O_CLOEXEC | O_NONBLOCK) == 0) process_->out = std::exchange(stdout_[1], -1);
  if (!tty && ::pipe2(stderr_, O_CLOEXEC | O_NONBLOCK) == 0) process_->err = std::exchange(stderr_[1], -1);
}

FakeSession::~FakeSession() {
  close_if_open(stdin_[1]);
  close_if_open(stdout_[0]);
  close_if_open(stderr_[0]);
}

void FakeSession::close_stdin() {
  close_if_open(stdin_[1]);
}

Result<void> FakeSession::resize(int columns, int rows) {
  const std::lock_guard lock(process_->mutex);
  process_->sizes.emplace_back(columns, rows);
  return {};
}

void FakeSession::on_exit(std::function<void(int exit_code)> exited) {
  std::optional<int> code;
  {
    const std::lock_guard lock(process_->mutex);
    code = process_->exit_code;
    if (!code) process_->exited = exited;
  }
  if (code) exited(*code);
}

void FakeSession::Process::write_out(std::string_view text) {
  write_all(out, text);
}
void FakeSession::Process::write_err(std::string_view text) {
  write_all(err, text);
}

std::string FakeSession::Process::read_in() {
  std::string text;
  char buffer[4096];
  for (ssize_t n = 0; (n = ::read(in, buffer, sizeof buffer)) > 0;) text.append(buffer, static_cast<std::size_t>(n));
  return text;
}

void FakeSession::Process::exit(int code) {
  std::function<void(int)> tell;
  {
    const std::lock_guard lock(mutex);
    close_if_open(in);
    close_if_open(out);
    close_if_open(err);
    exit_code = code;
    tell = std::exchange(exited, nullptr);
  }
  if (tell) tell(code);
}

FakeSession::Process::~Process() {
  close_if_open(in);
  close_if_open(out);
  close_if_open(err);
}

struct FakeRuntime::State {
  struct Container {
    ContainerConfig config;
    ContainerStatus status;
  };

  explicit State(Clock& c) : clock(c) {}

  Clock& clock;
  mutable std::mutex mutex;
  std::uint64_t next_id = 1, next_listener = 1;
  std::vector<std::string> calls;
  std::vector<SandboxConfig> sandbox_configs;
  std::map<std::string, SandboxStatus, std::less<>> sandboxes;
  std::map<std::string, Container, std::less<>> containers;
  std::map<std::string, Image, std::less<>> images;  // By the reference they were added under.
  std::vector<std::string> remote_images, stop_ignored;
  std::multimap<std::string, Error, std::less<>> failures;
  std::map<std::uint64_t, std::function<void(std::string)>> listeners;
  std::vector<std::optional<Credentials>> pull_credentials;
  std::function<Result<ExecResult>(const std::string&, const std::vector<std::string>&)> exec;
  std::function<void(std::shared_ptr<FakeSession::Process>, const std::vector<std::string>&)> session;

  // Ids have the length of real ones, so that code which shortens them is exercised.
  std::string make_id(std::string_view kind) {
    std::string id = std::string(kind) + "-" + std::to_string(next_id++);
    id.resize(64, '0');
    return id;
  }

  std::optional<Error> take_failure(std::string_view operation) {
    const auto at = failures.find(operation);
    if (at == failures.end()) return std::nullopt;
    Error error = at->second;
    failures.erase(at);
    return error;
  }

  bool exit(Container& container, int code, std::string_view reason) {
    if (container.status.state != runtime::State::Running) return false;
    container.status.state = runtime::State::Exited;
    container.status.exit_code = code;
    container.status.signal = code > 128 ? code - 128 : 0;
    container.status.finished_at = clock.wall_now();
    container.status.pid = 0;
    container.status.reason = !reason.empty() ? std::string(reason) : code == 0 ? "Completed" : "Error";
    return true;
  }

  Image make_image(std::string_view reference) {
    Image image;
    image.id = "sha256:" + std::string(56, 'a') + std::to_string(10'000'000 + images.size());
    image.tags.emplace_back(reference);
    image.digests.push_back(std::string(reference.substr(0, reference.rfind(':'))) + "@" + image.id);
    image.size_bytes = 1 << 20;
    images[std::string(reference)] = image;
    return image;
  }
};

namespace {

class Listener final : public Subscription {
 public:
  explicit Listener(std::function<void()> end) : end_(std::move(end)) {}
  ~Listener() override { end_(); }

 private:
  std::function<void()> end_;
};

Error no_container(std::string_view id) {
  return Error(Reason::NotFound, "no container " + std::string(id));
}

}  // namespace

FakeRuntime::FakeRuntime(Clock& clock) : state_(std::make_shared<State>(clock)) {}
FakeRuntime::~FakeRuntime() = default;

std::string FakeRuntime::add_image(std::string_view reference, std::optional<std::int64_t> user,
                                   std::string_view username) {
  const std::lock_guard lock(state_->mutex);
  state_->make_image(reference);
  Image& image = state_->images.find(reference)->second;
  image.user = user;
  image.username = username;
  return image.id;
}

void FakeRuntime::add_remote_image(std::string_view reference) {
  const std::lock_guard lock(state_->mutex);
  state_->remote_images.emplace_back(reference);
}

void FakeRuntime::exit_container(std::string_view name, int exit_code, std::string_view reason) {
  std::vector<std::string> exited;
  std::vector<std::function<void(std::string)>> tell;
  {
    const std::lock_guard lock(state_->mutex);
    for (auto& [id, container] : state_->containers) {
      if (container.config.name == name && state_->exit(container, exit_code, reason)) exited.push_back(id);
    }
    for (const auto& [key, listener] : state_->listeners) tell.push_back(listener);
  }
  for (const auto& id : exited) {
    for (const auto& listener : tell) listener(id);
  }
}

void FakeRuntime::kill_sandbox(std::string_view id) {
  std::vector<std::string> exited{std::string(id)};
  std::vector<std::function<void(std::string)>> tell;
  {
    const std::lock_guard lock(state_->mutex);
    if (const auto at = state_->sandboxes.find(id); at != state_->sandboxes.end()) at->second.ready = false;
    for (auto& [key, container] : state_->containers) {
      if (container.status.sandbox_id == id && state_->exit(container, 137, "Error")) exited.push_back(key);
    }
    for (const auto& [key, listener] : state_->listeners) tell.push_back(listener);
  }
  for (const auto& one : exited) {
    for (const auto& listener : tell) listener(one);
  }
}

void FakeRuntime::ignore_stop(std::string_view name) {
  const std::lock_guard lock(state_->mutex);
  state_->stop_ignored.emplace_back(name);
}

void FakeRuntime::fail_next(std::string_view operation, Error error) {
  const std::lock_guard lock(state_->mutex);
  state_->failures.emplace(std::string(operation), std::move(error));
}

void FakeRuntime::set_exec(
    std::function<Result<ExecResult>(const std::string&, const std::vector<std::string>&)> exec) {
  const std::lock_guard lock(state_->mutex);
  state_->exec = std::move(exec);
}

void FakeRuntime::set_session(
    std::function<void(std::shared_ptr<FakeSession::Process>, const std::vector<std::string>&)> made) {
  const std::lock_guard lock(state_->mutex);
  state_->session = std::move(made);
}

std::vector<std::string> FakeRuntime::calls() const {
  const std::lock_guard lock(state_->mutex);
  return state_->calls;
}

std::size_t FakeRuntime::count(std::string_view call) const {
  const std::lock_guard lock(state_->mutex);
  return static_cast<std::size_t>(std::count(state_->calls.begin(), state_->calls.end(), call));
}

std::vector<SandboxConfig> FakeRuntime::sandbox_configs() const {
  const std::lock_guard lock(state_->mutex);
  return state_->sandbox_configs;
}

std::optional<ContainerConfig> FakeRuntime::config_of(std::string_view name) const {
  const std::lock_guard lock(state_->mutex);
  const State::Container* newest = nullptr;
  for (const auto& [id, container] : state_->containers) {
    if (container.config.name != name) continue;
    if (newest == nullptr || newest->config.attempt <= container.config.attempt) newest = &container;
  }
  if (newest == nullptr) return std::nullopt;
  return newest->config;
}

std::vector<std::optional<Credentials>> FakeRuntime::pull_credentials() const {
  const std::lock_guard lock(state_->mutex);
  return state_->pull_credentials;
}

Result<std::string> FakeRuntime::run_sandbox(const CallContext&, const SandboxConfig& config) {
  const std::lock_guard lock(state_->mutex);
  state_->calls.push_back("run_sandbox " + config.pod_namespace + "/" + config.pod_name);
  if (auto error = state_->take_failure("run_sandbox")) return *std::move(error);
  SandboxStatus sandbox;
  sandbox.id = state_->make_id("sandbox");
  sandbox.pod_name = config.pod_name;
  sandbox.pod_namespace = config.pod_namespace;
  sandbox.pod_uid = config.pod_uid;
  sandbox.attempt = config.attempt;
  sandbox.ready = true;
  sandbox.created_at = state_->clock.wall_now();
  sandbox.network_namespace_path = config.network_namespace_path;
  sandbox.labels = config.labels;
  sandbox.annotations = config.annotations;
  state_->sandbox_configs.push_back(config);
  state_->sandboxes[sandbox.id] = sandbox;
  return sandbox.id;
}

Result<void> FakeRuntime::stop_sandbox(const CallContext&, std::string_view id) {
  {
    const std::lock_guard lock(state_->mutex);
    const auto at = state_->sandboxes.find(id);
    if (at == state_->sandboxes.end()) return {};
    state_->calls.push_back("stop_sandbox " + at->second.pod_namespace + "/" + at->second.pod_name);
    if (auto error = state_->take_failure("stop_sandbox")) return *std::move(error);
    if (!at->second.ready) return {};
  }
  kill_sandbox(id);
  return {};
}

Result<void> FakeRuntime::remove_sandbox(const CallContext&, std::string_view id) {
  const std::lock_guard lock(state_->mutex);
  const auto at = state_->sandboxes.find(id);
  if (at == state_->sandboxes.end()) return {};
  state_->calls.push_back("remove_sandbox " + at->second.pod_namespace + "/" + at->second.pod_name);
  if (auto error = state_->take_failure("remove_sandbox")) return *std::move(error);
  std::erase_if(state_->containers, [id](const auto& entry) { return entry.second.status.sandbox_id == id; });
  state_->sandboxes.erase(at);
  return {};
}

Result<std::vector<SandboxStatus>> FakeRuntime::list_sandboxes(const CallContext&) {
  const std::lock_guard lock(state_->mutex);
  std::vector<SandboxStatus> out;
  for (const auto& [id, sandbox] : state_->sandboxes) out.push_back(sandbox);
  return out;
}

Result<std::string> FakeRuntime::create_container(const CallContext&, std::string_view sandbox_id,
                                                  const ContainerConfig& config) {
  const std::lock_guard lock(state_->mutex);
  state_->calls.push_back("create_container " + config.name);
  if (auto error = state_->take_failure("create_container")) return *std::move(error);
  const auto sandbox = state_->sandboxes.find(sandbox_id);
  if (sandbox == state_->sandboxes.end()) return Error(Reason::NotFound, "no sandbox " + std::string(sandbox_id));
  State::Container container;
  container.config = config;
  ContainerStatus& status = container.status;
  status.id = state_->make_id("container");
  status.sandbox_id = sandbox_id;
  status.name = config.name;
  status.attempt = config.attempt;
  status.state = runtime::State::Created;
  status.created_at = state_->clock.wall_now();
  status.image_id = config.image_id;
  for (const auto& [reference, image] : state_->images) {
    if (image.id == config.image_id) status.image_ref = image.digests.front();
  }
  const auto log_directory = std::find_if(state_->sandbox_configs.rbegin(), state_->sandbox_configs.rend(),
                                          [&](const SandboxConfig& c) { return c.pod_uid == sandbox->second.pod_uid; });
  if (log_directory != state_->sandbox_configs.rend()) {
    status.log_path = log_directory->log_directory + "/" + config.log_path;
  }
  status.labels = config.labels;
  status.annotations = config.annotations;
  const std::string id = status.id;
  state_->containers[id] = std::move(container);
  return id;
}

Result<void> FakeRuntime::start_container(const CallContext&, std::string_view id) {
  const std::lock_guard lock(state_->mutex);
  const auto at = state_->containers.find(id);
  if (at == state_->containers.end()) return no_container(id);
  state_->calls.push_back("start_container " + at->second.config.name);
  ContainerStatus& status = at->second.status;
  if (auto error = state_->take_failure("start_container")) {
    status.state = runtime::State::Exited;
    status.exit_code = 128;
    status.reason = "StartError";
    status.message = error->message();
    status.finished_at = state_->clock.wall_now();
    return *std::move(error);
  }
  status.state = runtime::State::Running;
  status.started_at = state_->clock.wall_now();
  status.pid = 1000 + static_cast<std::int64_t>(state_->next_id++);
  return {};
}

Result<void> FakeRuntime::stop_container(const CallContext&, std::string_view id, std::chrono::seconds grace) {
  std::string name;
  {
    const std::lock_guard lock(state_->mutex);
    const auto at = state_->containers.find(id);
    if (at == state_->containers.end()) return {};
    name = at->second.config.name;
    state_->calls.push_back("stop_container " + name + " " + std::to_string(grace.count()));
    if (auto error = state_->take_failure("stop_container")) return *std::move(error);
  }
  exit_container(name, 137);
  return {};
}

Result<void> FakeRuntime::request_stop(const CallContext&, std::string_view id) {
  std::string name;
  {
    const std::lock_guard lock(state_->mutex);
    const auto at = state_->containers.find(id);
    if (at == state_->containers.end()) return no_container(id);
    name = at->second.config.name;
    state_->calls.push_back("request_stop " + name);
    if (auto error = state_->take_failure("request_stop")) return *std::move(error);
    const auto& ignored = state_->stop_ignored;
    if (std::find(ignored.begin(), ignored.end(), name) != ignored.end()) return {};
  }
  exit_container(name, 143);
  return {};
}

Result<void> FakeRuntime::remove_container(const CallContext&, std::string_view id) {
  const std::lock_guard lock(state_->mutex);
  const auto at = state_->containers.find(id);
  if (at == state_->containers.end()) return {};
  state_->calls.push_back("remove_container " + at->second.config.name);
  if (at->second.status.state == runtime::State::Running) {
    return Error(Reason::Invalid, "container " + std::string(id) + " is running");
  }
  state_->containers.erase(at);
  return {};
}

Result<std::vector<ContainerStatus>> FakeRuntime::list_containers(const CallContext&) {
  const std::lock_guard lock(state_->mutex);
  std::vector<ContainerStatus> out;
  for (const auto& [id, container] : state_->containers) out.push_back(container.status);
  return out;
}

std::unique_ptr<Subscription> FakeRuntime::on_exit(std::function<void(std::string id)> changed) {
  const std::lock_guard lock(state_->mutex);
  const std::uint64_t key = state_->next_listener++;
  state_->listeners.emplace(key, std::move(changed));
  return std::make_unique<Listener>([state = state_, key] {
    const std::lock_guard end_lock(state->mutex);
    state->listeners.erase(key);
  });
}

Result<ContainerStatus> FakeRuntime::status(const CallContext&, std::string_view id) {
  const std::lock_guard lock(state_->mutex);
  const auto at = state_->containers.find(id);
  if (at == state_->containers.end()) return no_container(id);
  return at->second.status;
}

Result<std::unique_ptr<Session>> FakeRuntime::exec(const CallContext&, std::string_view id,
                                                   const ExecOptions& options) {
  auto session = std::make_unique<FakeSession>(options.stdin_open, options.tty);
  decltype(state_->session) made;
  {
    const std::lock_guard lock(state_->mutex);
    const auto at = state_->containers.find(id);
    if (at == state_->containers.end()) return no_container(id);
    state_->calls.push_back("exec " + at->second.config.name);
    if (auto error = state_->take_failure("exec")) return *std::move(error);
    made = state_->session;
  }
  if (made) made(session->process(), options.command);
  return std::unique_ptr<Session>(std::move(session));
}

Result<ExecResult> FakeRuntime::exec_sync(const CallContext&, std::string_view id,
                                          const std::vector<std::string>& command) {
  decltype(state_->exec) run;
  std::string name;
  {
    const std::lock_guard lock(state_->mutex);
    const auto at = state_->containers.find(id);
    if (at == state_->containers.end()) return no_container(id);
    name = at->second.config.name;
    std::string call = "exec_sync " + name;
    for (const auto& word : command) call += " " + word;
    state_->calls.push_back(std::move(call));
    if (auto error = state_->take_failure("exec_sync")) return *std::move(error);
    run = state_->exec;
  }
  if (!run) return ExecResult{};
  return run(name, command);
}

Result<std::unique_ptr<Session>> FakeRuntime::attach(const CallContext&, std::string_view id) {
  bool with_stdin = false, tty = false;
  decltype(state_->session) made;
  {
    const std::lock_guard lock(state_->mutex);
    const auto at = state_->containers.find(id);
    if (at == state_->containers.end()) return no_container(id);
    state_->calls.push_back("attach " + at->second.config.name);
    with_stdin = at->second.config.stdin_open;
    tty = at->second.config.tty;
    made = state_->session;
  }
  auto session = std::make_unique<FakeSession>(with_stdin, tty);
  if (made) made(session->process(), {});
  return std::unique_ptr<Session>(std::move(session));
}

Result<void> FakeRuntime::update_resources(const CallContext&, std::string_view id, const Resources& resources) {
  const std::lock_guard lock(state_->mutex);
  const auto at = state_->containers.find(id);
  if (at == state_->containers.end()) return no_container(id);
  at->second.config.resources = resources;
  return {};
}

Result<void> FakeRuntime::reopen_log(const CallContext&, std::string_view id) {
  const std::lock_guard lock(state_->mutex);
  if (state_->containers.find(id) == state_->containers.end()) return no_container(id);
  state_->calls.push_back("reopen_log " + state_->containers.find(id)->second.config.name);
  return {};
}

Result<Usage> FakeRuntime::usage(const CallContext&, std::string_view id) {
  const std::lock_guard lock(state_->mutex);
  if (state_->containers.find(id) == state_->containers.end()) return no_container(id);
  return Usage{1'000'000, 4096, 4096};
}

Result<std::optional<Image>> FakeRuntime::find(const CallContext&, std::string_view reference) {
  const std::lock_guard lock(state_->mutex);
  for (const auto& [name, image] : state_->images) {
    if (name == reference || image.id == reference || image.digests.front() == reference) return std::optional(image);
  }
  return std::optional<Image>();
}

Result<std::vector<Image>> FakeRuntime::list(const CallContext&) {
  const std::lock_guard lock(state_->mutex);
  std::vector<Image> out;
  for (const auto& [name, image] : state_->images) out.push_back(image);
  return out;
}

Result<Image> FakeRuntime::pull(const CallContext&, std::string_view reference,
                                const std::optional<Credentials>& credentials) {
  const std::lock_guard lock(state_->mutex);
  state_->calls.push_back("pull " + std::string(reference));
  state_->pull_credentials.push_back(credentials);
  if (auto error = state_->take_failure("pull")) return *std::move(error);
  const auto& remote = state_->remote_images;
  if (std::find(remote.begin(), remote.end(), reference) == remote.end()) {
    return Error(Reason::NotFound, std::string(reference) + ": not found");
  }
  return state_->make_image(reference);
}

Result<std::vector<Image>> FakeRuntime::load(const CallContext&, const std::string& path) {
  return Error(Reason::Invalid, path + ": the fake image store loads no archives");
}

Result<void> FakeRuntime::remove(const CallContext&, std::string_view reference) {
  const std::lock_guard lock(state_->mutex);
  if (const auto at = state_->images.find(reference); at != state_->images.end()) state_->images.erase(at);
  return {};
}

}  // namespace kubernel::testing
