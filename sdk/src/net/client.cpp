// SPDX-License-Identifier: Apache-2.0
#include <kubernel/net/client.h>

#include <algorithm>
#include <cerrno>

#include <kubernel/crypto/pki.h>

#include "net/address.h"
#include "net/client_call.h"
#include "net/http_text.h"
#include "net/websocket.h"

namespace kubernel::net {
namespace {

// What of an unwanted answer is read for the error message.
constexpr std::size_t kMaxErrorBody = 64 * 1024;

// A connection on its way; what its dialer waits for.
class Dial final : public Waitable {
 public:
  void opened(bool http2) {
    const std::lock_guard lock(mutex_);
    done_ = true;
    http2_ = http2;
    notify();
  }
  void failed(Error why) {
    const std::lock_guard lock(mutex_);
    done_ = true;
    error_ = std::move(why);
    notify();
  }
  std::optional<Error> error() const {
    const std::lock_guard lock(mutex_);
    return error_;
  }
  bool http2() const {
    const std::lock_guard lock(mutex_);
    return http2_;
  }

 private:
  bool ready() const override { return done_; }
  bool done_ = false;
  bool http2_ = false;
  std::optional<Error> error_;
};

// The first protocol of a connection: waits until it is there and picks the HTTP version.
class Opening final : public Protocol {
 public:
  Opening(std::shared_ptr<ClientConnection> connection, std::shared_ptr<Dial> dial, const ClientOptions& options)
      : connection_(std::move(connection)), dial_(std::move(dial)), options_(options) {}

  void on_open() override {
    connection_->http2 = connection_->channel->alpn() == "h2";
    auto protocol =
        connection_->http2 ? make_http2_client(connection_, options_) : make_http1_client(connection_, options_);
    connection_->protocol = protocol.get();
    connection_->channel->set_deadline(std::nullopt);
    connection_->channel->replace_protocol(std::move(protocol), {});
    dial_->opened(connection_->http2);
  }
  void on_input(std::string_view) override {}
  void on_peer_closed() override {
    connection_->channel->abort(Error(Reason::ServiceUnavailable, "connection closed"));
  }
  void on_timeout() override { connection_->channel->abort(Error(Reason::ServiceUnavailable, "timed out")); }
  void on_closed(const Error* why) override {
    connection_->closed = true;
    dial_->failed(why != nullptr ? *why : Error(Reason::ServiceUnavailable, "cancelled"));
  }

 private:
  const std::shared_ptr<ClientConnection> connection_;
  const std::shared_ptr<Dial> dial_;
  const ClientOptions& options_;  // The client's, which waits for its connections.
};

class ResponseBody final : public ClientStream {
 public:
  explicit ResponseBody(std::shared_ptr<ClientCall> call) : call_(std::move(call)) {}
  ~ResponseBody() override { call_->cancel(); }

  int status() const override { return call_->status(); }
  const Headers& headers() const override { return call_->headers(); }
  void on_data(std::function<void(std::string_view, const Error*)> data) override { call_->on_data(std::move(data)); }
  void pause(bool paused) override { call_->pause(paused); }

 private:
  const std::shared_ptr<ClientCall> call_;
};

// Collects a whole body for a thread that waits.
class Collected final : public Waitable {
 public:
  explicit Collected(std::size_t limit) : limit_(limit) {}

  void data(std::string_view bytes, const Error* error) {
    const std::lock_guard lock(mutex_);
    if (done_) return;
    if (error != nullptr) error_ = *error;
    if (body_.size() + bytes.size() > limit_) {
      error_ = Error(Reason::RequestEntityTooLarge, "the response is larger than " + std::to_string(limit_) + " bytes");
    } else {
      body_.append(bytes);
    }
    done_ = bytes.empty() || error_.has_value();
    if (done_) notify();
  }
  Result<std::string> take() {
    const std::lock_guard lock(mutex_);
    if (error_) return *error_;
    return std::move(body_);
  }

 private:
  bool ready() const override { return done_; }
  const std::size_t limit_;
  bool done_ = false;
  std::optional<Error> error_;
  std::string body_;
};

bool idempotent(const std::string& method) {
  return method == "GET" || method == "HEAD" || method == "PUT" || method == "DELETE" || method == "OPTIONS";
}

class Client final : public UpgradingClient {
 public:
  Client(const NetContext& context, ClientOptions options, TlsContext tls, TlsContext http1_tls)
      : context_(context), options_(std::move(options)), tls_(std::move(tls)), http1_tls_(std::move(http1_tls)) {}
  ~Client() override;

