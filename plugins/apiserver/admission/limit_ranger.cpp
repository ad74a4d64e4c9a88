// SPDX-License-Identifier: Apache-2.0
//
// LimitRanger: containers get the defaults of their namespace's limit ranges, and pods and claims stay within their
// bounds.
#include <algorithm>
#include <cstdio>
#include <utility>

#include <kubernel/api/quota.h>

#include "admission/builtin.h"
#include "registry/errors.h"
#include "registry/json_util.h"

namespace kubernel::apiserver {

namespace {

using api::Amounts;
using api::Quantity;

// The messages of all constraints that are not met.
class Complaints {
 public:
  void add(std::string text) { all_.push_back(std::move(text)); }
  bool empty() const { return all_.empty(); }
  // As Go prints several errors: in brackets, each once.
  std::string text() const {
    std::vector<std::string> once;
    for (const std::string& one : all_) {
      if (std::find(once.begin(), once.end(), one) == once.end()) once.push_back(one);
    }
    if (once.size() == 1) return once.front();
    std::string out;
    for (const std::string& one : once) out += (out.empty() ? "" : ", ") + one;
    return "[" + out + "]";
  }

 private:
  std::vector<std::string> all_;
};

const Quantity* find(const Amounts& amounts, const std::string& name) {
  const auto place = amounts.find(name);
  return place == amounts.end() ? nullptr : &place->second;
}

// One item of a limit range, applied to what asks for `requests` and is held to `limits`.
struct Constraint {
  const std::string& type;
  const Amounts& requests;
  const Amounts& limits;
  Complaints& complaints;

  std::string bound(const char* what, const std::string& name, const Quantity& enforced) const {
    return std::string(what) + " " + name + " usage per " + type + " is " + enforced.to_string();
  }
  void at_least(const std::string& name, const Quantity& enforced) const {
    const Quantity* request = find(requests, name);
    const Quantity* limit = find(limits, name);
    const std::string start = bound("minimum", name, enforced);
    if (request == nullptr) return complaints.add(start + ".  No request is specified");
    if (*request < enforced) return complaints.add(start + ", but request is " + request->to_string());
    if (limit != nullptr && *limit < enforced) complaints.add(start + ", but limit is " + limit->to_string());
  }
  void at_most(const std::string& name, const Quantity& enforced) const {
    const Quantity* request = find(requests, name);
    const Quantity* limit = find(limits, name);
    const std::string start = bound("maximum", name, enforced);
    if (limit == nullptr) return complaints.add(start + ".  No limit is specified");
    if (*limit > enforced) return complaints.add(start + ", but limit is " + limit->to_string());
    if (request != nullptr && *request > enforced) complaints.add(start + ", but request is " + request->to_string());
  }
  void request_at_most(const std::string& name, const Quantity& enforced) const {
    const Quantity* request = find(requests, name);
    const std::string start = bound("maximum", name, enforced);
    if (request == nullptr) return complaints.add(start + ".  No request is specified");
    if (*request > enforced) complaints.add(start + ", but request is " + request->to_string());
  }
  void ratio_at_most(const std::string& name, const Quantity& enforced) const {
    const Quantity* request = find(requests, name);
    const Quantity* limit = find(limits, name);
    const std::string start = name + " max limit to request ratio per " + type + " is " + enforced.to_string();
    if (request == nullptr || request->is_zero())
      return complaints.add(start + ", but no request is specified or request is 0");
    if (limit == nullptr || limit->is_zero())
      return complaints.add(start + ", but no limit is specified or limit is 0");
    const double ratio = static_cast<double>(limit->milli_value()) / static_cast<double>(request->milli_value());
    if (ratio <= static_cast<double>(enforced.milli_value()) / 1000) return;
    char digits[64];
    std::snprintf(digits, sizeof digits, "%f", ratio);
    complaints.add(start + ", but provided ratio is " + digits);
  }
  void apply(api::Value item) const {
    for (const auto& [name, amount] : api::read_amounts(item["min"])) at_least(name, amount);
    for (const auto& [name, amount] : api::read_amounts(item["max"])) at_most(name, amount);
    for (const auto& [name, amount] : api::read_amounts(item["maxLimitRequestRatio"])) ratio_at_most(name, amount);
  }
};

std::string names_of(const std::vector<std::string>& names) {
  std::string out;
  for (const std::string& name : names) out += (out.empty() ? "" : ", ") + name;
  return out;
}

// Adds what is missing of `defaults` to resources[list]; the names that were added.
std::vector<std::string> fill(json& container, const char* list, const std::map<std::string, std::string>& defaults) {
  std::vector<std::string> added;
  for (const auto& [name, amount] : defaults) {
    if (!member(container, {"resources", list, name.c_str()}).is_null()) continue;
    make_member(container, {"resources", list})[name] = amount;
    added.push_back(name);
  }
  return added;
}

class LimitRanger final : public admission::Admission {
 public:
  explicit LimitRanger(const Api& api) : api_(api), ranges_(*api.find("", "v1", "limitranges")) {}

