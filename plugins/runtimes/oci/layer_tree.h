// SPDX-License-Identifier: Apache-2.0
//
// LayerTree: the directory a layer is unpacked to, and the layers below it, as one tree that names are resolved in.
#pragma once

#include <sys/stat.h>

#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include <kubernel/base/child_process.h>
#include <kubernel/base/result.h>

namespace kubernel::runtime::oci {

/// Where an entry goes: a directory of the new layer and a name in it that is neither "." nor ".." and has no slash.
struct Place {
  UniqueFd parent;
  std::string name;
  std::string path;  ///< From the layer's root; for messages.
};

class LayerTree {
 public:
  static Result<LayerTree> open(const std::string& root, const std::vector<std::string>& lowers);

  /// The place an entry of that name has, its parent made when it is only implied. Absent: the root itself.
  /// Errors: Invalid for "..", too many symbolic links, a parent that is no directory.
  Result<std::optional<Place>> place(std::string_view entry_name);

  /// Makes room for a new entry: what this layer has there goes, except that a directory stays when `keep_directory`.
  /// True when a whiteout of this layer was there.
  Result<bool> make_room(const Place& place, bool keep_directory);

  /// Hides what lower layers have at `place`.
  Result<void> white_out(const Place& place);
  /// Hides what lower layers have in directory `fd`.
  static Result<void> make_opaque(int fd, const std::string& path);

  int root() const { return root_.get(); }

 private:
  struct Lower {
    struct stat info {};
    std::string link_target;
    UniqueFd fd;  // O_PATH.
  };

  Result<UniqueFd> open_directory(const std::vector<std::string>& path) const;
  Result<UniqueFd> parent_of(std::string_view directory);
  Result<void> make_implied(int parent, const std::string& name, const std::optional<Lower>& below);
  std::optional<Lower> find_below(const std::vector<std::string>& path) const;

  UniqueFd root_;
  std::vector<UniqueFd> lowers_;
};

/// True for overlayfs's mark of a removed name.
bool is_whiteout(const struct stat& info);

}  // namespace kubernel::runtime::oci
