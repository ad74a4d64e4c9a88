// SPDX-License-Identifier: Apache-2.0
//
// Watch: many watches on one stream.
//
// A watch is a cursor of the store's; events are read from it only while the client reads what it was sent, so a slow
// client costs nothing but its own delay.

#pragma once

#include <memory>
#include <mutex>
#include <vector>

#include "service_context.h"

namespace kubernel::etcd_server {

class WatchStream;

class WatchService {
 public:
  explicit WatchService(ServiceContext& context);
  ~WatchService();

  void add_to(GrpcMethods& methods);

  /// Ends the periodic progress notifications.
  void stop();

 private:
  std::shared_ptr<net::GrpcReceiver> open(Call call);
  void tick();

  ServiceContext& context_;
  std::mutex mutex_;
  std::vector<std::weak_ptr<WatchStream>> streams_;
  std::unique_ptr<Subscription> timer_;
  bool stopped_ = false;
};

}  // namespace kubernel::etcd_server
