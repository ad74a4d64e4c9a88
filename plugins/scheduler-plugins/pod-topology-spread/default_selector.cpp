// SPDX-License-Identifier: Apache-2.0

#include "default_selector.h"

#include <string>

#include <nlohmann/json.hpp>

#include <kubernel/api/resource.h>

namespace kubernel::plugins {

using api::LabelSelector;
using api::Object;
using api::Value;

namespace {

constexpr const char* kBySelector = "spread/selector";

std::string index_key(const std::string& ns, std::string_view key, std::string_view value) {
  return ns + '/' + std::string(key) + '=' + std::string(value);
}

// A Service is found under one of the labels it asks for; it cannot select a pod without that label.
std::vector<std::string> selector_keys(const Object& service) {
  const Value selector = service.pointer("/spec/selector");
  if (selector.empty()) return {};
  const auto first = selector.begin();
  return {index_key(service.ns(), first.key(), (*first).string())};
}

void add_map(Value map, nlohmann::json& labels) {
  for (auto it = map.begin(); it != map.end(); ++it) labels[std::string(it.key())] = (*it).string();
}

Value controller_of(const Object& pod) {
  for (const Value owner : pod.pointer("/metadata/ownerReferences")) {
    if (owner["controller"].boolean()) return owner;
  }
  return {};
}

}  // namespace

DefaultSelector::DefaultSelector(client::InformerFactory& informers)
    : services_(informers.informer(api::resources::kServices, {})),
      replication_controllers_(informers.informer(api::resources::kReplicationControllers, {})),
      replica_sets_(informers.informer(api::resources::kReplicaSets, {})),
      stateful_sets_(informers.informer(api::resources::kStatefulSets, {})) {
  services_->add_index(kBySelector, selector_keys);
}

LabelSelector DefaultSelector::of(const Object& pod) const {
  nlohmann::json selector = {{"matchLabels", nlohmann::json::object()}};
  nlohmann::json& labels = selector["matchLabels"];
  const Value own = pod.labels();
  for (auto label = own.begin(); label != own.end(); ++label) {
    for (const Object& service :
         services_->by_index(kBySelector, index_key(pod.ns(), label.key(), (*label).string()))) {
      const Value wanted = service.pointer("/spec/selector");
      if (LabelSelector::from_map(wanted).matches(own)) add_map(wanted, labels);
    }
  }
  if (const Value owner = controller_of(pod)) {
    const api::ObjectKey key{pod.ns(), std::string(owner["name"].string())};
    const std::string_view kind = owner["kind"].string();
    const std::string_view version = owner["apiVersion"].string();
    if (version == "v1" && kind == "ReplicationController") {
      if (const auto found = replication_controllers_->find(key)) add_map(found->pointer("/spec/selector"), labels);
    } else if (version == "apps/v1" && (kind == "ReplicaSet" || kind == "StatefulSet")) {
      const auto found = (kind == "ReplicaSet" ? replica_sets_ : stateful_sets_)->find(key);
      const Value wanted = found ? found->pointer("/spec/selector") : Value();
      add_map(wanted["matchLabels"], labels);
      if (!wanted["matchExpressions"].empty()) selector["matchExpressions"] = wanted["matchExpressions"].to_json();
    }
  }
  if (labels.empty() && !selector.contains("matchExpressions")) return LabelSelector::everything();
  const auto document = api::Document::parse(selector.dump());
  if (!document) return LabelSelector::everything();
  auto parsed = LabelSelector::from_api((*document)->root());
  return parsed ? *std::move(parsed) : LabelSelector::everything();
}

}  // namespace kubernel::plugins
