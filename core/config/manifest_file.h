// SPDX-License-Identifier: Apache-2.0
//
// ManifestFile: one file of a manifest, as it stands: its values, fit for the schema, and where each of them is.

#pragma once

#include <filesystem>
#include <functional>
#include <map>
#include <memory>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include <nlohmann/json_fwd.hpp>

#include <kubernel/base/result.h>

#include "core/config/config_schema.h"

namespace kubernel::config {

// A variable of the environment, or nothing. Injected, so that a test's environment is its own.
using Environment = std::function<std::optional<std::string>(const std::string& name)>;
Environment process_environment();

struct Position {
  int line = 0;  // From 1.
  int column = 0;
};

class ManifestFile {
 public:
  // Errors: NotFound when the file cannot be read; otherwise as parse().
  static Result<std::shared_ptr<const ManifestFile>> load(const std::filesystem::path& file,
                                                          const Environment& environment);
  // The same for text; `file` is its name. Errors: Invalid, with file:line:column and all problems.
  static Result<std::shared_ptr<const ManifestFile>> parse(const std::string& text, const std::filesystem::path& file,
                                                           const Environment& environment);

  const std::filesystem::path& file() const { return file_; }
  // As written, without the schema's defaults.
  const nlohmann::json& document() const { return *document_; }
  // A path of the document, relative to this file's directory.
  std::filesystem::path beside(const std::string& path) const;

  // "kernel.yaml:12:9: plugins[2].config.listen" for a path in the document, or for the nearest of its parents.
  std::string locate(std::string_view path) const;
  // One line out of several problems below `parent`.
  Error error(std::string_view parent, const std::vector<Problem>& problems) const;

 private:
  ManifestFile() = default;

  std::filesystem::path file_;
  std::shared_ptr<const nlohmann::json> document_;
  std::map<std::string, Position, std::less<>> positions_;
};

// Fills in the schema's defaults.
void complete_manifest(nlohmann::json& document);

}  // namespace kubernel::config
