// SPDX-License-Identifier: Apache-2.0
//
// The protobuf form of OpenAPI v2 documents (message openapi.v2.Document of gnostic), which Go clients ask for.

#pragma once

#include <string>
#include <string_view>

#include <nlohmann/json_fwd.hpp>

namespace kubernel::schema {

/// Collects a document piece by piece; pieces are JSON in the form of OpenAPI v2.
class GnosticDocument {
 public:
  void add_path(std::string_view path, const nlohmann::json& item);
  void add_definition(std::string_view name, const nlohmann::json& schema);
  /// The message, with what was added.
  std::string take(std::string_view title, std::string_view version);

 private:
  std::string paths_;
  std::string definitions_;
};

}  // namespace kubernel::schema
