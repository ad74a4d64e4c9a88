// SPDX-License-Identifier: Apache-2.0
#include "namespace.h"

#include <algorithm>

#include <nlohmann/json.hpp>

#include "namespace_content.h"

namespace kubernel::plugins::namespaces {
namespace {

using api::Object;
using api::ObjectKey;
using api::resources::kNamespaces;
using controller::Next;
using nlohmann::json;

constexpr const char* kFinalizer = "kubernetes";

class NamespaceReconciler final : public controller::Reconciler {
 public:
  explicit NamespaceReconciler(const controller::ControllerContext& context) : context_(context) {}

  Result<void> watch(client::InformerFactory& informers, controller::KeyQueue& queue) override {
    namespaces_ = informers.informer(kNamespaces, {});
    const auto add = [&queue](const Object& ns) {
      if (ns.head().deleting) queue.add(ns.key());
    };
    on_namespaces_ =
        namespaces_->add_handler({.added = add, .updated = [add](const Object&, const Object& after) { add(after); }});
    return {};
  }

  Result<Next> reconcile(const CallContext& ctx, const ObjectKey& key) override {
    // Read live: what follows cannot be undone, so a namespace of that name made anew must not be taken for the old
    // one.
    auto found = context_.api.get(ctx, kNamespaces, key, {});
    if (!found && found.error().reason() == Reason::NotFound) return Next::done();
    if (!found) return found.error();
    Object ns = *std::move(found);
    const auto cached = namespaces_->find(key);
    if (!ns.head().deleting || (cached && cached->uid() != ns.uid())) return Next::done();
    if (ns.pointer("/status/phase").string() != "Terminating") {
      json document = ns.to_json();
      document["status"]["phase"] = "Terminating";
      KUBERNEL_TRY(ns, context_.api.update(ctx, kNamespaces, key, document, {.subresource = "status"}));
    }
    if (ns.pointer("/spec/finalizers").empty()) return Next::done();

    const Content content = delete_content(ctx, context_.api, key.name);
    KUBERNEL_CHECK_OK(report(ctx, ns, content));
    if (content.empty()) return finalize(ctx, ns);
    if (!content.discovery_errors.empty() || !content.delete_errors.empty()) {
      return Error(Reason::Internal,
                   content.discovery_errors.empty() ? content.delete_errors.front() : content.discovery_errors.front());
    }
    return Next::after(content.estimate / 2 + std::chrono::seconds(1));
  }

 private:
  Result<void> report(const CallContext& ctx, Object& ns, const Content& content) {
    json document = ns.to_json();
    const json before = document["status"].value("conditions", json::array());
    json conditions = content.conditions(before, context_.clock.wall_now());
    if (conditions == before) return {};
    document["status"]["conditions"] = std::move(conditions);
    KUBERNEL_TRY(ns, context_.api.update(ctx, kNamespaces, ns.key(), document, {.subresource = "status"}));
    return {};
  }

  Result<Next> finalize(const CallContext& ctx, const Object& ns) {
    json document = ns.to_json();
    json& finalizers = document["spec"]["finalizers"];
    std::erase(finalizers.get_ref<json::array_t&>(), json(kFinalizer));
    const auto written = context_.api.update(ctx, kNamespaces, ns.key(), document, {.subresource = "finalize"});
    if (!written && written.error().reason() != Reason::NotFound) return written.error();
    return Next::done();
  }

  const controller::ControllerContext context_;
  std::shared_ptr<client::Informer> namespaces_;
  std::unique_ptr<Subscription> on_namespaces_;
};

}  // namespace

Result<std::unique_ptr<controller::Reconciler>> make_reconciler(const controller::ControllerContext& context) {
  return std::make_unique<NamespaceReconciler>(context);
}

}  // namespace kubernel::plugins::namespaces
