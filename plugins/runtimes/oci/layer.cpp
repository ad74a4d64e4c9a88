// SPDX-License-Identifier: Apache-2.0
#include "layer.h"

#include <fcntl.h>
#include <sys/stat.h>
#include <sys/xattr.h>
#include <unistd.h>

#include <array>
#include <cerrno>
#include <memory>
#include <optional>

#include <archive.h>
#include <archive_entry.h>

#include "files.h"
#include "layer_tree.h"

namespace kubernel::runtime::oci {
namespace {

struct ArchiveFree {
  void operator()(archive* a) const { archive_read_free(a); }
};
using Archive = std::unique_ptr<archive, ArchiveFree>;

constexpr std::string_view kWhiteout = ".wh.";
constexpr std::string_view kOpaqueMark = ".wh..wh..opq";
constexpr std::string_view kAufsInternal = ".wh..wh.";

// Decompresses the blob, hashing what comes out, and is the byte source of the tar reader.
class LayerStream {
 public:
  static Result<std::unique_ptr<LayerStream>> open(const std::string& path) {
    auto stream = std::make_unique<LayerStream>();
    archive* raw = stream->raw_.get();
    archive_read_support_filter_gzip(raw);
    archive_read_support_filter_zstd(raw);
    archive_read_support_filter_bzip2(raw);
    archive_read_support_filter_xz(raw);
    archive_read_support_format_raw(raw);
    archive_entry* entry = nullptr;
    if (archive_read_open_filename(raw, path.c_str(), kBlock) != ARCHIVE_OK ||
        archive_read_next_header(raw, &entry) != ARCHIVE_OK) {
      return Error(Reason::Invalid, std::string("cannot read the layer: ") + text_of(raw));
    }
    return stream;
  }

  // Fits archive_read_callback.
  static la_ssize_t read(archive* tar, void* self, const void** out) {
    auto* stream = static_cast<LayerStream*>(self);
    const la_ssize_t got = archive_read_data(stream->raw_.get(), stream->buffer_.data(), stream->buffer_.size());
    if (got < 0) {
      archive_set_error(tar, EIO, "%s", text_of(stream->raw_.get()));
      return ARCHIVE_FATAL;
    }
    stream->hash_.add({stream->buffer_.data(), static_cast<std::size_t>(got)});
    *out = stream->buffer_.data();
    return got;
  }

  // Reads what follows the tar's end mark, which belongs to the digest too.
  Result<std::string> finish() {
    for (;;) {
      const la_ssize_t got = archive_read_data(raw_.get(), buffer_.data(), buffer_.size());
      if (got < 0) return Error(Reason::Invalid, std::string("cannot read the layer: ") + text_of(raw_.get()));
      if (got == 0) return hash_.digest();
      hash_.add({buffer_.data(), static_cast<std::size_t>(got)});
    }
  }

  static const char* text_of(archive* a) {
    const char* text = archive_error_string(a);
    return text == nullptr ? "unknown error" : text;
  }

 private:
  static constexpr std::size_t kBlock = 64 * 1024;
  Archive raw_{archive_read_new()};
  Sha256 hash_;
  std::array<char, kBlock> buffer_{};
};

std::string name_of(archive_entry* entry) {
  if (const char* name = archive_entry_pathname_utf8(entry)) return name;
  const char* name = archive_entry_pathname(entry);
  return name == nullptr ? std::string() : name;
}

std::string hardlink_of(archive_entry* entry) {
  if (const char* name = archive_entry_hardlink_utf8(entry)) return name;
  const char* name = archive_entry_hardlink(entry);
  return name == nullptr ? std::string() : name;
}

std::string symlink_of(archive_entry* entry) {
  if (const char* name = archive_entry_symlink_utf8(entry)) return name;
  const char* name = archive_entry_symlink(entry);
  return name == nullptr ? std::string() : name;
}

std::array<timespec, 2> times_of(archive_entry* entry) {
  const timespec time{archive_entry_mtime(entry), archive_entry_mtime_nsec(entry)};
  return {time, time};
}

class Unpacker {
 public:
  Unpacker(LayerTree tree, const UnpackLimits& limits) : tree_(std::move(tree)), limits_(limits) {}

  Result<void> add(archive* tar, archive_entry* entry) {
    if (++entries_ > limits_.max_entries) {
      return Error(Reason::Invalid, "the layer has more than " + std::to_string(limits_.max_entries) + " entries");
    }
    const std::string name = name_of(entry);
    if (name.empty()) return Error(Reason::Invalid, "the layer has an entry without a name");
    KUBERNEL_TRY(std::optional<Place> place, tree_.place(name));
    if (!place) return set_root(entry);
    if (place->name.starts_with(kWhiteout)) return apply_whiteout(std::move(*place));
    if (const std::string target = hardlink_of(entry); !target.empty()) return add_hardlink(*place, target);
    switch (archive_entry_filetype(entry)) {
      case AE_IFREG: return add_file(tar, entry, *place);
      case AE_IFDIR: return add_directory(entry, *place);
      case AE_IFLNK: return add_symlink(entry, *place);
      case AE_IFIFO: return add_fifo(entry, *place);
      case AE_IFCHR:
      case AE_IFBLK:
        // A container gets its devices from the runtime; one from a stranger's tar (above all 0:0, a whiteout) is never
        // made.
        ++skipped_devices_;
        return {};
      default: return {};
    }
  }

