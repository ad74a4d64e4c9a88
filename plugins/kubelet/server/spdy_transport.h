// SPDX-License-Identifier: Apache-2.0
//
// Commands over SPDY/3.1: a stream for each channel, opened by the client.

#pragma once

#include <functional>
#include <memory>
#include <string>
#include <vector>

#include <kubernel/net/http.h>
#include <kubernel/net/spdy.h>

#include "server/remote_command.h"
#include "tasks.h"

namespace kubernel::kubelet {

// The first of `supported` that the client offers in X-Stream-Protocol-Version; `fallback` when it offers nothing.
// Absent when it offers only others.
std::optional<std::string> negotiate(const net::Request& request, const std::vector<std::string>& supported,
                                     const std::string& fallback);

// Answers the upgrade. Errors: BadRequest when the connection cannot be upgraded.
Result<std::shared_ptr<net::SpdyConnection>> accept_spdy(net::Exchange& exchange, const std::string& protocol);

// A WebSocket that carries a SPDY connection, as kubectl's port-forward uses it ("SPDY/3.1+portforward.k8s.io").
std::shared_ptr<net::ByteStream> bytes_of(std::shared_ptr<net::WebSocket> socket);

// Waits until the client has opened the streams a command needs, then calls `ready` on a pool thread; closes the
// connection when they do not come in time.
void collect_command_streams(std::shared_ptr<net::SpdyConnection> connection, const std::string& protocol,
                             RemoteCommand::Streams streams, bool tty, Tasks& tasks,
                             std::function<void(std::unique_ptr<CommandTransport>)> ready);

}  // namespace kubernel::kubelet
