// SPDX-License-Identifier: Apache-2.0
#include <kubernel/client/http.h>

#include <algorithm>
#include <condition_variable>
#include <deque>
#include <mutex>
#include <optional>
#include <utility>

#include <nlohmann/json.hpp>

#include <kubernel/api/time.h>

#include "client/http_paths.h"

namespace kubernel::client {
namespace {

using api::Object;
using api::ObjectKey;
using api::Resource;
using nlohmann::json;

constexpr std::size_t kLargestResponse = 512U * 1024 * 1024;
constexpr std::size_t kLargestError = 1024U * 1024;
constexpr std::size_t kWatchBacklog = 4U * 1024 * 1024;  // Bytes not taken before the server has to wait.
constexpr const char* kJson = "application/json";

using TokenSource = std::function<Result<std::string>(const CallContext&)>;

// --- A watch: lines arrive on an I/O thread, the reader takes them on its own.

struct Lines {
  std::mutex mutex;
  std::string partial;
  std::deque<std::string> whole;
  std::size_t bytes = 0;
  bool paused = false;
  std::optional<Error> end;
  net::ClientStream* stream = nullptr;  // Null once the watch is being destroyed.

  std::recursive_mutex bell;  // Recursive: a callback may end in notify() again.
  std::function<void()> ready;

  void ring() {
    const std::lock_guard lock(bell);
    if (ready) ready();
  }

  void arrived(std::string_view data, const Error* error) {
    {
      const std::lock_guard lock(mutex);
      if (error != nullptr) {
        end = Error(Reason::ServiceUnavailable, "watch broke off: " + error->message());
      } else if (data.empty()) {
        end = Error(Reason::Timeout, "the server ended the watch");
      } else {
        take(data);
      }
    }
    ring();
  }

 private:
  void take(std::string_view data) {
    for (;;) {
      const auto newline = data.find('\n');
      if (newline == std::string_view::npos) break;
      partial.append(data.substr(0, newline));
      bytes += partial.size();
      if (!partial.empty()) whole.push_back(std::exchange(partial, {}));
      data.remove_prefix(newline + 1);
    }
    partial.append(data);
    if (bytes > kWatchBacklog && !paused && stream != nullptr) {
      paused = true;
      stream->pause(true);
    }
  }
};

class HttpWatch final : public Watch {
 public:
  explicit HttpWatch(std::unique_ptr<net::ClientStream> stream) : stream_(std::move(stream)) {
    lines_->stream = stream_.get();
    stream_->on_data([lines = lines_](std::string_view data, const Error* error) { lines->arrived(data, error); });
  }
  ~HttpWatch() override {
    {
      const std::lock_guard lock(lines_->mutex);
      lines_->stream = nullptr;
    }
    stream_.reset();
    const std::lock_guard lock(lines_->bell);  // For a callback that is running.
    lines_->ready = nullptr;
  }
  HttpWatch(const HttpWatch&) = delete;
  HttpWatch& operator=(const HttpWatch&) = delete;

  Result<std::vector<WatchEvent>> take(std::size_t max) override {
    std::vector<std::string> lines;
    std::optional<Error> end;
    bool resume = false;
    {
      const std::lock_guard lock(lines_->mutex);
      while (!lines_->whole.empty() && lines.size() < max) {
        lines_->bytes -= lines_->whole.front().size();
        lines.push_back(std::move(lines_->whole.front()));
        lines_->whole.pop_front();
      }
      if (lines.empty()) end = lines_->end;
      resume = lines_->paused && lines_->bytes < kWatchBacklog / 2;
      if (resume) lines_->paused = false;
    }
    if (resume) stream_->pause(false);
    if (end) return *end;
    std::vector<WatchEvent> out;
    out.reserve(lines.size());
    for (const std::string& line : lines) {
      auto event = http::read_event(line);
      if (!event) return std::move(event).error();
      out.push_back(*std::move(event));
    }
    return out;
  }

  void notify(std::function<void()> ready) override {
    {
      const std::lock_guard lock(lines_->bell);
      lines_->ready = std::move(ready);
    }
    bool something = false;
    {
      const std::lock_guard lock(lines_->mutex);
      something = !lines_->whole.empty() || lines_->end;
    }
    if (something) lines_->ring();
  }

 private:
  const std::shared_ptr<Lines> lines_ = std::make_shared<Lines>();
  std::unique_ptr<net::ClientStream> stream_;
};

// Reads the body of a stream that is an error. Blocks like a request does; the body of a Status comes at once.
std::string read_rest(net::ClientStream& stream, Clock& clock, const CallContext& ctx) {
  struct Body {
    std::mutex mutex;
    std::condition_variable ended;
    std::string text;
    bool over = false;
  };
  const auto body = std::make_shared<Body>();
  stream.on_data([body](std::string_view data, const Error* error) {
    const std::lock_guard lock(body->mutex);
    if (error != nullptr || data.empty() || body->text.size() > kLargestError) {
      body->over = true;
      body->ended.notify_all();
    } else {
      body->text.append(data);
    }
  });
  std::unique_lock lock(body->mutex);
  const auto deadline = std::min(ctx.deadline, clock.now() + std::chrono::seconds(5));
  body->ended.wait_until(lock, deadline, [&] { return body->over; });
  return body->text;
}

// --- The client.

class HttpApiClient final : public ApiClient {
 public:
  HttpApiClient(const net::NetContext& context, Random& random, net::HttpClient& http, HttpApiOptions options,
                TokenSource token)
      : context_(context), random_(random), http_(http), options_(std::move(options)), token_(std::move(token)) {}

