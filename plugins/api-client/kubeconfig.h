// SPDX-License-Identifier: Apache-2.0
//
// The part of a kubeconfig file that a program needs which is no user's terminal.

#pragma once

#include <string>

#include <kubernel/base/result.h>

namespace kubernel::plugins::api_client {

struct Kubeconfig {
  std::string server;
  std::string server_name;
  std::string ca_pem;
  std::string certificate_pem, private_key_pem;  // Both or neither.
  std::string token;
  std::string token_file;  // Absolute; used when there is no token.
};

// `context` empty: the file's current-context. Relative paths in the file are relative to it.
//
// Errors: BadRequest, naming the file and what is wrong with it; never a secret.
Result<Kubeconfig> read_kubeconfig(const std::string& path, const std::string& context);

}  // namespace kubernel::plugins::api_client