  bool handles(admission::Operation operation, const api::Resource& resource,
               std::string_view subresource) const override {
    if (resource == api::resources::kPods) {
      return (operation == admission::Operation::Create && subresource.empty()) ||
             (operation == admission::Operation::Update && subresource == "resize");
    }
    return resource == api::resources::kPersistentVolumeClaims && subresource.empty() &&
           (operation == admission::Operation::Create || operation == admission::Operation::Update);
  }

  Result<void> mutate(const CallContext& ctx, admission::Request& request) override {
    if (request.resource != api::resources::kPods || request.operation != admission::Operation::Create) return {};
    KUBERNEL_TRY(const std::vector<api::Object> ranges, find_ranges(ctx, request));
    std::map<std::string, std::string> limits;
    std::map<std::string, std::string> requests;
    for (const api::Object& range : ranges) {
      for (const api::Value item : range["spec"]["limits"]) {
        if (item["type"].string() != "Container") continue;
        for (const auto& [name, amount] : api::read_amounts(item["default"])) limits[name] = amount.to_string();
        for (const auto& [name, amount] : api::read_amounts(item["defaultRequest"]))
          requests[name] = amount.to_string();
      }
    }
    if (limits.empty() && requests.empty()) return {};
    set_defaults(*request.object, limits, requests);
    return {};
  }

  Result<void> validate(const CallContext& ctx, const admission::Request& request) override {
    KUBERNEL_TRY(const std::vector<api::Object> ranges, find_ranges(ctx, request));
    if (ranges.empty()) return {};
    KUBERNEL_TRY(const api::Object object, api::Object::from_json(*request.object));
    Complaints complaints;
    for (const api::Object& range : ranges) {
      for (const api::Value item : range["spec"]["limits"]) {
        if (request.resource == api::resources::kPods) {
          check_pod(item, object, complaints);
        } else {
          check_claim(item, object, complaints);
        }
      }
    }
    if (complaints.empty()) return {};
    const schema::ResourceInfo* about = schema::find_resource("", "v1", request.resource.plural);
    return forbidden(*about, request.key.name, complaints.text());
  }

 private:
  Result<std::vector<api::Object>> find_ranges(const CallContext& ctx, const admission::Request& request) const {
    ListQuery query;
    query.filter.ns = request.key.ns;
    if (request.operation == admission::Operation::Create) query.resource_version = kCached;
    KUBERNEL_TRY(ListResult found, api_.store(ranges_)->list(ctx, query));
    return std::move(found.items);
  }

  static void set_defaults(json& pod, const std::map<std::string, std::string>& limits,
                           const std::map<std::string, std::string>& requests) {
    std::string note;
    const auto tell = [&](const std::vector<std::string>& names, const char* what, const char* kind,
                          const json& container) {
      if (names.empty()) return;
      note +=
          (note.empty() ? "" : "; ") + names_of(names) + " " + what + " for " + kind + " " + text(container, {"name"});
    };
    constexpr std::pair<const char*, const char*> kLists[] = {{"containers", "container"},
                                                              {"initContainers", "init container"}};
    for (const auto& [list, kind] : kLists) {
      json& spec = make_member(pod, {"spec"});
      if (!spec.contains(list)) continue;
      for (json& container : spec[list]) {
        tell(fill(container, "requests", requests), "request", kind, container);
        tell(fill(container, "limits", limits), "limit", kind, container);
      }
    }
    if (!note.empty())
      make_member(pod, {"metadata", "annotations"})["kubernetes.io/limit-ranger"] = "LimitRanger plugin set: " + note;
  }

  static void check_pod(api::Value item, const api::Object& pod, Complaints& complaints) {
    const std::string type(item["type"].string());
    if (type == "Container") {
      for (const char* list : {"containers", "initContainers"}) {
        for (const api::Value container : pod["spec"][list]) {
          const Amounts requests = api::read_amounts(container["resources"]["requests"]);
          const Amounts limits = api::read_amounts(container["resources"]["limits"]);
          Constraint{type, requests, limits, complaints}.apply(item);
        }
      }
    } else if (type == "Pod") {
      const Amounts requests = api::pod_amounts(pod["spec"], "requests");
      const Amounts limits = api::pod_amounts(pod["spec"], "limits");
      Constraint{type, requests, limits, complaints}.apply(item);
    }
  }

  static void check_claim(api::Value item, const api::Object& claim, Complaints& complaints) {
    const std::string type(item["type"].string());
    if (type != "PersistentVolumeClaim") return;
    const Amounts requests = api::read_amounts(claim["spec"]["resources"]["requests"]);
    const Amounts none;
    const Constraint constraint{type, requests, none, complaints};
    for (const auto& [name, amount] : api::read_amounts(item["min"])) constraint.at_least(name, amount);
    for (const auto& [name, amount] : api::read_amounts(item["max"])) constraint.request_at_most(name, amount);
  }

  const Api& api_;
  const schema::ResourceInfo& ranges_;
};

}  // namespace

std::unique_ptr<admission::Admission> make_limit_ranger(const Api& api) {
  return std::make_unique<LimitRanger>(api);
}

}  // namespace kubernel::apiserver
