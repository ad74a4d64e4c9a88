// SPDX-License-Identifier: Apache-2.0
#include <algorithm>
#include <set>
#include <utility>

#include "strategies/allocator.h"
#include "strategies/strategy.h"

namespace kubernel::apiserver {

namespace {

FieldValues service_fields(api::Value body) {
  return {{"spec.clusterIP", std::string(body["spec"]["clusterIP"].string())},
          {"spec.type", std::string(body["spec"]["type"].string())}};
}

Traits service_traits() {
  Traits traits;
  traits.name_rule = NameRule::Label1035;
  traits.create_on_update = true;
  traits.returns_deleted = true;
  traits.field_labels = {"spec.clusterIP", "spec.type"};
  traits.read_fields = service_fields;
  return traits;
}

bool external(const json& service) {
  return text(service, {"spec", "type"}) == "ExternalName";
}

bool wants_node_ports(const json& service) {
  const std::string type = text(service, {"spec", "type"});
  return type == "NodePort" ||
         (type == "LoadBalancer" && flag(service, {"spec", "allocateLoadBalancerNodePorts"}, true));
}

bool wants_health_port(const json& service) {
  return text(service, {"spec", "type"}) == "LoadBalancer" &&
         text(service, {"spec", "externalTrafficPolicy"}) == "Local";
}

std::set<int> node_ports(const json& service) {
  std::set<int> out;
  const json& ports = member(service, {"spec", "ports"});
  if (ports.is_array()) {
    for (const json& port : ports) {
      if (const auto value = number(port, {"nodePort"}); value != 0) out.insert(static_cast<int>(value));
    }
  }
  if (const auto value = number(service, {"spec", "healthCheckNodePort"}); value != 0)
    out.insert(static_cast<int>(value));
  return out;
}

std::string address(const json& service) {
  const std::string ip = text(service, {"spec", "clusterIP"});
  return external(service) || ip == "None" ? "" : ip;
}

ServiceName name_of(const json& service) {
  return {text(service, {"metadata", "namespace"}), text(service, {"metadata", "name"})};
}

class ServiceStrategy final : public Strategy {
 public:
  ServiceStrategy(const schema::ResourceInfo& info, AddressAllocator addresses, PortAllocator ports)
      : Strategy(info, service_traits()), addresses_(std::move(addresses)), ports_(std::move(ports)) {}

  void prepare_update(json& document, const json& old) const override {
    Strategy::prepare_update(document, old);
    drop_unused(document, old);
    carry_over(document, old);
  }

  Result<Undo> reserve(const CallContext& ctx, json& document, const json* old, bool dry_run) const override;
  void release(const CallContext& ctx, const json& old, const json* now) const override;

 private:
  // A client that changes the type need not remove what the old type had.
  static void drop_unused(json& document, const json& old) {
    if (!wants_node_ports(document) && wants_node_ports(old)) {
      json& ports = make_member(document, {"spec", "ports"});
      for (json& port : ports) port.erase("nodePort");
    }
    if (external(document) && !external(old)) {
      for (const char* field : {"clusterIP", "clusterIPs", "ipFamilies", "ipFamilyPolicy"}) {
        erase_member(document, {"spec"}, field);
      }
    }
    if (!wants_health_port(document) && wants_health_port(old)) erase_member(document, {"spec"}, "healthCheckNodePort");
    const std::string type = text(document, {"spec", "type"});
    if (type == text(old, {"spec", "type"})) return;
    std::vector<const char*> typed;
    if (type != "LoadBalancer") typed = {"allocateLoadBalancerNodePorts", "loadBalancerClass"};
    if (type != "LoadBalancer" && type != "NodePort" && member(document, {"spec", "externalIPs"}).empty())
      typed.push_back("externalTrafficPolicy");
    for (const char* field : typed) {
      // What the client has just set is its own mistake, and reported.
      if (member(document, {"spec", field}) == member(old, {"spec", field})) erase_member(document, {"spec"}, field);
    }
  }

  // A client may leave out what the server had chosen.
  static void carry_over(json& document, const json& old) {
    json& spec = make_member(document, {"spec"});
    if (!external(document) && !external(old) && text(spec, {"clusterIP"}).empty()) {
      for (const char* field : {"clusterIP", "clusterIPs", "ipFamilies", "ipFamilyPolicy"}) {
        copy_member(spec, member(old, {"spec"}), field);
      }
    }
    if (wants_node_ports(document) && wants_node_ports(old)) {
      json& ports = make_member(spec, {"ports"});
      for (json& port : ports) {
        if (number(port, {"nodePort"}) != 0) continue;
        for (const json& before : member(old, {"spec", "ports"})) {
          if (number(before, {"port"}) == number(port, {"port"}) &&
              text(before, {"protocol"}) == text(port, {"protocol"})) {
            copy_member(port, before, "nodePort");
          }
        }
      }
    }
    if (wants_health_port(document) && wants_health_port(old) && number(spec, {"healthCheckNodePort"}) == 0) {
      copy_member(spec, member(old, {"spec"}), "healthCheckNodePort");
    }
  }

