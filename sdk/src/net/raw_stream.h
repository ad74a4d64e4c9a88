// SPDX-License-Identifier: Apache-2.0
//
// The connection after 101: a ByteStream, on either side.

#pragma once

#include "net/stream_core.h"

namespace kubernel::net {

class RawStream final : public StreamCore {
 public:
  using StreamCore::StreamCore;

  // Any thread.
  void on_data(std::function<void(std::string_view)> data);
  void pause(bool paused);
  /// Runs `task` on the loop.
  void post(std::function<void()> task) { channel_->post(std::move(task)); }
  /// Gives the peer a moment to close, then does.
  void close_soon();

  /// The protocol that moves bytes between the channel and this. Loop thread, once.
  std::unique_ptr<Protocol> make_protocol();
  /// What users hold: closes the connection when the last one is gone.
  std::shared_ptr<ByteStream> make_handle();

 private:
  friend class RawProtocol;

  void pump() override;
  void ended() override;
  void input(std::string_view bytes);
  void input_ended();
  void deliver();
  bool deliver_once();
  void post_deliver();
  std::shared_ptr<RawStream> self();

  // Loop thread only, but for data_ and paused_, which the mutex guards.
  std::function<void(std::string_view)> data_;
  bool paused_ = false;
  std::string kept_;
  bool attached_ = false;
  bool delivering_ = false;
  bool input_ended_ = false;
  bool end_told_ = false;
};

}  // namespace kubernel::net