  Result<Response> request(const CallContext& ctx, const ClientRequest& request, std::size_t limit_bytes) override;
  Result<std::unique_ptr<ClientStream>> stream(const CallContext& ctx, const ClientRequest& request) override;
  Result<std::shared_ptr<ByteStream>> upgrade(const CallContext& ctx, const ClientRequest& request,
                                              Headers* response_headers) override;
  Result<std::shared_ptr<WebSocket>> websocket(const CallContext& ctx, const ClientRequest& request,
                                               const std::vector<std::string>& subprotocols) override;
  Result<UpgradeOutcome> try_upgrade(const CallContext& ctx, const ClientRequest& request) override;

 private:
  using Connection = std::shared_ptr<ClientConnection>;

  static Result<OutgoingRequest> prepare(const ClientRequest& request, bool upgrade);
  Result<std::shared_ptr<ClientCall>> perform(const CallContext& ctx, const OutgoingRequest& outgoing);
  Result<Connection> connection_for(const CallContext& ctx, const Target& target);
  Result<Connection> dial(const CallContext& ctx, const Target& target, bool http1_only);
  Result<Connection> dial_address(const CallContext& ctx, const Target& target, const Address& address,
                                  bool http1_only);
  Result<void> run(const CallContext& ctx, const Connection& connection, const std::shared_ptr<ClientCall>& call) const;
  Result<std::string> body_of(const CallContext& ctx, ClientStream& stream, const std::string& what,
                              std::size_t limit) const;
  Result<std::shared_ptr<RawStream>> upgraded_or_error(const CallContext& ctx, const ClientRequest& request,
                                                       Headers* headers);