  Result<std::string> reserve_address(const CallContext& ctx, json& document, const json* old, bool dry_run) const;
  Result<std::set<int>> reserve_ports(const CallContext& ctx, json& document, const json* old, bool dry_run) const;

  // Their state is in the store; a const strategy may ask them to change it.
  mutable AddressAllocator addresses_;
  mutable PortAllocator ports_;
};

Result<std::string> ServiceStrategy::reserve_address(const CallContext& ctx, json& document, const json* old,
                                                     bool dry_run) const {
  if (external(document)) return std::string();
  json& spec = make_member(document, {"spec"});
  std::string ip = text(spec, {"clusterIP"});
  std::string reserved;
  const ServiceName owner = name_of(document);
  if (ip.empty()) {
    auto taken = addresses_.take_any(ctx, owner, dry_run);
    if (!taken) {
      if (taken.error().reason() != Reason::Invalid) return std::move(taken).error();
      return invalid(info(), owner.name, {invalid_value("spec.clusterIPs", "[]", taken.error().message())});
    }
    ip = reserved = *std::move(taken);
  } else if (ip != "None" && (old == nullptr || address(*old) != ip)) {
    auto taken = addresses_.take(ctx, ip, owner, dry_run);
    if (!taken) {
      if (taken.error().reason() != Reason::Invalid) return std::move(taken).error();
      return invalid(info(), owner.name,
                     {invalid_value("spec.clusterIPs", "[\"" + ip + "\"]", taken.error().message())});
    }
    reserved = ip;
  }
  spec["clusterIP"] = ip;
  spec["clusterIPs"] = json::array({ip});
  if (member(spec, {"ipFamilies"}).empty()) spec["ipFamilies"] = json::array({"IPv4"});
  if (text(spec, {"ipFamilyPolicy"}).empty()) spec["ipFamilyPolicy"] = "SingleStack";
  return reserved;
}

Result<std::set<int>> ServiceStrategy::reserve_ports(const CallContext& ctx, json& document, const json* old,
                                                     bool dry_run) const {
  const std::set<int> had = old != nullptr ? node_ports(*old) : std::set<int>();
  std::set<int> wanted = node_ports(document);
  for (const int port : had) wanted.erase(port);
  std::vector<json*> open;
  if (wants_node_ports(document)) {
    for (json& port : make_member(document, {"spec", "ports"})) {
      if (number(port, {"nodePort"}) == 0) open.push_back(&port);
    }
  }
  const bool health = wants_health_port(document) && number(document, {"spec", "healthCheckNodePort"}) == 0;
  if (wanted.empty() && open.empty() && !health) return std::set<int>();
  auto chosen = ports_.take(ctx, wanted, open.size() + (health ? 1 : 0), dry_run);
  if (!chosen) {
    if (chosen.error().reason() != Reason::Invalid) return std::move(chosen).error();
    const std::string value = wanted.empty() ? "0" : std::to_string(*wanted.begin());
    return invalid(info(), name_of(document).name,
                   {invalid_value("spec.ports[0].nodePort", value, chosen.error().message())});
  }
  for (std::size_t i = 0; i < open.size(); ++i) (*open[i])["nodePort"] = (*chosen)[i];
  if (health) document["spec"]["healthCheckNodePort"] = chosen->back();
  wanted.insert(chosen->begin(), chosen->end());
  return wanted;
}

Result<Undo> ServiceStrategy::reserve(const CallContext& ctx, json& document, const json* old, bool dry_run) const {
  KUBERNEL_TRY(const std::string ip, reserve_address(ctx, document, old, dry_run));
  const ServiceName owner = name_of(document);
  const auto undo_address = [this, ip, owner] {
    // The request's own deadline may be what failed; giving back must not depend on it.
    if (!ip.empty()) (void)addresses_.give_back({}, ip, owner);
  };
  auto ports = reserve_ports(ctx, document, old, dry_run);
  if (!ports) {
    if (!dry_run) undo_address();
    return std::move(ports).error();
  }
  if (dry_run) return Undo();
  return Undo([this, undo_address, taken = *std::move(ports)] {
    undo_address();
    if (!taken.empty()) (void)ports_.give_back({}, taken);
  });
}

void ServiceStrategy::release(const CallContext& ctx, const json& old, const json* now) const {
  // A failure here leaks an address, which nothing else can take; the repair at the next start gives it back.
  const std::string ip = address(old);
  if (!ip.empty() && (now == nullptr || address(*now) != ip)) (void)addresses_.give_back(ctx, ip, name_of(old));
  std::set<int> ports = node_ports(old);
  if (now != nullptr) {
    for (const int port : node_ports(*now)) ports.erase(port);
  }
  if (!ports.empty()) (void)ports_.give_back(ctx, ports);
}

}  // namespace

std::unique_ptr<Strategy> make_service_strategy(const schema::ResourceInfo& info, const StrategyContext& context) {
  // The component has checked the range when it read its configuration.
  auto range = AddressRange::parse(context.service_cidr);
  return std::make_unique<ServiceStrategy>(
      info, AddressAllocator(context.backend, context.clock, context.random, *std::move(range)),
      PortAllocator(context.backend, context.random, context.node_port_first, context.node_port_last));
}

}  // namespace kubernel::apiserver
