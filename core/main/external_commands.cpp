// SPDX-License-Identifier: Apache-2.0
#include "core/main/external_commands.h"

#include <algorithm>
#include <cerrno>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <set>
#include <system_error>

#include <unistd.h>

#include "core/main/run.h"

namespace kubernel::core {
namespace {

namespace fs = std::filesystem;

constexpr std::string_view kPrefix = "kubernel-";

bool is_verb(std::string_view word) {
  const auto ok = [](char c) { return (c >= 'a' && c <= 'z') || (c >= '0' && c <= '9') || c == '-'; };
  return !word.empty() && word.front() != '-' && std::all_of(word.begin(), word.end(), ok);
}

bool is_program(const fs::path& file) {
  std::error_code missing;
  return fs::is_regular_file(file, missing) && access(file.c_str(), X_OK) == 0;
}

}  // namespace

std::vector<fs::path> command_directories() {
  std::vector<fs::path> out;
  const char* const listed = std::getenv("KUBERNEL_LIBEXEC");
  std::string list = listed == nullptr ? "" : listed;
  while (!list.empty()) {
    const auto colon = list.find(':');
    if (colon != 0) out.emplace_back(list.substr(0, colon));
    list = colon == std::string::npos ? "" : list.substr(colon + 1);
  }
  std::error_code unknown;
  if (const fs::path self = fs::read_symlink("/proc/self/exe", unknown); !unknown) out.push_back(self.parent_path());
  out.emplace_back(KUBERNEL_LIBEXEC_DIR);
  return out;
}

std::vector<std::string> external_verbs(const std::vector<fs::path>& directories) {
  std::set<std::string> verbs;
  for (const fs::path& directory : directories) {
    std::error_code unreadable;
    for (const auto& entry : fs::directory_iterator(directory, unreadable)) {
      const std::string name = entry.path().filename().string();
      if (!name.starts_with(kPrefix) || !is_program(entry.path())) continue;
      if (const std::string verb = name.substr(kPrefix.size()); is_verb(verb)) verbs.insert(verb);
    }
  }
  return {verbs.begin(), verbs.end()};
}

std::optional<fs::path> find_external(const std::vector<fs::path>& directories, const std::string& verb) {
  if (!is_verb(verb)) return std::nullopt;
  for (const fs::path& directory : directories) {
    fs::path file = directory / (std::string(kPrefix) + verb);
    if (is_program(file)) return file;
  }
  return std::nullopt;
}

int become(const fs::path& program, const std::vector<std::string>& arguments) {
  std::vector<std::string> words = {program.string()};
  words.insert(words.end(), arguments.begin(), arguments.end());
  std::vector<char*> argv;
  for (std::string& word : words) argv.push_back(word.data());
  argv.push_back(nullptr);
  execv(program.c_str(), argv.data());
  std::fprintf(stderr, "kubernel: cannot run %s: %s\n", program.c_str(), std::strerror(errno));
  return kExitFailure;
}

}  // namespace kubernel::core