  // Directories get their times last: adding entries changes them.
  Result<void> finish() {
    for (const auto& [fd, times] : directories_) futimens(fd.get(), times.data());
    return {};
  }

  std::int64_t bytes() const { return bytes_; }
  std::int64_t skipped_devices() const { return skipped_devices_; }

 private:
  Result<void> apply_whiteout(Place place) {
    if (place.name == kOpaqueMark) return LayerTree::make_opaque(place.parent.get(), place.path);
    if (place.name.starts_with(kAufsInternal)) return {};
    place.name.erase(0, kWhiteout.size());
    if (place.name.empty() || place.name == "." || place.name == "..") {
      return Error(Reason::Invalid, "whiteout \"" + place.path + "\" names nothing");
    }
    return tree_.white_out(place);
  }

  Result<void> add_hardlink(const Place& place, const std::string& target_name) {
    KUBERNEL_TRY(const std::optional<Place> target, tree_.place(target_name));
    if (!target) return Error(Reason::Invalid, "hard link \"" + place.path + "\" to the root");
    if (target->path == place.path) return {};
    KUBERNEL_TRY([[maybe_unused]] const bool hidden, tree_.make_room(place, false));
    if (linkat(target->parent.get(), target->name.c_str(), place.parent.get(), place.name.c_str(), 0) != 0) {
      if (errno == ENOENT || errno == EPERM) {
        return Error(Reason::Invalid,
                     "hard link \"" + place.path + "\" to \"" + target->path + "\", which is no file of its layer");
      }
      return file_error("link", place.path, errno);
    }
    return {};
  }

  Result<void> add_file(archive* tar, archive_entry* entry, const Place& place) {
    if (archive_entry_size(entry) > limits_.max_bytes - bytes_) return too_large();
    KUBERNEL_TRY([[maybe_unused]] const bool hidden, tree_.make_room(place, false));
    const UniqueFd fd(
        openat(place.parent.get(), place.name.c_str(), O_WRONLY | O_CREAT | O_EXCL | O_NOFOLLOW | O_CLOEXEC, 0600));
    if (!fd) return file_error("create", place.path, errno);
    for (;;) {
      const void* data = nullptr;
      std::size_t size = 0;
      la_int64_t offset = 0;
      const int code = archive_read_data_block(tar, &data, &size, &offset);
      if (code == ARCHIVE_EOF) break;
      if (code != ARCHIVE_OK) return Error(Reason::Invalid, "\"" + place.path + "\": " + LayerStream::text_of(tar));
      bytes_ += static_cast<std::int64_t>(size);
      if (bytes_ > limits_.max_bytes) return too_large();
      const char* next = static_cast<const char*>(data);
      while (size > 0) {
        const ssize_t written = pwrite(fd.get(), next, size, offset);
        if (written < 0 && errno == EINTR) continue;
        if (written < 0) return file_error("write", place.path, errno);
        next += written;
        offset += written;
        size -= static_cast<std::size_t>(written);
      }
    }
    if (ftruncate(fd.get(), archive_entry_size(entry)) != 0) return file_error("write", place.path, errno);
    KUBERNEL_CHECK_OK(set_attributes(fd.get(), entry, place.path));
    const auto times = times_of(entry);
    futimens(fd.get(), times.data());
    return {};
  }

  Result<void> add_directory(archive_entry* entry, const Place& place) {
    KUBERNEL_TRY(const bool hidden, tree_.make_room(place, true));
    if (mkdirat(place.parent.get(), place.name.c_str(), 0700) != 0 && errno != EEXIST) {
      return file_error("create directory", place.path, errno);
    }
    UniqueFd fd(openat(place.parent.get(), place.name.c_str(), O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC));
    if (!fd) return file_error("open", place.path, errno);
    if (hidden) KUBERNEL_CHECK_OK(LayerTree::make_opaque(fd.get(), place.path));
    KUBERNEL_CHECK_OK(set_attributes(fd.get(), entry, place.path));
    // Each costs a descriptor until the end; beyond this many, a directory's time is not worth one.
    if (directories_.size() < kMaxOpenDirectories) directories_.emplace_back(std::move(fd), times_of(entry));
    return {};
  }

