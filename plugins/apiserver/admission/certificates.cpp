// SPDX-License-Identifier: Apache-2.0
//
// Certificate signing requests: who asks is who is written into them, and only who may approve or sign for a signer
// does.
#include "admission/builtin.h"
#include "registry/errors.h"
#include "registry/json_util.h"

namespace kubernel::apiserver {

namespace {

const api::Resource kRequests{"certificates.k8s.io", "v1", "certificatesigningrequests"};

class SigningRequests final : public admission::Admission {
 public:
  explicit SigningRequests(const Api& api) : api_(api) {}

  bool handles(admission::Operation operation, const api::Resource& resource, std::string_view) const override {
    return resource == kRequests &&
           (operation == admission::Operation::Create || operation == admission::Operation::Update);
  }

  Result<void> mutate(const CallContext&, admission::Request& request) override {
    json& object = *request.object;
    if (request.old_object != nullptr) {
      // A request is signed as it was made.
      object["spec"] = (*request.old_object)["spec"].to_json();
      return {};
    }
    json& spec = make_member(object, {"spec"});
    for (const char* field : {"username", "uid", "groups", "extra"}) spec.erase(field);
    spec["username"] = request.user.name;
    if (!request.user.uid.empty()) spec["uid"] = request.user.uid;
    if (!request.user.groups.empty()) spec["groups"] = request.user.groups;
    for (const auto& [key, values] : request.user.extra) spec["extra"][key] = values;
    return {};
  }

  Result<void> validate(const CallContext& ctx, const admission::Request& request) override {
    const std::string signer = text(*request.object, {"spec", "signerName"});
    if (request.operation == admission::Operation::Create) return {};
    if (request.subresource == "approval") return check_signer(ctx, request, signer, "approve");
    if (request.subresource == "status") {
      const json before = (*request.old_object)["status"].to_json();
      const bool signs = member(*request.object, {"status", "certificate"}) != member(before, {"certificate"});
      if (signs) return check_signer(ctx, request, signer, "sign");
    }
    return {};
  }

 private:
  // CertificateApproval and CertificateSigning: the right is to the signer, or to all of its domain.
  Result<void> check_signer(const CallContext& ctx, const admission::Request& request, const std::string& signer,
                            const char* verb) const {
    const std::string domain = signer.substr(0, signer.find('/')) + "/*";
    for (const std::string& name : {signer, domain}) {
      auth::Attributes wanted;
      wanted.user = request.user;
      wanted.verb = verb;
      wanted.group = kRequests.group;
      wanted.version = "*";
      wanted.resource = "signers";
      wanted.name = name;
      KUBERNEL_TRY(const auth::Decision decision, api_.authorizer()->authorize(ctx, wanted));
      if (decision.allowed) return {};
    }
    return forbidden(*api_.find(kRequests.group, "v1", kRequests.plural), request.key.name,
                     "user not permitted to " + std::string(verb) + " requests with signerName " + quote(signer));
  }

  const Api& api_;
};

}  // namespace

std::unique_ptr<admission::Admission> make_signing_requests(const Api& api) {
  return std::make_unique<SigningRequests>(api);
}

}  // namespace kubernel::apiserver
