// SPDX-License-Identifier: Apache-2.0
#include "image_store.h"

#include <unistd.h>

#include <filesystem>
#include <memory>
#include <string>
#include <vector>

#include <gtest/gtest.h>
#include <kubernel/testing/fake_clock.h>
#include <nlohmann/json.hpp>

#include "test_directory.h"
#include "test_tar.h"

namespace kubernel::runtime::oci {
namespace {

using nlohmann::json;

// An image in parts, to be put together rightly or wrongly.
struct Parts {
  std::string layer, config, manifest, index;
};

Parts make_image(const std::string& file_content, const std::string& name, const std::string& user = "") {
  Parts out;
  out.layer = TarMaker(true).file("etc/motd", file_content).bytes();
  const std::string diff = sha256_digest(TarMaker().file("etc/motd", file_content).bytes());
  out.config = json::parse(R"({"os":"linux","config":{"Cmd":["/bin/sh"],"User":")" + user +
                           R"("},"rootfs":{"type":"layers","diff_ids":[")" + diff + R"("]}})")
                   .dump();
  const auto descriptor = [](const std::string& bytes) {
    return json::object({{"mediaType", "x"}, {"digest", sha256_digest(bytes)}, {"size", bytes.size()}});
  };
  json manifest = json::object({{"schemaVersion", 2}, {"config", descriptor(out.config)}});
  manifest["layers"] = json::array();
  manifest["layers"].push_back(descriptor(out.layer));
  out.manifest = manifest.dump();
  json entry = descriptor(out.manifest);
  if (!name.empty()) entry["annotations"] = json::object({{"io.containerd.image.name", name}});
  json index = json::object({{"schemaVersion", 2}});
  index["manifests"] = json::array();
  index["manifests"].push_back(entry);
  out.index = index.dump();
  return out;
}

std::string blob_name(const std::string& bytes) {
  return "blobs/sha256/" + hex_of(sha256_digest(bytes));
}

std::string layout_tar(const Parts& image) {
  return TarMaker()
      .file("oci-layout", R"({"imageLayoutVersion":"1.0.0"})")
      .file(blob_name(image.layer), image.layer)
      .file(blob_name(image.config), image.config)
      .file(blob_name(image.manifest), image.manifest)
      .file("index.json", image.index)
      .bytes();
}

class ImageStoreTest : public ::testing::Test {
 protected:
  void SetUp() override {
    if (geteuid() != 0) GTEST_SKIP() << "unpacking layers needs root";
    reopen();
  }
  void reopen() {
    store_.reset();
    auto store = Store::open(
        {dir_ / "root", {}, Durable::No}, log_,
        [this](const CallContext& ctx, Store& s, const Reference& r, const auto& c) { return pull_(ctx, s, r, c); });
    ASSERT_TRUE(store) << store.error().message();
    store_ = *std::move(store);
  }
  Result<std::vector<Image>> load(const std::string& tar) {
    EXPECT_TRUE(write_file_atomic(dir_ / "in.tar", tar));
    return store_->load({}, dir_ / "in.tar");
  }
  void refuse(const std::string& tar, const std::string& message) {
    const auto images = load(tar);
    ASSERT_FALSE(images);
    EXPECT_NE(images.error().message().find(message), std::string::npos) << images.error().message();
    EXPECT_TRUE(store_->list({})->empty());
    EXPECT_EQ(count("images/blobs/sha256"), 0);
    EXPECT_EQ(count("layers"), 0);
  }
  long count(const std::string& directory) {
    return std::distance(std::filesystem::directory_iterator(dir_ / ("root/" + directory)),
                         std::filesystem::directory_iterator());
  }

  TestDirectory dir_;
  testing::RecordingLogger log_;
  Puller pull_ = [](const CallContext&, Store&, const Reference&, const auto&) -> Result<Image> {
    return Error(Reason::NotFound, "no registry");
  };
  std::unique_ptr<Store> store_;
};

TEST_F(ImageStoreTest, LoadsAnOciLayoutAndFindsItByTagDigestAndId) {
  const Parts parts = make_image("one", "localhost/app:v1", "1000:5");
  const auto images = load(layout_tar(parts));
  ASSERT_TRUE(images) << images.error().message();
  ASSERT_EQ(images->size(), 1U);
  const Image& image = images->front();
  EXPECT_EQ(image.id, sha256_digest(parts.config));
  EXPECT_EQ(image.tags, std::vector<std::string>{"localhost/app:v1"});
  EXPECT_EQ(image.digests, std::vector<std::string>{"localhost/app@" + sha256_digest(parts.manifest)});
  EXPECT_EQ(image.user, 1000);
  EXPECT_EQ(image.size_bytes,
            static_cast<std::int64_t>(parts.manifest.size() + parts.config.size() + parts.layer.size()));
  for (const std::string& name : {image.tags[0], image.digests[0], image.id, hex_of(image.id)}) {
    const auto found = store_->find({}, name);
    ASSERT_TRUE(found);
    EXPECT_TRUE(found->has_value()) << name;
  }
  EXPECT_FALSE(store_->find({}, "localhost/app")->has_value());
}

TEST_F(ImageStoreTest, KeepsImagesAcrossAReopening) {
  ASSERT_TRUE(load(layout_tar(make_image("one", "localhost/app:v1"))));
  reopen();
  store_->collect_garbage();
  const auto image = store_->find({}, "localhost/app:v1");
  ASSERT_TRUE(image && image->has_value());
  const auto acquired = store_->acquire({}, (*image)->id, "c1");
  ASSERT_TRUE(acquired) << acquired.error().message();
  EXPECT_EQ(*read_file(acquired->layer_paths.at(0) + "/etc/motd"), "one");
  EXPECT_EQ(acquired->config.command, std::vector<std::string>{"/bin/sh"});
}

