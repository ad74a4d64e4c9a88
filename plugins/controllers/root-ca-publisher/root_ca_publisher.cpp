// SPDX-License-Identifier: Apache-2.0
#include "root_ca_publisher.h"

#include <fstream>
#include <iterator>
#include <utility>

#include <nlohmann/json.hpp>

#include <kubernel/controller/pods.h>

namespace kubernel::plugins::root_ca_publisher {
namespace {

using api::Object;
using api::ObjectKey;
using api::resources::kConfigMaps;
using api::resources::kNamespaces;
using controller::Next;
using nlohmann::json;

constexpr const char* kName = "kube-root-ca.crt";
constexpr const char* kNote =
    "Contains a CA bundle that can be used to verify the kube-apiserver when using internal endpoints such as the "
    "internal service "
    "IP or kubernetes.default.svc. No other usage is guaranteed across distributions of Kubernetes clusters.";

// Keys are namespaces.
class RootCaPublisher final : public controller::Reconciler {
 public:
  RootCaPublisher(const controller::ControllerContext& context, std::string ca_pem)
      : context_(context), ca_pem_(std::move(ca_pem)) {}

  Result<void> watch(client::InformerFactory& informers, controller::KeyQueue& queue) override {
    namespaces_ = informers.informer(kNamespaces, {});
    // Nobody else's config maps are of interest, and there may be many.
    maps_ = informers.informer(kConfigMaps, {.field_selector = std::string("metadata.name=") + kName});
    on_namespaces_ =
        namespaces_->add_handler({.added = [&queue](const Object& ns) { queue.add(ns.key()); },
                                  .updated = [&queue](const Object&, const Object& ns) { queue.add(ns.key()); }});
    const auto add = [&queue](const Object& map) { queue.add({"", map.ns()}); };
    on_maps_ =
        maps_->add_handler({.updated = [add](const Object&, const Object& after) { add(after); }, .deleted = add});
    return {};
  }

  Result<Next> reconcile(const CallContext& ctx, const ObjectKey& key) override {
    const auto ns = namespaces_->find(key);
    if (!ns || ns->pointer("/status/phase").string("Active") != "Active" || ns->head().deleting) return Next::done();
    const auto map = maps_->find({key.name, kName});
    if (!map) return create(ctx, key.name);
    const bool good = (*map)["data"].size() == 1 && (*map)["data"]["ca.crt"].string() == ca_pem_ &&
                      map->annotations()["kubernetes.io/description"].string() == kNote;
    if (good) return Next::done();
    json document = map->to_json();
    document["data"] = {{"ca.crt", ca_pem_}};
    document["metadata"]["annotations"]["kubernetes.io/description"] = kNote;
    KUBERNEL_CHECK_OK(context_.api.update(ctx, kConfigMaps, map->key(), document, {}));
    return Next::done();
  }

 private:
  Result<Next> create(const CallContext& ctx, const std::string& ns) {
    const auto created = context_.api.create(
        ctx, kConfigMaps, {ns, ""},
        {{"metadata", {{"name", kName}, {"namespace", ns}, {"annotations", {{"kubernetes.io/description", kNote}}}}},
         {"data", {{"ca.crt", ca_pem_}}}},
        {});
    // One that exists already is shown by the cache soon, and compared then.
    if (created || created.error().reason() == Reason::AlreadyExists) return Next::done();
    if (controller::namespace_terminating(created.error())) return Next::done();
    return created.error();
  }

  const controller::ControllerContext context_;
  const std::string ca_pem_;
  std::shared_ptr<client::Informer> namespaces_;
  std::shared_ptr<client::Informer> maps_;
  std::unique_ptr<Subscription> on_namespaces_;
  std::unique_ptr<Subscription> on_maps_;
};

Result<std::string> read_ca(const std::string& path) {
  std::ifstream file(path, std::ios::binary);
  if (!file) return Error(Reason::BadRequest, "caFile: cannot read " + path);
  std::string pem((std::istreambuf_iterator<char>(file)), std::istreambuf_iterator<char>());
  if (pem.find("-----BEGIN CERTIFICATE-----") == std::string::npos) {
    return Error(Reason::BadRequest, "caFile: " + path + " holds no PEM certificate");
  }
  // This goes into every namespace: a file that also holds the key must not get there.
  if (pem.find("PRIVATE KEY-----") != std::string::npos) {
    return Error(Reason::BadRequest, "caFile: " + path + " holds a private key; give a file with certificates only");
  }
  return pem;
}

}  // namespace

Result<std::unique_ptr<controller::Reconciler>> make_reconciler(const controller::ControllerContext& context) {
  KUBERNEL_TRY(const std::string path, catch_as_error("config", [&]() -> Result<std::string> {
                 return json::parse(context.config_json).at("caFile").get<std::string>();
               }));
  KUBERNEL_TRY(std::string pem, read_ca(path));
  return std::make_unique<RootCaPublisher>(context, std::move(pem));
}

}  // namespace kubernel::plugins::root_ca_publisher
