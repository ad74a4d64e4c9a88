// SPDX-License-Identifier: Apache-2.0
//
// Namespaces stay until the namespace controller has emptied them and removed "kubernetes" from spec.finalizers.
#include <algorithm>

#include "strategies/strategy.h"

namespace kubernel::apiserver {

namespace {

FieldValues namespace_fields(api::Value body) {
  return {{"status.phase", std::string(body["status"]["phase"].string())}};
}

Traits namespace_traits() {
  Traits traits;
  traits.name_rule = NameRule::Label;
  traits.field_labels = {"status.phase"};
  traits.read_fields = namespace_fields;
  return traits;
}

class NamespaceStrategy final : public Strategy {
 public:
  explicit NamespaceStrategy(const schema::ResourceInfo& info) : Strategy(info, namespace_traits()) {}

  void prepare_create(json& document) const override {
    Strategy::prepare_create(document);
    json& finalizers = make_member(document, {"spec", "finalizers"});
    if (!finalizers.is_array()) finalizers = json::array();
    if (std::find(finalizers.begin(), finalizers.end(), "kubernetes") == finalizers.end())
      finalizers.push_back("kubernetes");
    make_member(document, {"status", "phase"}) = "Active";
    name_label(document);
  }

  void prepare_update(json& document, const json& old) const override {
    Strategy::prepare_update(document, old);
    copy_member(make_member(document, {"spec"}), member(old, {"spec"}), "finalizers");
    name_label(document);
  }

  bool held(const json& document) const override { return !member(document, {"spec", "finalizers"}).empty(); }
  void mark_deleting(json& document) const override { make_member(document, {"status", "phase"}) = "Terminating"; }

 private:
  static void name_label(json& document) {
    const std::string name = text(document, {"metadata", "name"});
    if (!name.empty()) make_member(document, {"metadata", "labels", "kubernetes.io/metadata.name"}) = name;
  }
};

}  // namespace

std::unique_ptr<Strategy> make_namespace_strategy(const schema::ResourceInfo& info) {
  return std::make_unique<NamespaceStrategy>(info);
}

}  // namespace kubernel::apiserver
