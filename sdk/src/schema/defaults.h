// SPDX-License-Identifier: Apache-2.0
//
// What apply_defaults() knows about one type. The tables are generated from defaults.jsonl; rules that are more than a
// value at a path are the functions below, named in sdk/schema/defaults.py.

#pragma once

#include <span>
#include <string_view>

#include <nlohmann/json_fwd.hpp>

#include <kubernel/schema/schema.h>

namespace kubernel::schema {

struct DefaultRule {
  enum class When : std::uint8_t {
    Null,   ///< The member is absent or null.
    Empty,  ///< Or "", 0, false, [], {}.
  };
  std::string_view path;   ///< "spec.strategy.type"; "[*]" after a step goes into each element.
  std::string_view value;  ///< JSON text.
  When when;
};

/// Of a type with rules in itself or below.
struct Defaulting {
  std::span<const DefaultRule> rules;        ///< Applied first.
  void (*function)(nlohmann::json& object);  ///< May be null.
};

namespace defaults {
void autoscaler_v1(nlohmann::json& object);
void autoscaler_v2(nlohmann::json& object);
void class_device_request(nlohmann::json& object);
void container(nlohmann::json& object);
void custom_resource(nlohmann::json& object);
void custom_resource_spec(nlohmann::json& object);
void daemon_set(nlohmann::json& object);
void deployment(nlohmann::json& object);
void device_request(nlohmann::json& object);
void job(nlohmann::json& object);
void limit_range_item(nlohmann::json& object);
void name_space(nlohmann::json& object);
void network_policy(nlohmann::json& object);
void node_status(nlohmann::json& object);
void pod(nlohmann::json& object);
void rbac_subject(nlohmann::json& object);
void replication_controller(nlohmann::json& object);
void service(nlohmann::json& object);
void service_port(nlohmann::json& object);
void stateful_set(nlohmann::json& object);
void volume(nlohmann::json& object);

// For the functions.
bool is_missing(const nlohmann::json& object, const char* name);  ///< Absent or null.
bool is_empty(const nlohmann::json& object, const char* name);    ///< Or "", 0, false, [], {}.
void set_missing(nlohmann::json& object, const char* name, nlohmann::json value);
void set_empty(nlohmann::json& object, const char* name, nlohmann::json value);
/// The member, made an object when it is missing.
nlohmann::json& child(nlohmann::json& object, const char* name);
/// The text of a string member, or "".
std::string_view text(const nlohmann::json& object, const char* name);
}  // namespace defaults

}  // namespace kubernel::schema
