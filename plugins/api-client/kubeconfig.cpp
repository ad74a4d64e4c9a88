// SPDX-License-Identifier: Apache-2.0
#include "kubeconfig.h"

#include <filesystem>
#include <fstream>
#include <iterator>
#include <optional>

#include <yaml-cpp/yaml.h>

#include <kubernel/crypto/pki.h>

namespace kubernel::plugins::api_client {
namespace {

Result<std::string> read_file(const std::string& path) {
  std::ifstream file(path, std::ios::binary);
  if (!file) return Error(Reason::BadRequest, "cannot read " + path);
  return std::string((std::istreambuf_iterator<char>(file)), std::istreambuf_iterator<char>());
}

// yaml-cpp throws on the wrong kind of node; read_kubeconfig() catches.
std::string text(const YAML::Node& node, const char* key) {
  return node[key] ? node[key].as<std::string>() : std::string();
}

// The member `key` ("cluster") of the entry called `name` in a list ("clusters").
std::optional<YAML::Node> named(const YAML::Node& list, const std::string& name, const char* key) {
  for (const YAML::Node& entry : list) {
    if (text(entry, "name") == name) return entry[key] ? entry[key] : YAML::Node(YAML::NodeType::Map);
  }
  return std::nullopt;
}

class Reader {
 public:
  explicit Reader(const std::string& path) : folder_(std::filesystem::absolute(path).parent_path()) {}

  Result<Kubeconfig> read(const YAML::Node& root, const std::string& wanted) const {
    const std::string context_name = wanted.empty() ? text(root, "current-context") : wanted;
    if (context_name.empty()) return Error(Reason::BadRequest, "has no current-context, and no context was given");
    const auto context = named(root["contexts"], context_name, "context");
    if (!context) return Error(Reason::BadRequest, "has no context \"" + context_name + "\"");
    const auto cluster = named(root["clusters"], text(*context, "cluster"), "cluster");
    if (!cluster) return Error(Reason::BadRequest, "has no cluster \"" + text(*context, "cluster") + "\"");
    Kubeconfig out;
    KUBERNEL_CHECK_OK(read_cluster(*cluster, out));
    const std::string user_name = text(*context, "user");
    if (user_name.empty()) return out;
    const auto user = named(root["users"], user_name, "user");
    if (!user) return Error(Reason::BadRequest, "has no user \"" + user_name + "\"");
    KUBERNEL_CHECK_OK(read_user(*user, out));
    return out;
  }

 private:
  std::string absolute(const std::string& path) const {
    return std::filesystem::path(path).is_absolute() ? path : (folder_ / path).string();
  }

  // "x-data" holds the thing, "x" names its file.
  Result<std::string> material(const YAML::Node& node, const char* key) const {
    const std::string data_key = std::string(key) + "-data";
    if (const std::string data = text(node, data_key.c_str()); !data.empty()) {
      auto decoded = crypto::base64_decode(data);
      if (!decoded) return Error(Reason::BadRequest, data_key + " is no base64");
      return decoded;
    }
    const std::string path = text(node, key);
    if (path.empty()) return std::string();
    auto content = read_file(absolute(path));
    if (!content) return std::move(content).error().wrap(key);
    return content;
  }

  static Result<void> refuse(const YAML::Node& node, std::initializer_list<const char*> keys) {
    for (const char* key : keys) {
      if (node[key]) return Error(Reason::BadRequest, std::string(key) + " is not supported");
    }
    return {};
  }

  Result<void> read_cluster(const YAML::Node& cluster, Kubeconfig& out) const {
    out.server = text(cluster, "server");
    out.server_name = text(cluster, "tls-server-name");
    if (text(cluster, "insecure-skip-tls-verify") == "true") {
      return Error(Reason::BadRequest, "insecure-skip-tls-verify is not supported: give certificate-authority");
    }
    KUBERNEL_CHECK_OK(refuse(cluster, {"proxy-url"}));
    const bool loopback = out.server.starts_with("http://127.0.0.1:") || out.server.starts_with("http://localhost:") ||
                          out.server.starts_with("http://[::1]:");
    if (!out.server.starts_with("https://") && !loopback) {
      return Error(Reason::BadRequest, "server \"" + out.server + "\" is no https:// URL");
    }
    KUBERNEL_TRY(out.ca_pem, material(cluster, "certificate-authority"));
    return {};
  }

  Result<void> read_user(const YAML::Node& user, Kubeconfig& out) const {
    KUBERNEL_CHECK_OK(refuse(user, {"exec", "auth-provider", "username", "password", "as", "as-groups", "as-uid"}));
    KUBERNEL_TRY(out.certificate_pem, material(user, "client-certificate"));
    KUBERNEL_TRY(out.private_key_pem, material(user, "client-key"));
    if (out.certificate_pem.empty() != out.private_key_pem.empty()) {
      return Error(Reason::BadRequest, "client-certificate and client-key are given both or not at all");
    }
    out.token = text(user, "token");
    if (const std::string path = text(user, "tokenFile"); !path.empty()) out.token_file = absolute(path);
    return {};
  }

  const std::filesystem::path folder_;
};

}  // namespace

Result<Kubeconfig> read_kubeconfig(const std::string& path, const std::string& context) {
  auto out = [&]() -> Result<Kubeconfig> {
    KUBERNEL_TRY(const std::string content, read_file(path));
    try {
      const YAML::Node root = YAML::Load(content);
      if (!root.IsMap()) return Error(Reason::BadRequest, "is no mapping");
      return Reader(path).read(root, context);
    } catch (const YAML::Exception& e) {
      // Its message may quote the text, which may be a secret: the place is enough.
      return Error(Reason::BadRequest, "is no valid YAML at line " + std::to_string(e.mark.line + 1) + ", column " +
                                           std::to_string(e.mark.column + 1));
    }
  }();
  if (!out) return std::move(out).error().wrap("kubeconfig " + path);
  return out;
}

}  // namespace kubernel::plugins::api_client
