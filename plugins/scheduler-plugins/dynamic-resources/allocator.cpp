// SPDX-License-Identifier: Apache-2.0

#include "allocator.h"

#include <algorithm>
#include <map>

#include <nlohmann/json.hpp>

#include <kubernel/api/quantity.h>

#include "capacity.h"

namespace kubernel::plugins {

using api::Object;
using api::Quantity;
using api::Value;

namespace {

void read_selectors(Value selectors, const std::string& origin, SelectorCache& cache, Alternative& out) {
  std::size_t index = 0;
  for (const Value selector : selectors) {
    out.selectors.push_back({origin + ": selector #" + std::to_string(index++),
                             cache.find(std::string(selector["cel"]["expression"].string()))});
  }
}

// A taint's effect, if any, that keeps requests without that toleration away.
bool tolerated(Value tolerations, Value taint) {
  return std::any_of(tolerations.begin(), tolerations.end(), [&](Value t) {
    const auto effect = t["effect"].string();
    if (!effect.empty() && effect != taint["effect"].string()) return false;
    const auto key = t["key"].string();
    if (!key.empty() && key != taint["key"].string()) return false;
    if (t["operator"].string("Equal") == "Exists") return true;
    return !key.empty() && t["value"].string() == taint["value"].string();
  });
}

bool taints_tolerated(const Device& device, Value tolerations) {
  const auto borne = [&](Value taint) {
    const auto effect = taint["effect"].string();
    return (effect != "NoSchedule" && effect != "NoExecute") || tolerated(tolerations, taint);
  };
  const Value taints = device.body["taints"];
  return std::all_of(taints.begin(), taints.end(), borne) && std::ranges::all_of(device.rule_taints, borne);
}

class Search {
 public:
  Search(const std::vector<ClaimRequests>& claims, const std::vector<Inventory::Reachable>& pools,
         const AllocatedDevices& allocated, std::size_t max_tries)
      : claims_(claims),
        pools_(pools),
        allocated_(allocated),
        tries_left_(max_tries),
        allocations_(claims.size()),
        states_(claims.size()) {
    for (std::size_t p = 0; p < pools.size(); ++p) {
      has_incomplete_ = has_incomplete_ || pools[p].pool->incomplete;
      has_invalid_ = has_invalid_ || pools[p].invalid;
      for (const Device* device : pools[p].devices)
        candidates_.push_back({device, p, allocated.contains(device->id), device->shared(), 0, {}, {}});
    }
    for (std::size_t c = 0; c < claims.size(); ++c) states_[c].resize(claims[c].constraints.size());
  }

  Result<SearchResult> run() {
    const bool found = request(0, 0);
    if (error_) return *std::move(error_);
    if (found) return SearchResult{SearchOutcome::Found, std::move(allocations_)};
    return SearchResult{tries_left_ == 0 ? SearchOutcome::GaveUp : SearchOutcome::Impossible, {}};
  }

 private:
  struct Candidate {
    const Device* device;
    std::size_t pool;
    bool allocated;
    bool shared;
    std::size_t taken;                 // By this search: how often.
    Amounts amounts;                   // Of a shared one, by this search.
    std::vector<std::size_t> holders;  // The claims that have it, also with admin access; of one that is not shared.
  };
  // What the devices chosen so far have in common, of one constraint.
  struct ConstraintState {
    std::vector<Value> values;
  };
  struct Place {
    std::size_t claim, request, alternative;
  };

  bool stopped() const { return error_ || tries_left_ == 0; }
  const Alternative& alternative(const Place& at) const {
    return claims_[at.claim].requests[at.request].alternatives[at.alternative];
  }

  // Satisfies requests from this one on.
  bool request(std::size_t claim, std::size_t index) {
    while (claim < claims_.size() && index == claims_[claim].requests.size()) {
      ++claim;
      index = 0;
    }
    if (claim == claims_.size()) return true;
    const auto& alternatives = claims_[claim].requests[index].alternatives;
    for (std::size_t a = 0; a < alternatives.size() && !stopped(); ++a) {
      const Place place{claim, index, a};
      if (alternatives[a].all ? take_all(place) : take_some(place, alternatives[a].count, 0)) return true;
    }
    return false;
  }

