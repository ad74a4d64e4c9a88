// SPDX-License-Identifier: Apache-2.0
#include "proxy/kubelet_proxy.h"

#include <algorithm>
#include <chrono>
#include <condition_variable>
#include <utility>
#include <vector>

#include "http/encoder.h"
#include "http/negotiation.h"
#include "registry/errors.h"

namespace kubernel::apiserver {

namespace {

constexpr std::size_t kMaxError = 64 * 1024;
constexpr std::size_t kMaxProxiedBody = 3 * 1024 * 1024;

std::string escape(std::string_view text_in) {
  constexpr char kHex[] = "0123456789ABCDEF";
  std::string out;
  for (const char c : text_in) {
    const bool plain = (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9') || c == '-' ||
                       c == '_' || c == '.' || c == '~';
    if (plain) {
      out += c;
    } else {
      out += '%';
      out += kHex[static_cast<unsigned char>(c) >> 4];
      out += kHex[static_cast<unsigned char>(c) & 15];
    }
  }
  return out;
}

class Query {
 public:
  void add(std::string_view name, std::string_view value) {
    text_ += (text_.empty() ? "?" : "&") + std::string(name) + "=" + escape(value);
  }
  const std::string& text() const noexcept { return text_; }

 private:
  std::string text_;
};

std::string log_query(const net::Request& request) {
  Query out;
  for (const char* name : {"follow", "previous", "timestamps"}) {
    if (flag_param(request, name)) out.add(name, "true");
  }
  for (const char* name : {"sinceSeconds", "sinceTime", "tailLines", "limitBytes", "stream"}) {
    if (const auto value = request.param(name); value && !value->empty()) out.add(name, *value);
  }
  return out.text();
}

// The kubelet's names for the streams differ from the API's.
std::string command_query(const net::Request& request) {
  Query out;
  for (const std::string_view word : request.params("command")) out.add("command", word);
  constexpr std::pair<const char*, const char*> kFlags[] = {
      {"stdin", "input"}, {"stdout", "output"}, {"stderr", "error"}, {"tty", "tty"}};
  for (const auto& [name, own] : kFlags) {
    if (flag_param(request, name)) out.add(own, "1");
  }
  return out.text();
}

std::string port_query(const net::Request& request) {
  Query out;
  for (const std::string_view port : request.params("ports")) out.add("port", port);
  for (const std::string_view port : request.params("port")) out.add("port", port);
  return out.text();
}

Reason reason_of(int status) {
  switch (status) {
    case 400: return Reason::BadRequest;
    case 401: return Reason::Unauthorized;
    case 403: return Reason::Forbidden;
    case 404: return Reason::NotFound;
    case 405: return Reason::MethodNotAllowed;
    case 429: return Reason::TooManyRequests;
    case 503: return Reason::ServiceUnavailable;
    default: return Reason::Internal;
  }
}

std::string trim_end(std::string text_in) {
  while (!text_in.empty() && (text_in.back() == '\n' || text_in.back() == ' ')) text_in.pop_back();
  return text_in;
}

// The body as far as it has come by the deadline; blocks.
std::string read_short(net::ClientStream& stream, const CallContext& ctx) {
  struct Arrived {
    std::mutex mutex;
    std::condition_variable more;
    std::string text;
    bool over = false;
  };
  const auto arrived = std::make_shared<Arrived>();
  stream.on_data([arrived](std::string_view data, const Error* error) {
    const std::lock_guard lock(arrived->mutex);
    arrived->text.append(data.substr(0, kMaxError - std::min(kMaxError, arrived->text.size())));
    arrived->over = error != nullptr || data.empty() || arrived->text.size() >= kMaxError;
    arrived->more.notify_all();
  });
  const auto deadline = std::min(ctx.deadline, CallContext::Clock::now() + std::chrono::seconds(5));
  std::unique_lock lock(arrived->mutex);
  arrived->more.wait_until(lock, deadline, [&] { return arrived->over; });
  return arrived->text;
}

}  // namespace

Result<std::string> choose_container(const api::Object& pod, const std::string& wanted) {
  std::vector<std::string> names;
  for (const char* list : {"containers", "initContainers", "ephemeralContainers"}) {
    for (const api::Value container : pod["spec"][list]) {
      if (container["name"].string() == wanted) return wanted;
      if (list == std::string_view("containers")) names.emplace_back(container["name"].string());
    }
  }
  if (!wanted.empty()) return bad_request("container " + wanted + " is not valid for pod " + pod.name());
  if (names.size() == 1) return names.front();
  const std::string_view marked = pod.annotations()["kubectl.kubernetes.io/default-container"].string();
  for (const std::string& name : names) {
    if (name == marked) return name;
  }
  std::string all;
  for (const std::string& name : names) all += (all.empty() ? "" : " ") + name;
  return bad_request("a container name must be specified for pod " + pod.name() + ", choose one of: [" + all + "]");
}

KubeletProxy::KubeletProxy(const Api& api, net::HttpClient& client) : api_(api), client_(client) {}

void KubeletProxy::attach_to(Front& front) {
  front.connect("pods", "log", [this](net::Exchange& exchange, const Caller& caller, const Target& target) {
    log(exchange, caller, target);
  });
  front.connect("nodes", "proxy", [this](net::Exchange& exchange, const Caller& caller, const Target& target) {
    node(exchange, caller, target);
  });
  for (const char* kind : {"exec", "attach", "portforward"}) {
    front.connect("pods", kind, [this, kind](net::Exchange& exchange, const Caller& caller, const Target& target) {
      stream(exchange, caller, target, kind);
    });
  }
}

Result<api::Object> KubeletProxy::find_pod(const Caller& caller, const Target& target) const {
  KUBERNEL_TRY(api::Object pod, api_.store(*target.info)->get(caller.ctx, target.key, ""));
  if (pod["spec"]["nodeName"].string().empty())
    return bad_request("pod " + pod.name() + " does not have a host assigned");
  return pod;
}

Result<std::string> KubeletProxy::kubelet_url(const Caller& caller, const std::string& name) const {
  const schema::ResourceInfo* nodes = api_.find("", "v1", "nodes");
  KUBERNEL_TRY(const api::Object node, api_.store(*nodes)->get(caller.ctx, {"", name}, ""));
  const std::int64_t port = node["status"]["daemonEndpoints"]["kubeletEndpoint"]["Port"].integer(10250);
  for (const char* type : {"InternalIP", "ExternalIP", "Hostname"}) {
    for (const api::Value address : node["status"]["addresses"]) {
      if (address["type"].string() != type) continue;
      std::string host(address["address"].string());
      if (host.find(':') != std::string::npos) host = "[" + host + "]";
      return "https://" + host + ":" + std::to_string(port);
    }
  }
  return Error(Reason::ServiceUnavailable, "node " + quote(name) + " has reported no address");
}

// "/api/v1/nodes/n1/proxy/stats/summary?only_cpu_and_memory=true" is "/stats/summary?…" at the kubelet of n1.
void KubeletProxy::node(net::Exchange& exchange, const Caller& caller, const Target& target) {
  const net::Request& request = exchange.request();
  const auto open = [&]() -> Result<std::unique_ptr<net::ClientStream>> {
    KUBERNEL_TRY(const std::string base, kubelet_url(caller, target.key.name));
    const std::string_view raw = request.raw_target;
    const auto query = raw.find('?');
    const std::string_view path = raw.substr(0, query);
    const std::string prefix = "/nodes/" + target.key.name + "/proxy";
    const auto rest = path.find(prefix);
    if (rest == std::string_view::npos) return bad_request("the node's name is not written plainly in the path");
    net::ClientRequest out;
    out.method = request.method;
    out.url = base + std::string(path.substr(rest + prefix.size()));
    if (query != std::string_view::npos) out.url += raw.substr(query);
    if (const auto type = request.headers.get("content-type"); !type.empty()) out.headers.set("content-type", type);
    KUBERNEL_TRY(out.body, exchange.read_body(kMaxProxiedBody));
    return client_.stream(caller.ctx, out);
  };
  auto stream = open();
  if (!stream) {
    exchange.respond(status_response(stream.error()));
    return;
  }
  net::Headers headers;
  headers.set("content-type", (*stream)->headers().get("content-type"));
  const int status = (*stream)->status();
  relay_.copy(*std::move(stream), exchange.start_stream(status, std::move(headers)));
}

void KubeletProxy::log(net::Exchange& exchange, const Caller& caller, const Target& target) {
  const net::Request& request = exchange.request();
  const auto open = [&]() -> Result<std::unique_ptr<net::ClientStream>> {
    KUBERNEL_TRY(const api::Object pod, find_pod(caller, target));
    KUBERNEL_TRY(const std::string container, choose_container(pod, text_param(request, "container")));
    KUBERNEL_TRY(const std::string base, kubelet_url(caller, std::string(pod["spec"]["nodeName"].string())));
    net::ClientRequest out;
    out.url = base + "/containerLogs/" + pod.ns() + "/" + pod.name() + "/" + container + log_query(request);
    return client_.stream(caller.ctx, out);
  };
  auto stream = open();
  if (!stream) {
    exchange.respond(status_response(stream.error()));
    return;
  }
  const int status = (*stream)->status();
  if (status != 200) {
    // An error's body is short; it is read to its end and told as a Status.
    const std::string message = trim_end(read_short(**stream, caller.ctx));
    exchange.respond(status_response(
        Error(reason_of(status), message.empty() ? "the kubelet answered " + std::to_string(status) : message)));
    return;
  }
  net::Headers headers;
  headers.set("content-type", "text/plain");
  relay_.copy(*std::move(stream), exchange.start_stream(200, std::move(headers)));
}

void KubeletProxy::stream(net::Exchange& exchange, const Caller& caller, const Target& target, const char* kind) {
  const net::Request& request = exchange.request();
  net::Headers answer;
  const auto open = [&]() -> Result<std::shared_ptr<net::ByteStream>> {
    if (request.headers.get("upgrade").empty()) return bad_request("Upgrade request required");
    KUBERNEL_TRY(const api::Object pod, find_pod(caller, target));
    KUBERNEL_TRY(const std::string base, kubelet_url(caller, std::string(pod["spec"]["nodeName"].string())));
    net::ClientRequest out;
    out.method = request.method;
    if (kind == std::string_view("portforward")) {
      out.url = base + "/portForward/" + pod.ns() + "/" + pod.name() + port_query(request);
    } else {
      KUBERNEL_TRY(const std::string container, choose_container(pod, text_param(request, "container")));
      out.url = base + "/" + kind + "/" + pod.ns() + "/" + pod.name() + "/" + container + command_query(request);
    }
    for (const auto& [name, value] : request.headers.fields()) {
      if (!of_one_connection(name)) out.headers.add(name, value);
    }
    return client_.upgrade(caller.ctx, out, &answer);
  };
  auto kubelet = open();
  if (!kubelet) {
    exchange.respond(status_response(kubelet.error()));
    return;
  }
  auto client = exchange.upgrade(std::move(answer));
  if (!client) {
    (*kubelet)->close();
    exchange.respond(status_response(client.error()));
    return;
  }
  relay_.join(*std::move(client), *std::move(kubelet));
}

}  // namespace kubernel::apiserver
