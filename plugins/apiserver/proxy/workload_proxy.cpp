// SPDX-License-Identifier: Apache-2.0
#include "proxy/workload_proxy.h"

#include <arpa/inet.h>

#include <utility>
#include <vector>

#include <kubernel/network/host_network.h>

#include "http/encoder.h"
#include "registry/errors.h"

namespace kubernel::apiserver {

namespace {

constexpr std::size_t kMaxProxiedBody = 3 * 1024 * 1024;

// The part of the request's target after ".../proxy".
std::string rest_of(const net::Request& request) {
  const std::string_view raw = request.raw_target;
  const auto query = raw.find('?');
  const std::string_view path = raw.substr(0, query);
  const auto at = path.find("/proxy", path.find("/namespaces/"));
  std::string out(at == std::string_view::npos ? "" : path.substr(at + std::string_view("/proxy").size()));
  if (query != std::string_view::npos) out += raw.substr(query);
  return out;
}

bool of_one_answer(std::string_view name) {
  return name == "connection" || name == "keep-alive" || name == "upgrade" || name == "trailer" ||
         of_one_connection(name);
}

}  // namespace

Result<std::string> proxied_address(const std::string& address) {
  const Error refused = bad_request("address not allowed");
  in_addr v4{};
  if (inet_pton(AF_INET, address.c_str(), &v4) == 1) {
    const std::uint32_t ip = ntohl(v4.s_addr);
    const bool loopback = ip >> 24 == 127;
    const bool link_local = ip >> 16 == (169U << 8 | 254U);
    const bool multicast = ip >> 28 == 14;
    if (ip == 0 || ip == 0xFFFFFFFFU || loopback || link_local || multicast) return refused;
    return address;
  }
  in6_addr v6{};
  if (inet_pton(AF_INET6, address.c_str(), &v6) != 1) return refused;
  const bool bad = IN6_IS_ADDR_UNSPECIFIED(&v6) || IN6_IS_ADDR_LOOPBACK(&v6) || IN6_IS_ADDR_LINKLOCAL(&v6) ||
                   IN6_IS_ADDR_MULTICAST(&v6) || IN6_IS_ADDR_V4MAPPED(&v6);
  if (bad) return refused;
  return address;
}

Result<std::string> sandboxed_address(const std::string& address) {
  KUBERNEL_CHECK_OK(proxied_address(address));
  if (!network::in_host_network()) return address;
  return Error(Reason::ServiceUnavailable,
               "this server is in the machine's own network and does not connect to workloads from there; "
               "`network: host` in its configuration allows it");
}

// "[scheme:]name[:port]".
struct WorkloadProxy::Wanted {
  std::string scheme;
  std::string name;
  std::string port;

