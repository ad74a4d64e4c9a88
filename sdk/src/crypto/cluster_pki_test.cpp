// SPDX-License-Identifier: Apache-2.0
#include <kubernel/crypto/cluster_pki.h>

#include <sys/stat.h>

#include <cstdlib>
#include <filesystem>
#include <fstream>
#include <sstream>

#include <gtest/gtest.h>

namespace kubernel::crypto {
namespace {

namespace fs = std::filesystem;
using std::chrono::hours;

const Clock::WallTime kNow{std::chrono::seconds(1'790'000'000)};
const ServerNames kNames{{"kubernetes", "localhost"}, {"10.96.0.1", "127.0.0.1"}};

class ClusterPkiFiles : public ::testing::Test {
 protected:
  void SetUp() override {
    std::string pattern = (fs::temp_directory_path() / "cluster-pki-XXXXXX").string();
    ASSERT_NE(::mkdtemp(pattern.data()), nullptr);
    root_ = pattern;
    directory_ = root_ + "/etc/pki";
  }
  void TearDown() override { fs::remove_all(root_); }

  ClusterPki open(Clock::WallTime now = kNow, const ServerNames& names = kNames) {
    auto pki = open_cluster_pki(directory_, names, now);
    EXPECT_TRUE(pki) << pki.error().message();
    return pki ? *pki : ClusterPki{};
  }
  std::string read(const std::string& name) const {
    std::ifstream in(directory_ + "/" + name);
    std::stringstream text;
    text << in.rdbuf();
    return text.str();
  }
  void write(const std::string& name, const std::string& text) const { std::ofstream(directory_ + "/" + name) << text; }
  void remove(const std::string& name) const { fs::remove(directory_ + "/" + name); }

  std::string root_;
  std::string directory_;
};

mode_t mode_of(const std::string& path) {
  struct stat info {};
  return ::stat(path.c_str(), &info) == 0 ? info.st_mode & 07777U : 0;
}

TEST_F(ClusterPkiFiles, AreMadeOnFirstOpenWithKubeadmsNamesAndForTheOwnerOnly) {
  open();
  EXPECT_EQ(mode_of(directory_), 0700U);
  for (const char* name : {"ca.crt", "ca.key", "apiserver.crt", "apiserver.key", "apiserver-kubelet-client.crt",
                           "apiserver-kubelet-client.key", "front-proxy-ca.crt", "front-proxy-ca.key",
                           "front-proxy-client.crt", "front-proxy-client.key", "sa.key", "sa.pub"}) {
    EXPECT_EQ(mode_of(directory_ + "/" + name), 0600U) << name;
  }
  EXPECT_EQ(std::distance(fs::directory_iterator(directory_), fs::directory_iterator()), 12);
}

TEST_F(ClusterPkiFiles, AreTheSameOnTheSecondOpen) {
  const ClusterPki first = open();
  const ClusterPki second = open(kNow + hours(24));
  EXPECT_EQ(first.ca.certificate_pem, second.ca.certificate_pem);
  EXPECT_EQ(first.apiserver.certificate_pem, second.apiserver.certificate_pem);
  EXPECT_EQ(first.service_account_key, second.service_account_key);
  EXPECT_EQ(read("apiserver.crt"), second.apiserver.certificate_pem);
}

TEST_F(ClusterPkiFiles, ServerCertificateIsReissuedWhenItEndsSoon) {
  const ClusterPki first = open();
  const ClusterPki later = open(kNow + 300 * hours(24));
  EXPECT_NE(first.apiserver.certificate_pem, later.apiserver.certificate_pem);
  EXPECT_EQ(first.ca.certificate_pem, later.ca.certificate_pem);
  EXPECT_FALSE(ends_soon(*read_certificate(later.apiserver.certificate_pem), kNow + 300 * hours(24)));
}

TEST_F(ClusterPkiFiles, ServerCertificateIsReissuedForANewName) {
  const ClusterPki first = open();
  const ClusterPki second = open(kNow, {{"kubernetes", "new.example"}, {"127.0.0.1", "0:0:0:0:0:0:0:1"}});
  EXPECT_NE(first.apiserver.certificate_pem, second.apiserver.certificate_pem);
  EXPECT_EQ(read_certificate(second.apiserver.certificate_pem)->ip_addresses.at(1), "::1");
  const ClusterPki third = open(kNow, {{"kubernetes", "new.example"}, {"127.0.0.1", "0:0:0:0:0:0:0:1"}});
  EXPECT_EQ(third.apiserver.certificate_pem, second.apiserver.certificate_pem);
}

TEST_F(ClusterPkiFiles, ServerCertificateIsReissuedWhenItsKeyIsAnother) {
  const ClusterPki first = open();
  write("apiserver.key", *make_private_key());
  EXPECT_NE(open().apiserver.certificate_pem, first.apiserver.certificate_pem);
}

TEST_F(ClusterPkiFiles, CaIsRenewedWithItsKeyBeforeItEnds) {
  const ClusterPki first = open();
  const ClusterPki late = open(kNow + 3500 * hours(24));
  EXPECT_NE(first.ca.certificate_pem, late.ca.certificate_pem);
  EXPECT_EQ(first.ca.private_key_pem, late.ca.private_key_pem);
}

TEST_F(ClusterPkiFiles, ALostCaCertificateIsMadeAgainFromItsKey) {
  const ClusterPki first = open();
  remove("ca.crt");
  const ClusterPki second = open();
  EXPECT_EQ(first.ca.private_key_pem, second.ca.private_key_pem);
  EXPECT_EQ(first.apiserver.certificate_pem, second.apiserver.certificate_pem);
}

TEST_F(ClusterPkiFiles, ALostCaKeyIsAnErrorAndNotANewCa) {
  open();
  remove("ca.key");
  const auto again = open_cluster_pki(directory_, kNames, kNow);
  ASSERT_FALSE(again);
  EXPECT_EQ(again.error().reason(), Reason::Invalid);
  EXPECT_NE(again.error().message().find("ca.key is missing"), std::string::npos) << again.error().message();
}

TEST_F(ClusterPkiFiles, MadeIn1970AreValidAfterTheClockIsSet) {
  const ClusterPki first = open(Clock::WallTime{std::chrono::seconds(1000)});
  const auto info = read_certificate(first.apiserver.certificate_pem);
  const Clock::WallTime set{std::chrono::seconds(1'770'000'000)};
  EXPECT_LT(info->not_before, set);
  EXPECT_GT(info->not_after, set);
  EXPECT_EQ(open(set).ca.certificate_pem, first.ca.certificate_pem);
}

TEST_F(ClusterPkiFiles, AClockThatWentBackGetsValidCertificates) {
  open(kNow);
  const ClusterPki back = open(kNow - 1000 * hours(24));
  EXPECT_LT(read_certificate(back.apiserver.certificate_pem)->not_before, kNow - 1000 * hours(24));
}

TEST_F(ClusterPkiFiles, AnUnwritablePlaceIsAnErrorThatSaysWhere) {
  std::ofstream(root_ + "/file") << "x";
  const auto pki = open_cluster_pki(root_ + "/file/pki", kNames, kNow);
  ASSERT_FALSE(pki);
  EXPECT_NE(pki.error().message().find(root_ + "/file"), std::string::npos);
}

TEST_F(ClusterPkiFiles, ClientCertificateNamesUserAndGroups) {
  const auto client = issue_client(open().ca, "jane", {"dev", "ops"}, kNow);
  ASSERT_TRUE(client) << client.error().message();
  const auto info = read_certificate(client->certificate_pem);
  EXPECT_EQ(info->common_name, "jane");
  EXPECT_EQ(info->organizations, (std::vector<std::string>{"dev", "ops"}));
}

TEST_F(ClusterPkiFiles, KubeletServingCertificateNamesTheNode) {
  const auto serving = issue_kubelet_serving(open().ca, "node-1", {{"node-1"}, {"172.30.0.2"}}, kNow);
  ASSERT_TRUE(serving) << serving.error().message();
  const auto info = read_certificate(serving->certificate_pem);
  EXPECT_EQ(info->common_name, "system:node:node-1");
  EXPECT_EQ(info->ip_addresses, std::vector<std::string>{"172.30.0.2"});
}

TEST(Kubeconfig, EmbedsEverything) {
  const std::string text = kubeconfig("https://127.0.0.1:6443", "k", "admin", "CA", {"CERT", "KEY"});
  EXPECT_NE(text.find("server: \"https://127.0.0.1:6443\""), std::string::npos);
  EXPECT_NE(text.find("certificate-authority-data: " + base64_encode("CA")), std::string::npos);
  EXPECT_NE(text.find("client-certificate-data: " + base64_encode("CERT")), std::string::npos);
  EXPECT_NE(text.find("client-key-data: " + base64_encode("KEY")), std::string::npos);
  EXPECT_NE(text.find("current-context: \"admin@k\""), std::string::npos);
}

}  // namespace
}  // namespace kubernel::crypto