  Result<Object> get(const CallContext& ctx, const Resource& resource, const ObjectKey& key,
                     std::string_view subresource) override {
    return object(call(ctx, "GET", http::path(resource, key.ns, key.name, subresource), {}, {}));
  }

  Result<ObjectList> list(const CallContext& ctx, const Resource& resource, const ListOptions& options) override {
    KUBERNEL_TRY(std::string body,
                 call(ctx, "GET", http::path(resource, options.ns, {}, {}) + list_query(options), {}, {}));
    return http::read_list(std::move(body));
  }

  Result<std::unique_ptr<Watch>> watch(const CallContext& ctx, const Resource& resource,
                                       const WatchOptions& options) override {
    http::Query query;
    query.add("watch", "true")
        .add("labelSelector", options.label_selector)
        .add("fieldSelector", options.field_selector);
    if (options.resource_version > 0) query.add("resourceVersion", std::to_string(options.resource_version));
    if (options.bookmarks) query.add("allowWatchBookmarks", "true");
    query.add("timeoutSeconds", std::to_string(300 + random_below(random_, 300)));
    KUBERNEL_TRY(const auto request,
                 make_request(ctx, "GET", http::path(resource, options.ns, {}, {}) + query.text(), {}, {}));
    KUBERNEL_TRY(auto stream, http_.stream(ctx, request));
    if (stream->status() != 200) return read_status_error(stream->status(), read_rest(*stream, context_.clock, ctx));
    return std::make_unique<HttpWatch>(std::move(stream));
  }

  Result<Object> create(const CallContext& ctx, const Resource& resource, const ObjectKey& parent, const json& document,
                        const WriteOptions& options) override {
    const std::string_view name = options.subresource.empty() ? std::string_view() : std::string_view(parent.name);
    return object(call(ctx, "POST", http::path(resource, parent.ns, name, options.subresource) + write_query(options),
                       kJson, document.dump()));
  }

  Result<Object> update(const CallContext& ctx, const Resource& resource, const ObjectKey& key, const json& document,
                        const WriteOptions& options) override {
    return object(call(ctx, "PUT", http::path(resource, key.ns, key.name, options.subresource) + write_query(options),
                       kJson, document.dump()));
  }

  Result<Object> patch(const CallContext& ctx, const Resource& resource, const ObjectKey& key, PatchType type,
                       const json& patch, const WriteOptions& options) override {
    static constexpr const char* kTypes[] = {"application/json-patch+json", "application/merge-patch+json",
                                             "application/strategic-merge-patch+json", "application/apply-patch+yaml"};
    http::Query query;
    query.add("fieldManager", options.field_manager).add("dryRun", options.dry_run ? "All" : "");
    if (type == PatchType::Apply) query.add("force", options.force ? "true" : "false");
    return object(call(ctx, "PATCH", http::path(resource, key.ns, key.name, options.subresource) + query.text(),
                       kTypes[static_cast<std::size_t>(type)], patch.dump()));
  }

  Result<Object> remove(const CallContext& ctx, const Resource& resource, const ObjectKey& key,
                        const DeleteOptions& options) override {
    return object(
        call(ctx, "DELETE", http::path(resource, key.ns, key.name, {}), kJson, http::delete_options(options).dump()));
  }

  Result<void> remove_all(const CallContext& ctx, const Resource& resource, const ListOptions& which,
                          const DeleteOptions& options) override {
    KUBERNEL_CHECK_OK(call(ctx, "DELETE", http::path(resource, which.ns, {}, {}) + list_query(which), kJson,
                           http::delete_options(options).dump()));
    return {};
  }

  Result<std::vector<DiscoveredResource>> discover(const CallContext& ctx) override {
    std::vector<std::string> documents;
    for (const char* root : {"/api", "/apis"}) {
      KUBERNEL_TRY(auto request, make_request(ctx, "GET", root, {}, {}));
      request.headers.set("accept", "application/json;g=apidiscovery.k8s.io;v=v2;as=APIGroupDiscoveryList");
      KUBERNEL_TRY(std::string body, send(ctx, request));
      documents.push_back(std::move(body));
    }
    return http::read_discovery(documents);
  }

 private:
  static std::string list_query(const ListOptions& options) {
    http::Query query;
    query.add("labelSelector", options.label_selector).add("fieldSelector", options.field_selector);
    if (options.limit > 0) query.add("limit", std::to_string(options.limit));
    query.add("continue", options.continue_token);
    // The server refuses a revision beside a continue token, which carries its own.
    if (options.continue_token.empty()) {
      query.add("resourceVersion", options.resource_version)
          .add("resourceVersionMatch", options.resource_version_match);
    }
    return query.text();
  }

