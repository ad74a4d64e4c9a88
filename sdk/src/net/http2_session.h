// SPDX-License-Identifier: Apache-2.0
//
// What the two sides of HTTP/2 share: nghttp2's session over a channel.

#pragma once

#include <memory>
#include <string>
#include <vector>

#include <nghttp2/nghttp2.h>

#include <kubernel/net/http.h>
#include <kubernel/net/server.h>

#include "net/channel.h"

namespace kubernel::net {

template <auto kDelete>
struct Nghttp2Delete {
  template <class T>
  void operator()(T* object) const {
    kDelete(object);
  }
};

using Nghttp2Session = std::unique_ptr<nghttp2_session, Nghttp2Delete<nghttp2_session_del>>;
using Nghttp2Callbacks = std::unique_ptr<nghttp2_session_callbacks, Nghttp2Delete<nghttp2_session_callbacks_del>>;
using Nghttp2Option = std::unique_ptr<nghttp2_option, Nghttp2Delete<nghttp2_option_del>>;

/// "PRI * HTTP/2.0…": what a client that knows the server speaks HTTP/2 sends first.
inline constexpr std::string_view kHttp2Preface = NGHTTP2_CLIENT_MAGIC;

/// Frames wait in nghttp2, where flow control and order are decided, and not in the channel.
inline constexpr std::size_t kMaxQueuedFrames = 128 * 1024;

/// Name/value pairs as nghttp2 wants them; they point into what they were made from.
class FieldList {
 public:
  void add(std::string_view name, std::string_view value);
  /// Leaves out connection fields and what is no legal field.
  void add(const Headers& headers);
  const nghttp2_nv* data() const { return fields_.data(); }
  std::size_t size() const { return fields_.size(); }

 private:
  std::vector<nghttp2_nv> fields_;
};

/// A server's session, its first SETTINGS queued. Windows open as what was received is consumed, not as it arrives.
/// Null when there is no memory.
Nghttp2Session make_server_session(const nghttp2_session_callbacks* callbacks, void* user, const Limits& limits);

/// Moves frames from the session to the channel while there is room. False: the session is over.
bool send_frames(nghttp2_session* session, Channel& channel);

}  // namespace kubernel::net
