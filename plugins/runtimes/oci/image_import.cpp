// SPDX-License-Identifier: Apache-2.0
//
// Reading images from files. A tar is first spread into a temporary directory (its index may come last), so both kinds
// of source are one.
#include <fcntl.h>
#include <linux/openat2.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <unistd.h>

#include <array>
#include <cerrno>
#include <memory>

#include <archive.h>
#include <archive_entry.h>
#include <nlohmann/json.hpp>

#include "image_store.h"
#include "layer_tree.h"

namespace kubernel::runtime::oci {
namespace {

using nlohmann::json;

constexpr std::size_t kMaxDocument = 8 * 1024 * 1024;
constexpr int kMaxIndexDepth = 3;

struct ArchiveFree {
  void operator()(archive* a) const { archive_read_free(a); }
};
using Archive = std::unique_ptr<archive, ArchiveFree>;

// Removes the directory a tar was spread into.
class TemporaryTree {
 public:
  explicit TemporaryTree(std::string path) : path_(std::move(path)) {}
  ~TemporaryTree() {
    if (path_.empty()) return;
    // Left-overs go at the store's next start.
    [[maybe_unused]] const auto ignored = remove_tree(path_);
  }
  TemporaryTree(const TemporaryTree&) = delete;
  TemporaryTree& operator=(const TemporaryTree&) = delete;

 private:
  std::string path_;
};

std::string text_of(archive* a) {
  const char* text = archive_error_string(a);
  return text == nullptr ? "unknown error" : text;
}

Result<void> spread_file(archive* tar, const Place& place, std::int64_t limit) {
  const UniqueFd fd(
      openat(place.parent.get(), place.name.c_str(), O_WRONLY | O_CREAT | O_EXCL | O_NOFOLLOW | O_CLOEXEC, 0600));
  if (!fd) return file_error("create", place.path, errno);
  std::array<char, 64 * 1024> buffer{};
  std::int64_t total = 0;
  for (;;) {
    const la_ssize_t got = archive_read_data(tar, buffer.data(), buffer.size());
    if (got < 0) return Error(Reason::Invalid, "cannot read the archive: " + text_of(tar));
    if (got == 0) return {};
    total += got;
    if (total > limit)
      return Error(Reason::Invalid, place.path + " is larger than " + std::to_string(limit) + " bytes");
    for (la_ssize_t done = 0; done < got;) {
      const ssize_t written = write(fd.get(), buffer.data() + done, static_cast<std::size_t>(got - done));
      if (written < 0 && errno != EINTR) return file_error("write", place.path, errno);
      if (written > 0) done += written;
    }
  }
}

Result<void> spread_entry(archive* tar, archive_entry* entry, LayerTree& tree, std::int64_t limit) {
  const char* name = archive_entry_pathname(entry);
  if (name == nullptr) return Error(Reason::Invalid, "the archive has an entry without a name");
  const auto type = archive_entry_filetype(entry);
  const char* hard_link = archive_entry_hardlink(entry);
  if (hard_link == nullptr && type != AE_IFREG && type != AE_IFLNK) return {};  // Directories are made as needed.
  KUBERNEL_TRY(const std::optional<Place> place, tree.place(name));
  if (!place) return Error(Reason::Invalid, "the archive has a file without a name");
  KUBERNEL_TRY([[maybe_unused]] const bool hidden, tree.make_room(*place, false));
  if (hard_link != nullptr) {
    KUBERNEL_TRY(const std::optional<Place> target, tree.place(hard_link));
    if (!target ||
        linkat(target->parent.get(), target->name.c_str(), place->parent.get(), place->name.c_str(), 0) != 0) {
      return Error(Reason::Invalid, "hard link \"" + place->path + "\" leads nowhere");
    }
    return {};
  }
  if (type == AE_IFREG) return spread_file(tar, *place, limit);
  // Old versions of docker save share layers by links; reading never follows one out of the tree.
  const char* target = archive_entry_symlink(entry);
  if (target == nullptr || symlinkat(target, place->parent.get(), place->name.c_str()) != 0) {
    return Error(Reason::Invalid, "symbolic link \"" + place->path + "\" cannot be made");
  }
  return {};
}

Result<void> spread_tar(const CallContext& ctx, const std::string& path, const std::string& into, std::int64_t limit) {
  const Archive tar(archive_read_new());
  archive_read_support_filter_all(tar.get());
  archive_read_support_format_tar(tar.get());
  if (archive_read_open_filename(tar.get(), path.c_str(), 64 * 1024) != ARCHIVE_OK) {
    return Error(Reason::Invalid, "cannot read the archive: " + text_of(tar.get()));
  }
  KUBERNEL_TRY(LayerTree tree, LayerTree::open(into, {}));
  for (;;) {
    if (ctx.stopping()) return Error(Reason::Cancelled, "stopped while loading images");
    archive_entry* entry = nullptr;
    const int code = archive_read_next_header(tar.get(), &entry);
    if (code == ARCHIVE_EOF) return {};
    if (code != ARCHIVE_OK && code != ARCHIVE_WARN)
      return Error(Reason::Invalid, "cannot read the archive: " + text_of(tar.get()));
    KUBERNEL_CHECK_OK(spread_entry(tar.get(), entry, tree, limit));
  }
}

// A directory whose files are read by names that come from inside it.
class Source {
 public:
  static Result<Source> open(const std::string& path) {
    Source source;
    source.directory_.reset(::open(path.c_str(), O_RDONLY | O_DIRECTORY | O_CLOEXEC));
    if (!source.directory_) return file_error("open", path, errno);
    return source;
  }

