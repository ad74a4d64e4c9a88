// SPDX-License-Identifier: Apache-2.0
//
// Pulls from a real registry (docker-registry) on loopback, with TLS and without, with credentials and without.
#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <unistd.h>

#include <array>

#include "runtime_fixture.h"

namespace kubernel::runtime {
namespace {

// bcrypt of "secret", the only kind docker-registry takes.
constexpr const char* kPasswords = "someone:$2b$04$jjkLStCiGD57xwv/zQN3vOJ5ccL5heeAJxnlwZu7tmKyZpCpMtAyy\n";

class RegistryPull : public RuntimeFixture {
 protected:
  void SetUp() override {
    for (const char* program : {"/usr/bin/docker-registry", "/usr/bin/skopeo"}) {
      if (!std::filesystem::exists(program))
        GTEST_SKIP() << program << " is missing: apt-get install docker-registry skopeo";
    }
    RuntimeFixture::SetUp();
  }
  void TearDown() override {
    if (registry_ > 0) {
      kill(registry_, SIGKILL);
      EXPECT_TRUE(wait_child(context(), registry_));
    }
    RuntimeFixture::TearDown();
  }

  static std::string tool(const std::string& script) {
    ChildOptions child;
    child.argv = {"/bin/sh", "-c", script};
    child.env = {"PATH=/usr/sbin:/usr/bin:/sbin:/bin", "HOME=/nonexistent"};
    auto output = run_child(context(), child);
    EXPECT_TRUE(output && output->exit_code == 0)
        << script << ": " << (output ? output->standard_error : output.error().message());
    return output ? output->standard_output : "";
  }

  void serve(bool tls, bool passwords) {
    std::string config = "version: 0.1\nlog: {level: info}\nstorage: {filesystem: {rootdirectory: " + directory_ +
                         "/registry}}\nhttp:\n  addr: 127.0.0.1:0\n";
    if (tls) {
      tool(
          "openssl req -x509 -newkey ec -pkeyopt ec_paramgen_curve:P-256 -nodes -days 2 -subj /CN=registry -addext "
          "subjectAltName=IP:127.0.0.1 -keyout " +
          directory_ + "/key.pem -out " + directory_ + "/cert.pem 2>/dev/null");
      config += "  tls: {certificate: " + directory_ + "/cert.pem, key: " + directory_ + "/key.pem}\n";
    }
    if (passwords) {
      std::ofstream(directory_ + "/htpasswd") << kPasswords;
      config += "auth: {htpasswd: {realm: test, path: " + directory_ + "/htpasswd}}\n";
    }
    std::ofstream(directory_ + "/registry.yml") << config;
    std::array<int, 2> fds{};
    ASSERT_EQ(pipe2(fds.data(), O_CLOEXEC), 0);
    log_pipe_.reset(fds[0]);
    const UniqueFd write_end(fds[1]);
    ChildOptions child;
    child.argv = {"docker-registry", "serve", directory_ + "/registry.yml"};
    child.env = {"PATH=/usr/bin:/bin", "OTEL_TRACES_EXPORTER=none"};
    child.stdout_fd = child.stderr_fd = write_end.get();
    auto pid = spawn_child(child);
    ASSERT_TRUE(pid) << pid.error().message();
    registry_ = *pid;
    std::string text;
    std::size_t at = std::string::npos;
    static constexpr std::string_view kListening = "listening on 127.0.0.1:";
    while ((at = text.find(kListening)) == std::string::npos ||
           text.find_first_not_of("0123456789", at + kListening.size()) == std::string::npos) {
      pollfd readable{log_pipe_.get(), POLLIN, 0};
      ASSERT_GT(poll(&readable, 1, 20'000), 0) << text;
      std::array<char, 4096> buffer{};
      const ssize_t got = read(log_pipe_.get(), buffer.data(), buffer.size());
      ASSERT_GT(got, 0) << text;
      text.append(buffer.data(), static_cast<std::size_t>(got));
    }
    const std::size_t end = text.find_first_not_of("0123456789", at + kListening.size());
    host_ = "127.0.0.1:" + text.substr(at + kListening.size(), end - at - kListening.size());
    tool("skopeo --insecure-policy copy --quiet --dest-tls-verify=false --dest-creds someone:secret oci-archive:" +
         std::string(std::getenv("KUBERNEL_TEST_DIRECTORY")) + "/busybox.tar docker://" + host_ + "/team/busybox:v1");
    // The image is here already from the archive; it must come from the registry.
    ASSERT_TRUE(opened_.images->remove(context(), image_));
  }
  void settings(const std::string& json) {
    more_config_ = R"(,"registries":{")" + host_ + "\":" + json + "}";
    reopen();
  }

  pid_t registry_ = -1;
  UniqueFd log_pipe_;
  std::string host_;
};

TEST_F(RegistryPull, PullsAndRunsAnImage) {
  serve(false, false);
  settings(R"({"plainHttp":true})");
  auto image = opened_.images->pull(context(), host_ + "/team/busybox:v1", std::nullopt);
  ASSERT_TRUE(image) << image.error().message();
  EXPECT_EQ(image->tags, std::vector<std::string>{host_ + "/team/busybox:v1"});
  image_ = image->id;
  EXPECT_EQ(run_to_end(run_sandbox(sandbox_config()), shell("echo pulled")).exit_code, 0);
  EXPECT_EQ(log_lines(), std::vector<std::string>{"stdout F pulled"});
  const auto by_digest = opened_.images->pull(context(), image->digests.at(0), std::nullopt);
  ASSERT_TRUE(by_digest) << by_digest.error().message();
  EXPECT_EQ(by_digest->id, image->id);
  const auto missing = opened_.images->pull(context(), host_ + "/team/nothing:v1", std::nullopt);
  ASSERT_FALSE(missing);
  EXPECT_EQ(missing.error().reason(), Reason::NotFound) << missing.error().message();
}

TEST_F(RegistryPull, ChecksTheCertificateAndSendsCredentials) {
  serve(true, true);
  const auto untrusted = opened_.images->pull(context(), host_ + "/team/busybox:v1", Credentials{"someone", "secret"});
  ASSERT_FALSE(untrusted);
  settings(R"({"caFile":")" + directory_ + R"(/cert.pem"})");
  const auto anonymous = opened_.images->pull(context(), host_ + "/team/busybox:v1", std::nullopt);
  ASSERT_FALSE(anonymous);
  EXPECT_EQ(anonymous.error().reason(), Reason::Unauthorized) << anonymous.error().message();
  const auto wrong = opened_.images->pull(context(), host_ + "/team/busybox:v1", Credentials{"someone", "guess"});
  ASSERT_FALSE(wrong);
  EXPECT_EQ(wrong.error().reason(), Reason::Unauthorized) << wrong.error().message();
  const auto image = opened_.images->pull(context(), host_ + "/team/busybox:v1", Credentials{"someone", "secret"});
  ASSERT_TRUE(image) << image.error().message();
}

TEST_F(RegistryPull, NobodyListeningIsUnavailable) {
  const auto image = opened_.images->pull(context(), "127.0.0.1:1/team/busybox:v1", std::nullopt);
  ASSERT_FALSE(image);
  EXPECT_EQ(image.error().reason(), Reason::ServiceUnavailable);
  EXPECT_EQ(image.error().message().find("failed to pull image \"127.0.0.1:1/team/busybox:v1\": "), 0U)
      << image.error().message();
}

}  // namespace
}  // namespace kubernel::runtime
