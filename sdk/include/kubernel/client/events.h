// SPDX-License-Identifier: Apache-2.0
//
// EventRecorder: tells people what happened to an object, as Event objects.

#pragma once

#include <memory>
#include <string>
#include <string_view>

#include <kubernel/api/object.h>
#include <kubernel/base/clock.h>
#include <kubernel/base/executor.h>
#include <kubernel/base/export.h>
#include <kubernel/base/log.h>
#include <kubernel/base/random.h>
#include <kubernel/client/client.h>

namespace kubernel::client {

/// Threads: all members may be called concurrently. Recording never blocks and never fails the caller: events that
/// cannot be written after retries are counted and dropped, as upstream.
class KUBERNEL_EXPORT EventRecorder {
 public:
  virtual ~EventRecorder() = default;
  /// `type`: "Normal" or "Warning". Equal events (object, reason, message) within 10 minutes become one with a count
  /// (client-go's correlator); more than 25 in a burst about one object are held to one per 5 minutes.
  virtual void record(const api::Object& about, std::string_view type, std::string_view reason,
                      std::string_view message) = 0;
};

struct EventSource {
  std::string component;  ///< "deployment-controller", "default-scheduler", "kubelet".
  std::string host;       ///< Node name, or empty.
};

/// `client` outlives the recorder. The destructor writes what is queued or gives up at once when `blocking` is
/// stopping.
[[nodiscard]] KUBERNEL_EXPORT std::unique_ptr<EventRecorder> make_event_recorder(ApiClient& client, EventSource source,
                                                                                 Logger& log, Clock& clock,
                                                                                 Random& random, Executor& blocking);

}  // namespace kubernel::client
