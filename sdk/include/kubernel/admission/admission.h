// SPDX-License-Identifier: Apache-2.0
//
// Admission: code that changes or refuses a write after it was authorized and before it is stored.

#pragma once

#include <cstdint>
#include <memory>
#include <string>
#include <string_view>

#include <nlohmann/json_fwd.hpp>

#include <kubernel/api/object.h>
#include <kubernel/api/resource.h>
#include <kubernel/auth/user.h>
#include <kubernel/base/clock.h>
#include <kubernel/base/context.h>
#include <kubernel/base/log.h>
#include <kubernel/base/random.h>
#include <kubernel/base/result.h>
#include <kubernel/client/client.h>

namespace kubernel::admission {

enum class Operation : std::uint8_t { Create, Update, Delete, Connect };

/// One write. Valid only during the call it is passed to.
struct Request {
  Operation operation = Operation::Create;
  const auth::User& user;
  api::Resource resource;
  std::string subresource;
  api::GroupVersionKind kind;
  api::ObjectKey key;             ///< The name may be empty for a create with generateName.
  nlohmann::json* object;         ///< Null for Delete of whole objects; mutate() may change it, validate() must not.
  const api::Object* old_object;  ///< Null for Create.
  bool dry_run = false;
};

/// Threads: all members may be called concurrently.
/// Errors: Forbidden refuses the write (upstream: `pods "x" is forbidden: why`); any other error is shown as it is.
class Admission {
 public:
  virtual ~Admission() = default;
  /// A cheap test whether mutate() and validate() want to see this kind of request.
  virtual bool handles(Operation operation, const api::Resource& resource, std::string_view subresource) const = 0;
  /// Runs in manifest order, before validation. May run again when a write lost a race.
  virtual Result<void> mutate(const CallContext& ctx, Request& request) = 0;
  /// Runs after all mutation, on the object as it will be stored.
  virtual Result<void> validate(const CallContext& ctx, const Request& request) = 0;
};

/// Lent to an admission plugin for its whole life.
struct AdmissionContext {
  std::string config_json;
  Logger& log;
  Clock& clock;
  Random& random;
  client::ApiClient& client;  ///< As system:apiserver. Usable from mutate() and validate() on, not in make().
};

/// Extension point "admission".
struct AdmissionSpec {
  static constexpr std::string_view kPoint = "admission";
  Result<std::unique_ptr<Admission>> (*make)(const AdmissionContext& context) = nullptr;
};

}  // namespace kubernel::admission
