// SPDX-License-Identifier: Apache-2.0
#include "server/kubelet_server.h"

#include <nlohmann/json.hpp>

#include "server/container_log.h"
#include "server/log_stream.h"
#include "server/port_forward.h"
#include "server/spdy_transport.h"

namespace kubernel::kubelet {

namespace {

using nlohmann::json;

constexpr std::chrono::seconds kDialTimeout{10};

std::vector<std::string> split_path(const std::string& path) {
  std::vector<std::string> out;
  for (std::size_t from = 1; from <= path.size();) {
    const auto slash = std::min(path.find('/', from), path.size());
    if (slash > from) out.push_back(path.substr(from, slash - from));
    from = slash + 1;
  }
  return out;
}

void respond(net::Exchange& exchange, int status, std::string body,
             std::string_view type = "text/plain; charset=utf-8") {
  net::Response response;
  response.status = status;
  response.headers.set("content-type", type);
  if (type.starts_with("text/plain")) response.headers.set("x-content-type-options", "nosniff");
  response.body = std::move(body);
  exchange.respond(std::move(response));
}

void respond_error(net::Exchange& exchange, const Error& error) {
  respond(exchange, error.http_status(), error.message());
}

bool flag(const net::Request& request, const char* name) {
  const auto value = request.param(name);
  return value && (*value == "1" || *value == "true");
}

// What a request asks to become, in lower case: "websocket", "spdy/3.1", "".
std::string wanted_upgrade(const net::Request& request) {
  std::string upgrade(request.headers.get("upgrade"));
  for (char& c : upgrade) c = static_cast<char>(std::tolower(static_cast<unsigned char>(c)));
  return upgrade;
}

api::Value status_of(const api::Object& pod, const std::string& container) {
  for (const char* list : {"containerStatuses", "initContainerStatuses", "ephemeralContainerStatuses"}) {
    for (const api::Value status : pod["status"][list]) {
      if (status["name"].string() == container) return status;
    }
  }
  return {};
}

// "abc" of "oci://abc".
std::string_view bare_id(std::string_view id) {
  const auto at = id.find("://");
  return at == std::string_view::npos ? id : id.substr(at + 3);
}

}  // namespace

void KubeletServer::handle(net::Exchange& exchange) {
  if (auto allowed = check(exchange); !allowed) return respond_error(exchange, allowed.error());
  serve(exchange, split_path(exchange.request().path));
}

Result<void> KubeletServer::check(net::Exchange& exchange) {
  KUBERNEL_TRY(const auth::User user, parts_.auth.authenticate(exchange.context(), exchange.request()));
  return parts_.auth.authorize(exchange.context(), user, exchange.request());
}

void KubeletServer::serve(net::Exchange& exchange, const std::vector<std::string>& path) {
  const std::string first = path.empty() ? "" : path.front();
  const bool reads = exchange.request().method == "GET", posts = exchange.request().method == "POST";
  if (!reads && !posts) return respond(exchange, 405, "405: Method Not Allowed");
  if (first == "containerLogs" && path.size() == 4 && reads) return serve_logs(exchange, path);
  if ((first == "exec" || first == "attach") && (path.size() == 4 || path.size() == 5))
    return serve_command(exchange, path, first == "attach");
  if (first == "portForward" && (path.size() == 3 || path.size() == 4)) return serve_port_forward(exchange, path);
  if (first == "run" && (path.size() == 4 || path.size() == 5) && posts) return serve_run(exchange, path);
  if (first == "healthz" && reads) return respond(exchange, 200, "ok");
  if (first == "pods" && path.size() == 1 && reads) return serve_pods(exchange);
  if (first == "images" && path.size() == 1) return serve_images(exchange);
  if (first == "metrics" && path.size() == 1 && reads) {
    return respond(exchange, 200, parts_.metrics.render(), "text/plain; version=0.0.4; charset=utf-8");
  }
  if (first == "metrics" && path.size() == 2 && path[1] == "resource" && reads) {
    return respond(exchange, 200, resource_metrics(parts_), "text/plain; version=0.0.4; charset=utf-8");
  }
  if (first == "stats" && path.size() == 2 && path[1] == "summary") {
    return respond(exchange, 200, stats_summary(parts_), "application/json");
  }
  respond(exchange, 404, "404: Page Not Found");
}

// path: kind, namespace, pod[, uid], container.
Result<runtime::ContainerStatus> KubeletServer::running_container(const std::vector<std::string>& path) {
  const auto pod = parts_.workers.find({path[1], path[2]});
  if (!pod || (path.size() == 5 && pod->uid() != path[3])) return Error(Reason::NotFound, "pod does not exist");
  const PodRuntime runtime = parts_.cache.pod(pod->uid());
  const auto* container = runtime.newest(path.back());
  if (container == nullptr || container->state != runtime::State::Running) {
    return Error(Reason::NotFound, "container not found (\"" + path.back() + "\")");
  }
  return *container;
}

Result<runtime::ContainerStatus> KubeletServer::logged_container(const std::vector<std::string>& path, bool previous) {
  const std::string& name = path[3];
  const auto pod = parts_.workers.find({path[1], path[2]});
  if (!pod) return Error(Reason::NotFound, "pod \"" + path[2] + "\" does not exist\n");
  if (!find_container(*pod, name))
    return Error(Reason::NotFound, "container \"" + name + "\" not found in pod \"" + path[2] + "\"\n");
  const api::Value status = status_of(*pod, name);
  const std::string where = "container \"" + name + "\" in pod \"" + path[2] + "\"";
  const std::string_view last = bare_id(status["lastState"]["terminated"]["containerID"].string());
  std::string id(bare_id(status["containerID"].string()));
  if (previous) {
    if (last.empty()) return Error(Reason::BadRequest, "previous terminated " + where + " not found");
    id = last;
  } else if (const auto waiting = status["state"]["waiting"]; waiting && !last.empty()) {
    id = last;
  } else if (waiting) {
    const std::string_view reason = waiting["reason"].string();
    std::string text(reason);
    if (reason == "ErrImagePull") text = "image can't be pulled";
    if (reason == "ImagePullBackOff") text = "trying and failing to pull image";
    return Error(Reason::BadRequest, where + " is waiting to start: " + text);
  }
  const PodRuntime runtime = parts_.cache.pod(pod->uid());
  const auto* container = runtime.by_id(id);
  if (container == nullptr) return Error(Reason::BadRequest, where + " is not available");
  return *container;
}

void KubeletServer::serve_logs(net::Exchange& exchange, const std::vector<std::string>& path) {
  const auto options = parse_log_options(exchange.request(), parts_.tasks.clock().wall_now());
  if (!options) return respond_error(exchange, options.error());
  const auto container = logged_container(path, options->previous);
  if (!container) return respond_error(exchange, container.error());
  auto log = ContainerLog::open(container->log_path, *options);
  if (!log)
    return respond(exchange, 500, "failed to open log file \"" + container->log_path + "\": " + log.error().message());
  net::Headers headers;
  headers.set("content-type", "text/plain; charset=utf-8");
  headers.set("x-content-type-options", "nosniff");
  auto stream = exchange.start_stream(200, std::move(headers));
  const bool follow = options->follow && parts_.watcher != nullptr && container->state == runtime::State::Running;
  std::make_shared<LogStream>(LogStream::Source{*std::move(log), container->log_path, container->id, follow},
                              std::move(stream), parts_.runtime.access(), parts_.watcher, parts_.tasks, parts_.log)
      ->start();
}

void KubeletServer::serve_command(net::Exchange& exchange, const std::vector<std::string>& path, bool attach) {
  const net::Request& request = exchange.request();
  RemoteCommand::Streams streams{flag(request, "input"), flag(request, "output"), flag(request, "error")};
  const bool tty = flag(request, "tty");
  if (!streams.in && !streams.out && !streams.err)
    return respond(exchange, 400, "you must specify at least 1 of stdin, stdout, stderr");
  if (tty && streams.err) return respond(exchange, 400, "tty and stderr cannot both be true");
  runtime::ExecOptions options;
  for (const auto word : request.params("command")) options.command.emplace_back(word);
  if (!attach && options.command.empty()) return respond(exchange, 400, "you must specify a command");
  options.stdin_open = streams.in;
  options.tty = tty;
  const auto container = running_container(path);
  if (!container) return respond_error(exchange, container.error());
  const auto begin = [parts = parts_, id = container->id, options, streams,
                      attach](std::unique_ptr<CommandTransport> transport) {
    auto& access = parts.runtime.access();
    const CallContext ctx = parts.tasks.context();
    auto session = attach ? access.attach(ctx, id) : access.exec(ctx, id, options);
    if (!session) {
      transport->send(Channel::Error,
                      transport->has_status() ? failure_status_text(session.error()) : session.error().message());
      transport->close();
      return;
    }
    std::make_shared<RemoteCommand>(*std::move(session), std::move(transport), streams, parts.poller, parts.tasks,
                                    parts.log)
        ->start();
  };
  const std::string upgrade = wanted_upgrade(request);
  if (upgrade == "websocket") {
    auto socket = exchange.accept_websocket(command_subprotocols());
    if (!socket) return respond_error(exchange, socket.error());
    return begin(make_websocket_transport(*std::move(socket)));
  }
  if (upgrade != "spdy/3.1") return respond(exchange, 400, "unable to upgrade: missing upgrade headers in request");
  const auto protocol = negotiate(
      request, {"v4.channel.k8s.io", "v3.channel.k8s.io", "v2.channel.k8s.io", "channel.k8s.io"}, "channel.k8s.io");
  if (!protocol)
    return respond(exchange, 403, "unable to upgrade: unable to negotiate protocol: client supports other protocols");
  auto connection = accept_spdy(exchange, *protocol);
  if (!connection) return respond_error(exchange, connection.error());
  collect_command_streams(*std::move(connection), *protocol, streams, tty, parts_.tasks, begin);
}

// path: "portForward", namespace, pod[, uid].
void KubeletServer::serve_port_forward(net::Exchange& exchange, const std::vector<std::string>& path) {
  constexpr const char* kProtocol = "portforward.k8s.io";
  constexpr const char* kTunnel = "SPDY/3.1+portforward.k8s.io";
  const auto pod = parts_.workers.find({path[1], path[2]});
  if (!pod || (path.size() == 4 && pod->uid() != path[3])) return respond(exchange, 404, "pod does not exist");
  const PodRuntime runtime = parts_.cache.pod(pod->uid());
  const auto* sandbox = runtime.ready_sandbox();
  if (sandbox == nullptr)
    return respond(exchange, 400,
                   "unable to forward port because pod is not running. Current status=" +
                       std::string(pod->pointer("/status/phase").string()));
  std::shared_ptr<net::SpdyConnection> connection;
  const std::string upgrade = wanted_upgrade(exchange.request());
  if (upgrade == "websocket") {
    auto socket = exchange.accept_websocket({kTunnel});
    if (!socket) return respond_error(exchange, socket.error());
    connection = net::make_spdy_server(bytes_of(*std::move(socket)));
  } else if (upgrade == "spdy/3.1") {
    if (!negotiate(exchange.request(), {kProtocol}, kProtocol))
      return respond(exchange, 403, "unable to upgrade: unable to negotiate protocol");
    auto accepted = accept_spdy(exchange, kProtocol);
    if (!accepted) return respond_error(exchange, accepted.error());
    connection = *std::move(accepted);
  } else {
    return respond(exchange, 400, "unable to upgrade: missing upgrade headers in request");
  }
  const auto dial = [network = sandbox->network_namespace_path, &tasks = parts_.tasks](int port) {
    return dial_in_namespace(network, port, tasks.clock(), kDialTimeout);
  };
  std::make_shared<PortForward>(std::move(connection), dial, parts_.poller, parts_.tasks, parts_.log)->start();
}

void KubeletServer::serve_run(net::Exchange& exchange, const std::vector<std::string>& path) {
  const auto container = running_container(path);
  if (!container) return respond_error(exchange, container.error());
  std::vector<std::string> command;
  const auto text = exchange.request().param("cmd").value_or("");
  for (std::size_t from = 0; from < text.size();) {
    const auto space = std::min(text.find(' ', from), text.size());
    if (space > from) command.emplace_back(text.substr(from, space - from));
    from = space + 1;
  }
  const auto result = parts_.runtime.access().exec_sync(exchange.context(), container->id, command);
  if (!result) return respond_error(exchange, result.error());
  respond(exchange, result->exit_code == 0 ? 200 : 500, result->output);
}

void KubeletServer::serve_pods(net::Exchange& exchange) {
  std::string body = R"({"kind":"PodList","apiVersion":"v1","metadata":{},"items":[)";
  bool first = true;
  for (const auto& pod : parts_.workers.all()) {
    if (!first) body += ',';
    first = false;
    body += pod.json();
  }
  respond(exchange, 200, body + "]}", "application/json");
}

}  // namespace kubernel::kubelet
