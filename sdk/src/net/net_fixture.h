// SPDX-License-Identifier: Apache-2.0
//
// For this folder's tests: a server on loopback with a few handlers, and a raw socket to misbehave with.

#pragma once

#include <arpa/inet.h>
#include <poll.h>
#include <sys/socket.h>

#include <array>
#include <condition_variable>
#include <future>
#include <map>
#include <memory>
#include <mutex>
#include <string>

#include <gtest/gtest.h>

#include <kubernel/crypto/pki.h>
#include <kubernel/net/client.h>
#include <kubernel/net/server.h>
#include <kubernel/testing/fake_clock.h>

#include "core/base/system_clock.h"
#include "core/base/thread_pool.h"

namespace kubernel::net {

// Longer than anything here takes; a test that needs it has failed.
inline constexpr int kTestPatienceMs = 20'000;
inline constexpr std::chrono::milliseconds kTestPatience{kTestPatienceMs};

/// A plain socket that says exactly what a test wants.
class RawPeer {
 public:
  explicit RawPeer(const std::string& address) {
    const std::size_t colon = address.rfind(':');
    sockaddr_in to{};
    to.sin_family = AF_INET;
    to.sin_port = htons(static_cast<std::uint16_t>(std::stoi(address.substr(colon + 1))));
    inet_pton(AF_INET, address.substr(0, colon).c_str(), &to.sin_addr);
    fd_ = ::socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
    connected_ = ::connect(fd_, reinterpret_cast<const sockaddr*>(&to), sizeof to) == 0;
  }
  RawPeer(RawPeer&& other) noexcept
      : fd_(std::exchange(other.fd_, -1)), connected_(other.connected_), got_(std::move(other.got_)) {}
  RawPeer(const RawPeer&) = delete;
  RawPeer& operator=(const RawPeer&) = delete;
  ~RawPeer() { close(); }

  int fd() const { return fd_; }
  bool connected() const { return connected_; }
  void close() {
    if (fd_ >= 0) ::close(std::exchange(fd_, -1));
  }
  void shut_write() const { ::shutdown(fd_, SHUT_WR); }

  void send(std::string_view text) const {
    while (!text.empty()) {
      const ssize_t size = ::send(fd_, text.data(), text.size(), MSG_NOSIGNAL);
      if (size <= 0) return;
      text.remove_prefix(static_cast<std::size_t>(size));
    }
  }
  bool readable_within(int milliseconds) const {
    pollfd wait{fd_, POLLIN, 0};
    return ::poll(&wait, 1, milliseconds) > 0;
  }
  /// Everything up to and with `mark`; what came after is kept.
  std::string until(std::string_view mark) {
    for (;;) {
      if (const std::size_t at = got_.find(mark); at != std::string::npos) {
        std::string text = got_.substr(0, at + mark.size());
        got_.erase(0, at + mark.size());
        return text;
      }
      if (!fill()) return std::exchange(got_, {}) + "<end>";
    }
  }
  std::string exactly(std::size_t size) {
    while (got_.size() < size && fill()) {
    }
    std::string text = got_.substr(0, size);
    got_.erase(0, size);
    return text;
  }
  /// What has come, at least something; empty at the end.
  std::string some() {
    if (got_.empty()) fill();
    return std::exchange(got_, {});
  }
  std::string until_end() {
    while (fill()) {
    }
    return std::exchange(got_, {});
  }

 private:
  bool fill() {
    pollfd wait{fd_, POLLIN, 0};
    if (::poll(&wait, 1, kTestPatienceMs) <= 0) {
      ADD_FAILURE() << "nothing came; so far: " << got_.substr(0, 1000);
      return false;
    }
    std::array<char, 4096> buffer{};
    const ssize_t size = ::recv(fd_, buffer.data(), buffer.size(), 0);
    if (size <= 0) return false;
    got_.append(buffer.data(), static_cast<std::size_t>(size));
    return true;
  }

