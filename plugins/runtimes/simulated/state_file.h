// SPDX-License-Identifier: Apache-2.0
//
// StateFiles: small files that the next process reads, each replaced as a whole.
#pragma once

#include <string>
#include <string_view>
#include <vector>

#include <kubernel/base/result.h>

namespace kubernel::runtime::simulated {

/// A directory of "<name>.json" files. One without a path keeps nothing: write and remove do nothing, and nothing is
/// found.
///
/// Threads: calls for one name are serialized by the caller.
class StateFiles {
 public:
  /// Makes the directory. Errors: Internal, naming it.
  static Result<StateFiles> open(std::string directory);

  Result<void> write(std::string_view name, std::string_view content) const;
  /// Fine when there is none.
  Result<void> remove(std::string_view name) const;

  struct File {
    std::string name, content;
  };
  /// In order of the names.
  Result<std::vector<File>> read_all() const;

 private:
  explicit StateFiles(std::string directory) : directory_(std::move(directory)) {}
  std::string path_of(std::string_view name) const { return directory_ + "/" + std::string(name) + ".json"; }

  std::string directory_;
};

}  // namespace kubernel::runtime::simulated