  static std::string write_query(const WriteOptions& options) {
    http::Query query;
    query.add("fieldManager", options.field_manager).add("dryRun", options.dry_run ? "All" : "");
    return query.text();
  }

  static Result<Object> object(Result<std::string> body) {
    if (!body) return std::move(body).error();
    return Object::parse(*std::move(body));
  }

  Result<net::ClientRequest> make_request(const CallContext& ctx, std::string method, const std::string& target,
                                          std::string_view type, std::string body) {
    net::ClientRequest request;
    request.method = std::move(method);
    request.url = options_.server + target;
    request.headers.set("accept", kJson);
    request.headers.set("user-agent", options_.user_agent);
    if (!type.empty()) request.headers.set("content-type", type);
    request.body = std::move(body);
    if (token_) {
      KUBERNEL_TRY(const std::string token, token_(ctx));
      if (!token.empty()) request.headers.set("authorization", "Bearer " + token);
    }
    return request;
  }

  Result<std::string> call(const CallContext& ctx, std::string method, const std::string& target, std::string_view type,
                           std::string body) {
    KUBERNEL_TRY(const auto request, make_request(ctx, std::move(method), target, type, std::move(body)));
    return send(ctx, request);
  }

  Result<std::string> send(const CallContext& ctx, const net::ClientRequest& request) {
    CallContext bounded = ctx;
    if (bounded.deadline == CallContext::Clock::time_point::max())
      bounded.deadline = context_.clock.now() + options_.request_timeout;
    KUBERNEL_TRY(net::Response response, http_.request(bounded, request, kLargestResponse));
    if (response.status >= 200 && response.status < 300) return std::move(response.body);
    return read_status_error(response.status, response.body);
  }

  const net::NetContext context_;
  Random& random_;
  net::HttpClient& http_;
  const HttpApiOptions options_;
  const TokenSource token_;
};

// --- Tokens of service accounts.

// Asks for a token when there is none or it is old. Threads: all members may be called concurrently.
class AccountTokens {
 public:
  AccountTokens(std::unique_ptr<ApiClient> client, Clock& clock, ObjectKey account)
      : client_(std::move(client)), clock_(clock), account_(std::move(account)) {}

  Result<std::string> get(const CallContext& ctx) {
    const std::lock_guard lock(mutex_);  // Held while it asks: one question for all who wait.
    if (!token_.empty() && clock_.now() < renew_at_) return token_;
    const json request = {{"apiVersion", "authentication.k8s.io/v1"},
                          {"kind", "TokenRequest"},
                          {"spec", {{"expirationSeconds", kLife.count()}}}};
    const auto answer =
        client_->create(ctx, api::resources::kServiceAccounts, account_, request, {.subresource = "token"});
    if (!answer) {
      Error error = answer.error();
      return std::move(error).wrap("token of service account " + to_string(account_));
    }
    token_ = answer->pointer("/status/token").string();
    const auto expires = api::read_time(answer->pointer("/status/expirationTimestamp"));
    auto life = expires ? *expires - clock_.wall_now() : std::chrono::duration_cast<Clock::WallTime::duration>(kLife);
    // At four fifths of its life, so that a server that is away for a while does no harm.
    renew_at_ = clock_.now() + std::chrono::duration_cast<Clock::TimePoint::duration>(life) * 4 / 5;
    return token_;
  }

 private:
  static constexpr std::chrono::seconds kLife{3600};
  const std::unique_ptr<ApiClient> client_;
  Clock& clock_;
  const ObjectKey account_;
  std::mutex mutex_;
  std::string token_;
  Clock::TimePoint renew_at_{};
};

class HttpConnector final : public Connector {
 public:
  HttpConnector(const net::NetContext& context, Random& random, net::HttpClient& http, HttpApiOptions options)
      : context_(context), random_(random), http_(http), options_(std::move(options)) {}

  std::unique_ptr<ApiClient> connect(const auth::User& user) override {
    constexpr std::string_view kPrefix = "system:serviceaccount:";
    if (!options_.service_account_tokens || !user.name.starts_with(kPrefix)) return make(options_.token);
    const std::string rest = user.name.substr(kPrefix.size());
    const auto colon = rest.find(':');
    if (colon == std::string::npos) return make(options_.token);
    auto tokens = std::make_shared<AccountTokens>(make(options_.token), context_.clock,
                                                  ObjectKey{rest.substr(0, colon), rest.substr(colon + 1)});
    return make([tokens](const CallContext& ctx) { return tokens->get(ctx); });
  }

 private:
  std::unique_ptr<ApiClient> make(TokenSource token) const {
    return std::make_unique<HttpApiClient>(context_, random_, http_, options_, std::move(token));
  }

  const net::NetContext context_;
  Random& random_;
  net::HttpClient& http_;
  const HttpApiOptions options_;
};

}  // namespace

std::unique_ptr<Connector> make_http_connector(const net::NetContext& context, Random& random, net::HttpClient& http,
                                               HttpApiOptions options) {
  while (options.server.ends_with('/')) options.server.pop_back();
  return std::make_unique<HttpConnector>(context, random, http, std::move(options));
}

}  // namespace kubernel::client
