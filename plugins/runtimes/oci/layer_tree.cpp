// SPDX-License-Identifier: Apache-2.0
#include "layer_tree.h"

#include <fcntl.h>
#include <linux/openat2.h>
#include <sys/syscall.h>
#include <sys/sysmacros.h>
#include <sys/xattr.h>
#include <unistd.h>

#include <array>
#include <cerrno>
#include <deque>
#include <filesystem>

#include "files.h"

namespace kubernel::runtime::oci {
namespace {

constexpr int kMaxLinks = 40;  // As the kernel's MAXSYMLINKS.
constexpr const char* kOpaqueXattr = "trusted.overlay.opaque";

std::deque<std::string> split(std::string_view path) {
  std::deque<std::string> out;
  while (!path.empty()) {
    const std::size_t slash = path.find('/');
    if (slash != 0) out.emplace_back(path.substr(0, slash));
    if (slash == std::string_view::npos) break;
    path.remove_prefix(slash + 1);
  }
  return out;
}

std::string join(const std::vector<std::string>& path) {
  std::string out;
  for (const std::string& part : path) out += (out.empty() ? "" : "/") + part;
  return out;
}

UniqueFd open_without_links(int root, const std::string& path, std::uint64_t flags) {
  open_how how{};
  how.flags = flags | O_CLOEXEC;
  how.resolve = RESOLVE_BENEATH | RESOLVE_NO_SYMLINKS | RESOLVE_NO_MAGICLINKS | RESOLVE_NO_XDEV;
  const std::string relative = path.empty() ? "." : path;
  return UniqueFd(static_cast<int>(syscall(SYS_openat2, root, relative.c_str(), &how, sizeof how)));
}

std::string link_target_of(int path_fd) {
  std::array<char, 4096> buffer{};
  const ssize_t size = readlinkat(path_fd, "", buffer.data(), buffer.size());
  return size < 0 ? std::string() : std::string(buffer.data(), static_cast<std::size_t>(size));
}

bool is_opaque(int directory) {
  char value = 0;
  // O_PATH descriptors cannot be asked directly; their /proc name can.
  const std::string name = "/proc/self/fd/" + std::to_string(directory);
  return getxattr(name.c_str(), kOpaqueXattr, &value, 1) == 1 && value == 'y';
}

}  // namespace

bool is_whiteout(const struct stat& info) {
  return S_ISCHR(info.st_mode) && info.st_rdev == makedev(0, 0);
}

Result<LayerTree> LayerTree::open(const std::string& root, const std::vector<std::string>& lowers) {
  LayerTree tree;
  tree.root_.reset(::open(root.c_str(), O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC));
  if (!tree.root_) return file_error("open", root, errno);
  for (const std::string& lower : lowers) {
    tree.lowers_.emplace_back(::open(lower.c_str(), O_PATH | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC));
    if (!tree.lowers_.back()) return file_error("open", lower, errno);
  }
  return tree;
}

Result<UniqueFd> LayerTree::open_directory(const std::vector<std::string>& path) const {
  UniqueFd fd = open_without_links(root_.get(), join(path), O_RDONLY | O_DIRECTORY);
  if (!fd) return file_error("open", "/" + join(path), errno);
  return fd;
}

std::optional<LayerTree::Lower> LayerTree::find_below(const std::vector<std::string>& path) const {
  for (const UniqueFd& layer : lowers_) {
    bool hides_the_rest = false;
    std::string walked;
    for (std::size_t i = 0; i < path.size(); ++i) {
      walked += (walked.empty() ? "" : "/") + path[i];
      Lower found;
      found.fd = open_without_links(layer.get(), walked, O_PATH | O_NOFOLLOW);
      if (!found.fd) break;
      if (fstat(found.fd.get(), &found.info) != 0 || is_whiteout(found.info)) return std::nullopt;
      if (i + 1 == path.size()) {
        if (S_ISLNK(found.info.st_mode)) found.link_target = link_target_of(found.fd.get());
        return found;
      }
      if (!S_ISDIR(found.info.st_mode)) return std::nullopt;
      hides_the_rest = hides_the_rest || is_opaque(found.fd.get());
    }
    if (hides_the_rest) return std::nullopt;
  }
  return std::nullopt;
}

Result<void> LayerTree::make_implied(int parent, const std::string& name, const std::optional<Lower>& below) {
  if (mkdirat(parent, name.c_str(), 0755) != 0) return file_error("create directory", name, errno);
  if (!below || !S_ISDIR(below->info.st_mode)) return {};
  const UniqueFd made(openat(parent, name.c_str(), O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC));
  if (!made || fchown(made.get(), below->info.st_uid, below->info.st_gid) != 0 ||
      fchmod(made.get(), below->info.st_mode & 07777U) != 0) {
    return file_error("set the owner of", name, errno);
  }
  return {};
}

Result<UniqueFd> LayerTree::parent_of(std::string_view directory) {
  std::deque<std::string> todo = split(directory);
  std::vector<std::string> done;
  int links = 0;
  while (!todo.empty()) {
    const std::string name = todo.front();
    todo.pop_front();
    if (name == ".") continue;
    if (name == "..") {
      if (!done.empty()) done.pop_back();
      continue;
    }
    KUBERNEL_TRY(const UniqueFd here, open_directory(done));
    std::vector<std::string> path = done;
    path.push_back(name);
    struct stat info {};
    std::string target;
    bool is_link = false;
    if (fstatat(here.get(), name.c_str(), &info, AT_SYMLINK_NOFOLLOW) == 0) {
      if (is_whiteout(info)) {
        if (unlinkat(here.get(), name.c_str(), 0) != 0) return file_error("remove", join(path), errno);
        KUBERNEL_CHECK_OK(make_implied(here.get(), name, std::nullopt));
        KUBERNEL_TRY(const UniqueFd made, open_directory(path));
        KUBERNEL_CHECK_OK(make_opaque(made.get(), join(path)));
      } else if (S_ISLNK(info.st_mode)) {
        const UniqueFd link = open_without_links(here.get(), name, O_PATH | O_NOFOLLOW);
        target = link_target_of(link.get());
        is_link = true;
      } else if (!S_ISDIR(info.st_mode)) {
        return Error(Reason::Invalid, "\"" + join(path) + "\" is not a directory but has entries");
      }
    } else {
      std::optional<Lower> below = find_below(path);
      is_link = below && S_ISLNK(below->info.st_mode);
      if (is_link) {
        target = below->link_target;
      } else {
        KUBERNEL_CHECK_OK(make_implied(here.get(), name, below));
      }
    }
    if (!is_link) {
      done = std::move(path);
      continue;
    }
    if (++links > kMaxLinks) return Error(Reason::Invalid, "\"" + join(path) + "\": too many symbolic links");
    if (target.starts_with('/')) done.clear();
    const std::deque<std::string> more = split(target);
    todo.insert(todo.begin(), more.begin(), more.end());
  }
  return open_directory(done);
}

Result<std::optional<Place>> LayerTree::place(std::string_view entry_name) {
  if (entry_name.find('\0') != std::string_view::npos) return Error(Reason::Invalid, "an entry's name has a NUL byte");
  std::deque<std::string> parts;
  for (std::string& part : split(entry_name)) {
    if (part == "..") return Error(Reason::Invalid, "entry \"" + std::string(entry_name) + "\" leads out of the image");
    if (part != ".") parts.push_back(std::move(part));
  }
  if (parts.empty()) return std::optional<Place>();
  Place out;
  out.name = parts.back();
  parts.pop_back();
  const std::string directory = join({parts.begin(), parts.end()});
  out.path = directory.empty() ? out.name : directory + "/" + out.name;
  KUBERNEL_TRY(out.parent, parent_of(directory));
  return std::optional<Place>(std::move(out));
}

Result<bool> LayerTree::make_room(const Place& place, bool keep_directory) {
  struct stat info {};
  if (fstatat(place.parent.get(), place.name.c_str(), &info, AT_SYMLINK_NOFOLLOW) != 0) {
    if (errno == ENOENT) return false;
    return file_error("look at", place.path, errno);
  }
  if (S_ISDIR(info.st_mode)) {
    if (keep_directory) return false;
    // The name has no slash and remove_all follows no link, so this cannot leave the layer.
    KUBERNEL_CHECK_OK(remove_tree("/proc/self/fd/" + std::to_string(place.parent.get()) + "/" + place.name));
    return false;
  }
  if (unlinkat(place.parent.get(), place.name.c_str(), 0) != 0) return file_error("remove", place.path, errno);
  return is_whiteout(info);
}

Result<void> LayerTree::white_out(const Place& place) {
  struct stat info {};
  if (fstatat(place.parent.get(), place.name.c_str(), &info, AT_SYMLINK_NOFOLLOW) == 0) {
    // This layer's own entry stays (image specification: whiteouts hide lower layers only).
    if (!S_ISDIR(info.st_mode)) return {};
    const UniqueFd fd(openat(place.parent.get(), place.name.c_str(), O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC));
    return make_opaque(fd.get(), place.path);
  }
  if (mknodat(place.parent.get(), place.name.c_str(), S_IFCHR, makedev(0, 0)) != 0) {
    return file_error("white out", place.path, errno);
  }
  return {};
}

Result<void> LayerTree::make_opaque(int fd, const std::string& path) {
  if (fsetxattr(fd, kOpaqueXattr, "y", 1, 0) != 0) return file_error("make opaque", path, errno);
  return {};
}

}  // namespace kubernel::runtime::oci
