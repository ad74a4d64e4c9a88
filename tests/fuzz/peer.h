// SPDX-License-Identifier: Apache-2.0
//
// A client that says its piece to a server on loopback, and waits until the server has ended the connection.

#pragma once

#include <netinet/in.h>
#include <poll.h>
#include <sys/socket.h>

#include <memory>
#include <string>
#include <string_view>

#include <kubernel/base/child_process.h>
#include <kubernel/net/server.h>
#include <kubernel/testing/fake_clock.h>

#include "core/base/system_clock.h"
#include "core/base/thread_pool.h"
#include "target.h"

namespace kubernel::fuzz {

class PeerOfServer {
 public:
  PeerOfServer(net::ServerOptions options, net::Handler handler) {
    options.listen = {"127.0.0.1:0"};
    auto opened = net::open_server({log_, metrics_, clock_, pool_}, std::move(options), std::move(handler));
    must(opened.has_value(), "the server opens");
    server_ = *std::move(opened);
    const std::string address = server_->addresses().front();
    to_.sin_family = AF_INET;
    to_.sin_port = htons(static_cast<std::uint16_t>(std::stoi(address.substr(address.rfind(':') + 1))));
    to_.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
  }

  void say(std::string_view input) const {
    constexpr int kPatienceMs = 30'000;
    const UniqueFd socket(::socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0));
    must(connect(socket.get(), reinterpret_cast<const sockaddr*>(&to_), sizeof to_) == 0, "the server listens");
    while (!input.empty()) {
      const ssize_t sent = send(socket.get(), input.data(), input.size(), MSG_NOSIGNAL);
      if (sent <= 0) break;
      input.remove_prefix(static_cast<std::size_t>(sent));
    }
    shutdown(socket.get(), SHUT_WR);
    char buffer[4096];
    for (;;) {
      pollfd wait{socket.get(), POLLIN, 0};
      must(poll(&wait, 1, kPatienceMs) > 0, "a connection whose client is done ends");
      if (recv(socket.get(), buffer, sizeof buffer, 0) <= 0) return;
    }
  }

 private:
  testing::RecordingLogger log_;
  testing::RecordingMetrics metrics_;
  core::SystemClock clock_;
  core::ThreadPool pool_{{.name = "fuzz", .threads = 2}, log_, metrics_};
  std::unique_ptr<net::Server> server_;
  sockaddr_in to_{};
};

}  // namespace kubernel::fuzz
