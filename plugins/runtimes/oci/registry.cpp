// SPDX-License-Identifier: Apache-2.0
#include "registry.h"

#include <fcntl.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <chrono>
#include <condition_variable>
#include <deque>
#include <utility>
#include <vector>

#include <openssl/evp.h>
#include <nlohmann/json.hpp>

namespace kubernel::runtime::oci {
namespace {

using nlohmann::json;

constexpr std::size_t kMaxManifest = 4 * 1024 * 1024;  // The distribution specification's limit.
constexpr std::size_t kMaxToken = 1024 * 1024;
constexpr std::size_t kMaxQueued = 1024 * 1024;  // Of a blob, between network and disk.
constexpr int kMaxRedirects = 5;
constexpr int kMaxIndexDepth = 3;
constexpr auto kStalled = std::chrono::seconds(60);  // Without a byte for this long, a download has failed.

constexpr const char* kManifestTypes =
    "application/vnd.oci.image.manifest.v1+json, application/vnd.oci.image.index.v1+json, "
    "application/vnd.docker.distribution.manifest.v2+json, application/vnd.docker.distribution.manifest.list.v2+json";

std::string lower(std::string_view text) {
  std::string out(text);
  std::ranges::transform(out, out.begin(), [](unsigned char c) { return static_cast<char>(std::tolower(c)); });
  return out;
}

std::string base64(const std::string& text) {
  std::string out(4 * ((text.size() + 2) / 3) + 1, '\0');
  const int size = EVP_EncodeBlock(reinterpret_cast<unsigned char*>(out.data()),
                                   reinterpret_cast<const unsigned char*>(text.data()), static_cast<int>(text.size()));
  out.resize(static_cast<std::size_t>(size));
  return out;
}

std::string url_encoded(std::string_view text) {
  static constexpr char kHex[] = "0123456789ABCDEF";
  std::string out;
  for (const char c : text) {
    const auto byte = static_cast<unsigned char>(c);
    if (std::isalnum(byte) != 0 || c == '-' || c == '.' || c == '_' || c == '~') {
      out += c;
    } else {
      out += {'%', kHex[byte >> 4U], kHex[byte & 15U]};
    }
  }
  return out;
}

struct Url {
  std::string scheme, host;  // host with its port.
};

std::optional<Url> split_url(std::string_view text) {
  const std::size_t mark = text.find("://");
  if (mark == std::string_view::npos) return std::nullopt;
  Url out{lower(text.substr(0, mark)), {}};
  const std::string_view rest = text.substr(mark + 3);
  out.host = lower(rest.substr(0, rest.find_first_of("/?#")));
  // Whoever has a name and password before the host wants something else than we do.
  if (out.host.empty() || out.host.find('@') != std::string::npos || (out.scheme != "https" && out.scheme != "http"))
    return std::nullopt;
  return out;
}

Error http_error(int status, std::string_view what) {
  const std::string code = " (HTTP " + std::to_string(status) + ")";
  switch (status) {
    case 401: return {Reason::Unauthorized, std::string(what) + ": the registry refuses these credentials" + code};
    case 403: return {Reason::Unauthorized, std::string(what) + ": the registry denies access" + code};
    case 404: return {Reason::NotFound, std::string(what) + ": not found"};
    case 429: return {Reason::TooManyRequests, std::string(what) + ": the registry limits the rate of requests" + code};
    default: return {Reason::ServiceUnavailable, std::string(what) + ": unexpected answer of the registry" + code};
  }
}

// Bytes on their way from the I/O thread, which must not wait for a disk, to the thread that writes them.
class Inflow {
 public:
  explicit Inflow(net::ClientStream& stream) : stream_(stream) {}

  // On the I/O thread. Pausing and going on happen under the lock: in another order the last word could be "pause".
  void add(std::string_view data, const Error* error) {
    const std::lock_guard lock(mutex_);
    if (error != nullptr) {
      failed_ = *error;
    } else if (data.empty()) {
      ended_ = true;
    } else {
      bytes_ += data.size();
      pieces_.emplace_back(data);
    }
    if (bytes_ > kMaxQueued) stream_.pause(true);
    changed_.notify_all();
  }

