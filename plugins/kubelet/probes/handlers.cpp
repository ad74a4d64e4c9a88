// SPDX-License-Identifier: Apache-2.0
#include "probes/handlers.h"

#include <fcntl.h>
#include <netdb.h>
#include <poll.h>
#include <strings.h>
#include <sys/socket.h>
#include <unistd.h>

#include <cerrno>
#include <cstring>
#include <memory>
#include <utility>
#include <vector>

namespace kubernel::kubelet {

namespace {

using Verdict = ProbeOutcome::Verdict;
constexpr std::size_t kMaxHead = 64 * 1024;

std::string bracketed(const std::string& host) {
  return host.find(':') != std::string::npos ? "[" + host + "]" : host;
}

// A TCP connection whose every step ends at a deadline. Runs on the blocking pool.
class Connection {
 public:
  Connection(const Clock& clock, std::chrono::milliseconds timeout) : clock_(clock), deadline_(clock.now() + timeout) {}
  ~Connection() {
    if (fd_ >= 0) ::close(fd_);
  }
  Connection(const Connection&) = delete;
  Connection& operator=(const Connection&) = delete;

  // Each returns what went wrong, or nothing.
  std::string open(const std::string& host, int port) {
    const std::string where = "dial tcp " + bracketed(host) + ":" + std::to_string(port) + ": ";
    addrinfo hints{};
    hints.ai_flags = AI_NUMERICSERV;
    hints.ai_socktype = SOCK_STREAM;
    addrinfo* found = nullptr;
    if (const int rc = ::getaddrinfo(host.c_str(), std::to_string(port).c_str(), &hints, &found); rc != 0) {
      return where + ::gai_strerror(rc);
    }
    const std::unique_ptr<addrinfo, void (*)(addrinfo*)> owned(found, ::freeaddrinfo);
    fd_ = ::socket(found->ai_family, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
    if (fd_ < 0) return where + std::strerror(errno);
    if (::connect(fd_, found->ai_addr, found->ai_addrlen) == 0) return {};
    if (errno != EINPROGRESS) return where + std::strerror(errno);
    if (!wait(POLLOUT)) return where + "i/o timeout";
    int error = 0;
    socklen_t size = sizeof error;
    if (::getsockopt(fd_, SOL_SOCKET, SO_ERROR, &error, &size) != 0) error = errno;
    return error == 0 ? std::string() : where + std::strerror(error);
  }

  std::string write(std::string_view text) {
    while (!text.empty()) {
      const ssize_t n = ::send(fd_, text.data(), text.size(), MSG_NOSIGNAL);
      if (n > 0) {
        text.remove_prefix(static_cast<std::size_t>(n));
      } else if (errno != EAGAIN) {
        return std::strerror(errno);
      } else if (!wait(POLLOUT)) {
        return "i/o timeout";
      }
    }
    return {};
  }

  // Reads until the head of the answer is there, the peer closes, or `limit` bytes.
  std::string read_head(std::string& out, std::size_t limit) {
    char buffer[4096];
    while (out.size() < limit && out.find("\r\n\r\n") == std::string::npos) {
      const ssize_t n = ::recv(fd_, buffer, sizeof buffer, 0);
      if (n > 0) {
        out.append(buffer, static_cast<std::size_t>(n));
      } else if (n == 0) {
        return out.empty() ? "EOF" : std::string();
      } else if (errno != EAGAIN) {
        return std::strerror(errno);
      } else if (!wait(POLLIN)) {
        return "context deadline exceeded (Client.Timeout exceeded while awaiting headers)";
      }
    }
    return {};
  }

 private:
  // False when the time is over.
  bool wait(short events) {
    const auto left = std::chrono::ceil<std::chrono::milliseconds>(deadline_ - clock_.now());
    if (left.count() <= 0) return false;
    pollfd waiting{fd_, events, 0};
    return ::poll(&waiting, 1, static_cast<int>(left.count())) > 0;
  }

  const Clock& clock_;
  Clock::TimePoint deadline_;
  int fd_ = -1;
};

// The status code of "HTTP/1.1 200 OK"; 0 when it is none.
int status_code(const std::string& head) {
  if (!head.starts_with("HTTP/1.") || head.size() < 12) return 0;
  return std::atoi(head.c_str() + 9);
}

// What a probe asks for: where, and with which headers.
struct HttpProbe {
  HttpProbe(const ProbeTarget& target, api::Value get, int to_port)
      : host(get["host"].string()), port(to_port), path(get["path"].string()) {
    if (host.empty()) host = target.pod_ip;
    if (!path.starts_with('/')) path.insert(0, "/");
    named_host = authority();
    bool agent = false;
    bool accept = false;
    for (const api::Value header : get["httpHeaders"]) {
      const std::string name(header["name"].string());
      const std::string value(header["value"].string());
      if (::strcasecmp(name.c_str(), "host") == 0) {
        named_host = value;
        continue;
      }
      agent = agent || ::strcasecmp(name.c_str(), "user-agent") == 0;
      accept = accept || ::strcasecmp(name.c_str(), "accept") == 0;
      headers.emplace_back(name, value);
    }
    if (!agent) headers.emplace_back("User-Agent", "kube-probe/1.36");
    if (!accept) headers.emplace_back("Accept", "*/*");
    headers.emplace_back("Connection", "close");
  }

  std::string authority() const { return bracketed(host) + ":" + std::to_string(port); }

