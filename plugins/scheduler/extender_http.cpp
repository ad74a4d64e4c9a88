// SPDX-License-Identifier: Apache-2.0
//
// How extenders are reached.
#include <fstream>
#include <sstream>

#include "extender.h"

namespace kubernel::plugins {
namespace {

constexpr std::size_t kAnswerLimit = 64 * 1024 * 1024;

Result<std::string> text_of(const std::string& pem, const std::string& file) {
  if (!pem.empty() || file.empty()) return pem;
  std::ifstream in(file, std::ios::binary);
  std::ostringstream text;
  if (!in || !(text << in.rdbuf())) return Error(Reason::Invalid, "cannot read " + file);
  return std::move(text).str();
}

Result<std::unique_ptr<net::ClientTls>> make_tls(const ExtenderSettings& settings) {
  auto tls = std::make_unique<net::ClientTls>();
  tls->server_name = settings.server_name;
  KUBERNEL_TRY(tls->ca_pem, text_of(settings.ca_pem, settings.ca_file));
  KUBERNEL_TRY(std::string certificate, text_of(settings.certificate_pem, settings.certificate_file));
  KUBERNEL_TRY(std::string key, text_of(settings.key_pem, settings.key_file));
  if (!certificate.empty())
    tls->identity = std::make_unique<net::TlsIdentity>(net::TlsIdentity{std::move(certificate), std::move(key)});
  return tls;
}

Result<std::unique_ptr<Extender>> make_extender(const net::NetContext& context, const ExtenderSettings& settings) {
  net::ClientOptions options;
  if (settings.https) {
    KUBERNEL_TRY(options.tls, make_tls(settings));
  }
  KUBERNEL_TRY(std::shared_ptr<net::HttpClient> client, net::make_http_client(context, std::move(options)));
  return std::make_unique<Extender>(
      settings, context.clock,
      [client](const CallContext& ctx, const std::string& url, std::string body) -> Result<std::string> {
        net::ClientRequest request{.method = "POST", .url = url, .headers = {}, .body = std::move(body)};
        request.headers.set("content-type", "application/json");
        KUBERNEL_TRY(net::Response response, client->request(ctx, request, kAnswerLimit));
        if (response.status != 200)
          return Error(Reason::Internal, "POST " + url + " was answered with " + std::to_string(response.status));
        return std::move(response.body);
      });
}

}  // namespace

Result<std::vector<std::unique_ptr<Extender>>> make_extenders(const net::NetContext& context,
                                                              const std::vector<ExtenderSettings>& settings) {
  std::vector<std::unique_ptr<Extender>> out;
  for (const ExtenderSettings& one : settings) {
    auto made = make_extender(context, one);
    if (!made) return std::move(made).error().wrap("extender " + one.url_prefix);
    out.push_back(*std::move(made));
  }
  return out;
}

}  // namespace kubernel::plugins
