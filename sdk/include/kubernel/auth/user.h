// SPDX-License-Identifier: Apache-2.0
//
// Who makes a request.

#pragma once

#include <map>
#include <string>
#include <vector>

namespace kubernel::auth {

/// An authenticated identity (upstream's user.Info).
struct User {
  std::string name;  ///< "system:node:n1", "system:serviceaccount:ns:name", "alice".
  std::string uid;
  std::vector<std::string> groups;  ///< With "system:authenticated" or "system:unauthenticated".
  std::map<std::string, std::vector<std::string>> extra;
};

}  // namespace kubernel::auth