  Result<UniqueFd> open_file(const std::string& name) const {
    open_how how{};
    how.flags = O_RDONLY | O_CLOEXEC;
    how.resolve = RESOLVE_BENEATH | RESOLVE_NO_MAGICLINKS;
    UniqueFd fd(static_cast<int>(syscall(SYS_openat2, directory_.get(), name.c_str(), &how, sizeof how)));
    if (!fd) return file_error("open", name, errno);
    struct stat info {};
    if (fstat(fd.get(), &info) != 0 || !S_ISREG(info.st_mode)) return Error(Reason::Invalid, name + " is not a file");
    return fd;
  }

  bool has(const std::string& name) const { return open_file(name).has_value(); }

  Result<std::string> read(const std::string& name) const {
    KUBERNEL_TRY(const UniqueFd fd, open_file(name));
    return read_file("/proc/self/fd/" + std::to_string(fd.get()), kMaxDocument);
  }

 private:
  UniqueFd directory_;
};

class Import {
 public:
  Import(const CallContext& ctx, Store& store, const Source& source) : ctx_(ctx), store_(store), source_(source) {}

  Result<std::vector<Image>> run() {
    if (source_.has("index.json")) return run_layout();
    if (source_.has("manifest.json")) return run_docker_archive();
    return Error(Reason::Invalid, "neither an OCI image layout (index.json) nor a docker archive (manifest.json)");
  }

 private:
  Result<std::vector<Image>> run_layout() {
    KUBERNEL_TRY(const std::string text, source_.read("index.json"));
    KUBERNEL_TRY(const Manifest index, parse_manifest(text));
    if (!index.is_index) return Error(Reason::Invalid, "index.json is not an index");
    std::vector<Image> out;
    for (const Descriptor& entry : index.manifests) {
      KUBERNEL_TRY(const std::string manifest_digest, import_manifest(entry, 0));
      std::vector<std::string> names;
      if (const auto reference = name_of(entry)) names = {reference->text(), reference->name() + "@" + entry.digest};
      KUBERNEL_TRY(Image image, store_.add_image(ctx_, manifest_digest, names));
      out.push_back(std::move(image));
    }
    if (out.empty()) return Error(Reason::Invalid, "the archive holds no image");
    return out;
  }

  // containerd's annotation holds the full name. The specification's often holds only a tag, which names nothing.
  static std::optional<Reference> name_of(const Descriptor& entry) {
    for (const char* key : {"io.containerd.image.name", "org.opencontainers.image.ref.name"}) {
      const auto found = entry.annotations.find(key);
      if (found == entry.annotations.end() || found->second.find_first_of("/:") == std::string::npos) continue;
      if (auto reference = parse_reference(found->second)) return *std::move(reference);
    }
    return std::nullopt;
  }

  // Brings in a manifest with all it names; of an index, the part for this machine.
  Result<std::string> import_manifest(const Descriptor& entry, int depth) {
    if (depth > kMaxIndexDepth) return Error(Reason::Invalid, "indexes are nested too deep");
    KUBERNEL_CHECK_OK(import_blob(blob_name(entry.digest), entry.digest));
    KUBERNEL_TRY(const std::string text, read_file(store_.blob_path(entry.digest), kMaxDocument));
    KUBERNEL_TRY(const Manifest manifest, parse_manifest(text));
    if (manifest.is_index) {
      const Descriptor* chosen = choose_platform(manifest.manifests);
      if (chosen == nullptr)
        return Error(Reason::Invalid, "index " + entry.digest + " has no image for linux/" + machine_architecture());
      return import_manifest(*chosen, depth + 1);
    }
    KUBERNEL_CHECK_OK(import_blob(blob_name(manifest.config.digest), manifest.config.digest));
    for (const Descriptor& layer : manifest.layers)
      KUBERNEL_CHECK_OK(import_blob(blob_name(layer.digest), layer.digest));
    return entry.digest;
  }

  static std::string blob_name(const std::string& digest) { return "blobs/sha256/" + hex_of(digest); }

  Result<void> import_blob(const std::string& name, const std::string& digest) {
    pins_.push_back(store_.pin(digest));
    if (store_.has_blob(digest)) return {};
    KUBERNEL_TRY(const Copied copied, copy(name));
    if (copied.digest != digest) {
      unlink(copied.path.c_str());
      return Error(Reason::Invalid, "blob " + digest + " has the content of " + copied.digest);
    }
    return store_.adopt_blob(copied.path, digest);
  }

