// SPDX-License-Identifier: Apache-2.0
//
// The parts OpenAPI documents are made of: the paths of resources and the schemas they need, in the form of OpenAPI v3.
// openapi.cpp puts them into the documents of group versions; openapi_v2.cpp turns them into the form of v2.

#pragma once

#include <functional>
#include <set>
#include <string>
#include <string_view>
#include <vector>

#include <nlohmann/json.hpp>

#include <kubernel/schema/schema.h>

namespace kubernel::schema {

inline constexpr std::string_view kOpenApiTitle = "Kubernetes";
inline constexpr std::string_view kOpenApiVersion = "v1.36.0";

/// The paths of resources of one group version, and the types they need.
class OpenApiParts {
 public:
  using json = nlohmann::json;

  /// `seen`: types that are defined already; grows. It may be shared by several in turn.
  OpenApiParts(std::string_view group, std::string_view version, std::set<const Type*>& seen)
      : group_(group), version_(version), seen_(seen) {}

  void add(const ResourceInfo& info);
  json& paths() noexcept { return paths_; }
  /// Calls `use` with each schema that was not seen before; also with what they refer to.
  void define(const std::function<void(const std::string& name, json schema)>& use);

 private:
  struct Named {
    std::string_view verb;         ///< Of the operation's id: "read".
    std::string_view subresource;  ///< May be empty.
    bool all_namespaces = false;
  };

  std::string operation_id(const ResourceInfo& info, const Named& named) const;
  json operation(const ResourceInfo& info, std::string_view kind, const char* action,
                 std::span<const char* const> params, std::string_view answer, const Named& named);
  json with_body(json operation, const ResourceInfo& info, std::string_view kind);
  void add_collection(const ResourceInfo& info, const std::string& path);
  void add_item(const ResourceInfo& info, const std::string& path, std::span<const std::string_view> verbs,
                std::string_view kind, std::string_view subresource);
  void need(const Type* type);
  json define(const Type& type);
  void add_fields(const Type& type, json& properties, json& required);

  const std::string group_;
  const std::string version_;
  std::set<const Type*>& seen_;
  json paths_ = json::object();
  std::vector<const Type*> pending_;
};

}  // namespace kubernel::schema
