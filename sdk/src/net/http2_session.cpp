// SPDX-License-Identifier: Apache-2.0
#include "net/http2_session.h"

#include "net/http_text.h"

namespace kubernel::net {

void FieldList::add(std::string_view name, std::string_view value) {
  // nghttp2 takes pointers to non-const but copies what they point to.
  fields_.push_back({reinterpret_cast<std::uint8_t*>(const_cast<char*>(name.data())),
                     reinterpret_cast<std::uint8_t*>(const_cast<char*>(value.data())), name.size(), value.size(),
                     NGHTTP2_NV_FLAG_NONE});
}

void FieldList::add(const Headers& headers) {
  for (const auto& [name, value] : headers.fields()) {
    if (is_connection_field(name) || !is_token(name) || !is_field_value(value)) continue;
    add(name, value);
  }
}

bool send_frames(nghttp2_session* session, Channel& channel) {
  constexpr std::size_t kJoined = 16 * 1024;
  std::string joined;
  bool alive = true;
  while (channel.unsent() + joined.size() < kMaxQueuedFrames) {
    const std::uint8_t* data = nullptr;
    const ssize_t size = nghttp2_session_mem_send(session, &data);
    if (size < 0) alive = false;
    if (size <= 0) break;
    joined.append(reinterpret_cast<const char*>(data), static_cast<std::size_t>(size));
    if (joined.size() >= kJoined) channel.send(std::exchange(joined, {}));
  }
  if (!joined.empty()) channel.send(std::move(joined));
  return alive;
}

}  // namespace kubernel::net
