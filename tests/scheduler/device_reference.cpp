// SPDX-License-Identifier: Apache-2.0
#include "device_reference.h"

#include <algorithm>
#include <functional>
#include <optional>
#include <regex>
#include <set>
#include <tuple>

namespace kubernel::reference {

namespace {

using Id = std::tuple<std::string, std::string, std::string>;  // Driver, pool, device.

struct Found {
  Id id;
  json body;
};

struct Request {
  std::string name;
  json body;
};

// One device given to one request of one claim, in the order of the requests.
struct Given {
  std::size_t claim;
  Request request;
  const Found* device;
};

json member(const json& object, const char* name, json otherwise = json::array()) {
  return object.value(name, std::move(otherwise));
}

bool covers(const json& selection, const json& node) {
  if (selection.contains("nodeName")) return selection["nodeName"] == node["metadata"]["name"];
  if (selection.value("allNodes", false)) return true;
  if (!selection.contains("nodeSelector")) return false;
  const json& expression = selection["nodeSelector"]["nodeSelectorTerms"][0]["matchExpressions"][0];
  const json labels = member(node["metadata"], "labels", json::object());
  const json& values = expression["values"];
  const auto label = labels.find(expression["key"].get<std::string>());
  return label != labels.end() && std::find(values.begin(), values.end(), *label) != values.end();
}

// What the node reaches of one pool; of a pool that is incomplete or invalid nothing can be had.
struct Pool {
  std::vector<Found> devices;
  bool usable = true;
};

std::optional<Pool> pool_on(const std::vector<json>& slices, const json& node) {
  std::vector<json> newest;
  std::int64_t generation = 0;
  for (const json& slice : slices)
    generation = std::max(generation, slice["spec"]["pool"]["generation"].get<std::int64_t>());
  for (const json& slice : slices) {
    if (slice["spec"]["pool"]["generation"] == generation) newest.push_back(slice);
  }
  Pool out;
  bool relevant = false;
  std::set<std::string> names;
  std::sort(newest.begin(), newest.end(),
            [](const json& a, const json& b) { return a["metadata"]["name"] < b["metadata"]["name"]; });
  for (const json& slice : newest) {
    const json& spec = slice["spec"];
    const bool each = spec.value("perDeviceNodeSelection", false);
    std::vector<json> reached;
    for (const json& device : member(spec, "devices")) {
      if (covers(each ? device : spec, node)) reached.push_back(device);
    }
    if (each ? reached.empty() : !covers(spec, node)) continue;
    relevant = true;
    for (const json& device : member(spec, "devices"))
      out.usable = names.insert(device["name"].get<std::string>()).second && out.usable;
    for (const json& device : reached) {
      out.devices.push_back({{spec["driver"].get<std::string>(), spec["pool"]["name"].get<std::string>(),
                              device["name"].get<std::string>()},
                             device});
    }
  }
  if (!relevant) return std::nullopt;
  if (newest.size() != newest.front()["spec"]["pool"]["resourceSliceCount"].get<std::size_t>()) out.usable = false;
  return out;
}

std::vector<Pool> pools_on(const Devices& world, const json& node) {
  std::map<std::pair<std::string, std::string>, std::vector<json>> pools;
  for (const json& slice : world.slices) {
    pools[{slice["spec"]["driver"].get<std::string>(), slice["spec"]["pool"]["name"].get<std::string>()}].push_back(
        slice);
  }
  std::vector<Pool> out;
  for (const auto& [id, slices] : pools) {
    if (auto pool = pool_on(slices, node)) out.push_back(*std::move(pool));
  }
  return out;
}

// An attribute by its full name: a device may leave its driver's domain out.
json attribute(const Found& device, const std::string& name) {
  const json attributes = member(device.body, "attributes", json::object());
  if (attributes.contains(name)) return attributes[name];
  const std::string own = std::get<0>(device.id) + "/";
  if (name.starts_with(own) && attributes.contains(name.substr(own.size()))) return attributes[name.substr(own.size())];
  return nullptr;
}

// The expressions that the test uses.
bool selects(const std::string& expression, const Found& device) {
  std::smatch match;
  static const std::regex driver(R"xx(device\.driver == "([^"]*)")xx");
  static const std::regex text(R"xx(.*attributes\["([^"]*)"\]\.(\w+) == "([^"]*)")xx");
  static const std::regex number(R"xx(.*attributes\["([^"]*)"\]\.(\w+) < (\d+))xx");
  if (std::regex_match(expression, match, driver)) return std::get<0>(device.id) == match[1];
  if (std::regex_match(expression, match, text)) {
    const json value = attribute(device, match[1].str() + "/" + match[2].str());
    return value.is_object() && value.contains("string") && value["string"] == match[3].str();
  }
  if (std::regex_match(expression, match, number)) {
    const json value = attribute(device, match[1].str() + "/" + match[2].str());
    return value.is_object() && value.contains("int") && value["int"].get<int>() < std::stoi(match[3]);
  }
  throw std::logic_error("not an expression of this test: " + expression);
}

bool matches(const Devices& world, const json& request, const Found& device) {
  const json& of_class = world.classes.at(request["deviceClassName"].get<std::string>());
  for (const json& from : {of_class["spec"], request}) {
    for (const json& selector : member(from, "selectors")) {
      if (!selects(selector["cel"]["expression"].get<std::string>(), device)) return false;
    }
  }
  return true;
}

bool tolerates(const json& request, const json& taint) {
  if (taint["effect"] != "NoSchedule" && taint["effect"] != "NoExecute") return true;
  for (const json& toleration : member(request, "tolerations")) {
    if (toleration.contains("effect") && toleration["effect"] != taint["effect"]) continue;
    if (toleration.contains("key") && toleration["key"] != taint["key"]) continue;
    if (toleration.value("operator", "Equal") == "Exists" || toleration.value("value", "") == taint.value("value", ""))
      return true;
  }
  return false;
}

bool admin(const json& request) {
  return request.value("adminAccess", false);
}

std::vector<std::string> claims_of(const json& pod) {
  std::vector<std::string> out;
  for (const json& entry : member(pod["spec"], "resourceClaims")) {
    const auto name = entry["resourceClaimName"].get<std::string>();
    if (std::find(out.begin(), out.end(), name) == out.end()) out.push_back(name);
  }
  return out;
}

bool allocated(const json& claim) {
  return claim.contains("status") && claim["status"].contains("allocation");
}

std::set<Id> ids_of(const json& allocation) {
  std::set<Id> out;
  for (const json& result : member(allocation["devices"], "results")) {
    if (!result.value("adminAccess", false)) {
      out.emplace(result["driver"].get<std::string>(), result["pool"].get<std::string>(),
                  result["device"].get<std::string>());
    }
  }
  return out;
}

// Those that other claims have.
std::set<Id> taken(const Devices& world) {
  std::set<Id> out;
  for (const auto& [name, claim] : world.claims) {
    if (allocated(claim)) out.merge(ids_of(claim["status"]["allocation"]));
  }
  return out;
}

bool concerns(const json& constraint, const std::string& request) {
  const json names = member(constraint, "requests");
  return names.empty() || std::any_of(names.begin(), names.end(), [&](const json& name) {
           return request == name || request.starts_with(name.get<std::string>() + "/");
         });
}

// The constraints of one claim on what all its requests were given.
bool constraints_hold(const json& claim, std::size_t number, const std::vector<Given>& given) {
  for (const json& constraint : member(claim["spec"]["devices"], "constraints")) {
    const bool same = constraint.contains("matchAttribute");
    const auto name = constraint[same ? "matchAttribute" : "distinctAttribute"].get<std::string>();
    std::vector<json> values;
    for (const Given& one : given) {
      if (one.claim == number && concerns(constraint, one.request.name)) values.push_back(attribute(*one.device, name));
    }
    if (std::any_of(values.begin(), values.end(), [](const json& value) { return value.is_null(); })) return false;
    const std::size_t different = std::set<json>(values.begin(), values.end()).size();
    if (same ? different > 1 : different < values.size()) return false;
  }
  return true;
}

// May the device go to this request, after what has been given already? Whoever has no admin access has it alone; who
// has shares it with others, but not within one claim.
bool free(const Given& wanted, const std::vector<Given>& before, const std::set<Id>& in_use) {
  const bool privileged = admin(wanted.request.body);
  if (!privileged && in_use.contains(wanted.device->id)) return false;
  return std::none_of(before.begin(), before.end(), [&](const Given& other) {
    return other.device->id == wanted.device->id && (!privileged || other.claim == wanted.claim);
  });
}

std::vector<Request> alternatives(const json& request) {
  const auto name = request["name"].get<std::string>();
  if (request.contains("exactly")) return {{name, request["exactly"]}};
  std::vector<Request> out;
  for (const json& sub : request["firstAvailable"]) out.push_back({name + "/" + sub["name"].get<std::string>(), sub});
  return out;
}

bool wants_all(const json& request) {
  return request.value("allocationMode", "ExactCount") == "All";
}

// Tries every alternative of every request with every set of devices.
class BruteForce {
 public:
  BruteForce(const Devices& world, const json& node, const std::vector<json>& claims)
      : world_(world), pools_(pools_on(world, node)), in_use_(taken(world)), claims_(claims) {
    for (const Pool& pool : pools_) {
      all_usable_ = all_usable_ && pool.usable;
      for (const Found& device : pool.devices) {
        if (pool.usable) devices_.push_back(&device);
      }
    }
  }
  bool possible() { return request(0, 0); }

 private:
  bool request(std::size_t claim, std::size_t index) {
    if (claim == claims_.size()) return true;
    const json& requests = claims_[claim]["spec"]["devices"]["requests"];
    if (index == requests.size()) return constraints_hold(claims_[claim], claim, given_) && request(claim + 1, 0);
    for (const Request& way : alternatives(requests[index])) {
      const std::vector<const Found*>& fitting = fitting_for(claim, way);
      const bool all = wants_all(way.body);
      if (all && (!all_usable_ || fitting.empty())) continue;
      const auto count = all ? fitting.size() : way.body.value("count", std::size_t{1});
      if (choose(claim, index, way, fitting, 0, count)) return true;
    }
    return false;
  }

  // By name of the request: asked once, for speed.
  const std::vector<const Found*>& fitting_for(std::size_t claim, const Request& way) {
    const auto [known, fresh] = fitting_.try_emplace({claim, way.name});
    if (!fresh) return known->second;
    for (const Found* device : devices_) {
      if (matches(world_, way.body, *device)) known->second.push_back(device);
    }
    return known->second;
  }

  bool choose(std::size_t claim, std::size_t index, const Request& way, const std::vector<const Found*>& from,
              std::size_t first, std::size_t count) {
    if (count == 0) return request(claim, index + 1);
    for (std::size_t i = first; i < from.size(); ++i) {
      const Given one{claim, way, from[i]};
      const json taints = member(from[i]->body, "taints");
      if (!free(one, given_, in_use_) ||
          !std::all_of(taints.begin(), taints.end(), [&](const json& taint) { return tolerates(way.body, taint); }))
        continue;
      given_.push_back(one);
      // A constraint that is broken stays broken.
      const bool done =
          constraints_hold(claims_[claim], claim, given_) && choose(claim, index, way, from, i + 1, count - 1);
      given_.pop_back();
      if (done) return true;
    }
    return false;
  }

  const Devices& world_;
  const std::vector<Pool> pools_;
  const std::set<Id> in_use_;
  const std::vector<json>& claims_;
  std::vector<const Found*> devices_;
  std::map<std::pair<std::size_t, std::string>, std::vector<const Found*>> fitting_;
  bool all_usable_ = true;
  std::vector<Given> given_;
};

bool reached(const json& claim, const json& node) {
  const json& allocation = claim["status"]["allocation"];
  if (!allocation.contains("nodeSelector")) return true;
  const json& term = allocation["nodeSelector"]["nodeSelectorTerms"][0];
  if (term.contains("matchFields")) return term["matchFields"][0]["values"][0] == node["metadata"]["name"];
  const json labels = member(node["metadata"], "labels", json::object());
  return std::all_of(term["matchExpressions"].begin(), term["matchExpressions"].end(), [&](const json& expression) {
    const auto label = labels.find(expression["key"].get<std::string>());
    const json& values = expression["values"];
    return label != labels.end() && std::find(values.begin(), values.end(), *label) != values.end();
  });
}

}  // namespace

std::vector<std::string> feasible_devices(const Cluster& cluster, const Devices& world, const json& pod) {
  std::vector<std::string> out;
  for (const Node& node : cluster.nodes) {
    std::vector<json> open;
    bool fits = true;
    for (const std::string& name : claims_of(pod)) {
      const json& claim = world.claims.at(name);
      if (allocated(claim)) {
        fits = fits && reached(claim, node.object);
      } else {
        open.push_back(claim);
      }
    }
    if (fits && BruteForce(world, node.object, open).possible()) out.push_back(node.name());
  }
  return out;
}

std::string wrong_with(const Devices& world, const json& node, const json& pod,
                       const std::map<std::string, json>& allocations) {
  const std::vector<Pool> pools = pools_on(world, node);
  const std::set<Id> in_use = taken(world);
  std::vector<Given> given;
  std::size_t number = 0;
  for (const std::string& name : claims_of(pod)) {
    const json& claim = world.claims.at(name);
    if (allocated(claim)) continue;
    const auto found = allocations.find(name);
    if (found == allocations.end()) return "claim " + name + " got nothing";
    std::map<std::string, std::vector<const Found*>> got;  // By request.
    for (const json& result : member(found->second["devices"], "results")) {
      const Id id{result["driver"].get<std::string>(), result["pool"].get<std::string>(),
                  result["device"].get<std::string>()};
      const Found* device = nullptr;
      for (const Pool& pool : pools) {
        for (const Found& one : pool.devices) {
          if (one.id == id && pool.usable) device = &one;
        }
      }
      if (device == nullptr) return "device " + std::get<2>(id) + " is not to be had on the node";
      got[result["request"].get<std::string>()].push_back(device);
    }
    std::size_t results = 0;
    for (const json& request : claim["spec"]["devices"]["requests"]) {
      std::size_t ways = 0;
      for (const Request& way : alternatives(request)) {
        if (!got.contains(way.name)) continue;
        ++ways;
        std::size_t wanted = way.body.value("count", std::size_t{1});
        if (wants_all(way.body)) {
          wanted = 0;
          for (const Pool& pool : pools) {
            if (!pool.usable) return "all devices of a pool that is not known";
            wanted += static_cast<std::size_t>(
                std::count_if(pool.devices.begin(), pool.devices.end(),
                              [&](const Found& device) { return matches(world, way.body, device); }));
          }
        }
        if (got[way.name].size() != wanted) return "request " + way.name + " did not get what it counts";
        for (const Found* device : got[way.name]) {
          const Given one{number, way, device};
          if (!matches(world, way.body, *device)) return std::get<2>(device->id) + " does not match " + way.name;
          if (!free(one, given, in_use)) return std::get<2>(device->id) + " is given twice";
          for (const json& taint : member(device->body, "taints")) {
            if (!tolerates(way.body, taint)) return std::get<2>(device->id) + " has a taint";
          }
          given.push_back(one);
          ++results;
        }
      }
      if (ways != 1)
        return "request " + request["name"].get<std::string>() + " is satisfied in " + std::to_string(ways) + " ways";
    }
    if (results != found->second["devices"]["results"].size()) return "claim " + name + " got more than it asked for";
    if (!constraints_hold(claim, number, given)) return "a constraint of claim " + name + " is broken";
    json with = claim;
    with["status"]["allocation"] = found->second;
    if (!reached(with, node)) return "claim " + name + " is not to be had on its node";
    ++number;
  }
  return "";
}

}  // namespace kubernel::reference
