// SPDX-License-Identifier: Apache-2.0
#include "image_store.h"

#include <dirent.h>
#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <charconv>
#include <condition_variable>
#include <filesystem>
#include <utility>

#include <nlohmann/json.hpp>

namespace kubernel::runtime::oci {
namespace {

using nlohmann::json;

constexpr const char* kRefName = "org.opencontainers.image.ref.name";
constexpr std::size_t kMaxDocument = 8 * 1024 * 1024;  // Manifests and configs are small.

bool is_digest_name(const std::string& name) {
  return name.find('@') != std::string::npos;
}

std::optional<std::int64_t> numeric_user(const std::string& user) {
  const std::string_view name = std::string_view(user).substr(0, user.find(':'));
  std::int64_t id = 0;
  const auto [end, error] = std::from_chars(name.data(), name.data() + name.size(), id);
  if (name.empty() || error != std::errc() || end != name.data() + name.size() || id < 0) return std::nullopt;
  return id;
}

std::vector<std::string> names_in(const std::string& directory) {
  std::vector<std::string> out;
  std::error_code code;
  for (const auto& entry : std::filesystem::directory_iterator(directory, code))
    out.push_back(entry.path().filename().string());
  return out;
}

}  // namespace

// A pull that several callers wait for.
struct Store::Pull {
  std::condition_variable_any done;
  std::optional<Result<Image>> result;  // Guarded by Store::mutex_.
};

Store::Store(StoreOptions options, Logger& log, Puller puller)
    : options_(std::move(options)), log_(log), puller_(std::move(puller)) {}
Store::~Store() = default;

Result<std::unique_ptr<Store>> Store::open(StoreOptions options, Logger& log, Puller puller) {
  std::unique_ptr<Store> store(new Store(std::move(options), log, std::move(puller)));
  const std::string& root = store->options_.root;
  KUBERNEL_CHECK_OK(make_directories(root, 0711));
  KUBERNEL_CHECK_OK(make_directories(root + "/images/blobs/sha256", 0700));
  KUBERNEL_CHECK_OK(make_directories(root + "/layers", 0711));
  KUBERNEL_CHECK_OK(remove_tree(root + "/tmp"));
  KUBERNEL_CHECK_OK(make_directories(root + "/tmp", 0700));
  for (const std::string& name : names_in(root + "/layers")) {
    if (name.starts_with(".")) KUBERNEL_CHECK_OK(remove_tree(root + "/layers/" + name));
  }
  if (!exists(root + "/images/oci-layout")) {
    KUBERNEL_CHECK_OK(
        write_file_atomic(root + "/images/oci-layout", R"({"imageLayoutVersion":"1.0.0"})", store->options_.durable));
  }
  KUBERNEL_CHECK_OK(store->read_index());
  return store;
}

Result<void> Store::read_index() {
  const std::string path = options_.root + "/images/index.json";
  auto text = read_file(path, kMaxDocument);
  if (!text && text.error().reason() == Reason::NotFound) return {};
  if (!text) return std::move(text).error();
  auto index = parse_manifest(*text);
  if (!index) return std::move(index).error().wrap(path);
  std::set<std::string> damaged;
  for (const Descriptor& entry : index->manifests) {
    if (damaged.contains(entry.digest)) continue;
    auto [place, added] = images_.try_emplace(entry.digest);
    if (added) {
      auto stored = read_stored(entry.digest);
      if (!stored) {
        // The rest of the images are fine; this one can be pulled again.
        log_warning(log_, "dropping an image whose blobs cannot be read",
                    {{"manifest", entry.digest}, {"error", stored.error()}});
        images_.erase(place);
        damaged.insert(entry.digest);
        continue;
      }
      place->second = *std::move(stored);
    }
    if (const auto name = entry.annotations.find(kRefName); name != entry.annotations.end())
      place->second.names.insert(name->second);
  }
  return {};
}

Result<void> Store::write_index() {
  json manifests = json::array();
  for (const auto& [digest, image] : images_) {
    const json descriptor = json::object({{"mediaType", "application/vnd.oci.image.manifest.v1+json"},
                                          {"digest", digest},
                                          {"size", image.manifest_size}});
    if (image.names.empty()) manifests.push_back(descriptor);
    for (const std::string& name : image.names) {
      json named = descriptor;
      named["annotations"] = json::object({{kRefName, name}});
      manifests.push_back(std::move(named));
    }
  }
  const json index = json::object({{"schemaVersion", 2}, {"manifests", std::move(manifests)}});
  return write_file_atomic(options_.root + "/images/index.json", index.dump(), options_.durable);
}

Result<Store::Stored> Store::read_stored(const std::string& manifest_digest) const {
  KUBERNEL_TRY(const std::string text, read_file(blob_path(manifest_digest), kMaxDocument));
  KUBERNEL_TRY(const Manifest manifest, parse_manifest(text));
  if (manifest.is_index) return Error(Reason::Invalid, "manifest " + manifest_digest + " is an index");
  KUBERNEL_TRY(const ImageConfig config, read_config(manifest.config.digest));
  if (config.diff_ids.size() != manifest.layers.size()) {
    return Error(Reason::Invalid, "the image has " + std::to_string(manifest.layers.size()) +
                                      " layers but its config lists " + std::to_string(config.diff_ids.size()));
  }
  Stored out;
  out.manifest_digest = manifest_digest;
  out.manifest_size = static_cast<std::int64_t>(text.size());
  out.config_digest = manifest.config.digest;
  out.user = config.user;
  out.chains = chain_ids(config.diff_ids);
  out.size_bytes = out.manifest_size + manifest.config.size;
  for (const Descriptor& layer : manifest.layers) {
    out.size_bytes += layer.size;
    out.layers.push_back(layer.digest);
  }
  return out;
}

Result<ImageConfig> Store::read_config(const std::string& config_digest) const {
  KUBERNEL_TRY(const std::string text, read_file(blob_path(config_digest), kMaxDocument));
  return parse_image_config(text);
}

std::vector<const Store::Stored*> Store::matching(std::string_view reference) const {
  std::vector<const Stored*> out;
  const bool bare_hex = valid_digest("sha256:" + std::string(reference));
  if (bare_hex || valid_digest(reference)) {
    const std::string id = bare_hex ? "sha256:" + std::string(reference) : std::string(reference);
    for (const auto& [digest, image] : images_) {
      if (image.config_digest == id || digest == id) out.push_back(&image);
    }
    return out;
  }
  const auto parsed = parse_reference(reference);
  if (!parsed) return out;
  for (const auto& [digest, image] : images_) {
    if (image.names.contains(parsed->text())) out.push_back(&image);
  }
  return out;
}

Image Store::describe(const std::string& config_digest) const {
  Image out;
  out.id = config_digest;
  for (const auto& [digest, image] : images_) {
    if (image.config_digest != config_digest) continue;
    out.size_bytes = image.size_bytes;
    out.user = numeric_user(image.user);
    if (!out.user) out.username = image.user.substr(0, image.user.find(':'));
    for (const std::string& name : image.names) (is_digest_name(name) ? out.digests : out.tags).push_back(name);
  }
  return out;
}

Result<std::optional<Image>> Store::find(const CallContext&, std::string_view reference) {
  const std::lock_guard lock(mutex_);
  const auto found = matching(reference);
  if (found.empty()) return std::optional<Image>();
  return std::optional<Image>(describe(found.front()->config_digest));
}

Result<std::vector<Image>> Store::list(const CallContext&) {
  const std::lock_guard lock(mutex_);
  std::set<std::string> ids;
  for (const auto& [digest, image] : images_) ids.insert(image.config_digest);
  std::vector<Image> out;
  for (const std::string& id : ids) out.push_back(describe(id));
  return out;
}

Result<std::vector<Image>> Store::load(const CallContext& ctx, const std::string& path) {
  auto images = import_images(ctx, *this, path);
  if (images) return images;
  collect_garbage();
  return std::move(images).error().wrap("cannot load images from " + path);
}

Result<Image> Store::pull(const CallContext& ctx, std::string_view reference,
                          const std::optional<Credentials>& credentials) {
  KUBERNEL_TRY(const Reference parsed, parse_reference(reference));
  // Credentials are part of the key: what one user may read is not for another.
  const std::string key =
      parsed.text() + '\n' + (credentials ? credentials->username + '\n' + credentials->password : "");
  std::unique_lock lock(mutex_);
  while (true) {
    const auto running = pulls_.find(key);
    if (running == pulls_.end()) break;
    const std::shared_ptr<Pull> pull = running->second;
    const bool done = pull->done.wait_until(lock, ctx.stop, ctx.deadline, [&] { return pull->result.has_value(); });
    if (!done && ctx.stopping())
      return Error(Reason::Cancelled, "stopped while waiting for " + parsed.text() + " to be pulled");
    if (!done) return Error(Reason::Timeout, "the pull of " + parsed.text() + " did not end in time");
    // The one who did the work was told to stop; this caller was not.
    if (*pull->result || pull->result->error().reason() != Reason::Cancelled) return *pull->result;
  }
  const auto pull = std::make_shared<Pull>();
  pulls_[key] = pull;
  lock.unlock();
  auto result = puller_(ctx, *this, parsed, credentials);
  lock.lock();
  pull->result = result;
  pulls_.erase(key);
  pull->done.notify_all();
  return result;
}

Result<void> Store::remove(const CallContext&, std::string_view reference) {
  {
    const std::lock_guard lock(mutex_);
    const auto found = matching(reference);
    const auto parsed = parse_reference(reference);
    std::vector<std::string> digests;
    for (const Stored* image : found) digests.push_back(image->manifest_digest);
    for (const std::string& digest : digests) {
      Stored& image = images_[digest];
      if (parsed) image.names.erase(parsed->text());
      // By id everything goes; by name the image goes with its last tag.
      if (!parsed || !image.names.contains(parsed->text())) {
        const bool by_id = valid_digest(reference) || valid_digest("sha256:" + std::string(reference));
        if (by_id || std::ranges::all_of(image.names, is_digest_name)) images_.erase(digest);
      }
    }
    KUBERNEL_CHECK_OK(write_index());
  }
  collect_garbage();
  return {};
}

Result<AcquiredImage> Store::acquire(const CallContext& ctx, std::string_view image_id, const std::string& holder) {
  Stored image;
  AcquiredImage out;
  {
    const std::lock_guard lock(mutex_);
    const auto found = matching(image_id);
    if (found.empty()) return Error(Reason::NotFound, "image \"" + std::string(image_id) + "\" not found");
    image = *found.front();
    held_[holder] = image.chains;
    const Image described = describe(image.config_digest);
    out.reference = !described.digests.empty() ? described.digests.front()
                    : !described.tags.empty()  ? described.tags.front()
                                               : image.config_digest;
  }
  auto prepared = [&]() -> Result<void> {
    KUBERNEL_TRY(out.config, read_config(image.config_digest));
    return unpack_all(ctx, image, out.config.diff_ids);
  }();
  if (!prepared) {
    release(holder);
    return std::move(prepared).error();
  }
  out.id = image.config_digest;
  out.chain_ids = image.chains;
  for (const std::string& chain : image.chains) out.layer_paths.insert(out.layer_paths.begin(), layer_path(chain));
  return out;
}

void Store::hold(const std::string& holder, const std::vector<std::string>& chains) {
  const std::lock_guard lock(mutex_);
  held_[holder] = chains;
}

void Store::release(const std::string& holder) {
  std::vector<std::string> chains;
  {
    const std::lock_guard lock(mutex_);
    const auto found = held_.find(holder);
    if (found == held_.end()) return;
    chains = std::move(found->second);
    held_.erase(found);
    const auto uses = [&](const auto& all) {
      return std::ranges::any_of(all, [&](const auto& entry) {
        if constexpr (requires { entry.second.chains; })
          return !chains.empty() && std::ranges::count(entry.second.chains, chains.back()) > 0;
        else
          return !chains.empty() && std::ranges::count(entry.second, chains.back()) > 0;
      });
    };
    // Nearly always the image is still there, and there is nothing to look for on disk.
    if (uses(images_) || uses(held_)) return;
  }
  collect_garbage();
}

void Store::collect_garbage() {
  const std::lock_guard lock(mutex_);
  std::set<std::string> blobs;
  std::set<std::string> layers;
  for (const auto& [digest, image] : images_) {
    blobs.insert({hex_of(digest), hex_of(image.config_digest)});
    for (const std::string& layer : image.layers) blobs.insert(hex_of(layer));
    for (const std::string& chain : image.chains) layers.insert(hex_of(chain));
  }
  for (const auto& [holder, chains] : held_) {
    for (const std::string& chain : chains) layers.insert(hex_of(chain));
  }
  for (const std::string& digest : pinned_) {
    blobs.insert(hex_of(digest));
    layers.insert(hex_of(digest));
  }
  remove_unused(options_.root + "/images/blobs/sha256", blobs);
  remove_unused(options_.root + "/layers", layers);
}

void Store::remove_unused(const std::string& directory, const std::set<std::string>& used) {
  for (const std::string& name : names_in(directory)) {
    if (used.contains(name) || name.starts_with(".")) continue;
    if (const auto removed = remove_tree(directory + "/" + name); !removed) {
      log_warning(log_, "cannot remove unused image data", {{"error", removed.error()}});
    }
  }
}

BlobPin Store::pin(const std::string& digest) {
  const std::lock_guard lock(mutex_);
  pinned_.insert(digest);
  return {*this, digest};
}

void Store::unpin(const std::string& digest) {
  const std::lock_guard lock(mutex_);
  if (const auto found = pinned_.find(digest); found != pinned_.end()) pinned_.erase(found);
}

bool Store::has_blob(const std::string& digest) const {
  return exists(blob_path(digest));
}

std::string Store::blob_path(const std::string& digest) const {
  return options_.root + "/images/blobs/sha256/" + hex_of(digest);
}

std::string Store::layer_path(const std::string& chain) const {
  return options_.root + "/layers/" + hex_of(chain);
}

Result<std::string> Store::make_temporary(bool directory) {
  std::string path = options_.root + "/tmp/XXXXXX";
  if (directory) {
    if (mkdtemp(path.data()) == nullptr) return file_error("create", path, errno);
    return path;
  }
  const UniqueFd fd(mkostemp(path.data(), O_CLOEXEC));
  if (!fd) return file_error("create", path, errno);
  return path;
}

Result<void> Store::adopt_blob(const std::string& temporary, const std::string& digest) {
  if (options_.durable == Durable::Yes) {
    const UniqueFd fd(::open(temporary.c_str(), O_RDONLY | O_CLOEXEC));
    if (!fd || fsync(fd.get()) != 0) return file_error("sync", temporary, errno);
  }
  if (rename(temporary.c_str(), blob_path(digest).c_str()) != 0) return file_error("store", blob_path(digest), errno);
  return {};
}

Result<std::string> Store::put_blob(std::string_view bytes) {
  const std::string digest = sha256_digest(bytes);
  if (!has_blob(digest)) KUBERNEL_CHECK_OK(write_file_atomic(blob_path(digest), bytes, options_.durable));
  return digest;
}

Result<void> Store::unpack_all(const CallContext& ctx, const Stored& image, const std::vector<std::string>& diff_ids) {
  const std::lock_guard one_at_a_time(unpack_mutex_);
  for (std::size_t i = 0; i < image.chains.size(); ++i) KUBERNEL_CHECK_OK(unpack_one(ctx, image, i, diff_ids[i]));
  return {};
}

Result<void> Store::unpack_one(const CallContext& ctx, const Stored& image, std::size_t index,
                               const std::string& diff_id) {
  const std::string target = layer_path(image.chains[index]);
  if (exists(target)) return {};
  std::vector<std::string> lowers;
  for (std::size_t below = index; below > 0; --below) lowers.push_back(layer_path(image.chains[below - 1]));
  std::string temporary = options_.root + "/layers/.new-XXXXXX";
  if (mkdtemp(temporary.data()) == nullptr) return file_error("create", temporary, errno);
  if (chmod(temporary.c_str(), 0755) != 0) return file_error("set the mode of", temporary, errno);
  auto unpacked = unpack_layer(ctx, blob_path(image.layers[index]), temporary, lowers, options_.limits);
  Result<void> result;
  if (!unpacked) {
    result = std::move(unpacked).error().wrap("layer " + image.layers[index]);
  } else if (unpacked->diff_id != diff_id) {
    result = Error(Reason::Invalid, "layer " + image.layers[index] + " unpacks to " + unpacked->diff_id +
                                        ", but its image says " + diff_id);
  } else if (unpacked->skipped_devices > 0) {
    log_info(log_, "device files in a layer were left out",
             {{"layer", image.layers[index]}, {"count", unpacked->skipped_devices}});
  }
  if (result && options_.durable == Durable::Yes) {
    // A layer directory counts as complete by being there, so its files must be on disk before it is.
    const UniqueFd fd(::open(temporary.c_str(), O_RDONLY | O_DIRECTORY | O_CLOEXEC));
    if (!fd || syncfs(fd.get()) != 0) result = file_error("sync", temporary, errno);
  }
  if (result && rename(temporary.c_str(), target.c_str()) != 0) result = file_error("store", target, errno);
  if (!result) {
    if (const auto removed = remove_tree(temporary); !removed) {
      log_warning(log_, "cannot remove a partly unpacked layer", {{"error", removed.error()}});
    }
  }
  return result;
}

Result<Image> Store::add_image(const CallContext& ctx, const std::string& manifest_digest,
                               const std::vector<std::string>& names) {
  KUBERNEL_TRY(Stored image, read_stored(manifest_digest));
  KUBERNEL_TRY(const ImageConfig config, read_config(image.config_digest));
  std::vector<BlobPin> pins;
  for (const std::string& chain : image.chains) pins.push_back(pin(chain));
  KUBERNEL_CHECK_OK(unpack_all(ctx, image, config.diff_ids));
  const std::lock_guard lock(mutex_);
  const std::set<std::string> wanted(names.begin(), names.end());
  // A tag moves to the image that got it last.
  for (auto& [digest, other] : images_) {
    for (const std::string& name : wanted) other.names.erase(name);
  }
  Stored& stored = images_.try_emplace(manifest_digest, std::move(image)).first->second;
  stored.names.insert(wanted.begin(), wanted.end());
  KUBERNEL_CHECK_OK(write_index());
  return describe(stored.config_digest);
}

}  // namespace kubernel::runtime::oci