  int fd_ = -1;
  bool connected_ = false;
  std::string got_;
};

/// Values a test waits for. A copy shares them: callbacks that may outlive the test capture it by value.
template <class T>
class Later {
 public:
  void set(T value) const {
    const auto state = state_;  // The waiting test may end before this does.
    const std::lock_guard lock(state->mutex);
    state->values.push_back(std::move(value));
    state->changed.notify_all();
  }
  /// The next one. Fails the test when it does not come.
  T take() const {
    std::unique_lock lock(state_->mutex);
    if (!state_->changed.wait_for(lock, kTestPatience, [&] { return !state_->values.empty(); })) {
      ADD_FAILURE() << "waited in vain";
      return T{};
    }
    T value = std::move(state_->values.front());
    state_->values.pop_front();
    return value;
  }
  bool empty() const {
    const std::lock_guard lock(state_->mutex);
    return state_->values.empty();
  }

 private:
  struct State {
    std::mutex mutex;
    std::condition_variable changed;
    std::deque<T> values;
  };
  std::shared_ptr<State> state_ = std::make_shared<State>();
};

inline Bytes bytes(std::string text) {
  return std::make_shared<const std::string>(std::move(text));
}

inline std::string padded(std::size_t size, char c = 'x') {
  return std::string(size, c);
}

/// The CA and the identities of one test run.
struct TestPki {
  crypto::KeyPair ca;
  crypto::KeyPair server;
  crypto::KeyPair client;
  crypto::KeyPair other_ca;
};

inline const TestPki& test_pki() {
  static const TestPki pki = [] {
    using std::chrono::hours;
    const auto now = core::SystemClock().wall_now();
    TestPki made;
    made.ca = *crypto::make_ca("test", now - hours(1), now + hours(1));
    made.other_ca = *crypto::make_ca("test", now - hours(1), now + hours(1));
    made.server = *crypto::issue(made.ca, {.common_name = "server",
                                           .dns_names = {"localhost"},
                                           .ip_addresses = {"127.0.0.1"},
                                           .server = true,
                                           .not_before = now - hours(1),
                                           .not_after = now + hours(1)});
    made.client = *crypto::issue(made.ca, {.common_name = "jane",
                                           .organizations = {"dev", "ops"},
                                           .client = true,
                                           .not_before = now - hours(1),
                                           .not_after = now + hours(1)});
    return made;
  }();
  return pki;
}

inline std::unique_ptr<ServerTls> server_tls() {
  const TestPki& pki = test_pki();
  return std::make_unique<ServerTls>(
      ServerTls{{pki.server.certificate_pem, pki.server.private_key_pem}, pki.ca.certificate_pem});
}

class NetTest : public ::testing::Test {
 protected:
  ~NetTest() override { server_.reset(); }

  NetContext context() { return {log_, metrics_, *clock_, pool_}; }

  void on(const std::string& path, Handler handler) { routes_[path] = std::move(handler); }

  void serve(ServerOptions options = {}) {
    if (options.listen.empty() && options.inherited_fds.empty()) options.listen = {"127.0.0.1:0"};
    auto server = open_server(context(), std::move(options), [this](Exchange& exchange) { route(exchange); });
    ASSERT_TRUE(server) << server.error().message();
    server_ = *std::move(server);
    address_ = server_->addresses().front();
  }
  void serve_tls(Limits limits = {}) {
    ServerOptions options;
    options.tls = server_tls();
    options.limits = limits;
    serve(std::move(options));
  }

  RawPeer dial() const { return RawPeer(address_); }
  static std::string get(const std::string& path, const std::string& more = "") {
    return "GET " + path + " HTTP/1.1\r\nHost: x\r\n" + more + "\r\n";
  }
  static std::string body_of(const std::string& answer) {
    const std::size_t end = answer.find("\r\n\r\n");
    return end == std::string::npos ? "<no head> " + answer : answer.substr(end + 4);
  }

  testing::RecordingLogger log_;
  testing::RecordingMetrics metrics_;
  core::SystemClock system_clock_;
  Clock* clock_ = &system_clock_;
  core::ThreadPool pool_{{.name = "test", .threads = 16}, log_, metrics_};
  std::string address_;
  std::map<std::string, Handler> routes_;
  std::unique_ptr<Server> server_;

 private:
  void route(Exchange& exchange) {
    const auto found = routes_.find(exchange.request().path);
    if (found != routes_.end()) return found->second(exchange);
    Response response;
    response.status = 404;
    response.body = "no route\n";
    exchange.respond(std::move(response));
  }
};

}  // namespace kubernel::net
