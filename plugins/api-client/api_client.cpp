// SPDX-License-Identifier: Apache-2.0
#include "api_client.h"

#include <chrono>
#include <fstream>
#include <iterator>
#include <mutex>
#include <utility>

#include <nlohmann/json.hpp>

#include <kubernel/client/http.h>

#include "kubeconfig.h"

namespace kubernel::plugins::api_client {
namespace {

using nlohmann::json;

// A token in a file that somebody else keeps fresh. Threads: get() may be called concurrently.
class TokenFile {
 public:
  TokenFile(std::string path, Clock& clock) : path_(std::move(path)), clock_(clock) {}

  Result<std::string> get() {
    constexpr std::chrono::seconds kKeep{10};
    const std::lock_guard lock(mutex_);
    if (!token_.empty() && clock_.now() - read_at_ < kKeep) return token_;
    std::ifstream file(path_, std::ios::binary);
    std::string text((std::istreambuf_iterator<char>(file)), std::istreambuf_iterator<char>());
    while (!text.empty() && (text.back() == '\n' || text.back() == '\r' || text.back() == ' ')) text.pop_back();
    if (text.empty() && token_.empty()) return Error(Reason::Unauthorized, "no token in " + path_);
    // A file that is just being replaced is no reason to give up the token that works.
    if (!text.empty()) token_ = std::move(text);
    read_at_ = clock_.now();
    return token_;
  }

 private:
  const std::string path_;
  Clock& clock_;
  std::mutex mutex_;
  std::string token_;
  Clock::TimePoint read_at_{};
};

class ApiClientComponent final : public plugin::Component {
 public:
  ApiClientComponent(const plugin::ComponentContext& context, Kubeconfig kubeconfig, bool service_account_tokens)
      : context_(context), kubeconfig_(std::move(kubeconfig)), service_account_tokens_(service_account_tokens) {}

  Result<void> start(const CallContext&) override {
    const net::NetContext net{context_.log, context_.metrics, context_.clock, context_.blocking};
    net::ClientOptions options;
    if (kubeconfig_.server.starts_with("https://")) {
      options.tls = std::make_unique<net::ClientTls>();
      options.tls->ca_pem = kubeconfig_.ca_pem;
      options.tls->server_name = kubeconfig_.server_name;
      if (!kubeconfig_.certificate_pem.empty()) {
        options.tls->identity = std::make_unique<net::TlsIdentity>(
            net::TlsIdentity{kubeconfig_.certificate_pem, kubeconfig_.private_key_pem});
      }
    }
    KUBERNEL_TRY(http_, net::make_http_client(net, std::move(options)));
    client::HttpApiOptions api;
    api.server = kubeconfig_.server;
    api.service_account_tokens = service_account_tokens_;
    api.user_agent = "kubernel/" + context_.name;
    api.token = token_source();
    connector_ = client::make_http_connector(net, context_.random, *http_, std::move(api));
    plugin::offer<client::Connector>(context_.services, connector_);
    log_info(context_.log, "reaching the API server", {{"server", kubeconfig_.server}});
    return {};
  }

  void stop(const CallContext&) override {}
  std::string problem() const override { return {}; }

 private:
  std::function<Result<std::string>(const CallContext&)> token_source() const {
    if (!kubeconfig_.token.empty()) {
      return [token = kubeconfig_.token](const CallContext&) -> Result<std::string> { return token; };
    }
    if (kubeconfig_.token_file.empty()) return {};
    auto file = std::make_shared<TokenFile>(kubeconfig_.token_file, context_.clock);
    return [file](const CallContext&) { return file->get(); };
  }

  const plugin::ComponentContext context_;
  const Kubeconfig kubeconfig_;
  const bool service_account_tokens_;
  std::unique_ptr<net::HttpClient> http_;
  std::shared_ptr<client::Connector> connector_;
};

}  // namespace

Result<std::unique_ptr<plugin::Component>> make_component(const plugin::ComponentContext& context) {
  return catch_as_error("config", [&]() -> Result<std::unique_ptr<plugin::Component>> {
    const json config = json::parse(context.config_json);
    KUBERNEL_TRY(Kubeconfig kubeconfig,
                 read_kubeconfig(config.at("kubeconfig").get<std::string>(), config.value("context", "")));
    return std::make_unique<ApiClientComponent>(context, std::move(kubeconfig),
                                                config.value("serviceAccountTokens", false));
  });
}

}  // namespace kubernel::plugins::api_client
