// SPDX-License-Identifier: Apache-2.0
#include "layer.h"

#include <sys/stat.h>
#include <sys/sysmacros.h>
#include <sys/xattr.h>
#include <unistd.h>

#include <filesystem>
#include <string>
#include <vector>

#include <gtest/gtest.h>

#include "files.h"
#include "layer_tree.h"
#include "test_directory.h"
#include "test_tar.h"

namespace kubernel::runtime::oci {
namespace {

class Layer : public ::testing::Test {
 protected:
  void SetUp() override {
    if (geteuid() != 0) GTEST_SKIP() << "unpacking layers needs root";
  }

  Result<UnpackedLayer> unpack(const std::string& name, const std::string& tar,
                               const std::vector<std::string>& lowers = {}, const UnpackLimits& limits = {}) {
    std::filesystem::create_directory(dir_ / name);
    EXPECT_TRUE(write_file_atomic(dir_ / (name + ".tar"), tar));
    std::vector<std::string> paths;
    for (const std::string& lower : lowers) paths.push_back(dir_ / lower);
    return unpack_layer({}, dir_ / (name + ".tar"), dir_ / name, paths, limits);
  }

  void refuse(const std::string& tar, const std::string& message) {
    const auto unpacked = unpack("bad", tar);
    ASSERT_FALSE(unpacked);
    EXPECT_EQ(unpacked.error().reason(), Reason::Invalid);
    EXPECT_NE(unpacked.error().message().find(message), std::string::npos) << unpacked.error().message();
  }

  struct stat info(const std::string& path) {
    struct stat out {};
    EXPECT_EQ(lstat((dir_ / path).c_str(), &out), 0) << path;
    return out;
  }
  bool opaque(const std::string& path) {
    char value = 0;
    return lgetxattr((dir_ / path).c_str(), "trusted.overlay.opaque", &value, 1) == 1 && value == 'y';
  }
  std::string content(const std::string& path) {
    auto text = read_file(dir_ / path);
    return text ? *text : "<none>";
  }

