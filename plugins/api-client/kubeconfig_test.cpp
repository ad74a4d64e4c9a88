// SPDX-License-Identifier: Apache-2.0
#include "kubeconfig.h"

#include <cstdlib>
#include <filesystem>
#include <fstream>
#include <stdexcept>

#include <gmock/gmock.h>
#include <gtest/gtest.h>

namespace kubernel::plugins::api_client {
namespace {

using ::testing::EndsWith;
using ::testing::HasSubstr;
using ::testing::Not;

class KubeconfigTest : public ::testing::Test {
 protected:
  KubeconfigTest() {
    std::string pattern = (std::filesystem::temp_directory_path() / "kubeconfig-XXXXXX").string();
    if (mkdtemp(pattern.data()) == nullptr) throw std::runtime_error("no temporary directory");
    folder_ = pattern;
  }
  ~KubeconfigTest() override { std::filesystem::remove_all(folder_); }

  void write(const std::string& name, const std::string& content) { std::ofstream(folder_ + "/" + name) << content; }
  Result<Kubeconfig> read(const std::string& cluster, const std::string& user, const std::string& context = "") {
    write("config",
          "apiVersion: v1\nkind: Config\ncurrent-context: main\n"
          "contexts:\n- name: main\n  context: {cluster: c, user: u}\n- name: lost\n  context: {cluster: nowhere, "
          "user: u}\n"
          "clusters:\n- name: c\n  cluster: {" +
              cluster + "}\nusers:\n- name: u\n  user: {" + user + "}\n");
    return read_kubeconfig(folder_ + "/config", context);
  }
  std::string folder_;
};

TEST_F(KubeconfigTest, ReadsWhatIsEmbedded) {
  const auto config = read("server: 'https://127.0.0.1:6443', certificate-authority-data: Q0E=",
                           "client-certificate-data: Q0VSVA==, client-key-data: S0VZ");
  ASSERT_TRUE(config) << config.error().message();
  EXPECT_EQ(config->server, "https://127.0.0.1:6443");
  EXPECT_EQ(config->ca_pem, "CA");
  EXPECT_EQ(config->certificate_pem, "CERT");
  EXPECT_EQ(config->private_key_pem, "KEY");
}

TEST_F(KubeconfigTest, ReadsFilesBesideIt) {
  write("ca.crt", "CA");
  const auto config = read("server: 'https://api:6443', certificate-authority: ca.crt", "tokenFile: token");
  ASSERT_TRUE(config) << config.error().message();
  EXPECT_EQ(config->ca_pem, "CA");
  EXPECT_EQ(config->token_file, folder_ + "/token");
}

TEST_F(KubeconfigTest, SaysWhatIsMissing) {
  EXPECT_THAT(read("server: 'https://a'", "", "none").error().message(), EndsWith("has no context \"none\""));
  EXPECT_THAT(read("server: 'https://a'", "", "lost").error().message(), EndsWith("has no cluster \"nowhere\""));
  EXPECT_THAT(read("server: 'https://a', certificate-authority: none.crt", "").error().message(),
              HasSubstr("cannot read"));
  EXPECT_THAT(read_kubeconfig(folder_ + "/nothing", "").error().message(), HasSubstr("cannot read"));
}

TEST_F(KubeconfigTest, RefusesWhatItWouldHaveToIgnore) {
  EXPECT_THAT(read("server: 'https://a', insecure-skip-tls-verify: true", "").error().message(),
              HasSubstr("insecure-skip-tls-verify"));
  EXPECT_THAT(read("server: 'https://a'", "exec: {command: x}").error().message(), EndsWith("exec is not supported"));
  EXPECT_THAT(read("server: 'http://example.com'", "").error().message(), HasSubstr("no https:// URL"));
  EXPECT_THAT(read("server: 'https://a'", "client-certificate-data: Q0VSVA==").error().message(),
              HasSubstr("both or not at all"));
}

TEST_F(KubeconfigTest, TellsNoSecretWhenItCannotBeRead) {
  write("config", "users:\n- name: u\n  user: {token: very-secret\n");
  const auto config = read_kubeconfig(folder_ + "/config", "");
  ASSERT_FALSE(config);
  EXPECT_THAT(config.error().message(), Not(HasSubstr("very-secret")));
  EXPECT_THAT(config.error().message(), HasSubstr("line"));
}

}  // namespace
}  // namespace kubernel::plugins::api_client
