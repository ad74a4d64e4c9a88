// SPDX-License-Identifier: Apache-2.0
#include "core/config/manifest.h"

#include <map>
#include <string>

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
  EXPECT_EQ(manifest->plugin_path, (std::vector<std::filesystem::path>{"/opt/plugins", "/etc/kubernel/local"}));
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
  EXPECT_EQ(refusal("plugins: []\n---\na: 1\n"), "/etc/kubernel/m.yaml:5:1: only one document is allowed");
  const auto empty = parse_manifest("", "m.yaml", environment({}), "");
  ASSERT_FALSE(empty);
  EXPECT_EQ(empty.error().message(), "m.yaml:1:1: the document is empty");
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
