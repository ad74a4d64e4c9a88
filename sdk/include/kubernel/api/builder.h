// SPDX-License-Identifier: Apache-2.0
//
// What the generated typed builders are made of.
//
// For each API type T there is, beside its view, a class T##Builder that writes into a JSON document, e.g.
// api::core::v1::PodBuilder in <kubernel/api/builders/core_v1.h>:
//
//   nlohmann::json document;
//   api::core::v1::PodBuilder pod(document);          // sets apiVersion and kind
//   pod.metadata().set_name("web-0").put_labels("app", "web");
//   auto container = pod.spec().set_node_name("n1").add_containers();
//   container.set_name("web").set_image("nginx").add_command("sh");
//   container.add_ports().set_container_port(80);
//   container.resources().put_limits("cpu", "500m");
//   auto object = api::Object::from_json(document);
//
//   JSON field                       function
//   scalar                           set_x(value)
//   struct                           x(), which makes it when it is not there
//   list of scalars / of structs     add_x(value) / add_x(), which gives the new element's builder
//   map                              put_x(key, value) / put_x(key)
//   Quantity, Time, Duration         as text; IntOrString as number or text; free-form JSON as nlohmann::json
//
// Lifetime: the document outlives its builders. The builder of a list's element is valid until the next add_x() to that
// list.

#pragma once

#include <cstdint>
#include <string_view>

#include <nlohmann/json_fwd.hpp>

#include <kubernel/base/export.h>

namespace kubernel::api {

/// What all generated builders derive from. Threads: as the document's.
class KUBERNEL_EXPORT Builder {
 public:
  /// `object` becomes an object if it is none.
  explicit Builder(nlohmann::json& object);

  nlohmann::json& raw() const noexcept { return *object_; }

 protected:
  void identify_(std::string_view api_version, std::string_view kind);
  nlohmann::json& place_(std::string_view name);                        ///< The member.
  nlohmann::json& element_(std::string_view name);                      ///< A new element of the member, a list.
  nlohmann::json& entry_(std::string_view name, std::string_view key);  ///< The entry of the member, a map.

  static void assign_(nlohmann::json& place, std::string_view value);
  static void assign_(nlohmann::json& place, std::int64_t value);
  static void assign_(nlohmann::json& place, double value);
  static void assign_(nlohmann::json& place, bool value);
  static void assign_(nlohmann::json& place, const nlohmann::json& value);

 private:
  nlohmann::json* object_;
};

}  // namespace kubernel::api
