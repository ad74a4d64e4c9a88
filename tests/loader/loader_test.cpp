// SPDX-License-Identifier: Apache-2.0
#include "core/loader/plugin_loader.h"

#include <cstdlib>
#include <filesystem>
#include <ostream>
#include <string>

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "bad_plugins/spec.h"

namespace kubernel::loader {
namespace {

using ::testing::HasSubstr;
namespace fs = std::filesystem;

fs::path built(const std::string& name) {
  const char* const dir = std::getenv("KUBERNEL_TEST_PLUGIN_DIR");
  EXPECT_NE(dir, nullptr);
  return fs::path(dir == nullptr ? "" : dir) / (name + ".so");
}

Result<std::vector<Provided>> load(const std::string& name, Taken& taken) {
  KUBERNEL_TRY(const PluginText text, verify_plugin(built(name), name));
  return load_plugin(built(name), text, taken);
}

struct Refusal {
  const char* plugin;
  const char* message;
};
std::ostream& operator<<(std::ostream& out, const Refusal& refusal) {
  return out << refusal.plugin;
}

class RefusesToLoad : public ::testing::TestWithParam<Refusal> {};

TEST_P(RefusesToLoad, AndSaysWhy) {
  Taken taken = {{"greeting/Hello", "good"}};
  const auto loaded = load(GetParam().plugin, taken);
  ASSERT_FALSE(loaded);
  EXPECT_THAT(loaded.error().message(), HasSubstr(built(GetParam().plugin).string() + ": "));
  EXPECT_THAT(loaded.error().message(), HasSubstr(GetParam().message));
  EXPECT_EQ(taken.size(), 1U);
}

INSTANTIATE_TEST_SUITE_P(
    BadPlugins, RefusesToLoad,
    ::testing::Values(Refusal{"no-entry", "does not export kubernel_plugin_register"},
                      Refusal{"no-text", "no .kubernel.plugin section: not a plugin"},
                      Refusal{"other-abi", ", plugin 0123456789abcdef; abi.json: core "},
                      Refusal{"undeclared", "declares greeting/A but registered greeting/A greeting/B"},
                      Refusal{"unregistered", "declares greeting/A greeting/B but registered greeting/A"},
                      Refusal{"twice", "provides greeting/A twice"},
                      Refusal{"bad-declaration", "declares \"Hello\", which is not point/name"},
                      Refusal{"throws", "register: boom"}, Refusal{"refuses", "not on a tuesday"},
                      Refusal{"wrong-name", "is named \"right-name\" in its text, not \"wrong-name\""},
                      Refusal{"duplicate", "greeting/Hello is already provided by plugin good"},
                      Refusal{"unresolved", "cannot be loaded: "},
                      Refusal{"missing", "cannot open: No such file or directory"}),
    [](const auto& row) {
      std::string name = row.param.plugin;
      std::replace(name.begin(), name.end(), '-', '_');
      return name;
    });

TEST(LoadPlugin, ReturnsWhatItProvidesInOrder) {
  Taken taken;
  const auto provided = load("good", taken);
  ASSERT_TRUE(provided) << provided.error().message();
  ASSERT_EQ(provided->size(), 2U);
  EXPECT_EQ(provided->at(0).point, "greeting");
  EXPECT_EQ(provided->at(0).name, "Hello");
  ASSERT_EQ(*provided->at(0).type, typeid(Greeting));
  EXPECT_STREQ(static_cast<const Greeting*>(provided->at(0).spec.get())->text(), "hello");
  EXPECT_EQ(taken, (Taken{{"greeting/Bye", "good"}, {"greeting/Hello", "good"}}));
}

TEST(VerifyPlugin, RefusesAFileThatIsNotElf) {
  const auto text = verify_plugin("/proc/version", "version");
  ASSERT_FALSE(text);
  EXPECT_THAT(text.error().message(), HasSubstr("/proc/version: not a little-endian ELF64 file"));
}

TEST(VerifyPlugin, RunsNothingOfThePlugin) {
  // Its constructor aborts.
  EXPECT_FALSE(verify_plugin(built("other-abi"), "other-abi"));
}

}  // namespace
}  // namespace kubernel::loader
