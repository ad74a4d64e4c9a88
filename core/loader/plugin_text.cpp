// SPDX-License-Identifier: Apache-2.0
#include "core/loader/plugin_text.h"

#include <algorithm>
#include <cerrno>
#include <cstdint>
#include <cstring>
#include <set>
#include <vector>

#include <elf.h>
#include <fcntl.h>
#include <unistd.h>

#include <kubernel/plugin/abi.h>

namespace kubernel::loader {
namespace {

constexpr std::string_view kSection = ".kubernel.plugin";
constexpr std::uint64_t kLargestSection = std::uint64_t{1} << 20U;

Error not_a_plugin(const std::string& why) {
  return Error(Reason::Invalid, why);
}

class File {
 public:
  explicit File(const std::filesystem::path& path) : fd_(open(path.c_str(), O_RDONLY | O_CLOEXEC | O_NONBLOCK)) {}
  ~File() {
    if (fd_ >= 0) close(fd_);
  }
  File(const File&) = delete;
  File& operator=(const File&) = delete;

  bool is_open() const { return fd_ >= 0; }

  // False when the file does not have that many bytes there.
  bool read(std::uint64_t offset, void* out, std::size_t size) const {
    constexpr std::uint64_t kFarthest = std::uint64_t{1} << 62U;
    auto* to = static_cast<char*>(out);
    while (size > 0) {
      if (offset > kFarthest) return false;
      const ssize_t got = pread(fd_, to, size, static_cast<off_t>(offset));
      if (got < 0 && errno == EINTR) continue;
      if (got <= 0) return false;
      to += got;
      offset += static_cast<std::uint64_t>(got);
      size -= static_cast<std::size_t>(got);
    }
    return true;
  }

  Result<std::string> read_section(const Elf64_Shdr& section, const char* what) const {
    if (section.sh_size > kLargestSection) return not_a_plugin(std::string(what) + " is larger than 1 MiB");
    std::string bytes(section.sh_size, '\0');
    if (!read(section.sh_offset, bytes.data(), bytes.size())) return not_a_plugin("truncated ELF file");
    return bytes;
  }

 private:
  const int fd_;
};

Result<std::string> find_section(const File& file) {
  Elf64_Ehdr header{};
  const bool elf64 = file.read(0, &header, sizeof header) && std::memcmp(header.e_ident, ELFMAG, SELFMAG) == 0 &&
                     header.e_ident[EI_CLASS] == ELFCLASS64 && header.e_ident[EI_DATA] == ELFDATA2LSB;
  if (!elf64) return not_a_plugin("not a little-endian ELF64 file");
  if (header.e_type != ET_DYN) return not_a_plugin("not a shared object");
  if (header.e_shentsize != sizeof(Elf64_Shdr) || header.e_shstrndx >= header.e_shnum) {
    return not_a_plugin("no .kubernel.plugin section: not a plugin");
  }
  std::vector<Elf64_Shdr> sections(header.e_shnum);
  if (!file.read(header.e_shoff, sections.data(), sections.size() * sizeof(Elf64_Shdr))) {
    return not_a_plugin("truncated ELF file");
  }
  KUBERNEL_TRY(const std::string names, file.read_section(sections[header.e_shstrndx], "table of section names"));
  for (const Elf64_Shdr& section : sections) {
    if (section.sh_name >= names.size()) continue;
    // A std::string ends with NUL, so the name does too.
    if (names.c_str() + section.sh_name == kSection) return file.read_section(section, "section .kubernel.plugin");
  }
  return not_a_plugin("no .kubernel.plugin section: not a plugin");
}

}  // namespace

Result<PluginText> parse_plugin_text(std::string_view block) {
  PluginText text;
  while (!block.empty()) {
    const std::string_view line = block.substr(0, block.find('\0'));
    block.remove_prefix(std::min(block.size(), line.size() + 1));
    if (line.empty()) continue;
    const auto equals = line.find('=');
    if (equals == std::string_view::npos) return not_a_plugin("malformed line in plugin text");
    if (text.empty() && line != "magic=kubernel-plugin") return not_a_plugin("bad magic in plugin text");
    if (!text.emplace(line.substr(0, equals), line.substr(equals + 1)).second) {
      return not_a_plugin("plugin text says " + std::string(line.substr(0, equals)) + " twice");
    }
  }
  if (text.empty()) return not_a_plugin("empty plugin text");
  return text;
}

Result<PluginText> read_plugin_text(const std::filesystem::path& path) {
  const File file(path);
  if (!file.is_open()) return Error(Reason::NotFound, std::string("cannot open: ") + std::strerror(errno));
  KUBERNEL_TRY(const std::string section, find_section(file));
  return parse_plugin_text(section);
}

std::string explain_abi_difference(const PluginText& core, const PluginText& plugin) {
  std::set<std::string_view> keys;
  for (const PluginText* text : {&core, &plugin}) {
    for (const auto& [key, value] : *text) {
      if (key.starts_with("abi.")) keys.insert(key);
    }
  }
  const auto value_in = [](const PluginText& text, std::string_view key) {
    const auto found = text.find(key);
    return found == text.end() ? std::string("(absent)") : found->second;
  };
  std::string out;
  for (const std::string_view key : keys) {
    const std::string ours = value_in(core, key);
    const std::string theirs = value_in(plugin, key);
    if (theirs == ours) continue;
    out.append(out.empty() ? "" : "; ").append(key).append(": core ").append(ours).append(", plugin ").append(theirs);
  }
  return out;
}

const PluginText& core_text() {
  static constexpr char kBlock[] = "magic=kubernel-plugin\0" KUBERNEL_ABI_TEXT;
  static const PluginText kText = *parse_plugin_text(std::string_view(kBlock, sizeof kBlock));
  return kText;
}

}  // namespace kubernel::loader
