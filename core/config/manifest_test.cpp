// SPDX-License-Identifier: Apache-2.0
#include "core/config/manifest.h"

#include <filesystem>
#include <fstream>
#include <map>
#include <string>

#include <unistd.h>

#include <gtest/gtest.h>

namespace kubernel::config {
namespace {

Environment environment(std::map<std::string, std::string> variables) {
  return [variables = std::move(variables)](const std::string& name) -> std::optional<std::string> {
    const auto found = variables.find(name);
    if (found == variables.end()) return std::nullopt;
    return found->second;
  };
}

Result<Manifest> parsed(const std::string& body, const Environment& variables = environment({})) {
  return parse_manifest("apiVersion: kubernel/v1alpha1\nkind: PluginManifest\n" + body, "/etc/kubernel/m.yaml",
                        variables, "/usr/lib/plugins");
}

std::string refusal(const std::string& body, const Environment& variables = environment({})) {
  const auto manifest = parsed(body, variables);
  return manifest ? "accepted" : manifest.error().message();
}

TEST(Manifest, TakesEverythingItKnows) {
  const auto manifest = parsed(R"(
pluginPath: [/opt/plugins, local]
log: {level: debug, format: json}
process: {blockingThreads: 4}
plugins:
  - name: storage-sqlite
    config: {path: /var/lib/x.db, sync: true, limit: 3, ratio: 0.5, nothing: null, text: "7"}
  - name: greeter
    when: {component: controller-manager}
    required: false
)");
  ASSERT_TRUE(manifest) << manifest.error().message();
  EXPECT_EQ(manifest->plugin_path,
            (std::vector<std::filesystem::path>{"/opt/plugins", "/etc/kubernel/local", "/usr/lib/plugins"}));
  EXPECT_EQ(manifest->log_level, LogLevel::Debug);
  EXPECT_EQ(manifest->log_format, core::LogFormat::Json);
  EXPECT_EQ(manifest->blocking_threads, 4U);
  ASSERT_EQ(manifest->plugins.size(), 2U);
  EXPECT_EQ(manifest->plugins[0].config_json,
            R"({"limit":3,"nothing":null,"path":"/var/lib/x.db","ratio":0.5,"sync":true,"text":"7"})");
  EXPECT_TRUE(manifest->plugins[0].required);
  EXPECT_EQ(manifest->plugins[1].when_component, "controller-manager");
  EXPECT_FALSE(manifest->plugins[1].required);
}

TEST(Manifest, HasDefaults) {
  const auto manifest = parsed("plugins: []\n");
  ASSERT_TRUE(manifest) << manifest.error().message();
  EXPECT_EQ(manifest->log_level, LogLevel::Info);
  EXPECT_EQ(manifest->log_format, core::LogFormat::Text);
  EXPECT_EQ(manifest->blocking_threads, 16U);
  EXPECT_EQ(manifest->plugin_path, (std::vector<std::filesystem::path>{"/usr/lib/plugins"}));
}

TEST(Manifest, ThePathOfTheEnvironmentGoesFirst) {
  const auto manifest = parsed("pluginPath: [/c]\nplugins: []\n", environment({{"KUBERNEL_PLUGIN_PATH", "/a::/b"}}));
  ASSERT_TRUE(manifest);
  EXPECT_EQ(manifest->plugin_path, (std::vector<std::filesystem::path>{"/a", "/b", "/c"}));
}

TEST(Manifest, FillsInVariables) {
  const auto manifest = parsed(R"(
plugins:
  - name: a
    config:
      whole: ${PORT}
      quoted: "${PORT}"
      part: 127.0.0.1:${PORT}
      standard: ${MISSING:-/var/lib/x}
      empty: "${MISSING:-}"
      empty_takes_the_default: ${EMPTY:-7}
      literal: $${PORT} and $PORT
)",
                               environment({{"PORT", "6443"}, {"EMPTY", ""}}));
  ASSERT_TRUE(manifest) << manifest.error().message();
  EXPECT_EQ(manifest->plugins[0].config_json,
            R"({"empty":"","empty_takes_the_default":7,"literal":"${PORT} and $PORT","part":"127.0.0.1:6443",)"
            R"("quoted":"6443","standard":"/var/lib/x","whole":6443})");
}

TEST(Manifest, AMissingVariableIsNamedWithItsPlace) {
  EXPECT_EQ(refusal("plugins:\n  - name: a\n    config: {path: \"${DATA}/x\"}\n"),
            "/etc/kubernel/m.yaml:5:20: plugins[0].config.path: environment variable DATA is not set; set it or write "
            "${DATA:-default}");
}

TEST(Manifest, AVariableCannotBringStructure) {
  const auto manifest =
      parsed("plugins:\n  - name: a\n    config: {x: \"${X}\"}\n", environment({{"X", "\"}\n  - name: evil"}}));
  ASSERT_TRUE(manifest);
  EXPECT_EQ(manifest->plugins.size(), 1U);
}

TEST(Manifest, AnUnknownKeyHasAPlaceAndASuggestion) {
  EXPECT_EQ(refusal("plugins:\n  - name: a\n    confg: {}\n"),
            "/etc/kubernel/m.yaml:5:5: plugins[0].confg: unknown key; did you mean \"config\"?");
}

TEST(Manifest, AMissingKeyHasThePlaceOfItsParent) {
  EXPECT_EQ(refusal("plugins:\n  - config: {}\n"), "/etc/kubernel/m.yaml:4:5: plugins[0]: missing \"name\"");
}

TEST(Manifest, ADuplicateKeyIsRefused) {
  EXPECT_EQ(refusal("plugins:\n  - name: a\n    name: b\n"),
            "/etc/kubernel/m.yaml:5:5: plugins[0].name: key given twice");
}

TEST(Manifest, APluginListedTwiceIsRefused) {
  EXPECT_EQ(refusal("plugins:\n  - name: a\n  - name: b\n  - name: a\n"),
            "/etc/kubernel/m.yaml:6:5: plugins[2].name: plugin \"a\" is listed twice");
}

TEST(Manifest, AnotherKindIsRefused) {
  const auto manifest =
      parse_manifest("apiVersion: v1\nkind: PluginManifest\nplugins: []\n", "m.yaml", environment({}), "");
  ASSERT_FALSE(manifest);
  EXPECT_EQ(manifest.error().message(), "m.yaml:1:1: apiVersion: must be one of \"kubernel/v1alpha1\", is \"v1\"");
}

TEST(Manifest, BrokenYamlHasAPlace) {
  EXPECT_EQ(refusal("plugins: [\n").substr(0, 35), "/etc/kubernel/m.yaml:4:1: not YAML:");
}

TEST(Manifest, ASecondDocumentAndAnEmptyOneAreRefused) {
  EXPECT_EQ(refusal("plugins: []\n---\na: 1\n"), "/etc/kubernel/m.yaml:4:1: only one document is allowed");
  const auto empty = parse_manifest("", "m.yaml", environment({}), "");
  ASSERT_FALSE(empty);
  EXPECT_EQ(empty.error().message(), "m.yaml:1:1: the document is empty");
}

TEST(Manifest, ABraceTooManyIsAnErrorAndNotManyDocuments) {
  const std::string refused = refusal("log: {level: info}}\n");
  EXPECT_TRUE(refused.starts_with("/etc/kubernel/m.yaml:3:")) << refused;
  EXPECT_TRUE(refusal("}").starts_with("/etc/kubernel/m.yaml:3:"));
}

TEST(Manifest, WhatIsNoUtf8IsRefusedWithItsLine) {
  EXPECT_EQ(refusal("log: {}\nplugins: [\"\xbf\"]\n"), "/etc/kubernel/m.yaml:4:1: not YAML: this line is not UTF-8");
}

TEST(Manifest, AliasesOfAliasesCannotFillTheMemory) {
  std::string bomb = "plugins: []\na0: &a0 [x, x, x, x, x, x, x, x, x, x]\n";
  for (int i = 1; i < 12; ++i) {
    const std::string before = "*a" + std::to_string(i - 1);
    bomb += "a" + std::to_string(i) + ": &a" + std::to_string(i) + " [" + before;
    for (int j = 0; j < 9; ++j) bomb += ", " + before;
    bomb += "]\n";
  }
  EXPECT_NE(refusal(bomb).find("the document has too many values"), std::string::npos);
}

// Manifests that include each other, in a directory of their own.
class Includes : public ::testing::Test {
 protected:
  ~Includes() override { std::filesystem::remove_all(directory_); }

