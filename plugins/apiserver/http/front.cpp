// SPDX-License-Identifier: Apache-2.0
#include "http/front.h"

#include <algorithm>
#include <utility>

#include "discovery/discovery.h"
#include "http/impersonation.h"
#include "registry/errors.h"

namespace kubernel::apiserver {

namespace {

Error no_such_path() {
  return Error(Reason::NotFound, "the server could not find the requested resource", ErrorDetails());
}

std::string lower(std::string text) {
  for (char& c : text) c = c >= 'A' && c <= 'Z' ? static_cast<char>(c + 32) : c;
  return text;
}

bool reads(const std::string& method) {
  return method == "GET" || method == "HEAD";
}

// What a connection to a subresource asks for: that of its method.
const char* connect_verb(const std::string& method) {
  if (reads(method)) return "get";
  return method == "PUT" ? "update" : method == "PATCH" ? "patch" : method == "DELETE" ? "delete" : "create";
}

// Upstream's verbs in metrics.
const char* verb_of(const std::string& method, const ResourcePath& path) {
  if (reads(method)) return path.name.empty() ? "LIST" : "GET";
  if (method == "DELETE") return path.name.empty() ? "DELETECOLLECTION" : "DELETE";
  return method == "POST" ? "POST" : method == "PUT" ? "PUT" : method == "PATCH" ? "PATCH" : "OTHER";
}

}  // namespace

Front::Front(FrontOptions options)
    : options_(std::move(options)), streams_(options_.api.context().clock, options_.api.context().blocking) {}

Front::~Front() = default;

void Front::connect(std::string plural, std::string subresource, Connect connect) {
  options_.api.add_connect(plural, subresource);
  connects_[{std::move(plural), std::move(subresource)}] = std::move(connect);
}

void Front::serve_path(std::string path, PathHandler handler) {
  paths_[std::move(path)] = std::move(handler);
}

Result<auth::User> Front::authenticate(const net::Exchange& exchange) const {
  for (const auto& authenticator : options_.authenticators) {
    auto user = authenticator->authenticate(exchange.context(), exchange.request());
    if (!user) return Error(Reason::Unauthorized, "Unauthorized");
    if (*user) return **std::move(user);
  }
  // Credentials nobody knows are wrong, not absent.
  const bool has_credentials = !exchange.request().headers.get("authorization").empty();
  if (!options_.anonymous || has_credentials) return Error(Reason::Unauthorized, "Unauthorized");
  return auth::User{"system:anonymous", "", {"system:unauthenticated"}, {}};
}

void Front::serve(net::Exchange& exchange) {
  const auto user = authenticate(exchange);
  if (!user) {
    exchange.respond(status_response(user.error()));
    return;
  }
  const auto acting = impersonate(options_.api, exchange.context(), exchange.request(), *user);
  if (!acting) {
    exchange.respond(status_response(acting.error()));
    return;
  }
  serve_as(exchange, *acting);
}

void Front::serve_as(net::Exchange& exchange, const auth::User& user) {
  if (const auto path = parse_resource_path(exchange.request().path)) {
    serve_resource(exchange, user, *path);
    return;
  }
  exchange.respond(serve_other(exchange, user));
}

net::Response Front::health(const net::Request& request) const {
  const bool verbose = request.param("verbose").has_value();
  std::string text;
  bool ready = true;
  // Alive is whoever answers; ready is who has everything it needs.
  if (request.path == "/readyz" && options_.readiness) {
    for (const plugin::Process::Check& check : options_.readiness()) {
      const bool good = check.problem.empty();
      ready = ready && (good || !check.required);
      text += (good ? "[+]" : "[-]") + check.name + (good ? " ok\n" : " failed: " + check.problem + "\n");
    }
  } else {
    text = "[+]ping ok\n";
  }
  const std::string what = request.path.substr(1);
  if (!ready) return text_response(500, text + what + " check failed\n");
  return text_response(200, verbose ? text + what + " check passed\n" : "ok");
}

net::Response Front::serve_other(net::Exchange& exchange, const auth::User& user) {
  const net::Request& request = exchange.request();
  const Caller caller{exchange.context(), user};
  if (auto allowed = options_.api.authorize_path(caller, lower(request.method), request.path); !allowed) {
    return status_response(allowed.error());
  }
  if (const auto handler = paths_.find(request.path); handler != paths_.end()) return handler->second(request);
  if (options_.extra_paths) {
    if (auto answer = options_.extra_paths->answer(exchange.context(), request)) return *std::move(answer);
  }
  if (!reads(request.method)) return status_response(no_such_path());
  if (request.path == "/healthz" || request.path == "/livez" || request.path == "/readyz") return health(request);
  if (request.path == "/metrics") {
    net::Response out = text_response(200, options_.metrics.render());
    out.headers.set("content-type", "text/plain; version=0.0.4; charset=utf-8");
    return out;
  }
  if (auto found = serve_discovery(options_.api, request)) return *std::move(found);
  if (request.path.starts_with("/api")) return status_response(no_such_path());
  return text_response(404, "404 page not found\n");
}

void Front::count(const char* verb, const Target& target, int code, Clock::TimePoint started) const {
  const MetricLabels labels = {
      {"verb", verb},
      {"group", std::string(target.info->group)},
      {"version", std::string(target.info->version)},
      {"resource", std::string(target.info->plural)},
      {"subresource", options_.api.offers(*target.info, target.subresource) ? target.subresource : ""}};
  constexpr double kBuckets[] = {0.005, 0.025, 0.05, 0.1, 0.2, 0.4, 0.6, 0.8, 1.0, 1.25, 1.5, 2,
                                 3,     4,     5,    6,   8,   10,  15,  20,  30,  45,   60};
  const std::chrono::duration<double> took = options_.api.context().clock.now() - started;
  options_.metrics
      .histogram("apiserver_request_duration_seconds", "Response latency distribution in seconds.", kBuckets, labels)
      .observe(took.count());
  MetricLabels with_code = labels;
  with_code.emplace_back("code", std::to_string(code));
  options_.metrics.counter("apiserver_request_total", "Requests by verb, resource and response code.", with_code)
      .add(1);
}

void Front::serve_resource(net::Exchange& exchange, const auth::User& user, const ResourcePath& path) {
  const net::Request& request = exchange.request();
  const schema::ResourceInfo* info = options_.api.find(path.group, path.version, path.plural);
  if (info == nullptr || (!path.ns.empty() && !info->namespaced)) {
    exchange.respond(status_response(no_such_path()));
    return;
  }
  std::vector<std::string> warnings;
  Caller caller{exchange.context(), user, schema::Strictness::Warn, &warnings};
  Target target{info, path.subresource, {path.ns, path.name}};
  const std::string top = path.subresource.substr(0, path.subresource.find('/'));
  if (const auto place = connects_.find({path.plural, top}); place != connects_.end() && info->group.empty()) {
    target.subresource = top;
    if (auto allowed = options_.api.authorize(caller, connect_verb(request.method), target, {}); !allowed) {
      exchange.respond(status_response(allowed.error()));
      return;
    }
    place->second(exchange, caller, target);
    return;
  }
  const bool watching = path.watch || flag_param(request, "watch");
  if (request.method == "GET" && watching && path.subresource.empty()) {
    if (auto watched = watch(exchange, caller, target); !watched) exchange.respond(status_response(watched.error()));
    return;
  }
  const Clock::TimePoint started = options_.api.context().clock.now();
  Result<net::Response> response =
      Error(Reason::MethodNotAllowed, "the server does not allow this method on the requested resource");
  if (reads(request.method)) {
    response = path.name.empty() ? list(exchange, caller, target) : get(exchange, caller, target);
  } else if (request.method == "POST") {
    response = create(exchange, caller, target);
  } else if (request.method == "PUT" && !path.name.empty()) {
    response = update(exchange, caller, target);
  } else if (request.method == "PATCH" && !path.name.empty()) {
    response = patch(exchange, caller, target);
  } else if (request.method == "DELETE") {
    response = remove(exchange, caller, target);
  }
  net::Response out = response ? *std::move(response) : status_response(response.error());
  count(verb_of(request.method, path), target, out.status, started);
  for (const std::string& warning : warnings) out.headers.add("warning", "299 - " + quote(warning));
  exchange.respond(std::move(out));
}

}  // namespace kubernel::apiserver
