// SPDX-License-Identifier: Apache-2.0

#include "extended_resources.h"

#include <algorithm>
#include <set>

#include <kubernel/api/quantity.h>
#include <kubernel/api/time.h>

namespace kubernel::plugins {

using api::Object;
using api::Value;
using nlohmann::json;

namespace {

constexpr const char* kImplicitPrefix = "deviceclass.resource.kubernetes.io/";
constexpr const char* kNameInMemory = "<extended-resources>";

struct Container {
  std::size_t index;  // Among init containers and containers.
  Value spec;
  bool passes;  // An init container that ends before the next one starts.
};

std::vector<Container> containers_of(Value pod_spec) {
  std::vector<Container> out;
  for (const Value one : pod_spec["initContainers"]) {
    out.push_back({out.size(), one, one["restartPolicy"].string() != "Always"});
  }
  for (const Value one : pod_spec["containers"]) out.push_back({out.size(), one, false});
  return out;
}

// "container-1-request-0": the container, and the resource's place among its requests in order of the names.
std::string request_name(const Container& container, std::string_view resource) {
  std::set<std::string_view> names;
  const Value requests = container.spec["resources"]["requests"];
  for (auto it = requests.begin(); it != requests.end(); ++it) names.insert(it.key());
  const auto place = std::distance(names.begin(), names.find(resource));
  return "container-" + std::to_string(container.index) + "-request-" + std::to_string(place);
}

// The requests for one resource.
class OneResource {
 public:
  OneResource(const std::vector<Container>& containers, std::string resource, std::string device_class)
      : containers_(containers), resource_(std::move(resource)), class_(std::move(device_class)) {}

  void add_to(json& requests, json& mappings) {
    for (const Container& container : containers_) {
      if (!container.passes) add_lasting(container);
    }
    for (const Container& container : containers_) {
      if (container.passes) add_passing(container);
    }
    if (largest_ > 0) requests.push_back(request(largest_name_, largest_));
    for (const Lasting& one : lasting_) requests.push_back(request(one.name, one.count));
    for (const Mapping& one : mappings_) {
      mappings.push_back(json::object({{"containerName", one.container},
                                       {"resourceName", resource_},
                                       {"requestName", one.request.empty() ? largest_name_ : one.request}}));
    }
  }

 private:
  struct Lasting {
    std::size_t container;
    std::string name;
    std::int64_t count;
  };
  struct Mapping {
    std::string container;
    std::string request;  // Empty: the one that init containers share.
  };

  std::int64_t wanted(const Container& container) const {
    return api::Quantity::read(container.spec["resources"]["requests"][resource_]).value();
  }
  static std::string name_of(const Container& container) { return std::string(container.spec["name"].string()); }

  void add_lasting(const Container& container) {
    const std::int64_t count = wanted(container);
    if (count == 0) return;
    lasting_.push_back({container.index, request_name(container, resource_), count});
    mappings_.push_back({name_of(container), lasting_.back().name});
  }

  void add_passing(const Container& container) {
    std::int64_t missing = wanted(container);
    for (const Lasting& one : lasting_) {
      if (missing <= 0) return;
      if (one.container < container.index) continue;  // It runs already, with its devices.
      missing -= one.count;
      mappings_.push_back({name_of(container), one.name});
    }
    if (missing <= 0) return;
    mappings_.push_back({name_of(container), {}});
    if (missing <= largest_) return;
    largest_ = missing;
    largest_name_ = request_name(container, resource_);
  }

  json request(const std::string& name, std::int64_t count) const {
    return json::object(
        {{"name", name},
         {"exactly", json::object({{"deviceClassName", class_}, {"allocationMode", "ExactCount"}, {"count", count}})}});
  }

  const std::vector<Container>& containers_;
  const std::string resource_, class_;
  std::vector<Lasting> lasting_;
  std::vector<Mapping> mappings_;
  std::int64_t largest_ = 0;
  std::string largest_name_;
};

}  // namespace

ExtendedClasses::ExtendedClasses(const std::vector<Object>& classes) {
  std::map<std::string_view, const Object*> chosen;
  for (const Object& one : classes) {
    classes_[kImplicitPrefix + one.name()] = one.name();
    const auto resource = one.pointer("/spec/extendedResourceName").string();
    if (resource.empty()) continue;
    const Object*& best = chosen[resource];
    const auto created = [](const Object& of) {
      return api::read_time(of.pointer("/metadata/creationTimestamp")).value_or(api::WallTime());
    };
    // The newest; of those made at once the first by name.
    if (best == nullptr || created(one) > created(*best) ||
        (created(one) == created(*best) && one.name() < best->name()))
      best = &one;
  }
  for (const auto& [resource, one] : chosen) classes_[std::string(resource)] = one->name();
}

const std::string& ExtendedClasses::find(std::string_view resource) const {
  static const std::string kNone;
  const auto found = classes_.find(resource);
  return found == classes_.end() ? kNone : found->second;
}

Result<ExtendedClaim> make_extended_claim(const scheduler::PodInfo& pod, const std::string& uid,
                                          const std::map<std::string, std::string>& resources,
                                          const std::function<std::optional<Object>(const std::string&)>& find_class,
                                          SelectorCache& selectors) {
  const auto containers = containers_of(pod.spec);
  auto requests = json::array();
  ExtendedClaim out;
  out.mappings = json::array();
  for (const auto& [resource, device_class] : resources) {
    OneResource(containers, resource, device_class).add_to(requests, out.mappings);
  }
  std::sort(requests.begin(), requests.end(), [](const json& a, const json& b) { return a["name"] < b["name"]; });
  const auto owner = json::object(
      {{"apiVersion", "v1"}, {"kind", "Pod"}, {"name", pod.key().name}, {"uid", pod.uid()}, {"controller", true}});
  const auto metadata = json::object({{"namespace", pod.key().ns},
                                      {"name", kNameInMemory},
                                      {"generateName", pod.key().name + "-extended-resources-"},
                                      {"uid", uid},
                                      {"annotations", json::object({{kExtendedClaimAnnotation, "true"}})},
                                      {"ownerReferences", json::array({owner})}});
  const auto document = json::object({{"apiVersion", "resource.k8s.io/v1"},
                                      {"kind", "ResourceClaim"},
                                      {"metadata", metadata},
                                      {"spec", json::object({{"devices", json::object({{"requests", requests}})}})}});
  KUBERNEL_TRY(out.claim, Object::from_json(document));
  KUBERNEL_TRY(out.requests, read_requests(out.claim, find_class, selectors));
  return out;
}

}  // namespace kubernel::plugins
