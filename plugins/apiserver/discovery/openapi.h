// SPDX-License-Identifier: Apache-2.0
//
// /openapi/v3: the documents kubectl and client generators read (KEP-2896).

#pragma once

#include <map>
#include <mutex>
#include <string>

#include <kubernel/net/http.h>

#include "pipeline/api.h"

namespace kubernel::apiserver {

/// Makes documents when they are asked for and keeps only their hashes: clients cache by hash, so a document is rarely
/// asked for twice, and two megabytes of text are not worth holding.
///
/// Threads: all members may be called concurrently.
class OpenApi {
 public:
  explicit OpenApi(const Api& api) : api_(api) {}

  /// The paths served: "/openapi/v3" and one for each group version ("/openapi/v3/apis/apps/v1").
  std::vector<std::string> paths() const;
  net::Response serve(const net::Request& request);

 private:
  struct GroupVersion {
    std::string group, version;
    std::vector<const schema::ResourceInfo*> resources;
  };
  /// By the part of the path after "/openapi/v3/": "api/v1", "apis/apps/v1".
  std::map<std::string, GroupVersion> group_versions() const;
  std::string hash_of(const std::string& name, const GroupVersion& group_version);
  net::Response root();

  const Api& api_;
  std::mutex mutex_;
  std::map<std::string, std::string> hashes_;
};

}  // namespace kubernel::apiserver
