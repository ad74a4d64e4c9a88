// SPDX-License-Identifier: Apache-2.0
//
// ClientCall: one request and its response, between a waiting caller and the loop. ClientConnection and ConnectionPool:
// the connections calls run on.

#pragma once

#include <atomic>
#include <condition_variable>
#include <functional>
#include <map>
#include <memory>
#include <mutex>
#include <optional>
#include <string>
#include <vector>

#include <kubernel/net/client.h>

#include "net/raw_stream.h"
#include "net/server_stream.h"

namespace kubernel::net {

/// Something a thread waits for, until it is there or the context ends. Shared, because a timer may fire late.
class Waitable : public std::enable_shared_from_this<Waitable> {
 public:
  virtual ~Waitable() = default;
  /// Errors: Timeout, Cancelled; `what` says what was waited for.
  Result<void> wait(const CallContext& ctx, Clock& clock, const std::string& what);

 protected:
  virtual bool ready() const = 0;  // With mutex_ held.
  void notify() { changed_.notify_all(); }
  mutable std::mutex mutex_;

 private:
  std::condition_variable changed_;
  bool expired_ = false;
};

/// Where a URL leads.
struct Target {
  bool secure = false;
  bool unix_socket = false;
  std::string host;
  std::string port;
  std::string authority;  ///< The Host header.
  std::string path;       ///< With the query.
  /// Connections to the same are interchangeable.
  std::string key() const { return unix_socket ? "p unix:" + host : (secure ? "s " : "p ") + authority; }
};
/// Errors: BadRequest.
Result<Target> parse_url(const std::string& url);

struct OutgoingRequest {
  std::string method;
  Target target;
  Headers headers;  ///< Without connection fields, unless `upgrade`.
  std::string body;
  bool upgrade = false;
};

enum class Retry : std::uint8_t { Never, IfIdempotent, Always };

class ClientCall;

/// The protocol's side of a call. Loop thread.
class ClientLink {
 public:
  virtual ~ClientLink() = default;
  /// The user took `size` bytes of the body.
  virtual void taken(ClientCall& call, std::size_t size) = 0;
  virtual void cancel(ClientCall& call) = 0;
};

class ClientCall final : public Waitable {
 public:
  using DataCallback = std::function<void(std::string_view, const Error*)>;

  explicit ClientCall(OutgoingRequest outgoing) : request(std::move(outgoing)) {}

  const OutgoingRequest request;

  // Any thread.
  void on_data(DataCallback data);
  void pause(bool paused);
  void cancel();
  /// After wait(): the head is there, or the call failed.
  std::optional<Error> failure() const;
  Retry retry() const;
  int status() const;
  const Headers& headers() const { return headers_; }
  /// The connection after 101; null otherwise.
  std::shared_ptr<RawStream> take_upgraded();

  // Loop thread.
  void attach(ClientLink* link, std::shared_ptr<Channel> channel);
  void detach() { link_ = nullptr; }
  void head(int status, Headers headers);
  void upgraded(Headers headers, std::shared_ptr<RawStream> stream);
  void data(std::string_view bytes);
  std::size_t kept() const { return kept_.size(); }
  void finish();
  void fail(Error why, Retry retry);
  bool over() const { return ended_; }
  bool cancelled() const;

 private:
  bool ready() const override { return head_ready_ || failure_.has_value(); }
  void post(std::function<void(ClientCall&)> work);
  void deliver();
  bool deliver_once();
  std::shared_ptr<ClientCall> self() { return std::static_pointer_cast<ClientCall>(shared_from_this()); }

  // Guarded by mutex_; the head does not change once it is ready.
  std::shared_ptr<Channel> channel_;
  bool head_ready_ = false;
  int status_ = 0;
  Headers headers_;
  std::optional<Error> failure_;
  Retry retry_ = Retry::Never;
  std::shared_ptr<RawStream> upgraded_;
  DataCallback data_;
  bool paused_ = false;
  bool cancelled_ = false;

  // Loop thread only.
  ClientLink* link_ = nullptr;
  std::string kept_;
  bool ended_ = false;
  bool end_told_ = false;
  bool delivering_ = false;
};

/// A protocol that takes calls.
class ClientProtocol : public Protocol {
 public:
  virtual void submit(std::shared_ptr<ClientCall> call) = 0;
};

class ConnectionPool;

struct ClientConnection {
  std::shared_ptr<Channel> channel;
  std::weak_ptr<ConnectionPool> pool;
  std::string key;
  bool http2 = false;
  ClientProtocol* protocol = nullptr;  ///< Loop thread only; null once closed.
  std::atomic<bool> closed{false};
  // Guarded by the pool's mutex.
  bool reused = false;
  std::uint32_t calls = 0;
  std::uint32_t max_calls = 100;
};

/// The connections that can take another call. Threads: any.
class ConnectionPool {
 public:
  /// A connection for one more call; null: the caller dials, and must say dialed() or dial_failed().
  /// `shareable`: the connection may turn out to speak HTTP/2, so one caller dials for all.
  Result<std::shared_ptr<ClientConnection>> acquire(const std::string& key, bool shareable, const CallContext& ctx,
                                                    Clock& clock);
  void dialed(const std::shared_ptr<ClientConnection>& connection);
  void dial_failed(const std::string& key);
  /// A call on it ended, and it can take another.
  void release(ClientConnection& connection);
  /// It takes no more calls.
  void forget(const ClientConnection& connection);
  void set_max_calls(ClientConnection& connection, std::uint32_t max_calls);

 private:
  // A caller that waits for another one's dialing.
  class Knock final : public Waitable {
   public:
    void knock() {
      const std::lock_guard lock(mutex_);
      knocked_ = true;
      notify();
    }

   private:
    bool ready() const override { return knocked_; }
    bool knocked_ = false;
  };
  struct Slot {
    std::vector<std::shared_ptr<ClientConnection>> usable;
    std::vector<std::shared_ptr<Knock>> waiting;
    int dialing = 0;
    bool speaks_http1 = false;  // Then everybody dials for himself.
  };
  static std::shared_ptr<ClientConnection> find(Slot& slot);
  void ended_dialing(Slot& slot);

  std::mutex mutex_;
  std::map<std::string, Slot> slots_;
};

std::unique_ptr<ClientProtocol> make_http1_client(std::shared_ptr<ClientConnection> connection,
                                                  const ClientOptions& options);
std::unique_ptr<ClientProtocol> make_http2_client(std::shared_ptr<ClientConnection> connection,
                                                  const ClientOptions& options);

/// What upgrade() and the tunnel share.
struct UpgradeOutcome {
  std::shared_ptr<RawStream> stream;       ///< After 101.
  std::unique_ptr<ClientStream> response;  ///< Otherwise.
  Headers headers;
};

class UpgradingClient : public HttpClient {
 public:
  virtual Result<UpgradeOutcome> try_upgrade(const CallContext& ctx, const ClientRequest& request) = 0;
};

}  // namespace kubernel::net
