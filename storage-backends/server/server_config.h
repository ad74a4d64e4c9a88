// SPDX-License-Identifier: Apache-2.0
//
// What a backend on a database server is told in its configuration: where the server is, who we are, how to talk.

#pragma once

#include <chrono>
#include <cstddef>
#include <string>
#include <string_view>

#include <kubernel/base/result.h>

namespace kubernel::storage_server {

/// SCHEME://USER@HOST:PORT/DATABASE, or SCHEME://USER@/DATABASE?socket=PATH.
struct ServerAddress {
  std::string scheme;
  std::string user;
  std::string host;  ///< Empty when `socket` is set.
  int port = 0;
  std::string database;
  std::string socket;  ///< PostgreSQL: the directory of the socket. MySQL: the socket.

  /// As a URL again. It never holds a password.
  std::string text() const;
  /// The traffic does not leave this machine.
  bool is_local() const;
};

/// The URL `text`. A password in it is refused: configuration files are read by many.
///
/// Errors: BadRequest; the message does not repeat the URL.
Result<ServerAddress> parse_address(std::string_view text, std::string_view scheme, int default_port);

enum class TlsMode : std::uint8_t {
  Disable,     ///< Never.
  Prefer,      ///< When the server offers it; whoever sits between can prevent it.
  Require,     ///< Always, with whatever certificate the server shows.
  VerifyCa,    ///< Always, with a certificate of a trusted authority.
  VerifyFull,  ///< And the certificate names the host.
};

struct TlsOptions {
  TlsMode mode = TlsMode::Prefer;
  std::string ca_file;
  std::string cert_file;
  std::string key_file;
};

/// Where the password is. It is read for each new connection, so that it can be changed without a restart.
struct PasswordSource {
  std::string file;
  std::string environment;

  /// Empty when there is none. Errors: ServiceUnavailable, naming the file or the variable.
  Result<std::string> read() const;
};

struct ServerConfig {
  ServerAddress address;
  PasswordSource password;
  TlsOptions tls;
  std::size_t connections = 8;                          ///< For reading, at most; one for writing comes on top.
  std::chrono::milliseconds statement_timeout{30'000};  ///< What a statement may take when the caller has more time.
};

/// Reads `config_json`, which the schema of the plugin describes.
///
/// Errors: BadRequest, one line beginning with `plugin`.
Result<ServerConfig> parse_config(std::string_view plugin, std::string_view scheme, int default_port,
                                  const std::string& config_json);

/// The first line of a server's or library's message, without trailing space. Messages are one line.
std::string first_line(std::string_view text);

}  // namespace kubernel::storage_server
