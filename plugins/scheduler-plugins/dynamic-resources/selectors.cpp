// SPDX-License-Identifier: Apache-2.0

#include "selectors.h"

#include <set>

namespace kubernel::plugins {

using api::Value;
using cel::Type;

namespace {

// Upstream's limits (resource.k8s.io, CELSelectorExpressionMaxLength and MaxCost).
constexpr std::size_t kMaxBytes = 10 * 1024;
constexpr std::uint64_t kMaxCost = 1'000'000;
constexpr std::size_t kMaxCached = 1000;

std::optional<cel::Value> attribute_value(Value attribute) {
  if (const Value number = attribute["int"]) return cel::Value::json(number);
  if (const Value yes = attribute["bool"]) return cel::Value::json(yes);
  if (const Value text = attribute["string"]) return cel::Value::json(text);
  auto version = cel::make_semver(attribute["version"].string());
  return version ? std::optional(*std::move(version)) : std::nullopt;
}

std::optional<cel::Value> capacity_value(Value capacity) {
  auto quantity = cel::make_quantity(capacity["value"].string());
  return quantity ? std::optional(*std::move(quantity)) : std::nullopt;
}

using Convert = std::optional<cel::Value> (*)(Value);

// Which domain a name of an attribute or a capacity is in, and what it is called there; a driver's own need not say.
std::pair<std::string_view, std::string_view> split(std::string_view name, std::string_view driver) {
  const std::size_t slash = name.find('/');
  return slash == std::string_view::npos ? std::pair(driver, name)
                                         : std::pair(name.substr(0, slash), name.substr(slash + 1));
}

// The names of one domain.
class Domain final : public cel::Map {
 public:
  Domain(Value all, std::string_view driver, std::string domain, Convert convert)
      : all_(all), driver_(driver), domain_(std::move(domain)), convert_(convert) {}

  std::size_t size() const override {
    std::size_t out = 0;
    for (auto it = all_.begin(); it != all_.end(); ++it) out += split(it.key(), driver_).first == domain_ ? 1 : 0;
    return out;
  }
  std::optional<cel::Value> find(const cel::Value& key) const override {
    const Value qualified = all_[domain_ + "/" + std::string(key.as_string())];
    if (qualified) return convert_(qualified);
    const Value own = domain_ == driver_ ? all_[key.as_string()] : Value();
    return own ? convert_(own) : std::nullopt;
  }
  void each(const std::function<bool(const cel::Value&, const cel::Value&)>& visit) const override {
    for (auto it = all_.begin(); it != all_.end(); ++it) {
      const auto [domain, name] = split(it.key(), driver_);
      if (domain != domain_) continue;
      const auto value = convert_(*it);
      if (value && !visit(cel::Value::view(name), *value)) return;
    }
  }

 private:
  Value all_;
  std::string_view driver_;
  std::string domain_;
  Convert convert_;
};

// By domain. A domain that does not occur is an empty one, so that an expression need not ask for it first.
class Domains final : public cel::Map {
 public:
  Domains(Value all, std::string_view driver, Convert convert) : all_(all), driver_(driver), convert_(convert) {}

  std::size_t size() const override { return names().size(); }
  std::optional<cel::Value> find(const cel::Value& key) const override { return domain(key.as_string()); }
  void each(const std::function<bool(const cel::Value&, const cel::Value&)>& visit) const override {
    for (const std::string_view name : names()) {
      if (!visit(cel::Value::view(name), domain(name))) return;
    }
  }

 private:
  std::set<std::string_view> names() const {
    std::set<std::string_view> out;
    for (auto it = all_.begin(); it != all_.end(); ++it) out.insert(split(it.key(), driver_).first);
    return out;
  }
  cel::Value domain(std::string_view name) const {
    return cel::Value::map(std::make_shared<const Domain>(all_, driver_, std::string(name), convert_));
  }

  Value all_;
  std::string_view driver_;
  Convert convert_;
};

class DeviceMap final : public cel::Map {
 public:
  explicit DeviceMap(const Device& device) : device_(device) {}

  std::size_t size() const override { return 4; }
  std::optional<cel::Value> find(const cel::Value& key) const override {
    const std::string_view name = key.as_string();
    if (name == "driver") return cel::Value::view(device_.id.driver);
    if (name == "attributes") return domains("attributes", attribute_value);
    if (name == "capacity") return domains("capacity", capacity_value);
    if (name == "allowMultipleAllocations") return cel::Value::boolean(device_.body[name].boolean());
    return std::nullopt;
  }
  void each(const std::function<bool(const cel::Value&, const cel::Value&)>& visit) const override {
    for (const std::string_view name : {"driver", "attributes", "capacity", "allowMultipleAllocations"}) {
      if (!visit(cel::Value::view(name), *find(cel::Value::view(name)))) return;
    }
  }

 private:
  cel::Value domains(std::string_view member, Convert convert) const {
    return cel::Value::map(std::make_shared<const Domains>(device_.body[member], device_.id.driver, convert));
  }
  const Device& device_;
};

const cel::Environment& environment() {
  static const cel::Environment kEnvironment = [] {
    cel::Environment out;
    const auto domains = [](Type value) {
      return Type::map(Type::Kind::String, Type::map(Type::Kind::String, std::move(value)));
    };
    out.declare("device",
                Type::object("kubernetes.DRADevice", {{"driver", Type::Kind::String},
                                                      {"attributes", domains(Type())},
                                                      {"capacity", domains(Type::opaque("kubernetes.Quantity"))},
                                                      {"allowMultipleAllocations", Type::Kind::Bool}}));
    out.require_homogeneous_literals();
    return out;
  }();
  return kEnvironment;
}

}  // namespace

Result<DeviceSelector> DeviceSelector::compile(const std::string& text) {
  KUBERNEL_TRY(const auto expression, cel::Expression::parse(text, {.max_bytes = kMaxBytes}));
  KUBERNEL_TRY(auto program, cel::Program::compile(expression, environment()));
  if (!program.result_type().is_dyn() && program.result_type().kind() != Type::Kind::Bool) {
    return Error(Reason::Invalid,
                 "must evaluate to bool or the unknown type, not the " + program.result_type().to_string() + " type");
  }
  return DeviceSelector(std::move(program));
}

Result<bool> DeviceSelector::matches(const Device& device) const {
  cel::Activation activation;
  activation.set("device", cel::Value::map(std::make_shared<const DeviceMap>(device)));
  cel::Budget budget(kMaxCost);
  KUBERNEL_TRY(const cel::Value value, program_.evaluate(activation, budget));
  if (!value.is(cel::Value::Kind::Bool)) {
    return Error(Reason::Invalid,
                 "CEL result of type " + std::string(value.type_name()) + " could not be converted to bool");
  }
  return value.as_bool();
}

std::shared_ptr<const Result<DeviceSelector>> SelectorCache::find(const std::string& text) {
  const std::lock_guard lock(mutex_);
  if (const auto found = compiled_.find(text); found != compiled_.end()) return found->second;
  if (compiled_.size() >= kMaxCached) compiled_.clear();
  auto made = std::make_shared<const Result<DeviceSelector>>(DeviceSelector::compile(text));
  compiled_.emplace(text, made);
  return made;
}

}  // namespace kubernel::plugins
