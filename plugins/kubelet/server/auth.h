// SPDX-License-Identifier: Apache-2.0
//
// NodeAuth: who calls the kubelet, and may they? Both questions go to the API server; its answers are kept for a while.

#pragma once

#include <map>
#include <mutex>
#include <string>
#include <vector>

#include <kubernel/auth/user.h>
#include <kubernel/base/clock.h>
#include <kubernel/base/result.h>
#include <kubernel/client/client.h>
#include <kubernel/net/http.h>

namespace kubernel::kubelet {

// Threads: all members may be called concurrently.
class NodeAuth {
 public:
  NodeAuth(client::ApiClient& api, Clock& clock, std::string node_name);

  // By verified client certificate, or by bearer token through a TokenReview. Nobody is anonymous here.
  // Errors: Unauthorized; and those of the API while a review cannot be made.
  Result<auth::User> authenticate(const CallContext& ctx, const net::Request& request);

  // By a SubjectAccessReview on nodes/<subresource>. Errors: Forbidden with upstream's message, and those of the API.
  Result<void> authorize(const CallContext& ctx, const auth::User& user, const net::Request& request);

 private:
  Result<bool> review(const CallContext& ctx, const auth::User& user, const std::string& verb,
                      const std::string& subresource);

  struct Decision {
    bool allowed = false;
    Clock::TimePoint until;
  };
  struct KnownToken {
    auth::User user;
    Clock::TimePoint until;
  };
  void drop_old();

  client::ApiClient& api_;
  Clock& clock_;
  const std::string node_name_;
  std::mutex mutex_;
  std::map<std::string, Decision> decisions_;
  std::map<std::string, KnownToken> tokens_;  // By the token's hash.
};

// The verb of a method: GET is get, POST create, ….
std::string verb_of(std::string_view method);
// The subresources of nodes that allow a path, the finest first; "proxy" allows everything.
std::vector<std::string> subresources_of(std::string_view path);

}  // namespace kubernel::kubelet