  // Devices of one request are alike: they are chosen in ascending order, which tries each set once.
  bool take_some(const Place& place, std::int64_t count, std::size_t from) {
    if (count == 0) return request(place.claim, place.request + 1);
    for (std::size_t i = from; i < candidates_.size() && !stopped(); ++i) {
      if (!take(place, i)) continue;
      // A shared device may do for several of the count.
      if (take_some(place, count - 1, candidates_[i].shared && !alternative(place).admin ? i : i + 1)) return true;
      give_back(place, i);
    }
    return false;
  }

  // Every device that matches, of which there must be one and none in use. What is not known to be there cannot be had.
  bool take_all(const Place& place) {
    if (has_incomplete_ || has_invalid_) return false;
    std::vector<std::size_t> taken;
    bool good = true;
    for (std::size_t i = 0; i < candidates_.size() && good && !stopped(); ++i) {
      if (!matches(place, i)) continue;
      good = take(place, i);
      if (good) taken.push_back(i);
    }
    if (good && !stopped() && !taken.empty() && request(place.claim, place.request + 1)) return true;
    for (; !taken.empty(); taken.pop_back()) give_back(place, taken.back());
    return false;
  }

  bool matches(const Place& place, std::size_t index) {
    auto& known = matches_[{place.claim, place.request, place.alternative}];
    if (known.empty()) known.resize(candidates_.size(), kUnknown);
    if (known[index] == kUnknown) known[index] = evaluate(alternative(place), *candidates_[index].device) ? kYes : kNo;
    return known[index] == kYes;
  }

  bool evaluate(const Alternative& wanted, const Device& device) {
    for (const auto& selector : wanted.selectors) {
      const auto outcome = selector.compiled->has_value() ? (**selector.compiled).matches(device) : Result<bool>(false);
      if (!outcome) {
        error_ = Error(Reason::Invalid, selector.origin + ": CEL runtime error: " + outcome.error().message());
        return false;
      }
      if (!*outcome) return false;
    }
    const Value requests = wanted.body["capacity"]["requests"];
    return requests.empty() || consumption(device, requests).has_value();
  }

  // Admin access does not mind who else has a device, unless it is its own claim. Without it, whoever got the device in
  // this search is in the way.
  bool free(const Place& place, const Candidate& candidate) const {
    if (alternative(place).admin) return std::ranges::count(candidate.holders, place.claim) == 0;
    return !candidate.allocated && candidate.holders.empty();
  }

  // Of a shared device: adds the request's amounts, or says that they are not left.
  bool take_share(const Place& place, Candidate& candidate) {
    const auto more = consumption(*candidate.device, alternative(place).body["capacity"]["requests"]);
    if (!more || !has_room(*candidate.device, allocated_.consumed(candidate.device->id), &candidate.amounts, *more))
      return false;
    for (const auto& [name, amount] : *more) candidate.amounts[name] += amount;
    return true;
  }

  void give_back_share(const Place& place, Candidate& candidate) {
    const auto less = consumption(*candidate.device, alternative(place).body["capacity"]["requests"]);
    if (!less) return;
    for (const auto& [name, amount] : *less) candidate.amounts[name] -= amount;
  }

  bool take(const Place& place, std::size_t index) {
    Candidate& candidate = candidates_[index];
    const Alternative& wanted = alternative(place);
    auto& chosen = allocations_[place.claim].devices;
    const Inventory::Reachable& pool = pools_[candidate.pool];
    if (!free(place, candidate)) return false;
    if (tries_left_ == 0 || --tries_left_ == 0) return false;
    if (chosen.size() >= kMaxDevicesOfClaim || pool.pool->incomplete || pool.invalid) return false;
    if (!matches(place, index) || !taints_tolerated(*candidate.device, wanted.body["tolerations"])) return false;
    if (!constrain(place, *candidate.device)) return false;
    if (!wanted.admin && !consume(place, candidate)) {
      release(place);
      return false;
    }
    chosen.push_back({candidate.device, place.request, place.alternative});
    if (!candidate.shared) candidate.holders.push_back(place.claim);
    return true;
  }

  void give_back(const Place& place, std::size_t index) {
    Candidate& candidate = candidates_[index];
    allocations_[place.claim].devices.pop_back();
    if (!candidate.shared) candidate.holders.pop_back();
    if (!alternative(place).admin) {
      --candidate.taken;
      if (candidate.shared) give_back_share(place, candidate);
      if (!in_use(candidate)) count(candidate, 1);
    }
    release(place);
  }

