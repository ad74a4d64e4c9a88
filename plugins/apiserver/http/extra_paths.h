// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <map>
#include <memory>
#include <mutex>
#include <optional>
#include <shared_mutex>
#include <string>

#include <kubernel/net/paths.h>

namespace kubernel::apiserver {

/// What other components of the process serve beside the API.
class ExtraPaths final : public net::Paths {
 public:
  std::unique_ptr<Subscription> serve(std::string path, Handler handler) override;
  /// Nothing when nobody serves the path.
  std::optional<net::Response> answer(const CallContext& ctx, const net::Request& request) const;

 private:
  struct Entry {
    explicit Entry(Handler h) : handler(std::move(h)) {}
    std::shared_mutex busy;  // Shared while a request is answered.
    Handler handler;         // Empty: withdrawn.
  };
  struct Table {
    mutable std::mutex mutex;
    std::map<std::string, std::shared_ptr<Entry>, std::less<>> entries;
  };
  class Served;

  const std::shared_ptr<Table> table_ = std::make_shared<Table>();
};

}  // namespace kubernel::apiserver
