// SPDX-License-Identifier: Apache-2.0
#include "api_access.h"

#include <unistd.h>

#include <condition_variable>
#include <mutex>
#include <optional>
#include <set>

#include <nlohmann/json.hpp>

#include <kubernel/crypto/cluster_pki.h>
#include <kubernel/net/client.h>

#include "core/base/log_sink.h"
#include "core/base/metrics_registry.h"
#include "core/base/system_clock.h"
#include "core/base/thread_pool.h"

namespace kubernel::cluster {
namespace {

using nlohmann::json;

constexpr std::size_t kAnswerLimit = 16 * 1024 * 1024;

// What a command needs of a process; small, and idle until used.
struct Surroundings {
  core::SystemClock clock;
  core::LogSink sink{STDERR_FILENO, LogLevel::Warning, core::LogFormat::Text, clock};
  std::unique_ptr<Logger> log = sink.logger("kubernel");
  core::MetricsRegistry metrics;
  core::ThreadPool blocking{{.name = "blocking", .threads = 4}, *log, metrics};
};

bool is_ready(const json& node) {
  for (const json& condition : node.value("/status/conditions"_json_pointer, json::array())) {
    if (condition.value("type", "") == "Ready") return condition.value("status", "") == "True";
  }
  return false;
}

// Which nodes are Ready, from the lines of a watch.
class ReadyNodes {
 public:
  void feed(std::string_view data) {
    const std::lock_guard lock(mutex_);
    buffer_ += data;
    for (auto end = buffer_.find('\n'); end != std::string::npos; end = buffer_.find('\n')) {
      const json event = json::parse(buffer_.substr(0, end), nullptr, false);
      buffer_.erase(0, end + 1);
      if (event.is_discarded() || !event.contains("object")) continue;
      const std::string name = event.value("/object/metadata/name"_json_pointer, "");
      if (event.value("type", "") == "DELETED" || !is_ready(event["object"])) {
        ready_.erase(name);
      } else {
        ready_.insert(name);
      }
    }
    changed_.notify_all();
  }
  void end() {
    const std::lock_guard lock(mutex_);
    ended_ = true;
    changed_.notify_all();
  }
  // True: all are ready. False: the watch ended or time is up.
  bool wait(int count, std::chrono::steady_clock::time_point deadline) {
    std::unique_lock lock(mutex_);
    changed_.wait_until(lock, deadline, [&] { return ended_ || missing(count).empty(); });
    return missing(count).empty();
  }
  std::string missing_nodes(int count) {
    const std::lock_guard lock(mutex_);
    return missing(count);
  }

 private:
  std::string missing(int count) const {
    std::string out;
    for (int node = 1; node <= count; ++node) {
      if (!ready_.contains(node_name(node))) out += (out.empty() ? "" : ", ") + node_name(node);
    }
    return out;
  }

  std::mutex mutex_;
  std::condition_variable changed_;
  std::string buffer_;
  std::set<std::string> ready_;
  bool ended_ = false;
};

Error from_status(int status, const std::string& body) {
  const json document = json::parse(body, nullptr, false);
  if (document.is_discarded() || !document.is_object()) {
    return {Reason::Internal, "the API server answered " + std::to_string(status) + ": " + body.substr(0, 200)};
  }
  return {parse_reason(document.value("reason", "")), document.value("message", "status " + std::to_string(status))};
}

class HttpsAccess final : public ApiAccess {
 public:
  explicit HttpsAccess(std::string base) : base_(std::move(base)) {}

  Result<void> open(net::ClientOptions options) {
    KUBERNEL_TRY(client_, net::make_http_client({*around_.log, around_.metrics, around_.clock, around_.blocking},
                                                std::move(options)));
    return {};
  }

  Result<void> wait_for_nodes(int count, std::chrono::steady_clock::time_point deadline) override {
    ReadyNodes nodes;
    KUBERNEL_TRY(const auto stream, client_->stream({.deadline = deadline}, {.url = base_ + "/api/v1/nodes?watch=1"}));
    if (stream->status() != 200) {
      return Error(Reason::Internal, "watching nodes: the API server answered " + std::to_string(stream->status()));
    }
    stream->on_data([&](std::string_view data, const Error* error) {
      nodes.feed(data);
      if (error != nullptr || data.empty()) nodes.end();
    });
    const bool ready = nodes.wait(count, deadline);
    stream->on_data({});
    if (!ready) return Error(Reason::Timeout, "not Ready: " + nodes.missing_nodes(count));
    return {};
  }

  Result<std::string> call(const std::string& method, const std::string& path,
                           std::chrono::steady_clock::time_point deadline) override {
    KUBERNEL_TRY(auto response,
                 client_->request({.deadline = deadline}, {.method = method, .url = base_ + path}, kAnswerLimit));
    if (response.status < 200 || response.status > 299) return from_status(response.status, response.body);
    return std::move(response.body);
  }

 private:
  Surroundings around_;
  const std::string base_;
  std::unique_ptr<net::HttpClient> client_;
};

}  // namespace

Result<std::unique_ptr<ApiAccess>> ApiAccess::open(const ClusterPaths& paths, int port) {
  const auto now = std::chrono::system_clock::now();
  KUBERNEL_TRY(const crypto::ClusterPki pki, crypto::open_cluster_pki(paths.pki(), {}, now));
  KUBERNEL_TRY(crypto::KeyPair admin, crypto::issue_client(pki.ca, "kubernetes-admin", {"system:masters"}, now));
  net::ClientOptions options;
  options.tls = std::make_unique<net::ClientTls>();
  options.tls->ca_pem = pki.ca.certificate_pem;
  options.tls->identity = std::make_unique<net::TlsIdentity>(
      net::TlsIdentity{std::move(admin.certificate_pem), std::move(admin.private_key_pem)});
  auto access = std::make_unique<HttpsAccess>("https://127.0.0.1:" + std::to_string(port));
  KUBERNEL_CHECK_OK(access->open(std::move(options)));
  return access;
}

}  // namespace kubernel::cluster