  std::string host;
  int port;
  std::string path;
  std::string named_host;  // As the Host header says.
  std::vector<std::pair<std::string, std::string>> headers;
};

Error probe_failure(std::string why) {
  return {Reason::ServiceUnavailable, std::move(why)};
}

Result<int> http_status(const Clock& clock, std::chrono::seconds timeout, const HttpProbe& probe) {
  std::string request = "GET " + probe.path + " HTTP/1.1\r\nHost: " + probe.named_host + "\r\n";
  for (const auto& [name, value] : probe.headers) request += name + ": " + value + "\r\n";
  Connection connection(clock, timeout);
  std::string answer;
  std::string problem = connection.open(probe.host, probe.port);
  if (problem.empty()) problem = connection.write(request + "\r\n");
  if (problem.empty()) problem = connection.read_head(answer, kMaxHead);
  if (!problem.empty()) return probe_failure(problem);
  const int status = status_code(answer);
  if (status == 0) return probe_failure("malformed HTTP response");
  return status;
}

// Like upstream, any certificate will do: a probe asks whether somebody answers, not who.
Result<int> https_status(net::HttpClient& client, const CallContext& ctx, const HttpProbe& probe) {
  net::ClientRequest request;
  request.url = "https://" + probe.authority() + probe.path;
  request.headers.set("Host", probe.named_host);
  for (const auto& [name, value] : probe.headers) request.headers.add(name, value);
  KUBERNEL_TRY(const auto answer, client.stream(ctx, request));
  return answer->status();
}

}  // namespace

int port_number(const ContainerSpec& container, api::Value port) {
  if (!port.is_string()) return static_cast<int>(port.integer());
  for (const api::Value known : container.value["ports"]) {
    if (known["name"].string() == port.string()) return static_cast<int>(known["containerPort"].integer());
  }
  const int number = std::atoi(std::string(port.string()).c_str());
  return number > 0 && number < 65536 ? number : 0;
}

NodeProbeHandlers::NodeProbeHandlers(runtime::ContainerRuntime& runtime, Tasks& tasks,
                                     std::unique_ptr<net::HttpClient> https)
    : runtime_(runtime), tasks_(tasks), https_(std::move(https)) {}

Result<std::unique_ptr<NodeProbeHandlers>> NodeProbeHandlers::make(runtime::ContainerRuntime& runtime, Tasks& tasks,
                                                                   const net::NetContext& net) {
  net::ClientOptions options;
  options.http2 = false;
  options.tls = std::make_unique<net::ClientTls>();
  options.tls->verify = false;
  KUBERNEL_TRY(auto https, net::make_http_client(net, std::move(options)));
  return std::unique_ptr<NodeProbeHandlers>(new NodeProbeHandlers(runtime, tasks, std::move(https)));
}

ProbeOutcome NodeProbeHandlers::run(const ProbeTarget& target, api::Value handler, std::chrono::seconds timeout) {
  if (const auto exec = handler["exec"]) return run_exec(target, exec, timeout);
  if (const auto get = handler["httpGet"]) return run_http(target, get, timeout);
  if (const auto socket = handler["tcpSocket"]) return run_tcp(target, socket, timeout);
  return {Verdict::Unknown, "missing or unsupported handler (exec, httpGet and tcpSocket are supported)"};
}

ProbeOutcome NodeProbeHandlers::run_exec(const ProbeTarget& target, api::Value exec, std::chrono::seconds timeout) {
  std::vector<std::string> command;
  for (const api::Value word : exec["command"]) command.emplace_back(word.string());
  const auto result = runtime_.access().exec_sync(tasks_.context(timeout), target.container_id, command);
  if (!result) {
    if (result.error().reason() == Reason::Timeout) {
      return {Verdict::Failure, "command timed out after " + std::to_string(timeout.count()) + "s"};
    }
    return {Verdict::Unknown, result.error().message()};
  }
  return {result->exit_code == 0 ? Verdict::Success : Verdict::Failure, result->output};
}

ProbeOutcome NodeProbeHandlers::run_http(const ProbeTarget& target, api::Value get, std::chrono::seconds timeout) {
  const int port = port_number(target.container, get["port"]);
  if (port == 0) return {Verdict::Unknown, "couldn't find port: " + std::string(get["port"].string())};
  const HttpProbe probe(target, get, port);
  const bool secure = get["scheme"].string() == "HTTPS";
  const Result<int> status =
      secure ? https_status(*https_, tasks_.context(timeout), probe) : http_status(tasks_.clock(), timeout, probe);
  if (!status) {
    const std::string url = (secure ? "https://" : "http://") + probe.authority() + probe.path;
    return {Verdict::Failure, "Get \"" + url + "\": " + status.error().message()};
  }
  // A redirect counts as an answer.
  if (*status >= 200 && *status < 400) return {Verdict::Success, {}};
  return {Verdict::Failure, "HTTP probe failed with statuscode: " + std::to_string(*status)};
}

ProbeOutcome NodeProbeHandlers::run_tcp(const ProbeTarget& target, api::Value socket, std::chrono::seconds timeout) {
  const int port = port_number(target.container, socket["port"]);
  if (port == 0) return {Verdict::Unknown, "couldn't find port: " + std::string(socket["port"].string())};
  std::string host(socket["host"].string());
  if (host.empty()) host = target.pod_ip;
  Connection connection(tasks_.clock(), timeout);
  std::string problem = connection.open(host, port);
  if (problem.empty()) return {Verdict::Success, {}};
  return {Verdict::Failure, std::move(problem)};
}

}  // namespace kubernel::kubelet
