// SPDX-License-Identifier: Apache-2.0
//
// Registry: pulls images by the OCI distribution specification: manifests and indexes, Bearer tokens and Basic
// credentials, blobs with their digests checked as they arrive.
#pragma once

#include <functional>
#include <map>
#include <memory>
#include <mutex>
#include <optional>
#include <string>
#include <string_view>

#include <kubernel/net/client.h>
#include <kubernel/runtime/container_runtime.h>

#include "image_store.h"
#include "reference.h"

namespace kubernel::runtime::oci {

struct RegistrySettings {
  bool plain_http = false;
  std::string ca_file;  ///< Empty: the system's roots.
};

/// WWW-Authenticate, as far as registries use it.
struct Challenge {
  std::string scheme;  ///< "bearer" or "basic", lower case.
  std::map<std::string, std::string> parameters;
};

/// The Bearer challenge when there is one, else the Basic one; absent when there is neither.
std::optional<Challenge> parse_challenge(std::string_view header);

/// Threads: all members may be called concurrently.
class Registry {
 public:
  using ClientMaker = std::function<Result<std::unique_ptr<net::HttpClient>>(const RegistrySettings&)>;

  /// `settings`: by host[:port].
  Registry(std::map<std::string, RegistrySettings> settings, ClientMaker make_client)
      : settings_(std::move(settings)), make_client_(std::move(make_client)) {}

  /// Errors: NotFound, Unauthorized, ServiceUnavailable, TooManyRequests, Invalid, Cancelled, Timeout; all name the
  /// reference.
  Result<Image> pull(const CallContext& ctx, Store& store, const Reference& reference,
                     const std::optional<Credentials>& credentials);

 private:
  class Puller;
  Result<std::shared_ptr<net::HttpClient>> client_of(const std::string& host);
  RegistrySettings settings_of(const std::string& host) const;

  const std::map<std::string, RegistrySettings> settings_;
  const ClientMaker make_client_;
  std::mutex mutex_;
  std::map<std::string, std::shared_ptr<net::HttpClient>> clients_;
};

}  // namespace kubernel::runtime::oci
