// SPDX-License-Identifier: Apache-2.0
//
// Store: images on disk. Blobs lie in an OCI image layout (<root>/images), so any tool that reads one reads this; its
// index.json, one entry per name, is the only database. Layers are unpacked once, under their chain ID
// (<root>/layers/<hex>), and shared by all images and containers that use them.
#pragma once

#include <functional>
#include <map>
#include <memory>
#include <mutex>
#include <optional>
#include <set>
#include <string>
#include <string_view>
#include <vector>

#include <kubernel/base/log.h>
#include <kubernel/runtime/container_runtime.h>

#include "files.h"
#include "layer.h"
#include "manifest.h"
#include "reference.h"

namespace kubernel::runtime::oci {

struct StoreOptions {
  std::string root;
  UnpackLimits limits;
  Durable durable = Durable::Yes;
};

/// Keeps blobs from being collected while an import that needs them runs.
class BlobPin;

/// An image whose layers are unpacked and will stay until released.
struct AcquiredImage {
  std::string id;
  std::string reference;  ///< One of its names; the id when it has none.
  ImageConfig config;
  std::vector<std::string> chain_ids;    ///< Bottom first.
  std::vector<std::string> layer_paths;  ///< Topmost first, as overlayfs wants them.
};

class Store;

/// Brings an image from a registry into the store; see registry.h.
using Puller =
    std::function<Result<Image>(const CallContext&, Store&, const Reference&, const std::optional<Credentials>&)>;

/// Threads: all members may be called concurrently.
class Store final : public ImageStore {
 public:
  /// Makes the directories, reads the index, and removes what an interrupted import left.
  /// Errors: Invalid for an index that is not one; Internal.
  static Result<std::unique_ptr<Store>> open(StoreOptions options, Logger& log, Puller puller);
  ~Store() override;

  Result<std::optional<Image>> find(const CallContext& ctx, std::string_view reference) override;
  Result<std::vector<Image>> list(const CallContext& ctx) override;
  Result<Image> pull(const CallContext& ctx, std::string_view reference,
                     const std::optional<Credentials>& credentials) override;
  Result<std::vector<Image>> load(const CallContext& ctx, const std::string& path) override;
  Result<void> remove(const CallContext& ctx, std::string_view reference) override;

  /// Holds the image's layers for container `holder` and unpacks those that are missing.
  /// Errors: NotFound.
  Result<AcquiredImage> acquire(const CallContext& ctx, std::string_view image_id, const std::string& holder);
  /// Holds again what a container found on disk uses.
  void hold(const std::string& holder, const std::vector<std::string>& chains);
  /// Lets go of a container's layers, and removes them when no image needs them either.
  void release(const std::string& holder);
  /// Removes blobs and layers that nothing names, holds or pins.
  void collect_garbage();

  // What importing is made of (image_import.cpp, registry.cpp).

  /// A pin for a digest that is about to be written.
  [[nodiscard]] BlobPin pin(const std::string& digest);
  bool has_blob(const std::string& digest) const;
  std::string blob_path(const std::string& digest) const;
  /// A new file for bytes on their way in, removed with the store's next start if nobody does.
  Result<std::string> make_temporary(bool directory);
  /// Moves a temporary file whose digest has been checked into the store.
  Result<void> adopt_blob(const std::string& temporary, const std::string& digest);
  /// Stores bytes; gives their digest.
  Result<std::string> put_blob(std::string_view bytes);
  /// Checks that the manifest's blobs are there and fit, unpacks its layers and gives it names.
  Result<Image> add_image(const CallContext& ctx, const std::string& manifest_digest,
                          const std::vector<std::string>& names);
  const StoreOptions& options() const { return options_; }

 private:
  friend class BlobPin;
  struct Stored {
    std::string manifest_digest, config_digest;
    std::int64_t manifest_size = 0, size_bytes = 0;
    std::string user;
    std::vector<std::string> layers;  // Blob digests, bottom first.
    std::vector<std::string> chains;
    std::set<std::string> names;
  };
  struct Pull;

  Store(StoreOptions options, Logger& log, Puller puller);
  Result<void> read_index();
  Result<void> write_index();
  Result<Stored> read_stored(const std::string& manifest_digest) const;
  Result<ImageConfig> read_config(const std::string& config_digest) const;
  Result<void> unpack_all(const CallContext& ctx, const Stored& image, const std::vector<std::string>& diff_ids);
  Result<void> unpack_one(const CallContext& ctx, const Stored& image, std::size_t index, const std::string& diff_id);
  std::string layer_path(const std::string& chain) const;
  std::vector<const Stored*> matching(std::string_view reference) const;
  Image describe(const std::string& config_digest) const;
  void remove_unused(const std::string& directory, const std::set<std::string>& used);
  void unpin(const std::string& digest);

  StoreOptions options_;
  Logger& log_;
  Puller puller_;

  mutable std::mutex mutex_;                              // Guards everything below.
  std::map<std::string, Stored> images_;                  // By manifest digest.
  std::map<std::string, std::vector<std::string>> held_;  // Container -> chains.
  std::multiset<std::string> pinned_;                     // Blob digests and chain IDs.
  std::map<std::string, std::shared_ptr<Pull>> pulls_;    // By reference and user.
  std::mutex unpack_mutex_;                               // One layer at a time is unpacked.
};

class BlobPin {
 public:
  BlobPin(Store& store, std::string digest) : store_(&store), digest_(std::move(digest)) {}
  BlobPin(BlobPin&& other) noexcept : store_(std::exchange(other.store_, nullptr)), digest_(std::move(other.digest_)) {}
  BlobPin& operator=(BlobPin&&) = delete;
  ~BlobPin() {
    if (store_ != nullptr) store_->unpin(digest_);
  }

 private:
  Store* store_;
  std::string digest_;
};

/// Imports an OCI layout or docker-archive: a directory, or a tar file in any compression libarchive reads
/// (image_import.cpp).
Result<std::vector<Image>> import_images(const CallContext& ctx, Store& store, const std::string& path);

}  // namespace kubernel::runtime::oci
