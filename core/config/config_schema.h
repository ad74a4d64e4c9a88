// SPDX-License-Identifier: Apache-2.0
//
// ConfigSchema: the part of JSON Schema that configuration needs. Keywords: type, properties, required,
// additionalProperties, items, enum, const, minimum, maximum, minLength, maxLength, minItems, maxItems, pattern,
// default; title, description, examples, $schema and $id say something to people. Any other keyword is an error,
// because a rule that is not checked misleads whoever wrote it.

#pragma once

#include <memory>
#include <string>
#include <string_view>
#include <vector>

#include <nlohmann/json_fwd.hpp>

#include <kubernel/base/result.h>

namespace kubernel::config {

struct Problem {
  std::string path;     // "listen[0]"; empty for the whole.
  std::string message;  // "expected string, got integer"
};

// "a" and "b" give "a.b", "a" and "[0]" give "a[0]".
std::string join_path(std::string_view parent, std::string_view child);
// A key as the last step of a path: quoted when a dot or bracket in it would mislead.
std::string path_of_key(std::string_view parent, std::string_view key);

class ConfigSchema {
 public:
  // Errors: Invalid when the text is not JSON or not a schema this class can enforce, also when a default breaks it.
  static Result<ConfigSchema> parse(std::string_view text);

  // All problems; none when `value` fits. Fills in defaults of absent properties.
  std::vector<Problem> check(nlohmann::json& value) const;

 private:
  explicit ConfigSchema(std::shared_ptr<const nlohmann::json> root) : root_(std::move(root)) {}

  std::shared_ptr<const nlohmann::json> root_;
};

}  // namespace kubernel::config
