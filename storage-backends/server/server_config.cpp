// SPDX-License-Identifier: Apache-2.0
#include "server_config.h"

#include <charconv>
#include <cstdlib>
#include <fstream>
#include <iterator>
#include <utility>

#include <nlohmann/json.hpp>

namespace kubernel::storage_server {
namespace {

Error bad(const std::string& what) {
  return {Reason::BadRequest, what};
}

int hex_digit(char c) {
  if (c >= '0' && c <= '9') return c - '0';
  if (c >= 'a' && c <= 'f') return c - 'a' + 10;
  if (c >= 'A' && c <= 'F') return c - 'A' + 10;
  return -1;
}

Result<std::string> decode(std::string_view text) {
  std::string out;
  for (std::size_t i = 0; i < text.size(); ++i) {
    if (text[i] != '%') {
      out += text[i];
      continue;
    }
    const int high = i + 2 < text.size() ? hex_digit(text[i + 1]) : -1;
    const int low = i + 2 < text.size() ? hex_digit(text[i + 2]) : -1;
    if (high < 0 || low < 0 || (high == 0 && low == 0)) return bad("url: \"%\" must be followed by two hex digits");
    out += static_cast<char>(high * 16 + low);
    i += 2;
  }
  return out;
}

// Takes what is before `mark`, if it is there, off `text`.
bool split(std::string_view& text, char mark, std::string_view& before) {
  const auto at = text.find(mark);
  if (at == std::string_view::npos) return false;
  before = text.substr(0, at);
  text.remove_prefix(at + 1);
  return true;
}

Result<void> parse_host(std::string_view text, ServerAddress& address) {
  std::string_view port;
  if (text.starts_with('[')) {  // IPv6
    const auto end = text.find(']');
    if (end == std::string_view::npos) return bad("url: \"[\" without \"]\"");
    address.host = std::string(text.substr(1, end - 1));
    port = text.substr(end + 1);
    if (!port.empty() && !port.starts_with(':')) return bad("url: unexpected text after \"]\"");
    if (!port.empty()) port.remove_prefix(1);
  } else {
    std::string_view host;
    const bool has_port = split(text, ':', host);
    if (has_port) port = text;
    KUBERNEL_TRY(address.host, decode(has_port ? host : text));
  }
  if (port.empty()) return {};
  const auto [end, failed] = std::from_chars(port.data(), port.data() + port.size(), address.port);
  if (failed != std::errc() || end != port.data() + port.size() || address.port < 1 || address.port > 65535) {
    return bad("url: \"" + std::string(port) + "\" is no port");
  }
  return {};
}

Result<void> parse_parameters(std::string_view text, ServerAddress& address) {
  while (!text.empty()) {
    std::string_view parameter;
    if (!split(text, '&', parameter)) parameter = std::exchange(text, {});
    std::string_view name;
    if (!split(parameter, '=', name) || name != "socket") {
      return bad("url: the only parameter it may have is socket; TLS is set by \"tls\"");
    }
    KUBERNEL_TRY(address.socket, decode(parameter));
    if (!address.socket.starts_with('/')) return bad("url: socket must be an absolute path");
  }
  return {};
}

Result<TlsMode> parse_mode(const std::string& text) {
  if (text == "disable") return TlsMode::Disable;
  if (text == "prefer") return TlsMode::Prefer;
  if (text == "require") return TlsMode::Require;
  if (text == "verify-ca") return TlsMode::VerifyCa;
  if (text == "verify-full") return TlsMode::VerifyFull;
  return bad("tls.mode must be disable, prefer, require, verify-ca or verify-full, not \"" + text + "\"");
}

Result<ServerConfig> parse(std::string_view scheme, int default_port, const nlohmann::json& config) {
  ServerConfig out;
  KUBERNEL_TRY(out.address, parse_address(config.value("url", ""), scheme, default_port));
  out.password = {config.value("passwordFile", ""), config.value("passwordEnvironment", "")};
  if (!out.password.file.empty() && !out.password.environment.empty()) {
    return bad("give passwordFile or passwordEnvironment, not both");
  }
  const auto tls = config.value("tls", nlohmann::json::object());
  out.tls = {
      .ca_file = tls.value("caFile", ""), .cert_file = tls.value("certFile", ""), .key_file = tls.value("keyFile", "")};
  KUBERNEL_TRY(out.tls.mode, parse_mode(tls.value("mode", out.address.is_local() ? "prefer" : "verify-full")));
  if (out.tls.cert_file.empty() != out.tls.key_file.empty()) return bad("tls.certFile and tls.keyFile go together");
  out.connections = config.value("connections", out.connections);
  if (out.connections < 1) return bad("connections must be at least 1");
  out.statement_timeout = std::chrono::seconds(config.value("statementTimeoutSeconds", 30));
  if (out.statement_timeout < std::chrono::seconds(1)) return bad("statementTimeoutSeconds must be at least 1");
  return out;
}

}  // namespace

std::string ServerAddress::text() const {
  std::string out = scheme + "://" + (user.empty() ? "" : user + "@");
  if (socket.empty()) {
    out += (host.find(':') == std::string::npos ? host : "[" + host + "]") + ":" + std::to_string(port);
  }
  out += "/" + database;
  return socket.empty() ? out : out + "?socket=" + socket;
}

bool ServerAddress::is_local() const {
  return !socket.empty() || host == "localhost" || host == "::1" || host.starts_with("127.");
}

Result<ServerAddress> parse_address(std::string_view text, std::string_view scheme, int default_port) {
  const std::string shape =
      std::string(scheme) + "://USER@HOST:PORT/DATABASE or " + std::string(scheme) + "://USER@/DATABASE?socket=PATH";
  if (text.empty()) return bad("url is required: " + shape);
  ServerAddress address{.scheme = std::string(scheme), .port = default_port};
  if (!text.starts_with(std::string(scheme) + "://")) return bad("url must have the form " + shape);
  text.remove_prefix(scheme.size() + 3);
  std::string_view place;
  std::string_view user;
  if (const auto slash = text.find('/'); slash == std::string_view::npos) {
    return bad("url names no database: " + shape);
  } else {
    place = text.substr(0, slash);
    text.remove_prefix(slash + 1);
  }
  if (const auto at = place.rfind('@'); at != std::string_view::npos) {
    user = place.substr(0, at);
    place.remove_prefix(at + 1);
  }
  if (user.find(':') != std::string_view::npos) {
    return bad("url holds a password: put it into a file named by passwordFile");
  }
  KUBERNEL_TRY(address.user, decode(user));
  KUBERNEL_CHECK_OK(parse_host(place, address));
  std::string_view database;
  if (!split(text, '?', database)) database = std::exchange(text, {});
  KUBERNEL_TRY(address.database, decode(database));
  KUBERNEL_CHECK_OK(parse_parameters(text, address));
  if (address.database.empty()) return bad("url names no database: " + shape);
  if (address.user.empty()) return bad("url names no user: " + shape);
  if (address.host.empty() == address.socket.empty()) return bad("url must name a host or a socket: " + shape);
  return address;
}

Result<std::string> PasswordSource::read() const {
  if (!environment.empty()) {
    const char* value = std::getenv(environment.c_str());
    if (value != nullptr) return std::string(value);
    return Error(Reason::ServiceUnavailable,
                 "the environment variable " + environment + " with the password is not set");
  }
  if (file.empty()) return std::string();
  std::ifstream in(file, std::ios::binary);
  std::string text((std::istreambuf_iterator<char>(in)), {});
  if (!in.is_open() || in.bad()) {
    return Error(Reason::ServiceUnavailable, "the password file " + file + " cannot be read");
  }
  while (!text.empty() && (text.back() == '\n' || text.back() == '\r')) text.pop_back();
  if (text.empty()) return Error(Reason::ServiceUnavailable, "the password file " + file + " is empty");
  return text;
}

Result<ServerConfig> parse_config(std::string_view plugin, std::string_view scheme, int default_port,
                                  const std::string& config_json) {
  const std::string where = std::string(plugin) + ": config";
  auto config = catch_as_error(
      where, [&]() -> Result<ServerConfig> { return parse(scheme, default_port, nlohmann::json::parse(config_json)); });
  if (!config && config.error().reason() == Reason::BadRequest) return std::move(config).error().wrap(where);
  return config;
}

std::string first_line(std::string_view text) {
  std::string line(text.substr(0, text.find('\n')));
  while (!line.empty() && (line.back() == ' ' || line.back() == '\r' || line.back() == '\t')) line.pop_back();
  return line;
}

}  // namespace kubernel::storage_server