  TestDirectory dir_;
};

TEST_F(Layer, KeepsContentModeOwnerAndTime) {
  const auto unpacked =
      unpack("a", TarMaker().directory("d", 02750, 7).file("d/f", "hello", 04755).symlink("d/l", "f").bytes());
  ASSERT_TRUE(unpacked) << unpacked.error().message();
  EXPECT_EQ(content("a/d/f"), "hello");
  EXPECT_EQ(info("a/d/f").st_mode & 07777U, 04755U);
  EXPECT_EQ(info("a/d").st_mode & 07777U, 02750U);
  EXPECT_EQ(info("a/d").st_uid, 7U);
  EXPECT_EQ(info("a/d").st_mtime, 1'000'000'000);
  EXPECT_EQ(std::filesystem::read_symlink(dir_ / "a/d/l"), "f");
  EXPECT_EQ(unpacked->bytes, 5);
}

TEST_F(Layer, DiffIdIsTheDigestOfTheUncompressedTar) {
  const auto plain = unpack("a", TarMaker().file("f", "x").bytes());
  const auto zipped = unpack("b", TarMaker(true).file("f", "x").bytes());
  ASSERT_TRUE(plain && zipped);
  EXPECT_EQ(plain->diff_id, sha256_digest(TarMaker().file("f", "x").bytes()));
  EXPECT_EQ(zipped->diff_id, plain->diff_id);
}

TEST_F(Layer, WhiteoutHidesALowerName) {
  ASSERT_TRUE(unpack("a", TarMaker().file("etc/gone", "x").bytes()));
  ASSERT_TRUE(unpack("b", TarMaker().file("etc/.wh.gone", "").bytes(), {"a"}));
  EXPECT_TRUE(is_whiteout(info("b/etc/gone")));
  EXPECT_FALSE(exists(dir_ / "b/etc/.wh.gone"));
}

TEST_F(Layer, OpaqueMarkHidesALowerDirectorysContent) {
  ASSERT_TRUE(unpack("b", TarMaker().file("etc/.wh..wh..opq", "").file("etc/new", "n").bytes()));
  EXPECT_TRUE(opaque("b/etc"));
  EXPECT_EQ(content("b/etc/new"), "n");
}

TEST_F(Layer, DirectoryMadeAfterItsWhiteoutIsOpaque) {
  ASSERT_TRUE(unpack("b", TarMaker().file(".wh.d", "").directory("d").file("d/f", "").bytes()));
  EXPECT_TRUE(opaque("b/d"));
  ASSERT_TRUE(unpack("c", TarMaker().file(".wh.d", "").file("d/f", "").bytes()));
  EXPECT_TRUE(opaque("c/d"));
}

TEST_F(Layer, WhiteoutDoesNotRemoveTheSameLayersEntry) {
  ASSERT_TRUE(unpack(
      "b", TarMaker().file("f", "kept").file(".wh.f", "").directory("d").file("d/x", "").file(".wh.d", "").bytes()));
  EXPECT_EQ(content("b/f"), "kept");
  EXPECT_TRUE(exists(dir_ / "b/d/x"));
  EXPECT_TRUE(opaque("b/d"));
}

TEST_F(Layer, ImpliedDirectoryGetsItsModeFromBelow) {
  ASSERT_TRUE(unpack("a", TarMaker().directory("tmp", 01777, 5).bytes()));
  ASSERT_TRUE(unpack("b", TarMaker().file("tmp/x", "").bytes(), {"a"}));
  EXPECT_EQ(info("b/tmp").st_mode & 07777U, 01777U);
  EXPECT_EQ(info("b/tmp").st_uid, 5U);
}

TEST_F(Layer, ResolvesALinkOfALowerLayerInsideTheImage) {
  ASSERT_TRUE(unpack("a", TarMaker().directory("usr/lib").symlink("lib", "usr/lib").bytes()));
  ASSERT_TRUE(unpack("b", TarMaker().file("lib/so", "x").bytes(), {"a"}));
  EXPECT_EQ(content("b/usr/lib/so"), "x");
  EXPECT_FALSE(exists(dir_ / "b/lib"));
}

TEST_F(Layer, DoesNotLookBehindALowerWhiteout) {
  ASSERT_TRUE(unpack("a", TarMaker().symlink("lib", "usr/lib").bytes()));
  ASSERT_TRUE(unpack("b", TarMaker().file(".wh.lib", "").bytes(), {"a"}));
  ASSERT_TRUE(unpack("c", TarMaker().file("lib/so", "x").bytes(), {"b", "a"}));
  EXPECT_EQ(content("c/lib/so"), "x");
}

TEST_F(Layer, AbsoluteLinkStaysInsideTheImage) {
  ASSERT_TRUE(unpack("a", TarMaker().symlink("out", "/etc").file("out/planted", "x").bytes()));
  EXPECT_EQ(content("a/etc/planted"), "x");
  EXPECT_FALSE(exists("/etc/planted"));
}

TEST_F(Layer, RelativeLinkCannotClimbOut) {
  ASSERT_TRUE(unpack("a", TarMaker().symlink("out", "../../../..").file("out/planted", "x").bytes()));
  EXPECT_EQ(content("a/planted"), "x");
  EXPECT_FALSE(exists(dir_ / "planted"));
}

TEST_F(Layer, FileReplacesALinkInsteadOfWritingThroughIt) {
  ASSERT_TRUE(write_file_atomic(dir_ / "victim", "safe"));
  ASSERT_TRUE(unpack("a", TarMaker().symlink("f", dir_ / "victim").file("f", "evil").bytes()));
  EXPECT_EQ(content("victim"), "safe");
  EXPECT_EQ(content("a/f"), "evil");
}

TEST_F(Layer, HardLinkSharesTheFile) {
  ASSERT_TRUE(unpack("a", TarMaker().file("d/f", "x").hardlink("g", "d/f").hardlink("/h", "/d/f").bytes()));
  EXPECT_EQ(info("a/d/f").st_ino, info("a/g").st_ino);
  EXPECT_EQ(info("a/h").st_nlink, 3U);
}

TEST_F(Layer, RefusesAHardLinkOutOfTheLayer) {
  ASSERT_TRUE(write_file_atomic(dir_ / "victim", "safe"));
  refuse(TarMaker().hardlink("f", "../victim").bytes(), "leads out of the image");
}

TEST_F(Layer, RefusesAHardLinkThroughALink) {
  refuse(TarMaker().symlink("e", "/etc").hardlink("f", "e/passwd").bytes(), "no file of its layer");
}

TEST_F(Layer, RefusesParentsInNames) {
  refuse(TarMaker().file("../planted", "x").bytes(), "leads out of the image");
  EXPECT_FALSE(exists(dir_ / "planted"));
}

TEST_F(Layer, RefusesAWhiteoutOfAParent) {
  refuse(TarMaker().file("d/.wh...", "").bytes(), "names nothing");
}

TEST_F(Layer, RefusesEndlessLinks) {
  refuse(TarMaker().symlink("a", "b").symlink("b", "a").file("a/x", "").bytes(), "too many symbolic links");
}

TEST_F(Layer, RefusesEntriesBelowAFile) {
  refuse(TarMaker().file("f", "").file("f/x", "").bytes(), "is not a directory");
}

TEST_F(Layer, MakesNoDevices) {
  const auto unpacked = unpack("a", TarMaker()
                                        .device("dev/null", AE_IFCHR, 1, 3)
                                        .device("forged", AE_IFCHR, 0, 0)
                                        .device("d", AE_IFBLK, 8, 0)
                                        .bytes());
  ASSERT_TRUE(unpacked);
  EXPECT_EQ(unpacked->skipped_devices, 3);
  EXPECT_FALSE(exists(dir_ / "a/forged"));
}

TEST_F(Layer, TakesNoOverlayAttributesFromATar) {
  ASSERT_TRUE(unpack("a", TarMaker()
                              .file_with_xattr("f", "trusted.overlay.redirect", "/x")
                              .file_with_xattr("g", "user.note", "n")
                              .bytes()));
  char value[8] = {};
  EXPECT_LT(lgetxattr((dir_ / "a/f").c_str(), "trusted.overlay.redirect", value, sizeof value), 0);
}

TEST_F(Layer, RefusesMoreBytesThanAllowed) {
  const auto unpacked =
      unpack("a", TarMaker(true).file("zeros", std::string(1'000'000, '\0')).bytes(), {}, {.max_bytes = 999'999});
  ASSERT_FALSE(unpacked);
  EXPECT_EQ(unpacked.error().message(), "the layer unpacks to more than 999999 bytes");
}

TEST_F(Layer, RefusesMoreEntriesThanAllowed) {
  EXPECT_FALSE(unpack("a", TarMaker().file("a", "").file("b", "").file("c", "").bytes(), {}, {.max_entries = 2}));
}

TEST_F(Layer, RefusesATarThatBreaksOff) {
  const std::string whole = TarMaker().file("f", std::string(5000, 'x')).bytes();
  refuse(whole.substr(0, 2000), "\"f\"");
}

TEST_F(Layer, LastOfTwoEntriesWins) {
  ASSERT_TRUE(unpack("a", TarMaker().file("x", "1").directory("x").file("x/y", "").file("x", "2").bytes()));
  EXPECT_EQ(content("a/x"), "2");
}

TEST_F(Layer, RootEntrySetsTheRootsMode) {
  ASSERT_TRUE(unpack("a", TarMaker().directory("./", 0711).bytes()));
  EXPECT_EQ(info("a").st_mode & 07777U, 0711U);
}

}  // namespace
}  // namespace kubernel::runtime::oci
