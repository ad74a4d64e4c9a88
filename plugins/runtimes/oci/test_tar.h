// SPDX-License-Identifier: Apache-2.0
//
// TarMaker: tars for tests, also those no honest tool writes.
#pragma once

#include <sys/stat.h>

#include <cstdint>
#include <map>
#include <string>
#include <string_view>

#include <archive.h>
#include <archive_entry.h>

namespace kubernel::runtime::oci {

class TarMaker {
 public:
  explicit TarMaker(bool gzip = false) {
    archive_write_set_format_pax_restricted(tar_);
    if (gzip) archive_write_add_filter_gzip(tar_);
    archive_write_set_bytes_in_last_block(tar_, 1);
    archive_write_open(tar_, &bytes_, nullptr, write, nullptr);
  }
  ~TarMaker() { archive_write_free(tar_); }
  TarMaker(const TarMaker&) = delete;
  TarMaker& operator=(const TarMaker&) = delete;

  TarMaker& file(const std::string& name, std::string_view content, unsigned mode = 0644) {
    archive_entry* entry = start(name, AE_IFREG, mode);
    archive_entry_set_size(entry, static_cast<la_int64_t>(content.size()));
    archive_write_header(tar_, entry);
    archive_write_data(tar_, content.data(), content.size());
    archive_entry_free(entry);
    return *this;
  }
  TarMaker& directory(const std::string& name, unsigned mode = 0755, int uid = 0) {
    archive_entry* entry = start(name, AE_IFDIR, mode);
    archive_entry_set_uid(entry, uid);
    return finish(entry);
  }
  TarMaker& symlink(const std::string& name, const std::string& target) {
    archive_entry* entry = start(name, AE_IFLNK, 0777);
    archive_entry_set_symlink(entry, target.c_str());
    return finish(entry);
  }
  TarMaker& hardlink(const std::string& name, const std::string& target) {
    archive_entry* entry = start(name, AE_IFREG, 0644);
    archive_entry_set_hardlink(entry, target.c_str());
    return finish(entry);
  }
  TarMaker& device(const std::string& name, unsigned type, unsigned major, unsigned minor) {
    archive_entry* entry = start(name, type, 0666);
    archive_entry_set_rdevmajor(entry, major);
    archive_entry_set_rdevminor(entry, minor);
    return finish(entry);
  }
  TarMaker& file_with_xattr(const std::string& name, const std::string& key, const std::string& value) {
    archive_entry* entry = start(name, AE_IFREG, 0644);
    archive_entry_set_size(entry, 0);
    archive_entry_xattr_add_entry(entry, key.c_str(), value.data(), value.size());
    return finish(entry);
  }

  std::string bytes() {
    archive_write_close(tar_);
    return bytes_;
  }

 private:
  static archive_entry* start(const std::string& name, unsigned type, unsigned mode) {
    archive_entry* entry = archive_entry_new();
    archive_entry_set_pathname(entry, name.c_str());
    archive_entry_set_filetype(entry, type);
    archive_entry_set_perm(entry, mode);
    archive_entry_set_mtime(entry, 1'000'000'000, 0);
    return entry;
  }
  TarMaker& finish(archive_entry* entry) {
    archive_write_header(tar_, entry);
    archive_entry_free(entry);
    return *this;
  }
  static la_ssize_t write(archive*, void* to, const void* data, std::size_t size) {
    static_cast<std::string*>(to)->append(static_cast<const char*>(data), size);
    return static_cast<la_ssize_t>(size);
  }

  std::string bytes_;
  archive* tar_ = archive_write_new();
};

}  // namespace kubernel::runtime::oci