  bool concerns(const DeviceConstraint& constraint, const Place& place) const {
    const auto& requests = constraint.requests;
    return requests.empty() ||
           std::ranges::find(requests, claims_[place.claim].requests[place.request].name) != requests.end() ||
           std::ranges::find(requests, alternative(place).name) != requests.end();
  }

  // Adds the device to what the claim's constraints know, unless one forbids it.
  bool constrain(const Place& place, const Device& device) {
    const auto& constraints = claims_[place.claim].constraints;
    const auto allows = [&](std::size_t i) {
      if (!concerns(constraints[i], place)) return true;
      const Value value = qualified_member(device.body["attributes"], device, constraints[i].attribute);
      if (!value) return false;
      const auto& values = states_[place.claim][i].values;
      if (constraints[i].distinct) return std::ranges::find(values, value) == values.end();
      return values.empty() || values.front() == value;
    };
    for (std::size_t i = 0; i < constraints.size(); ++i) {
      if (!allows(i)) return false;
    }
    for (std::size_t i = 0; i < constraints.size(); ++i) {
      if (concerns(constraints[i], place)) {
        states_[place.claim][i].values.push_back(
            qualified_member(device.body["attributes"], device, constraints[i].attribute));
      }
    }
    return true;
  }

  void release(const Place& place) {
    const auto& constraints = claims_[place.claim].constraints;
    for (std::size_t i = 0; i < constraints.size(); ++i) {
      if (concerns(constraints[i], place)) states_[place.claim][i].values.pop_back();
    }
  }

  using Counters = std::map<std::pair<std::string_view, std::string_view>, Quantity>;

  // What the pool's counters have left for this search.
  Counters& counters_of(std::size_t pool_index) {
    const auto [found, added] = counters_.try_emplace(pool_index);
    if (!added) return found->second;
    const DevicePool& pool = *pools_[pool_index].pool;
    for (const Object& slice : pool.slices) {
      for (const Value set : slice.pointer("/spec/sharedCounters")) {
        const Value counters = set["counters"];
        for (auto it = counters.begin(); it != counters.end(); ++it) {
          found->second[{set["name"].string(), it.key()}] = Quantity::read((*it)["value"]);
        }
      }
    }
    for (const Device& device : pool.devices) {
      if (allocated_.contains(device.id) || allocated_.consumed(device.id) != nullptr)
        add_counters(found->second, device, -1);
    }
    return found->second;
  }

  // False when a counter is not there or falls below zero.
  static bool add_counters(Counters& counters, const Device& device, int sign) {
    bool enough = true;
    for (const Value set : device.body["consumesCounters"]) {
      const Value wanted = set["counters"];
      for (auto it = wanted.begin(); it != wanted.end(); ++it) {
        Quantity& left = counters[{set["counterSet"].string(), it.key()}];
        if (sign < 0) {
          left -= Quantity::read((*it)["value"]);
        } else {
          left += Quantity::read((*it)["value"]);
        }
        enough = enough && left.sign() >= 0;
      }
    }
    return enough;
  }

  bool in_use(const Candidate& candidate) const {
    return candidate.taken > 0 || allocated_.consumed(candidate.device->id) != nullptr;
  }

  // A shared device uses its pool's counters once, however many have a share.
  bool consume(const Place& place, Candidate& candidate) {
    if (!in_use(candidate) && !candidate.device->body["consumesCounters"].empty()) {
      Counters& counters = counters_of(candidate.pool);
      if (!add_counters(counters, *candidate.device, -1)) {
        add_counters(counters, *candidate.device, 1);
        return false;
      }
    }
    if (candidate.shared && !take_share(place, candidate)) {
      if (!in_use(candidate)) count(candidate, 1);
      return false;
    }
    ++candidate.taken;
    return true;
  }

  void count(const Candidate& candidate, int sign) {
    if (!candidate.device->body["consumesCounters"].empty())
      add_counters(counters_of(candidate.pool), *candidate.device, sign);
  }

  static constexpr char kUnknown = 0;
  static constexpr char kYes = 1;
  static constexpr char kNo = 2;

