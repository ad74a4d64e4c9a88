// SPDX-License-Identifier: Apache-2.0
//
// Authorizer: decides whether a user may do what a request asks.

#pragma once

#include <string>

#include <kubernel/api/selector.h>
#include <kubernel/auth/user.h>
#include <kubernel/base/context.h>
#include <kubernel/base/result.h>

namespace kubernel::auth {

/// What is asked (upstream's authorizer.Attributes).
struct Attributes {
  User user;
  std::string verb;  ///< "get", "list", "watch", "create", "update", "patch", "delete", "deletecollection", …;
                     ///< lower-case method for paths.
  bool is_resource_request = true;

  // Resource requests.
  std::string group;
  std::string version;
  std::string resource;  ///< Plural.
  std::string subresource;
  std::string ns;
  std::string name;  ///< Empty for list, watch and create.

  std::string path;  ///< Other requests: "/healthz".

  api::LabelSelector label_selector;  ///< Of list, watch and deletecollection; matches everything when not given.
  api::FieldSelector field_selector;
};

struct Decision {
  bool allowed = false;  ///< False: no opinion; the next authorizer is asked, and the last one's no is final.
  bool denied = false;   ///< An explicit refusal: no other authorizer is asked.
  std::string reason;    ///< For the audit log, and SubjectAccessReview's status.reason.
};

/// Threads: all members may be called concurrently.
class Authorizer {
 public:
  virtual ~Authorizer() = default;
  /// Errors: what kept it from deciding; the request is refused with 500.
  virtual Result<Decision> authorize(const CallContext& ctx, const Attributes& attributes) = 0;
};

}  // namespace kubernel::auth