TEST_F(ImageStoreTest, UnpacksAgainWhatWasLost) {
  ASSERT_TRUE(load(layout_tar(make_image("one", "localhost/app:v1"))));
  std::filesystem::remove_all(dir_ / "root/layers");
  reopen();
  const auto acquired = store_->acquire({}, (*store_->find({}, "localhost/app:v1"))->id, "c1");
  ASSERT_TRUE(acquired) << acquired.error().message();
  EXPECT_EQ(*read_file(acquired->layer_paths.at(0) + "/etc/motd"), "one");
}

TEST_F(ImageStoreTest, TagMovesToTheImageLoadedLast) {
  ASSERT_TRUE(load(layout_tar(make_image("one", "localhost/app:v1"))));
  const auto second = load(layout_tar(make_image("two", "localhost/app:v1")));
  ASSERT_TRUE(second);
  EXPECT_EQ((*store_->find({}, "localhost/app:v1"))->id, second->front().id);
  EXPECT_EQ(store_->list({})->size(), 2U);
}

TEST_F(ImageStoreTest, RemovingAnImageRemovesItsBlobsAndLayers) {
  ASSERT_TRUE(load(layout_tar(make_image("one", "localhost/app:v1"))));
  ASSERT_TRUE(store_->remove({}, "localhost/app:v1"));
  EXPECT_TRUE(store_->list({})->empty());
  EXPECT_EQ(count("images/blobs/sha256"), 0);
  EXPECT_EQ(count("layers"), 0);
  EXPECT_TRUE(store_->remove({}, "localhost/app:v1"));
}

TEST_F(ImageStoreTest, LayersOfAContainerOutliveTheirImage) {
  const auto images = load(layout_tar(make_image("one", "localhost/app:v1")));
  ASSERT_TRUE(images);
  const auto acquired = store_->acquire({}, images->front().id, "c1");
  ASSERT_TRUE(acquired);
  ASSERT_TRUE(store_->remove({}, images->front().id));
  EXPECT_TRUE(exists(acquired->layer_paths.at(0)));
  store_->release("c1");
  EXPECT_FALSE(exists(acquired->layer_paths.at(0)));
}

TEST_F(ImageStoreTest, LoadsADirectoryAndADockerArchive) {
  const Parts parts = make_image("one", "");
  const std::string manifest = R"([{"Config":"c.json","RepoTags":["app:v2"],"Layers":["l/layer.tar"]}])";
  const auto images = load(TarMaker(true)
                               .file("c.json", parts.config)
                               .file("shared.tar", parts.layer)
                               .symlink("l/layer.tar", "../shared.tar")
                               .file("manifest.json", manifest)
                               .bytes());
  ASSERT_TRUE(images) << images.error().message();
  EXPECT_EQ(images->front().tags, std::vector<std::string>{"docker.io/library/app:v2"});
  EXPECT_EQ(images->front().id, sha256_digest(parts.config));
  const auto again = store_->load({}, dir_ / "root/images");  // The store itself is an OCI layout.
  ASSERT_TRUE(again) << again.error().message();
  EXPECT_EQ(again->front().id, images->front().id);
}

TEST_F(ImageStoreTest, RefusesABlobWithOtherContent) {
  Parts parts = make_image("one", "localhost/app:v1");
  const std::string name = blob_name(parts.layer);
  refuse(TarMaker()
             .file(name, "other")
             .file(blob_name(parts.config), parts.config)
             .file(blob_name(parts.manifest), parts.manifest)
             .file("index.json", parts.index)
             .bytes(),
         "has the content of");
}

TEST_F(ImageStoreTest, RefusesALayerThatIsNotWhatTheConfigSays) {
  Parts parts = make_image("one", "localhost/app:v1");
  const Parts other = make_image("two", "localhost/app:v1");
  json manifest = json::parse(parts.manifest);
  manifest["layers"] = json::parse(other.manifest)["layers"];
  parts.manifest = manifest.dump();
  parts.layer = other.layer;
  json index = json::parse(parts.index);
  index["manifests"][0]["digest"] = sha256_digest(parts.manifest);
  parts.index = index.dump();
  refuse(layout_tar(parts), "but its image says");
}

TEST_F(ImageStoreTest, RefusesWhatIsNoImage) {
  refuse(TarMaker().file("readme", "x").bytes(), "neither an OCI image layout");
  refuse("this is not a tar at all", "cannot read the archive");
  refuse(TarMaker().file("index.json", "[]").bytes(), "not a JSON object");
  refuse(TarMaker().file("manifest.json", R"([{"Config":"../../etc/shadow","Layers":[]}])").bytes(),
         "cannot open ../../etc/shadow");
}

TEST_F(ImageStoreTest, AMissingFileIsNamed) {
  const auto images = store_->load({}, "/nonexistent.tar");
  ASSERT_FALSE(images);
  EXPECT_EQ(images.error().message(),
            "cannot load images from /nonexistent.tar: cannot open /nonexistent.tar: No such file or directory");
}

TEST_F(ImageStoreTest, ForgetsAnImageWhoseBlobsAreDamaged) {
  ASSERT_TRUE(load(layout_tar(make_image("one", "localhost/app:v1"))));
  std::filesystem::remove_all(dir_ / "root/images/blobs");
  reopen();
  EXPECT_TRUE(store_->list({})->empty());
  EXPECT_EQ(log_.lines().size(), 1U);
}

}  // namespace
}  // namespace kubernel::runtime::oci