  const NetContext context_;
  const ClientOptions options_;
  const TlsContext tls_;
  const TlsContext http1_tls_;
  const std::shared_ptr<ConnectionPool> pool_ = std::make_shared<ConnectionPool>();
  const std::shared_ptr<Gate> connections_ = std::make_shared<Gate>();
  std::mutex mutex_;
  bool closing_ = false;
  std::map<const Channel*, std::weak_ptr<Channel>> channels_;
};

Client::~Client() {
  std::vector<std::shared_ptr<Channel>> channels;
  {
    const std::lock_guard lock(mutex_);
    closing_ = true;
    for (const auto& [key, weak] : channels_) {
      if (auto channel = weak.lock()) channels.push_back(std::move(channel));
    }
  }
  for (const auto& channel : channels) {
    channel->post([channel] { channel->abort(Error(Reason::Cancelled, "the client was closed")); });
  }
  connections_->wait_empty();
}

Result<OutgoingRequest> Client::prepare(const ClientRequest& request, bool upgrade) {
  OutgoingRequest outgoing;
  KUBERNEL_TRY(outgoing.target, parse_url(request.url));
  if (!is_token(request.method)) return Error(Reason::BadRequest, "\"" + request.method + "\" is not a method");
  outgoing.method = request.method;
  outgoing.body = request.body;
  outgoing.upgrade = upgrade;
  for (const auto& [name, value] : request.headers.fields()) {
    if (!is_token(name) || !is_field_value(value))
      return Error(Reason::BadRequest, "malformed header \"" + name + "\"");
    // The length is the body's; connection fields are ours, but for an upgrade, which they are about.
    const bool ours =
        name == "content-length" || name == "transfer-encoding" || (is_connection_field(name) && !upgrade);
    if (!ours) outgoing.headers.add(name, value);
  }
  if (upgrade && outgoing.headers.get("connection").empty()) outgoing.headers.add("connection", "Upgrade");
  return outgoing;
}

Result<Client::Connection> Client::dial_address(const CallContext& ctx, const Target& target, const Address& address,
                                                bool http1_only) {
  UniqueFd fd(::socket(address.storage.ss_family, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0));
  if (!fd) return errno_error(Reason::ServiceUnavailable, "cannot make a socket", errno);
  tune_connection(fd.get());
  if (::connect(fd.get(), address.get(), address.size) != 0 && errno != EINPROGRESS) {
    return errno_error(Reason::ServiceUnavailable, "connect " + to_text(address), errno);
  }
  std::unique_ptr<TlsSession> tls;
  if (target.secure) {
    tls = std::make_unique<TlsSession>(http1_only ? http1_tls_ : tls_, fd.get(), false);
    const bool renamed = options_.tls && !options_.tls->server_name.empty();
    const std::string& name = renamed ? options_.tls->server_name : target.host;
    if (!tls->expect_server(name))
      return Error(Reason::BadRequest, "\"" + name + "\" cannot be verified as a server's name");
  }
  IoLoop& loop = next_io_loop();
  auto connection = std::make_shared<ClientConnection>();
  connection->pool = pool_;
  connection->channel = std::make_shared<Channel>(loop, context_.clock, std::move(fd), std::move(tls));
  connection->key = target.key();  // Before the loop has it.
  const auto dial = std::make_shared<Dial>();
  const Channel* key = connection->channel.get();
  {
    const std::lock_guard lock(mutex_);
    if (closing_) return Error(Reason::Cancelled, "the client was closed");
    channels_.emplace(key, connection->channel);
  }
  loop.post([this, connection, dial, key, pass = Gate::enter(connections_)] {
    const auto& channel = connection->channel;
    channel->set_deadline(context_.clock.now() + options_.connect_timeout);
    channel->start(std::make_unique<Opening>(connection, dial, options_), [this, key, pass] {
      const std::lock_guard lock(mutex_);
      channels_.erase(key);
    });
  });
  const auto waited = dial->wait(ctx, context_.clock, to_text(address));
  if (!waited) {
    connection->channel->post([channel = connection->channel] { channel->abort(std::nullopt); });
    return waited.error();
  }
  if (auto error = dial->error()) return std::move(*error).wrap("connect " + to_text(address));
  return connection;
}

Result<Client::Connection> Client::dial(const CallContext& ctx, const Target& target, bool http1_only) {
  std::vector<Address> addresses;
  if (target.unix_socket) {
    KUBERNEL_TRY(const Address address, unix_address(target.host));
    addresses.push_back(address);
  } else {
    KUBERNEL_TRY(addresses, resolve(target.host, target.port));
  }
  Error last(Reason::ServiceUnavailable, "no address for " + target.host);
  for (const Address& address : addresses) {
    auto connection = dial_address(ctx, target, address, http1_only);
    if (connection) return connection;
    last = std::move(connection).error();
    if (last.reason() != Reason::ServiceUnavailable) break;
  }
  return last;
}

Result<Client::Connection> Client::connection_for(const CallContext& ctx, const Target& target) {
  const std::string key = target.key();
  KUBERNEL_TRY(Connection found, pool_->acquire(key, target.secure && options_.http2, ctx, context_.clock));
  if (found) return found;
  auto dialed = dial(ctx, target, false);
  if (!dialed) {
    pool_->dial_failed(key);
    return dialed;
  }
  pool_->dialed(*dialed);
  return dialed;
}

// Hands the call to the connection and waits for the response's head.
Result<void> Client::run(const CallContext& ctx, const Connection& connection,
                         const std::shared_ptr<ClientCall>& call) const {
  connection->channel->post([connection, call] {
    if (connection->protocol != nullptr && !connection->closed) {
      connection->protocol->submit(call);
    } else {
      call->fail(Error(Reason::ServiceUnavailable, call->request.target.authority + ": the connection was closed"),
                 Retry::Always);
    }
  });
  auto waited = call->wait(ctx, context_.clock, call->request.target.authority);
  if (!waited) call->cancel();
  return waited;
}

Result<std::shared_ptr<ClientCall>> Client::perform(const CallContext& ctx, const OutgoingRequest& outgoing) {
  for (int attempt = 1;; ++attempt) {
    if (ctx.stopping()) return Error(Reason::Cancelled, "stopped before the request was sent");
    KUBERNEL_TRY(const Connection connection,
                 outgoing.upgrade ? dial(ctx, outgoing.target, true) : connection_for(ctx, outgoing.target));
    const auto call = std::make_shared<ClientCall>(outgoing);
    KUBERNEL_CHECK_OK(run(ctx, connection, call));
    const auto failure = call->failure();
    if (!failure || call->status() != 0) return call;
    const bool again =
        call->retry() == Retry::Always || (call->retry() == Retry::IfIdempotent && idempotent(outgoing.method));
    constexpr int kAttempts = 4;
    if (!again || attempt == kAttempts) return *failure;
  }
}

Result<std::string> Client::body_of(const CallContext& ctx, ClientStream& stream, const std::string& what,
                                    std::size_t limit) const {
  const auto collected = std::make_shared<Collected>(limit);
  stream.on_data([collected](std::string_view data, const Error* error) { collected->data(data, error); });
  KUBERNEL_CHECK_OK(collected->wait(ctx, context_.clock, what));
  return collected->take();
}

Result<Response> Client::request(const CallContext& ctx, const ClientRequest& request, std::size_t limit_bytes) {
  KUBERNEL_TRY(const auto response_stream, stream(ctx, request));
  Response response;
  response.status = response_stream->status();
  response.headers = response_stream->headers();
  KUBERNEL_TRY(response.body, body_of(ctx, *response_stream, request.url, limit_bytes));
  return response;
}

Result<std::unique_ptr<ClientStream>> Client::stream(const CallContext& ctx, const ClientRequest& request) {
  KUBERNEL_TRY(const OutgoingRequest outgoing, prepare(request, false));
  KUBERNEL_TRY(const auto call, perform(ctx, outgoing));
  return std::unique_ptr<ClientStream>(std::make_unique<ResponseBody>(call));
}

Result<UpgradeOutcome> Client::try_upgrade(const CallContext& ctx, const ClientRequest& request) {
  KUBERNEL_TRY(const OutgoingRequest outgoing, prepare(request, true));
  if (outgoing.headers.get("upgrade").empty()) return Error(Reason::BadRequest, "an upgrade needs an Upgrade header");
  KUBERNEL_TRY(const auto call, perform(ctx, outgoing));
  UpgradeOutcome outcome;
  outcome.headers = call->headers();
  outcome.stream = call->take_upgraded();
  if (!outcome.stream) outcome.response = std::make_unique<ResponseBody>(call);
  return outcome;
}

Result<std::shared_ptr<RawStream>> Client::upgraded_or_error(const CallContext& ctx, const ClientRequest& request,
                                                             Headers* headers) {
  KUBERNEL_TRY(UpgradeOutcome outcome, try_upgrade(ctx, request));
  if (headers != nullptr) *headers = outcome.headers;
  if (outcome.stream) return std::move(outcome.stream);
  const auto body = body_of(ctx, *outcome.response, request.url, kMaxErrorBody);
  return status_error(outcome.response->status(), body ? std::string_view(*body) : std::string_view());
}

Result<std::shared_ptr<ByteStream>> Client::upgrade(const CallContext& ctx, const ClientRequest& request,
                                                    Headers* response_headers) {
  KUBERNEL_TRY(const auto raw, upgraded_or_error(ctx, request, response_headers));
  return raw->make_handle();
}

Result<std::shared_ptr<WebSocket>> Client::websocket(const CallContext& ctx, const ClientRequest& request,
                                                     const std::vector<std::string>& subprotocols) {
  std::string nonce;
  for (int word = 0; word < 2; ++word) {
    const std::uint64_t bits = crypto::system_random().next();
    for (unsigned i = 0; i < 8; ++i) nonce += static_cast<char>(bits >> (8 * i) & 0xffU);
  }
  const std::string key = crypto::base64_encode(nonce);
  ClientRequest handshake = request;
  handshake.headers.set("upgrade", "websocket");
  handshake.headers.set("connection", "Upgrade");
  handshake.headers.set("sec-websocket-key", key);
  handshake.headers.set("sec-websocket-version", "13");
  std::string offered;
  for (const std::string& name : subprotocols) offered += (offered.empty() ? "" : ", ") + name;
  if (!offered.empty()) handshake.headers.set("sec-websocket-protocol", offered);

  Headers answer;
  KUBERNEL_TRY(const auto raw, upgraded_or_error(ctx, handshake, &answer));
  std::string chosen(answer.get("sec-websocket-protocol"));
  if (!has_word(answer, "upgrade", "websocket") || answer.get("sec-websocket-accept") != websocket_accept(key)) {
    raw->finish();
    return Error(Reason::BadRequest, "the server's WebSocket handshake is malformed");
  }
  if (!chosen.empty() && std::ranges::find(subprotocols, chosen) == subprotocols.end()) {
    raw->finish();
    return Error(Reason::BadRequest, "the server chose a WebSocket subprotocol that was not offered");
  }
  return make_websocket(raw, WebSocketRole::Client, std::move(chosen));
}

}  // namespace

Result<std::unique_ptr<HttpClient>> make_http_client(const NetContext& context, ClientOptions options) {
  KUBERNEL_TRY(TlsContext tls, make_client_context(options.tls.get(), options.http2));
  KUBERNEL_TRY(TlsContext http1_tls, make_client_context(options.tls.get(), false));
  return std::unique_ptr<HttpClient>(
      std::make_unique<Client>(context, std::move(options), std::move(tls), std::move(http1_tls)));
}

}  // namespace kubernel::net
