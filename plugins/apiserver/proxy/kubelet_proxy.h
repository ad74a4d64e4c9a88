// SPDX-License-Identifier: Apache-2.0
//
// KubeletProxy: pods/log, pods/exec, pods/attach and pods/portforward, answered by the kubelet of the pod's node over
// mutual TLS; and nodes/proxy, everything else a kubelet serves.

#pragma once

#include <string>

#include <kubernel/net/client.h>
#include <kubernel/net/http.h>

#include "http/front.h"
#include "pipeline/api.h"
#include "proxy/relay.h"

namespace kubernel::apiserver {

/// Threads: all members may be called concurrently. Lifetime: `api` and `client` outlive it.
class KubeletProxy {
 public:
  KubeletProxy(const Api& api, net::HttpClient& client);

  /// Lets `front` send it these subresources.
  void attach_to(Front& front);
  /// Breaks what is open.
  void close_all() { relay_.close_all(); }

 private:
  void log(net::Exchange& exchange, const Caller& caller, const Target& target);
  void stream(net::Exchange& exchange, const Caller& caller, const Target& target, const char* kind);
  void node(net::Exchange& exchange, const Caller& caller, const Target& target);
  Result<api::Object> find_pod(const Caller& caller, const Target& target) const;
  Result<std::string> kubelet_url(const Caller& caller, const std::string& node) const;

  const Api& api_;
  net::HttpClient& client_;
  Relay relay_;
};

/// The container a request means: the one it names, or the pod's only (or default) one.
/// Errors: BadRequest with upstream's message.
Result<std::string> choose_container(const api::Object& pod, const std::string& wanted);

}  // namespace kubernel::apiserver