  // The next piece, empty at the end.
  Result<std::string> next(const CallContext& ctx) {
    std::unique_lock lock(mutex_);
    const auto until = std::min(ctx.deadline, CallContext::Clock::now() + kStalled);
    changed_.wait_until(lock, ctx.stop, until, [&] { return !pieces_.empty() || ended_ || failed_; });
    if (!pieces_.empty()) {
      std::string piece = std::move(pieces_.front());
      pieces_.pop_front();
      const bool paused = bytes_ > kMaxQueued;
      bytes_ -= piece.size();
      if (paused && bytes_ <= kMaxQueued) stream_.pause(false);
      return piece;
    }
    if (failed_) return *failed_;
    if (ended_) return std::string();
    if (ctx.stopping()) return Error(Reason::Cancelled, "stopped while downloading");
    if (CallContext::Clock::now() >= ctx.deadline) return Error(Reason::Timeout, "the download did not end in time");
    return Error(Reason::ServiceUnavailable, "the registry has sent nothing for a minute");
  }

 private:
  net::ClientStream& stream_;
  std::mutex mutex_;
  std::condition_variable_any changed_;
  std::deque<std::string> pieces_;
  std::size_t bytes_ = 0;
  bool ended_ = false;
  std::optional<Error> failed_;
};

}  // namespace

std::optional<Challenge> parse_challenge(std::string_view header) {
  std::optional<Challenge> basic;
  while (!header.empty()) {
    while (!header.empty() && (header.front() == ' ' || header.front() == ',')) header.remove_prefix(1);
    Challenge challenge;
    const std::size_t space = header.find(' ');
    challenge.scheme = lower(header.substr(0, std::min(space, header.find(','))));
    header.remove_prefix(std::min(header.size(), challenge.scheme.size()));
    // name="value" or name=token, separated by commas; a word without "=" starts the next challenge.
    for (;;) {
      std::string_view rest = header;
      while (!rest.empty() && (rest.front() == ' ' || rest.front() == ',')) rest.remove_prefix(1);
      const std::size_t equals = rest.find('=');
      if (equals == std::string_view::npos || rest.substr(0, equals).find(' ') != std::string_view::npos) {
        header = rest;
        break;
      }
      const std::string name = lower(rest.substr(0, equals));
      rest.remove_prefix(equals + 1);
      std::string value;
      if (rest.starts_with('"')) {
        rest.remove_prefix(1);
        while (!rest.empty() && rest.front() != '"') {
          if (rest.front() == '\\' && rest.size() > 1) rest.remove_prefix(1);
          value += rest.front();
          rest.remove_prefix(1);
        }
        if (!rest.empty()) rest.remove_prefix(1);
      } else {
        value = rest.substr(0, rest.find_first_of(", "));
        rest.remove_prefix(value.size());
      }
      challenge.parameters[name] = value;
      header = rest;
    }
    if (challenge.scheme == "bearer" && challenge.parameters.contains("realm")) return challenge;
    if (challenge.scheme == "basic") basic = challenge;
    if (challenge.scheme.empty()) break;
  }
  return basic;
}

// One pull: what it has been granted, and the blobs it pins.
class Registry::Puller {
 public:
  Puller(Registry& registry, const CallContext& ctx, Store& store, const Reference& reference,
         const std::optional<Credentials>& credentials)
      : registry_(registry), ctx_(ctx), store_(store), reference_(reference), credentials_(credentials) {
    // Docker's registry has another name than its images.
    host_ = reference.registry == "docker.io" ? "registry-1.docker.io" : reference.registry;
    plain_http_ = registry.settings_of(reference.registry).plain_http;
    base_ = std::string(plain_http_ ? "http://" : "https://") + host_ + "/v2/" + reference.repository;
  }

  Result<Image> run() {
    const std::string wanted = reference_.digest.empty() ? reference_.tag : reference_.digest;
    KUBERNEL_TRY(const Document top, get_manifest(wanted));
    KUBERNEL_TRY(const std::string digest, resolve(top, 0));
    std::vector<std::string> names = {reference_.name() + "@" + top.digest};
    if (reference_.digest.empty()) names.push_back(reference_.text());
    return store_.add_image(ctx_, digest, names);
  }

 private:
  struct Document {
    std::string text, digest;
    Manifest manifest;
  };