  static Result<Wanted> parse(const std::string& text_in, const char* kind) {
    std::vector<std::string> parts;
    std::size_t begin = 0;
    for (std::size_t colon = text_in.find(':'); colon != std::string::npos;
         begin = colon + 1, colon = text_in.find(':', begin)) {
      parts.push_back(text_in.substr(begin, colon - begin));
    }
    parts.push_back(text_in.substr(begin));
    Wanted out;
    if (parts.size() == 1) {
      out.name = parts[0];
    } else if (parts.size() == 2) {
      out.name = parts[0];
      out.port = parts[1];
    } else if (parts.size() == 3) {
      out = {parts[0], parts[1], parts[2]};
    }
    if (out.name.empty() || (!out.scheme.empty() && out.scheme != "http" && out.scheme != "https")) {
      return bad_request("invalid " + std::string(kind) + " request " + quote(text_in));
    }
    if (out.scheme == "https") return bad_request("this server proxies to workloads by http only");
    return out;
  }
};

void WorkloadProxy::attach_to(Front& front) {
  for (const char* plural : {"pods", "services"}) {
    front.connect(plural, "proxy", [this](net::Exchange& exchange, const Caller& caller, const Target& target) {
      serve(exchange, caller, target);
    });
  }
}

Result<std::string> WorkloadProxy::checked(const std::string& claimed, const std::string& port) const {
  KUBERNEL_TRY(const std::string address, rule_(claimed));
  const std::string host = address.find(':') != std::string::npos ? "[" + address + "]" : address;
  return "http://" + host + (port.empty() ? "" : ":" + port);
}

Result<std::string> WorkloadProxy::pod_place(const Caller& caller, const Target& target, const Wanted& wanted) const {
  KUBERNEL_TRY(const api::Object pod, api_.store(*target.info)->get(caller.ctx, {target.key.ns, wanted.name}, ""));
  std::string port = wanted.port;
  for (const api::Value container : pod["spec"]["containers"]) {
    for (const api::Value one : container["ports"]) {
      if (port.empty()) port = std::to_string(one["containerPort"].integer());
    }
  }
  return checked(std::string(pod["status"]["podIP"].string()), port);
}

Result<std::string> WorkloadProxy::service_place(const Caller& caller, const Target& target,
                                                 const Wanted& wanted) const {
  KUBERNEL_TRY(const api::Object service, api_.store(*target.info)->get(caller.ctx, {target.key.ns, wanted.name}, ""));
  std::string port = wanted.port;
  for (const api::Value one : service["spec"]["ports"]) {
    if (port.empty() || std::to_string(one["port"].integer()) == port) {
      port = std::string(one["name"].string());
      break;
    }
  }
  const auto endpoints =
      api_.store(*api_.find("", "v1", "endpoints"))->get(caller.ctx, {target.key.ns, wanted.name}, "");
  if (!endpoints && endpoints.error().reason() != Reason::NotFound) return endpoints.error();
  if (!endpoints || (*endpoints)["subsets"].size() == 0) {
    return Error(Reason::ServiceUnavailable, "no endpoints available for service " + quote(wanted.name));
  }
  std::vector<std::pair<std::string, std::string>> places;
  for (const api::Value subset : (*endpoints)["subsets"]) {
    for (const api::Value one : subset["ports"]) {
      if (one["name"].string() != port) continue;
      for (const api::Value address : subset["addresses"]) {
        places.emplace_back(std::string(address["ip"].string()), std::to_string(one["port"].integer()));
      }
    }
  }
  if (!places.empty()) {
    const auto& [ip, number] = places[api_.context().random.next() % places.size()];
    return checked(ip, number);
  }
  return Error(Reason::ServiceUnavailable,
               "no service port " + quote(wanted.port) + " found for service " + quote(wanted.name));
}

Result<std::string> WorkloadProxy::place_of(const Caller& caller, const Target& target) const {
  const bool pod = target.info->plural == "pods";
  KUBERNEL_TRY(const Wanted wanted, Wanted::parse(target.key.name, pod ? "pod" : "service"));
  return pod ? pod_place(caller, target, wanted) : service_place(caller, target, wanted);
}

void WorkloadProxy::serve(net::Exchange& exchange, const Caller& caller, const Target& target) {
  const net::Request& request = exchange.request();
  std::string rest = rest_of(request);
  if (rest.empty() || rest.front() == '?') {
    // Relative links need the slash.
    if (request.method == "GET" || request.method == "HEAD") {
      const auto query = request.raw_target.find('?');
      net::Response out{301, {}, ""};
      out.headers.set("location", request.raw_target.substr(0, query) + "/" + rest);
      exchange.respond(std::move(out));
      return;
    }
    rest.insert(0, "/");
  }
  net::ClientRequest out;
  out.method = request.method;
  for (const auto& [name, value] : request.headers.fields()) {
    if (!of_one_connection(name)) out.headers.add(name, value);
  }
  const auto place = place_of(caller, target);
  if (!place) return exchange.respond(status_response(place.error()));
  out.url = *place + rest;

  if (!request.headers.get("upgrade").empty()) {
    net::Headers answer;
    auto server = client_.upgrade(caller.ctx, out, &answer);
    if (!server) return exchange.respond(status_response(server.error()));
    auto client = exchange.upgrade(std::move(answer));
    if (client) return relay_.join(*std::move(client), *std::move(server));
    (*server)->close();
    return exchange.respond(status_response(client.error()));
  }
  auto body = exchange.read_body(kMaxProxiedBody);
  if (!body) return exchange.respond(status_response(body.error()));
  out.body = *std::move(body);
  out.headers.remove("connection");
  auto stream = client_.stream(caller.ctx, out);
  if (!stream) {
    return exchange.respond(status_response(
        Error(Reason::ServiceUnavailable, "error trying to reach service: " + stream.error().message())));
  }
  net::Headers headers;
  for (const auto& [name, value] : (*stream)->headers().fields()) {
    if (!of_one_answer(name)) headers.add(name, value);
  }
  const int status = (*stream)->status();
  relay_.copy(*std::move(stream), exchange.start_stream(status, std::move(headers)));
}

}  // namespace kubernel::apiserver
