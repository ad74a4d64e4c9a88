// SPDX-License-Identifier: Apache-2.0
//
// WorkloadProxy: pods/proxy and services/proxy, HTTP requests that the server sends on to a pod or to an endpoint of a
// service.

#pragma once

#include <string>

#include <kubernel/net/client.h>
#include <kubernel/net/http.h>

#include "http/front.h"
#include "pipeline/api.h"
#include "proxy/relay.h"

namespace kubernel::apiserver {

/// Where to connect for an address that a pod or an endpoint claims: there. Everybody who may write a pod's status
/// chooses it, so it must not lead to the server's own machine. Errors: BadRequest with upstream's message.
Result<std::string> proxied_address(const std::string& address);
/// The same; and refuses everything while this process is in the machine's own network, where addresses of pods lead
/// out of the machine.
Result<std::string> sandboxed_address(const std::string& address);

/// Threads: all members may be called concurrently. Lifetime: `api` and `client` outlive it.
class WorkloadProxy {
 public:
  using AddressRule = Result<std::string> (*)(const std::string& address);
  WorkloadProxy(const Api& api, net::HttpClient& client, AddressRule rule) : api_(api), client_(client), rule_(rule) {}

  /// Lets `front` send it these subresources.
  void attach_to(Front& front);
  /// Breaks what is open.
  void close_all() { relay_.close_all(); }

 private:
  struct Wanted;

  void serve(net::Exchange& exchange, const Caller& caller, const Target& target);
  Result<std::string> place_of(const Caller& caller, const Target& target) const;
  Result<std::string> pod_place(const Caller& caller, const Target& target, const Wanted& wanted) const;
  Result<std::string> service_place(const Caller& caller, const Target& target, const Wanted& wanted) const;
  Result<std::string> checked(const std::string& claimed, const std::string& port) const;

  const Api& api_;
  net::HttpClient& client_;
  AddressRule rule_;
  Relay relay_;
};

}  // namespace kubernel::apiserver