  Result<std::string> resolve(const Document& document, int depth) {
    if (depth > kMaxIndexDepth) return Error(Reason::Invalid, "indexes are nested too deep");
    if (document.manifest.is_index) {
      const Descriptor* chosen = choose_platform(document.manifest.manifests);
      if (chosen == nullptr)
        return Error(Reason::Invalid, "no image for linux/" + machine_architecture() + " in the index");
      KUBERNEL_TRY(const Document inner, get_manifest(chosen->digest));
      return resolve(inner, depth + 1);
    }
    pins_.push_back(store_.pin(document.digest));
    KUBERNEL_TRY(const std::string digest, store_.put_blob(document.text));
    KUBERNEL_CHECK_OK(get_blob(document.manifest.config));
    for (const Descriptor& layer : document.manifest.layers) KUBERNEL_CHECK_OK(get_blob(layer));
    return digest;
  }

  Result<Document> get_manifest(const std::string& name) {
    net::ClientRequest request;
    request.url = base_ + "/manifests/" + name;
    request.headers.set("accept", kManifestTypes);
    for (bool retried = false;; retried = true) {
      authorize(request.headers);
      KUBERNEL_TRY(const std::shared_ptr<net::HttpClient> client, registry_.client_of(host_));
      KUBERNEL_TRY(const net::Response response, client->request(ctx_, request, kMaxManifest));
      if (response.status == 401 && !retried) {
        KUBERNEL_CHECK_OK(answer(response.headers));
        continue;
      }
      if (response.status != 200) return http_error(response.status, "manifest " + name);
      Document out{response.body, sha256_digest(response.body), {}};
      if (name.starts_with("sha256:") && out.digest != name)
        return Error(Reason::Invalid, "manifest " + name + " has the content of " + out.digest);
      KUBERNEL_TRY(out.manifest, parse_manifest(out.text));
      return out;
    }
  }

  Result<void> get_blob(const Descriptor& blob) {
    pins_.push_back(store_.pin(blob.digest));
    if (store_.has_blob(blob.digest)) return {};
    KUBERNEL_TRY(const std::string temporary, store_.make_temporary(false));
    Result<void> result = download(blob, temporary);
    if (result) result = store_.adopt_blob(temporary, blob.digest);
    if (!result) unlink(temporary.c_str());
    return result;
  }

  Result<void> download(const Descriptor& blob, const std::string& path) {
    std::string url = base_ + "/blobs/" + blob.digest;
    bool retried = false;
    for (int redirects = 0; redirects <= kMaxRedirects;) {
      const auto target = split_url(url);
      if (!target || (target->scheme != "https" && !plain_http_))
        return Error(Reason::Invalid, "blob " + blob.digest + ": the registry redirects to an unusable address");
      net::ClientRequest request;
      request.url = url;
      // Where a registry redirects to is not told our credentials.
      if (target->host == host_) authorize(request.headers);
      KUBERNEL_TRY(const std::shared_ptr<net::HttpClient> client, registry_.client_of(target->host));
      KUBERNEL_TRY(const std::unique_ptr<net::ClientStream> stream, client->stream(ctx_, request));
      const int status = stream->status();
      if (status == 200) return save(*stream, blob, path);
      if (status == 401 && !retried && target->host == host_) {
        retried = true;
        KUBERNEL_CHECK_OK(answer(stream->headers()));
        continue;
      }
      const bool redirect = status == 301 || status == 302 || status == 303 || status == 307 || status == 308;
      if (!redirect) return http_error(status, "blob " + blob.digest);
      const std::string location(stream->headers().get("location"));
      url = location.starts_with('/') ? target->scheme + "://" + target->host + location : location;
      ++redirects;
    }
    return Error(Reason::ServiceUnavailable, "blob " + blob.digest + ": too many redirects");
  }