  Result<void> add_symlink(archive_entry* entry, const Place& place) {
    const std::string target = symlink_of(entry);
    if (target.empty()) return Error(Reason::Invalid, "symbolic link \"" + place.path + "\" has no target");
    KUBERNEL_TRY([[maybe_unused]] const bool hidden, tree_.make_room(place, false));
    if (symlinkat(target.c_str(), place.parent.get(), place.name.c_str()) != 0)
      return file_error("link", place.path, errno);
    if (fchownat(place.parent.get(), place.name.c_str(), owner_of(entry), group_of(entry), AT_SYMLINK_NOFOLLOW) != 0) {
      return file_error("set the owner of", place.path, errno);
    }
    const auto times = times_of(entry);
    utimensat(place.parent.get(), place.name.c_str(), times.data(), AT_SYMLINK_NOFOLLOW);
    return {};
  }

  Result<void> add_fifo(archive_entry* entry, const Place& place) {
    KUBERNEL_TRY([[maybe_unused]] const bool hidden, tree_.make_room(place, false));
    if (mkfifoat(place.parent.get(), place.name.c_str(), 0600) != 0 ||
        fchownat(place.parent.get(), place.name.c_str(), owner_of(entry), group_of(entry), AT_SYMLINK_NOFOLLOW) != 0 ||
        fchmodat(place.parent.get(), place.name.c_str(), archive_entry_perm(entry), 0) != 0) {
      return file_error("create", place.path, errno);
    }
    return {};
  }

  Result<void> set_root(archive_entry* entry) {
    if (archive_entry_filetype(entry) != AE_IFDIR) return Error(Reason::Invalid, "the layer's root is not a directory");
    return set_attributes(tree_.root(), entry, "/");
  }

  // Mode after owner: changing the owner clears set-user-ID. Capabilities last: so does it them.
  static Result<void> set_attributes(int fd, archive_entry* entry, const std::string& path) {
    if (fchown(fd, owner_of(entry), group_of(entry)) != 0) return file_error("set the owner of", path, errno);
    if (fchmod(fd, archive_entry_perm(entry)) != 0) return file_error("set the mode of", path, errno);
    const char* name = nullptr;
    const void* value = nullptr;
    std::size_t size = 0;
    archive_entry_xattr_reset(entry);
    while (archive_entry_xattr_next(entry, &name, &value, &size) == ARCHIVE_OK) {
      const std::string_view key = name == nullptr ? "" : name;
      // Never "trusted.": it would forge overlayfs's own marks.
      if (key != "security.capability" && !key.starts_with("user.")) continue;
      if (fsetxattr(fd, name, value, size, 0) != 0 && errno != ENOTSUP)
        return file_error("set an attribute of", path, errno);
    }
    return {};
  }

  static uid_t owner_of(archive_entry* entry) { return static_cast<uid_t>(archive_entry_uid(entry)); }
  static gid_t group_of(archive_entry* entry) { return static_cast<gid_t>(archive_entry_gid(entry)); }
  Error too_large() const {
    return {Reason::Invalid, "the layer unpacks to more than " + std::to_string(limits_.max_bytes) + " bytes"};
  }

  static constexpr std::size_t kMaxOpenDirectories = 512;
  LayerTree tree_;
  UnpackLimits limits_;
  std::int64_t entries_ = 0, bytes_ = 0, skipped_devices_ = 0;
  std::vector<std::pair<UniqueFd, std::array<timespec, 2>>> directories_;
};

}  // namespace

Result<UnpackedLayer> unpack_layer(const CallContext& ctx, const std::string& blob_path, const std::string& into,
                                   const std::vector<std::string>& lowers, const UnpackLimits& limits) {
  KUBERNEL_TRY(LayerTree tree, LayerTree::open(into, lowers));
  Unpacker unpacker(std::move(tree), limits);
  KUBERNEL_TRY(const std::unique_ptr<LayerStream> stream, LayerStream::open(blob_path));
  const Archive tar(archive_read_new());
  archive_read_support_format_tar(tar.get());
  archive_read_support_format_empty(tar.get());  // A layer without changes.
  if (archive_read_open(tar.get(), stream.get(), nullptr, LayerStream::read, nullptr) != ARCHIVE_OK) {
    return Error(Reason::Invalid, std::string("cannot read the layer: ") + LayerStream::text_of(tar.get()));
  }
  for (;;) {
    if (ctx.stopping()) return Error(Reason::Cancelled, "stopped while unpacking a layer");
    archive_entry* entry = nullptr;
    const int code = archive_read_next_header(tar.get(), &entry);
    if (code == ARCHIVE_EOF) break;
    if (code != ARCHIVE_OK && code != ARCHIVE_WARN) {
      return Error(Reason::Invalid, std::string("cannot read the layer: ") + LayerStream::text_of(tar.get()));
    }
    KUBERNEL_CHECK_OK(unpacker.add(tar.get(), entry));
  }
  KUBERNEL_CHECK_OK(unpacker.finish());
  UnpackedLayer out;
  KUBERNEL_TRY(out.diff_id, stream->finish());
  out.bytes = unpacker.bytes();
  out.skipped_devices = unpacker.skipped_devices();
  return out;
}

}  // namespace kubernel::runtime::oci
