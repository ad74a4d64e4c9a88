// SPDX-License-Identifier: Apache-2.0
//
// /openapi/v2: one document for the whole API, as JSON and in the protobuf form Go clients ask for.

#pragma once

#include <array>
#include <mutex>
#include <string>

#include <kubernel/net/http.h>
#include <kubernel/schema/openapi.h>

#include "pipeline/api.h"

namespace kubernel::apiserver {

/// Makes a form when it is first asked for and keeps it compressed (some hundred kilobytes): clients that take gzip, as
/// Go's do, get these bytes as they are.
///
/// Threads: serve() may be called concurrently. Lifetime: `api` outlives it; what it serves is fixed before the first
/// request.
class OpenApiV2 {
 public:
  static constexpr const char* kPath = "/openapi/v2";

  explicit OpenApiV2(const Api& api) : api_(api) {}
  net::Response serve(const net::Request& request);

 private:
  struct Kept {
    std::string tag;      ///< Of the text before compression.
    std::string gzipped;  ///< Empty: not made yet.
  };
  const Kept& kept(schema::OpenApiForm form);

  const Api& api_;
  std::mutex mutex_;
  std::array<Kept, 2> kept_;
};

}  // namespace kubernel::apiserver