  Result<void> save(net::ClientStream& stream, const Descriptor& blob, const std::string& path) {
    const UniqueFd file(::open(path.c_str(), O_WRONLY | O_CLOEXEC));
    if (!file) return file_error("open", path, errno);
    const auto inflow = std::make_shared<Inflow>(stream);
    stream.on_data([inflow](std::string_view data, const Error* error) { inflow->add(data, error); });
    Sha256 hash;
    std::int64_t size = 0;
    for (;;) {
      auto piece = inflow->next(ctx_);
      if (!piece) return std::move(piece).error().wrap("blob " + blob.digest);
      if (piece->empty()) break;
      size += static_cast<std::int64_t>(piece->size());
      if (size > blob.size) return Error(Reason::Invalid, "blob " + blob.digest + " is larger than its manifest says");
      hash.add(*piece);
      for (std::string_view rest = *piece; !rest.empty();) {
        const ssize_t written = write(file.get(), rest.data(), rest.size());
        if (written < 0 && errno == EINTR) continue;
        if (written < 0) return file_error("write", path, errno);
        rest.remove_prefix(static_cast<std::size_t>(written));
      }
    }
    const std::string digest = hash.digest();
    if (size != blob.size || digest != blob.digest) {
      return Error(Reason::Invalid,
                   "blob " + blob.digest + " has the content of " + digest + " (" + std::to_string(size) + " bytes)");
    }
    return {};
  }

  void authorize(net::Headers& headers) const {
    if (!authorization_.empty()) headers.set("authorization", authorization_);
  }

  std::string basic() const { return "Basic " + base64(credentials_->username + ":" + credentials_->password); }

  // Gets what the registry asks for after a 401.
  Result<void> answer(const net::Headers& headers) {
    std::string all;
    for (const std::string_view value : headers.all("www-authenticate"))
      all += (all.empty() ? "" : ", ") + std::string(value);
    const auto challenge = parse_challenge(all);
    if (!challenge)
      return Error(Reason::Unauthorized, "the registry wants a kind of authentication that is not supported");
    if (challenge->scheme == "bearer") return get_token(*challenge);
    if (!credentials_) return Error(Reason::Unauthorized, "the registry wants credentials, and there are none for it");
    authorization_ = basic();
    return {};
  }

  Result<void> get_token(const Challenge& challenge) {
    const std::string& realm = challenge.parameters.at("realm");
    const auto target = split_url(realm);
    if (!target || (target->scheme != "https" && !plain_http_))
      return Error(Reason::Unauthorized, "the registry names an unusable token service");
    net::ClientRequest request;
    request.url = realm + (realm.find('?') == std::string::npos ? "?" : "&") +
                  "scope=" + url_encoded("repository:" + reference_.repository + ":pull");
    if (const auto service = challenge.parameters.find("service"); service != challenge.parameters.end()) {
      request.url += "&service=" + url_encoded(service->second);
    }
    if (credentials_) request.headers.set("authorization", basic());
    KUBERNEL_TRY(const std::shared_ptr<net::HttpClient> client, registry_.client_of(target->host));
    KUBERNEL_TRY(const net::Response response, client->request(ctx_, request, kMaxToken));
    if (response.status != 200) return http_error(response.status == 400 ? 401 : response.status, "token");
    const json body = json::parse(response.body, nullptr, false);
    for (const char* key : {"token", "access_token"}) {
      if (body.is_object() && body.contains(key) && body[key].is_string()) {
        authorization_ = "Bearer " + body[key].get<std::string>();
        return {};
      }
    }
    return Error(Reason::Unauthorized, "the registry's token service gave no token");
  }

  Registry& registry_;
  const CallContext& ctx_;
  Store& store_;
  const Reference& reference_;
  const std::optional<Credentials>& credentials_;
  std::string host_, base_, authorization_;
  bool plain_http_ = false;
  std::vector<BlobPin> pins_;
};

RegistrySettings Registry::settings_of(const std::string& host) const {
  const auto found = settings_.find(host);
  return found == settings_.end() ? RegistrySettings{} : found->second;
}

Result<std::shared_ptr<net::HttpClient>> Registry::client_of(const std::string& host) {
  const std::lock_guard lock(mutex_);
  auto& client = clients_[host];
  if (!client) {
    KUBERNEL_TRY(client, make_client_(settings_of(host)));
  }
  return client;
}

Result<Image> Registry::pull(const CallContext& ctx, Store& store, const Reference& reference,
                             const std::optional<Credentials>& credentials) {
  auto image = Puller(*this, ctx, store, reference, credentials).run();
  if (image) return image;
  store.collect_garbage();
  return std::move(image).error().wrap("failed to pull image \"" + reference.text() + "\"");
}

}  // namespace kubernel::runtime::oci
