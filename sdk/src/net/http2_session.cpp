// SPDX-License-Identifier: Apache-2.0
#include "net/http2_session.h"

#include <iterator>
#include <utility>

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

Nghttp2Session make_server_session(const nghttp2_session_callbacks* callbacks, void* user, const Limits& limits) {
  nghttp2_option* raw_option = nullptr;
  nghttp2_session* raw_session = nullptr;
  if (callbacks == nullptr || nghttp2_option_new(&raw_option) != 0) return nullptr;
  const Nghttp2Option option(raw_option);
  nghttp2_option_set_no_auto_window_update(raw_option, 1);
  nghttp2_option_set_no_closed_streams(raw_option, 1);
  nghttp2_option_set_max_send_header_block_length(raw_option, 4 * limits.max_header_bytes);
  if (nghttp2_session_server_new2(&raw_session, callbacks, user, raw_option) != 0) return nullptr;
  Nghttp2Session session(raw_session);
  const nghttp2_settings_entry settings[] = {
      {NGHTTP2_SETTINGS_MAX_CONCURRENT_STREAMS, limits.max_concurrent_streams},
      {NGHTTP2_SETTINGS_INITIAL_WINDOW_SIZE, limits.stream_window_bytes},
      {NGHTTP2_SETTINGS_MAX_HEADER_LIST_SIZE, static_cast<std::uint32_t>(limits.max_header_bytes)},
  };
  nghttp2_submit_settings(raw_session, NGHTTP2_FLAG_NONE, settings, std::size(settings));
  nghttp2_session_set_local_window_size(raw_session, NGHTTP2_FLAG_NONE, 0,
                                        static_cast<std::int32_t>(limits.connection_window_bytes));
  return session;
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
