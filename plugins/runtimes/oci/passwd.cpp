// SPDX-License-Identifier: Apache-2.0
#include "passwd.h"

#include <fcntl.h>
#include <linux/openat2.h>
#include <sys/syscall.h>
#include <unistd.h>

#include <algorithm>
#include <charconv>
#include <optional>
#include <set>
#include <sstream>
#include <string_view>

#include "files.h"

namespace kubernel::runtime::oci {
namespace {

using Fields = std::vector<std::string>;

Fields split(std::string_view text, char separator) {
  Fields out;
  for (;;) {
    const std::size_t end = text.find(separator);
    out.emplace_back(text.substr(0, end));
    if (end == std::string_view::npos) return out;
    text.remove_prefix(end + 1);
  }
}

std::optional<std::uint32_t> number(std::string_view text) {
  std::uint32_t value = 0;
  const auto [end, code] = std::from_chars(text.data(), text.data() + text.size(), value);
  if (text.empty() || code != std::errc() || end != text.data() + text.size()) return std::nullopt;
  return value;
}

// The lines of a colon-separated file of the image, none when it has no such file.
std::vector<Fields> entries_of(const std::string& rootfs, const char* name) {
  std::vector<Fields> out;
  const UniqueFd root(open(rootfs.c_str(), O_PATH | O_DIRECTORY | O_CLOEXEC));
  open_how how{};
  how.flags = O_RDONLY | O_CLOEXEC | O_NONBLOCK;  // The image may have put a FIFO there.
  how.resolve = RESOLVE_IN_ROOT | RESOLVE_NO_MAGICLINKS;
  const UniqueFd file(static_cast<int>(syscall(SYS_openat2, root.get(), name, &how, sizeof how)));
  if (!file) return out;
  const auto text = read_file("/proc/self/fd/" + std::to_string(file.get()), 16 * 1024 * 1024);
  if (!text) return out;
  std::istringstream lines(*text);
  for (std::string line; std::getline(lines, line);) {
    if (!line.empty() && line.front() != '#') out.push_back(split(line, ':'));
  }
  return out;
}

Error no_user(const std::string& name) {
  return {Reason::Invalid, "unable to find user " + name + ": no matching entries in passwd file"};
}
Error no_group(const std::string& name) {
  return {Reason::Invalid, "unable to find group " + name + ": no matching entries in group file"};
}

}  // namespace

Result<ProcessUser> resolve_user(const std::string& rootfs, const std::string& image_user,
                                 const SecurityOptions& security) {
  std::string user;
  std::string group;
  if (!security.run_as_username.empty()) {
    user = security.run_as_username;
  } else if (security.run_as_user) {
    user = std::to_string(*security.run_as_user);
  } else {
    const std::size_t colon = image_user.find(':');
    user = image_user.substr(0, colon);
    if (colon != std::string::npos) group = image_user.substr(colon + 1);
  }
  if (security.run_as_group) group = std::to_string(*security.run_as_group);
  if (user.empty()) user = "0";

  ProcessUser out;
  const std::optional<std::uint32_t> uid = number(user);
  std::string name = uid ? "" : user;
  bool found = false;
  for (const Fields& entry : entries_of(rootfs, "etc/passwd")) {
    if (entry.size() < 4) continue;
    const auto entry_uid = number(entry[2]);
    if (!entry_uid || (uid ? *entry_uid != *uid : entry[0] != user)) continue;
    found = true;
    name = entry[0];
    out.uid = *entry_uid;
    out.gid = number(entry[3]).value_or(0);
    break;
  }
  if (!found && !uid) return no_user(user);
  if (uid) out.uid = *uid;

  std::set<std::uint32_t> groups;
  std::optional<std::uint32_t> gid = group.empty() ? std::optional(out.gid) : number(group);
  for (const Fields& entry : entries_of(rootfs, "etc/group")) {
    if (entry.size() < 4) continue;
    const auto entry_gid = number(entry[2]);
    if (!entry_gid) continue;
    if (!gid && entry[0] == group) gid = *entry_gid;
    if (!name.empty() && std::ranges::count(split(entry[3], ','), name) > 0) groups.insert(*entry_gid);
  }
  if (!gid) return no_group(group);
  out.gid = *gid;
  for (const std::int64_t extra : security.supplemental_groups) groups.insert(static_cast<std::uint32_t>(extra));
  out.groups.assign(groups.begin(), groups.end());
  return out;
}

}  // namespace kubernel::runtime::oci