  void write(const std::string& name, const std::string& body) const {
    std::filesystem::create_directories((directory_ / name).parent_path());
    std::ofstream(directory_ / name) << "apiVersion: kubernel/v1alpha1\nkind: PluginManifest\n" << body;
  }
  Result<Manifest> load(const std::string& name) const {
    return load_manifest(directory_ / name, environment({}), "/usr/lib/plugins");
  }
  std::string names(const std::string& file) const {
    const auto manifest = load(file);
    if (!manifest) return manifest.error().message();
    std::string out;
    for (const PluginEntry& plugin : manifest->plugins) out += plugin.name + plugin.config_json;
    return out;
  }

  const std::filesystem::path directory_ =
      std::filesystem::path(::testing::TempDir()) /
      (std::string("manifest-") + ::testing::UnitTest::GetInstance()->current_test_info()->name() +
       std::to_string(getpid()));
};

TEST_F(Includes, TheIncludedComesFirst) {
  write("storage/sqlite.yaml", "plugins: [{name: storage-sqlite}]\n");
  write("base.yaml", "include: [storage/sqlite.yaml]\nplugins: [{name: greeter}]\n");
  write("mine.yaml", "include: [base.yaml]\nplugins: [{name: my-filter}]\n");
  EXPECT_EQ(names("mine.yaml"), "storage-sqlite{}greeter{}my-filter{}");
}

TEST_F(Includes, AnEntryReplacesAnIncludedOneInItsPlace) {
  write("base.yaml", "plugins: [{name: a, config: {x: 1, y: 1}}, {name: b}]\n");
  write("mine.yaml", "include: [base.yaml]\nplugins: [{name: a, config: {x: 2}}]\n");
  EXPECT_EQ(names("mine.yaml"), R"(a{"x":2}b{})");
}

TEST_F(Includes, AnIncludedEntryCanBeTakenOut) {
  write("base.yaml", "plugins: [{name: a}, {name: b}]\n");
  write("mine.yaml", "include: [base.yaml]\nplugins: [{name: a, enabled: false}]\n");
  EXPECT_EQ(names("mine.yaml"), "b{}");
}

TEST_F(Includes, TakingOutWhatIsNotThereIsAnError) {
  write("mine.yaml", "plugins: [{name: a, enabled: false}]\n");
  EXPECT_EQ(names("mine.yaml"),
            (directory_ / "mine.yaml").string() + ":3:21: plugins[0].enabled: no included manifest lists \"a\"");
}

TEST_F(Includes, SettingsAreMergedMemberByMemberAndTheOwnWin) {
  write("base.yaml", "log: {level: debug, format: json}\nprocess: {blockingThreads: 4}\n");
  write("mine.yaml", "include: [base.yaml]\nlog: {level: error}\n");
  const auto manifest = load("mine.yaml");
  ASSERT_TRUE(manifest) << manifest.error().message();
  EXPECT_EQ(manifest->log_level, LogLevel::Error);
  EXPECT_EQ(manifest->log_format, core::LogFormat::Json);
  EXPECT_EQ(manifest->blocking_threads, 4U);
}

TEST_F(Includes, TheOwnDirectoriesAreSearchedFirst) {
  write("base/base.yaml", "pluginPath: [shipped]\n");
  write("mine.yaml", "include: [base/base.yaml]\npluginPath: [own]\n");
  const auto manifest = load("mine.yaml");
  ASSERT_TRUE(manifest) << manifest.error().message();
  EXPECT_EQ(manifest->plugin_path,
            (std::vector<std::filesystem::path>{directory_ / "own", directory_ / "base/shipped", "/usr/lib/plugins"}));
}

TEST_F(Includes, AProblemIsShownWhereItStands) {
  write("base.yaml", "plugins: [{name: a, confg: {}}]\n");
  write("mine.yaml", "include: [base.yaml]\n");
  EXPECT_EQ(names("mine.yaml").find((directory_ / "base.yaml").string() + ":3:21: plugins[0].confg:"), 0U)
      << names("mine.yaml");
}

TEST_F(Includes, AFileThatIsNotThereIsShownWhereItIsIncluded) {
  write("mine.yaml", "include: [base.yaml]\n");
  EXPECT_EQ(names("mine.yaml"), (directory_ / "mine.yaml").string() + ":3:11: include[0]: manifest " +
                                    (directory_ / "base.yaml").string() + ": No such file or directory");
}

TEST_F(Includes, ACircleIsRefused) {
  write("a.yaml", "include: [b.yaml]\n");
  write("b.yaml", "include: [a.yaml]\n");
  EXPECT_EQ(names("a.yaml"), (directory_ / "b.yaml").string() + ":3:11: include[0]: manifest " +
                                 (directory_ / "a.yaml").string() + " includes itself");
}

TEST(Manifest, AFileThatIsNotThereIsNamed) {
  const auto manifest = load_manifest("/nonexistent/m.yaml", environment({}), "");
  ASSERT_FALSE(manifest);
  EXPECT_EQ(manifest.error().reason(), Reason::NotFound);
  EXPECT_EQ(manifest.error().message(), "manifest /nonexistent/m.yaml: No such file or directory");
}

TEST(Manifest, ADirectoryIsNoManifest) {
  const auto manifest = load_manifest("/proc", environment({}), "");
  ASSERT_FALSE(manifest);
  EXPECT_EQ(manifest.error().message(), "manifest /proc: is a directory");
}

}  // namespace
}  // namespace kubernel::config
