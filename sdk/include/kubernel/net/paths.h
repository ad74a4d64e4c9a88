// SPDX-License-Identifier: Apache-2.0
//
// Paths: how a component answers HTTP requests without a server of its own.

#pragma once

#include <functional>
#include <memory>
#include <string>

#include <kubernel/base/clock.h>
#include <kubernel/base/context.h>
#include <kubernel/net/http.h>

namespace kubernel::net {

/// Paths outside the API's resources ("/scheduler/explain"), served by the API server of the same process. Who may call
/// them is what its authentication says and RBAC allows by nonResourceURLs; a handler is called after that.
///
/// Threads: all members may be called concurrently.
class Paths {
 public:
  static constexpr std::string_view kService = "paths";
  virtual ~Paths() = default;

  /// Runs on the blocking executor. Threads: for several requests at once.
  using Handler = std::function<Response(const CallContext& ctx, const Request& request)>;
  /// Answers `path`, exactly, until the result is destroyed, which waits for requests being answered. One at a time may
  /// serve a path; the last one does.
  [[nodiscard]] virtual std::unique_ptr<Subscription> serve(std::string path, Handler handler) = 0;
};

}  // namespace kubernel::net
