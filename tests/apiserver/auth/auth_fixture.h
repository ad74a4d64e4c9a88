// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <stdexcept>
#include <string>
#include <utility>
#include <vector>

#include <kubernel/crypto/pki.h>

#include "../fixture.h"
#include "auth/auth.h"
#include "auth/bootstrap_policy.h"

namespace kubernel::apiserver {

inline constexpr const char* kIssuer = "https://kubernetes.default.svc.cluster.local";

struct Keys {
  std::string private_pem = value(crypto::make_private_key());
  std::string public_pem = value(crypto::public_key(private_pem));

 private:
  static std::string value(Result<std::string> made) {
    if (!made) throw std::runtime_error(made.error().message());
    return *std::move(made);
  }
};

/// The API with its real authorizers, the default roles, and clients for any user.
class AuthFixture : public Fixture {
 public:
  AuthFixture() : auth_(api(), {kIssuer, keys.private_pem, keys.public_pem}) {
    create(api::resources::kNamespaces, "", R"({"metadata":{"name":"kube-public"}})");
    create(api::resources::kNamespaces, "", R"({"metadata":{"name":"kube-node-lease"}})");
    if (auto applied = apply_bootstrap_policy({}, client(), executor()); !applied)
      throw std::runtime_error(applied.error().message());
  }

  Keys keys;

  static auth::User user(std::string name, std::vector<std::string> groups = {}) {
    groups.emplace_back("system:authenticated");
    return {std::move(name), "", std::move(groups), {}};
  }
  std::unique_ptr<client::ApiClient> as(const auth::User& who) { return connector().connect(who); }

  Auth& auth() { return auth_; }

  /// "" or the error's message.
  template <class T>
  static std::string problem(const Result<T>& result) {
    return result ? std::string() : result.error().message();
  }

  void cluster_role(const std::string& name, const std::string& rules) {
    create(api::resources::kClusterRoles, "", R"({"metadata":{"name":")" + name + R"("},"rules":)" + rules + "}");
  }
  void bind(const std::string& ns, const std::string& name, const std::string& role, const std::string& to) {
    create(ns.empty() ? api::resources::kClusterRoleBindings : api::resources::kRoleBindings, ns,
           R"({"metadata":{"name":")" + name +
               R"("},"roleRef":{"apiGroup":"rbac.authorization.k8s.io","kind":"ClusterRole","name":")" + role +
               R"("},"subjects":[{"kind":"User","apiGroup":"rbac.authorization.k8s.io","name":")" + to + R"("}]})");
  }

 private:
  Auth auth_;
};

}  // namespace kubernel::apiserver