  struct Copied {
    std::string path, digest;
    std::int64_t size = 0;
    bool gzip = false;
  };

  Result<Copied> copy(const std::string& name) {
    KUBERNEL_TRY(const UniqueFd from, source_.open_file(name));
    Copied out;
    KUBERNEL_TRY(out.path, store_.make_temporary(false));
    const UniqueFd to(open(out.path.c_str(), O_WRONLY | O_CLOEXEC));
    Sha256 hash;
    std::array<char, 64 * 1024> buffer{};
    for (;;) {
      const ssize_t got = read(from.get(), buffer.data(), buffer.size());
      if (got < 0 && errno == EINTR) continue;
      if (got < 0) return file_error("read", name, errno);
      if (got == 0) break;
      if (out.size == 0) out.gzip = got > 2 && buffer[0] == '\x1f' && buffer[1] == '\x8b';
      hash.add({buffer.data(), static_cast<std::size_t>(got)});
      for (ssize_t done = 0; done < got;) {
        const ssize_t written = write(to.get(), buffer.data() + done, static_cast<std::size_t>(got - done));
        if (written < 0 && errno != EINTR) return file_error("write", out.path, errno);
        if (written > 0) done += written;
      }
      out.size += got;
      if (ctx_.stopping()) return Error(Reason::Cancelled, "stopped while loading images");
    }
    out.digest = hash.digest();
    return out;
  }

  // docker save before version 25: no digests, no manifest; we make the manifest.
  Result<std::vector<Image>> run_docker_archive() {
    KUBERNEL_TRY(const std::string text, source_.read("manifest.json"));
    const json list = json::parse(text, nullptr, false);
    if (!list.is_array() || list.empty()) return Error(Reason::Invalid, "manifest.json is not a list of images");
    std::vector<Image> out;
    for (const json& item : list) {
      auto image = catch_as_error("manifest.json", [&] { return run_docker_image(item); });
      if (!image) return std::move(image).error();
      out.push_back(*std::move(image));
    }
    return out;
  }

  Result<Image> run_docker_image(const json& item) {
    KUBERNEL_TRY(const json config, import_as_descriptor(item.at("Config").get<std::string>(), "config"));
    json layers = json::array();
    for (const json& layer : item.at("Layers")) {
      KUBERNEL_TRY(json descriptor, import_as_descriptor(layer.get<std::string>(), "layer"));
      layers.push_back(std::move(descriptor));
    }
    const json manifest = json::object({{"schemaVersion", 2},
                                        {"mediaType", "application/vnd.oci.image.manifest.v1+json"},
                                        {"config", config},
                                        {"layers", layers}});
    const std::string bytes = manifest.dump();
    pins_.push_back(store_.pin(sha256_digest(bytes)));
    KUBERNEL_TRY(const std::string digest, store_.put_blob(bytes));
    std::vector<std::string> names;
    if (const auto tags = item.find("RepoTags"); tags != item.end() && tags->is_array()) {
      for (const json& tag : *tags) {
        KUBERNEL_TRY(const Reference reference, parse_reference(tag.get<std::string>()));
        names.push_back(reference.text());
        names.push_back(reference.name() + "@" + digest);
      }
    }
    return store_.add_image(ctx_, digest, names);
  }

  Result<json> import_as_descriptor(const std::string& name, std::string_view kind) {
    KUBERNEL_TRY(const Copied copied, copy(name));
    pins_.push_back(store_.pin(copied.digest));
    KUBERNEL_CHECK_OK(store_.adopt_blob(copied.path, copied.digest));
    const std::string type = kind == "config" ? "application/vnd.oci.image.config.v1+json"
                             : copied.gzip    ? "application/vnd.oci.image.layer.v1.tar+gzip"
                                              : "application/vnd.oci.image.layer.v1.tar";
    return json::object({{"mediaType", type}, {"digest", copied.digest}, {"size", copied.size}});
  }

  const CallContext& ctx_;
  Store& store_;
  const Source& source_;
  std::vector<BlobPin> pins_;
};

}  // namespace

Result<std::vector<Image>> import_images(const CallContext& ctx, Store& store, const std::string& path) {
  struct stat info {};
  if (stat(path.c_str(), &info) != 0) return file_error("open", path, errno);
  std::string directory = path;
  std::string temporary;
  if (!S_ISDIR(info.st_mode)) {
    KUBERNEL_TRY(temporary, store.make_temporary(true));
    directory = temporary;
  }
  const TemporaryTree cleanup(temporary);
  if (!temporary.empty()) KUBERNEL_CHECK_OK(spread_tar(ctx, path, temporary, store.options().limits.max_bytes));
  KUBERNEL_TRY(const Source source, Source::open(directory));
  return Import(ctx, store, source).run();
}

}  // namespace kubernel::runtime::oci
