// SPDX-License-Identifier: Apache-2.0
#include "serviceaccount.h"

#include <nlohmann/json.hpp>

#include <kubernel/controller/pods.h>

namespace kubernel::plugins::serviceaccount {
namespace {

using api::Object;
using api::ObjectKey;
using api::resources::kNamespaces;
using api::resources::kServiceAccounts;
using controller::Next;

constexpr const char* kDefault = "default";

// Keys are namespaces.
class ServiceAccountReconciler final : public controller::Reconciler {
 public:
  explicit ServiceAccountReconciler(const controller::ControllerContext& context) : context_(context) {}

  Result<void> watch(client::InformerFactory& informers, controller::KeyQueue& queue) override {
    namespaces_ = informers.informer(kNamespaces, {});
    accounts_ = informers.informer(kServiceAccounts, {});
    on_namespaces_ =
        namespaces_->add_handler({.added = [&queue](const Object& ns) { queue.add(ns.key()); },
                                  .updated = [&queue](const Object&, const Object& ns) { queue.add(ns.key()); }});
    on_accounts_ = accounts_->add_handler({.deleted = [&queue](const Object& account) {
      if (account.name() == kDefault) queue.add({"", account.ns()});
    }});
    return {};
  }

  Result<Next> reconcile(const CallContext& ctx, const ObjectKey& key) override {
    const auto ns = namespaces_->find(key);
    if (!ns || ns->pointer("/status/phase").string("Active") != "Active" || ns->head().deleting) return Next::done();
    if (accounts_->find({key.name, kDefault})) return Next::done();
    const auto created = context_.api.create(ctx, kServiceAccounts, {key.name, ""},
                                             {{"metadata", {{"name", kDefault}, {"namespace", key.name}}}}, {});
    if (created || created.error().reason() == Reason::AlreadyExists) return Next::done();
    if (controller::namespace_terminating(created.error())) return Next::done();
    return created.error();
  }

 private:
  const controller::ControllerContext context_;
  std::shared_ptr<client::Informer> namespaces_;
  std::shared_ptr<client::Informer> accounts_;
  std::unique_ptr<Subscription> on_namespaces_;
  std::unique_ptr<Subscription> on_accounts_;
};

}  // namespace

Result<std::unique_ptr<controller::Reconciler>> make_reconciler(const controller::ControllerContext& context) {
  return std::make_unique<ServiceAccountReconciler>(context);
}

}  // namespace kubernel::plugins::serviceaccount
