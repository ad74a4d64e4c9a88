// SPDX-License-Identifier: Apache-2.0
#include "auth/chain.h"

#include <algorithm>
#include <utility>

namespace kubernel::apiserver {

namespace {

class Masters final : public auth::Authorizer {
 public:
  Result<auth::Decision> authorize(const CallContext&, const auth::Attributes& attributes) override {
    const auto& groups = attributes.user.groups;
    return auth::Decision{std::find(groups.begin(), groups.end(), "system:masters") != groups.end(), false, ""};
  }
};

class Chain final : public auth::Authorizer {
 public:
  explicit Chain(std::vector<std::shared_ptr<auth::Authorizer>> authorizers) : authorizers_(std::move(authorizers)) {}

  Result<auth::Decision> authorize(const CallContext& ctx, const auth::Attributes& attributes) override {
    auth::Decision out;
    for (const auto& authorizer : authorizers_) {
      KUBERNEL_TRY(auth::Decision one, authorizer->authorize(ctx, attributes));
      if (one.allowed || one.denied) return one;
      if (!one.reason.empty()) out.reason += (out.reason.empty() ? "" : "\n") + one.reason;
    }
    return out;
  }

 private:
  std::vector<std::shared_ptr<auth::Authorizer>> authorizers_;
};

}  // namespace

std::shared_ptr<auth::Authorizer> make_masters_authorizer() {
  return std::make_shared<Masters>();
}

std::shared_ptr<auth::Authorizer> make_authorizer_chain(std::vector<std::shared_ptr<auth::Authorizer>> authorizers) {
  return std::make_shared<Chain>(std::move(authorizers));
}

}  // namespace kubernel::apiserver