  const std::vector<ClaimRequests>& claims_;
  const std::vector<Inventory::Reachable>& pools_;
  const AllocatedDevices& allocated_;
  std::size_t tries_left_;
  std::vector<Candidate> candidates_;
  std::vector<ClaimAllocation> allocations_;
  std::vector<std::vector<ConstraintState>> states_;
  std::map<std::tuple<std::size_t, std::size_t, std::size_t>, std::vector<char>> matches_;
  std::map<std::size_t, Counters> counters_;
  bool has_incomplete_ = false;
  bool has_invalid_ = false;
  std::optional<Error> error_;
};

Result<Alternative> read_alternative(const Object& claim, Value body, std::string name,
                                     const std::function<std::optional<Object>(const std::string&)>& find_class,
                                     SelectorCache& selectors) {
  Alternative out;
  const std::string class_name(body["deviceClassName"].string());
  auto device_class = find_class(class_name);
  if (!device_class)
    return Error(Reason::Invalid, "request " + name + ": device class " + class_name + " does not exist");
  out.device_class = *std::move(device_class);
  out.name = std::move(name);
  out.body = body;
  out.all = body["allocationMode"].string("ExactCount") == "All";
  out.count = body["count"].integer(1);
  out.admin = body["adminAccess"].boolean();
  read_selectors(out.device_class.pointer("/spec/selectors"), "class " + class_name, selectors, out);
  read_selectors(body["selectors"], "claim " + api::to_string(claim.key()), selectors, out);
  return out;
}

}  // namespace

Result<ClaimRequests> read_requests(const Object& claim,
                                    const std::function<std::optional<Object>(const std::string&)>& find_class,
                                    SelectorCache& selectors) {
  ClaimRequests out;
  out.claim = claim;
  for (const Value request : claim.pointer("/spec/devices/requests")) {
    const std::string name(request["name"].string());
    const Value sub_requests = request["firstAvailable"];
    DeviceRequest read{name, !sub_requests.empty(), {}};
    for (const Value sub : sub_requests) {
      KUBERNEL_TRY(Alternative one,
                   read_alternative(claim, sub, name + "/" + std::string(sub["name"].string()), find_class, selectors));
      read.alternatives.push_back(std::move(one));
    }
    if (sub_requests.empty()) {
      if (!request["exactly"]) return Error(Reason::Invalid, "request " + name + ": unsupported request type");
      KUBERNEL_TRY(Alternative one, read_alternative(claim, request["exactly"], name, find_class, selectors));
      read.alternatives.push_back(std::move(one));
    }
    out.requests.push_back(std::move(read));
  }
  for (const Value constraint : claim.pointer("/spec/devices/constraints")) {
    DeviceConstraint read;
    for (const Value name : constraint["requests"]) read.requests.emplace_back(name.string());
    read.distinct = !constraint["matchAttribute"];
    read.attribute = constraint[read.distinct ? "distinctAttribute" : "matchAttribute"].string();
    if (read.attribute.empty())
      return Error(Reason::Invalid, "claim " + api::to_string(claim.key()) + ": unsupported constraint type");
    out.constraints.push_back(std::move(read));
  }
  return out;
}

Result<SearchResult> find_devices(const std::vector<ClaimRequests>& claims,
                                  const std::vector<Inventory::Reachable>& pools, const AllocatedDevices& allocated,
                                  std::size_t max_tries) {
  for (const ClaimRequests& claim : claims) {
    for (const DeviceRequest& request : claim.requests) {
      for (const Alternative& alternative : request.alternatives) {
        for (const auto& selector : alternative.selectors) {
          if (selector.compiled->has_value()) continue;
          return Error(Reason::Invalid,
                       selector.origin + ": CEL compile error: " + selector.compiled->error().message());
        }
      }
    }
  }
  return Search(claims, pools, allocated, max_tries).run();
}

namespace {

// Where pods that use these devices can run: what all slices they are from say together; null for everywhere.
nlohmann::json node_selector(const ClaimAllocation& allocation, const std::string& node) {
  auto expressions = nlohmann::json::array();
  auto fields = nlohmann::json::array();
  const auto add = [](nlohmann::json& to, Value requirements) {
    for (const Value requirement : requirements) {
      auto written = requirement.to_json();
      if (std::ranges::find(to, written) == to.end()) to.push_back(std::move(written));
    }
  };
  for (const ChosenDevice& chosen : allocation.devices) {
    const Value spec = chosen.device->slice_spec;
    const Value selection = spec["perDeviceNodeSelection"].boolean() ? chosen.device->body : spec;
    if (!selection["nodeName"].string().empty() || chosen.device->body["bindsToNode"].boolean()) {
      auto only = nlohmann::json::object(
          {{"key", "metadata.name"}, {"operator", "In"}, {"values", nlohmann::json::array({node})}});
      return {{"nodeSelectorTerms", nlohmann::json::array({nlohmann::json::object(
                                        {{"matchFields", nlohmann::json::array({std::move(only)})}})})}};
    }
    // Selectors of slices have exactly one term (validated).
    const Value term = selection["nodeSelector"]["nodeSelectorTerms"].at(0);
    add(expressions, term["matchExpressions"]);
    add(fields, term["matchFields"]);
  }
  if (expressions.empty() && fields.empty()) return nullptr;
  auto term = nlohmann::json::object();
  if (!expressions.empty()) term["matchExpressions"] = std::move(expressions);
  if (!fields.empty()) term["matchFields"] = std::move(fields);
  return {{"nodeSelectorTerms", nlohmann::json::array({std::move(term)})}};
}

// Settings of the classes come first: those of the claim override them.
nlohmann::json configuration(const ClaimRequests& claim, const std::vector<const Alternative*>& used) {
  auto out = nlohmann::json::array();
  for (const Alternative* alternative : used) {
    for (const Value config : alternative->device_class.pointer("/spec/config")) {
      auto entry = config.to_json();
      entry["source"] = "FromClass";
      entry["requests"] = nlohmann::json::array({alternative->name});
      out.push_back(std::move(entry));
    }
  }
  for (const Value config : claim.claim.pointer("/spec/devices/config")) {
    const Value requests = config["requests"];
    const bool concerns =
        requests.empty() || std::any_of(requests.begin(), requests.end(), [&](Value name) {
          return std::ranges::any_of(used, [&](const Alternative* one) {
            return one->name == name.string() || one->name.starts_with(std::string(name.string()) + "/");
          });
        });
    if (!concerns) continue;
    auto entry = config.to_json();
    entry["source"] = "FromClaim";
    out.push_back(std::move(entry));
  }
  return out;
}

}  // namespace

std::int64_t preference_score(const std::vector<ClaimRequests>& claims, const std::vector<ClaimAllocation>& found) {
  constexpr std::int64_t kMostAlternatives = 8;  // FirstAvailableDeviceRequestMaxSize.
  std::int64_t score = 0;
  for (std::size_t c = 0; c < claims.size(); ++c) {
    std::size_t last = claims[c].requests.size();  // Several devices of one request count once; they come together.
    for (const ChosenDevice& chosen : found[c].devices) {
      if (chosen.request == last) continue;
      last = chosen.request;
      if (claims[c].requests[last].first_available)
        score += kMostAlternatives - static_cast<std::int64_t>(chosen.alternative);
    }
  }
  return score;
}

nlohmann::json allocation_json(const ClaimRequests& claim, const ClaimAllocation& allocation, const std::string& node,
                               Random& random) {
  auto out = nlohmann::json::object();
  auto results = nlohmann::json::array();
  std::vector<const Alternative*> used;
  for (const ChosenDevice& chosen : allocation.devices) {
    const Alternative& alternative = claim.requests[chosen.request].alternatives[chosen.alternative];
    if (used.empty() || used.back() != &alternative) used.push_back(&alternative);
    auto result = nlohmann::json::object({{"request", alternative.name},
                                          {"driver", chosen.device->id.driver},
                                          {"pool", chosen.device->id.pool},
                                          {"device", chosen.device->id.device}});
    if (alternative.admin) result["adminAccess"] = true;
    if (const Value tolerations = alternative.body["tolerations"]; !tolerations.empty())
      result["tolerations"] = tolerations.to_json();
    for (const char* conditions : {"bindingConditions", "bindingFailureConditions"}) {
      if (const Value names = chosen.device->body[conditions]; !names.empty()) result[conditions] = names.to_json();
    }
    if (chosen.device->shared() && !alternative.admin) {
      result["shareID"] = random_uuid(random);
      const auto amounts = consumption(*chosen.device, alternative.body["capacity"]["requests"]);
      for (const auto& [name, amount] : amounts.value_or(Amounts()))
        result["consumedCapacity"][name] = amount.to_string();
    }
    results.push_back(std::move(result));
  }
  out["devices"] = nlohmann::json::object({{"results", std::move(results)}});
  if (auto config = configuration(claim, used); !config.empty()) out["devices"]["config"] = std::move(config);
  if (auto selector = node_selector(allocation, node); !selector.is_null()) out["nodeSelector"] = std::move(selector);
  return out;
}

}  // namespace kubernel::plugins
