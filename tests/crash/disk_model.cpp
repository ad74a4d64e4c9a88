// SPDX-License-Identifier: Apache-2.0
#include "disk_model.h"

#include <fcntl.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <cstdlib>

namespace kubernel::crash {
namespace {

using Kind = DiskCall::Kind;

void write_at(std::string& content, std::uint64_t at, std::string_view data) {
  const auto from = static_cast<std::size_t>(at);
  if (content.size() < from + data.size()) content.resize(from + data.size());
  content.replace(from, data.size(), data);
}

// Leaves holes where there are only zeros: a log that was made long in advance is mostly that.
void store(const std::string& path, const std::string& content) {
  constexpr std::size_t kBlock = 4096;
  static const std::string zeros(kBlock, '\0');
  const int fd = ::open(path.c_str(), O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0600);
  if (fd < 0 || ::ftruncate(fd, static_cast<off_t>(content.size())) != 0) std::abort();
  for (std::size_t at = 0; at < content.size(); at += kBlock) {
    const std::string_view block = std::string_view(content).substr(at, kBlock);
    if (block == std::string_view(zeros).substr(0, block.size())) continue;
    if (::pwrite(fd, block.data(), block.size(), static_cast<off_t>(at)) < 0) std::abort();
  }
  ::close(fd);
}

}  // namespace

void DiskModel::apply(const DiskCall& call, Random& random) {
  switch (call.kind) {
    case Kind::Create:
    case Kind::Unlink:
    case Kind::Rename: pending_names_.push_back(call); break;
    case Kind::Write:
    case Kind::Truncate: files_[call.file].pending.push_back(call); break;
    case Kind::Sync: {
      File& file = files_[call.file];
      apply_all(file.pending, file.durable);
      file.pending.clear();
      break;
    }
    case Kind::FailedSync: {
      File& file = files_[call.file];
      apply_some(file.pending, style(random), random, file.durable);
      file.pending.clear();
      break;
    }
    case Kind::SyncDirectory:
      for (const DiskCall& pending : pending_names_) apply_name(pending, names_);
      pending_names_.clear();
      break;
  }
}

DiskModel::Style DiskModel::style(Random& random) {
  constexpr std::array kKeep = {0U, 10U, 50U, 90U, 100U};
  return {.sector = random_below(random, 2) == 0 ? std::size_t{512} : std::size_t{4096},
          .keep_percent = kKeep.at(random_below(random, kKeep.size())),
          .whole_writes = random_below(random, 3) == 0,
          .names_in_order = random_below(random, 2) == 0};
}

void DiskModel::apply_all(const std::vector<DiskCall>& pending, std::string& content) {
  for (const DiskCall& call : pending) {
    if (call.kind == Kind::Truncate) {
      content.resize(static_cast<std::size_t>(call.at));
    } else {
      write_at(content, call.at, call.data);
    }
  }
}

void DiskModel::apply_some(const std::vector<DiskCall>& pending, const Style& style, Random& random,
                           std::string& content) {
  for (const DiskCall& call : pending) {
    if (call.kind == Kind::Truncate) {
      if (keeps(random, style.keep_percent)) content.resize(static_cast<std::size_t>(call.at));
      continue;
    }
    if (style.whole_writes) {
      if (keeps(random, style.keep_percent)) write_at(content, call.at, call.data);
      continue;
    }
    // A sector is written whole or not at all, wherever the write began.
    const std::string_view data(call.data);
    for (std::size_t done = 0; done < data.size();) {
      const std::size_t left = style.sector - static_cast<std::size_t>(call.at + done) % style.sector;
      const std::string_view part = data.substr(done, left);
      if (keeps(random, style.keep_percent)) write_at(content, call.at + done, part);
      done += part.size();
    }
  }
}

void DiskModel::apply_name(const DiskCall& call, std::map<std::string, int>& names) {
  if (call.kind == Kind::Create) names[call.name] = call.file;
  if (call.kind == Kind::Unlink) names.erase(call.name);
  if (call.kind != Kind::Rename) return;
  if (const auto moved = names.extract(call.name); !moved.empty()) names[call.to] = moved.mapped();
}

void DiskModel::cut(Random& random, const std::string& directory) const {
  const Style how = style(random);
  auto names = names_;
  // A journal of names loses its end; a disk without one loses what it likes.
  std::size_t in_order = random_below(random, pending_names_.size() + 1);
  for (const DiskCall& call : pending_names_) {
    const bool kept = how.names_in_order ? in_order > 0 : keeps(random, how.keep_percent);
    if (in_order > 0) --in_order;
    if (kept) apply_name(call, names);
  }
  for (const auto& [name, number] : names) {
    std::string content;
    if (const auto file = files_.find(number); file != files_.end()) {
      content = file->second.durable;
      apply_some(file->second.pending, how, random, content);
    }
    // Written through a mapping, which is not recorded: anything may be in it.
    if (name.ends_with("-shm")) {
      content.resize(random_below(random, 2) * 32768);
      for (char& byte : content) byte = static_cast<char>(random.next());
    }
    store(directory + "/" + name, content);
  }
}

}  // namespace kubernel::crash
