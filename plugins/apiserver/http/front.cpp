// SPDX-License-Identifier: Apache-2.0
#include "http/front.h"

#include <algorithm>
#include <utility>

#include "discovery/discovery.h"
#include "registry/errors.h"

namespace kubernel::apiserver {

namespace {

Error no_such_path() { return Error(Reason::NotFound, "the server could not find the requested resource", ErrorDetails()); }

std::string lower(std::string text) {
  for (char& c : text) c = c >= 'A' && c <= 'Z' ? static_cast<char>(c + 32) : c;
  return text;
}

bool reads(const std::string& method) { return method == "GET" || method == "HEAD"; }

}  // namespace

Front::Front(FrontOptions options)
    : options_(std::move(options)), streams_(options_.api.context().clock, options_.api.context().blocking) {}

Front::~Front() = default;

void Front::connect(std::string plural, std::string subresource, Connect connect) {
  options_.api.add_connect(plural, subresource);
  connects_[{std::move(plural), std::move(subresource)}] = std::move(connect);
}

void Front::serve_path(std::string path, PathHandler handler) { paths_[std::move(path)] = std::move(handler); }

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
  serve_as(exchange, *user);
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
      ready = ready && good;
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
    if (auto allowed = options_.api.authorize(caller, reads(request.method) ? "get" : "create", target, {}); !allowed) {
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
  Result<net::Response> response = Error(Reason::MethodNotAllowed, "the server does not allow this method on the requested resource");
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
  for (const std::string& warning : warnings) out.headers.add("warning", "299 - " + quote(warning));
  exchange.respond(std::move(out));
}

}  // namespace kubernel::apiserver
