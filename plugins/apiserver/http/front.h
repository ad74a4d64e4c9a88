// SPDX-License-Identifier: Apache-2.0
//
// Front: the HTTP side of the API server. It authenticates, finds out what a path and a method ask for, hands it to the
// pipeline and writes the answer.

#pragma once

#include <functional>
#include <map>
#include <memory>
#include <string>
#include <string_view>
#include <vector>

#include <kubernel/auth/authenticator.h>
#include <kubernel/base/log.h>
#include <kubernel/base/metrics.h>
#include <kubernel/net/http.h>
#include <kubernel/plugin/component.h>

#include "http/extra_paths.h"
#include "http/request_info.h"
#include "http/watch_stream.h"
#include "pipeline/api.h"

namespace kubernel::apiserver {

struct FrontOptions {
  Api& api;
  Metrics& metrics;
  std::vector<std::shared_ptr<auth::Authenticator>> authenticators;
  bool anonymous = true;
  /// What /readyz and /livez tell; may be null in tests.
  std::function<std::vector<plugin::Process::Check>()> readiness;
  /// What other components serve; may be null.
  std::shared_ptr<const ExtraPaths> extra_paths;
};

/// A request that is answered by something else than the generic verbs (a proxied pods/log or exec). Called after
/// authorization.
using Connect = std::function<void(net::Exchange& exchange, const Caller& caller, const Target& target)>;
/// A path outside the API's resources (/openid/v1/jwks). Called after authorization.
using PathHandler = std::function<net::Response(const net::Request& request)>;

/// Threads: serve() may be called concurrently; the rest before the first.
class Front {
 public:
  explicit Front(FrontOptions options);
  ~Front();

  void connect(std::string plural, std::string subresource, Connect connect);
  void serve_path(std::string path, PathHandler handler);

  /// The server's handler.
  void serve(net::Exchange& exchange);
  /// Ends the open watches.
  void close_streams() { streams_.close_all(); }

 private:
  Result<auth::User> authenticate(const net::Exchange& exchange) const;
  void serve_as(net::Exchange& exchange, const auth::User& user);
  void serve_resource(net::Exchange& exchange, const auth::User& user, const ResourcePath& path);
  net::Response serve_other(net::Exchange& exchange, const auth::User& user);
  net::Response health(const net::Request& request) const;
  void count(const char* verb, const Target& target, int code, Clock::TimePoint started) const;

  Result<net::Response> get(net::Exchange& exchange, const Caller& caller, const Target& target) const;
  Result<net::Response> list(net::Exchange& exchange, const Caller& caller, const Target& target) const;
  Result<void> watch(net::Exchange& exchange, const Caller& caller, const Target& target);
  Result<net::Response> create(net::Exchange& exchange, const Caller& caller, const Target& target) const;
  Result<net::Response> update(net::Exchange& exchange, const Caller& caller, const Target& target) const;
  Result<net::Response> patch(net::Exchange& exchange, const Caller& caller, const Target& target) const;
  Result<net::Response> remove(net::Exchange& exchange, const Caller& caller, const Target& target) const;
  Result<net::Response> answer(const net::Request& request, const Target& target, int status,
                               const api::Object& object) const;

  FrontOptions options_;
  WatchStreams streams_;
  std::map<std::pair<std::string, std::string>, Connect> connects_;
  std::map<std::string, PathHandler, std::less<>> paths_;
};

}  // namespace kubernel::apiserver
