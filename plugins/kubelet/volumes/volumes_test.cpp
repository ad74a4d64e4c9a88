// SPDX-License-Identifier: Apache-2.0
#include <sys/stat.h>

#include <gtest/gtest.h>

#include <kubernel/api/time.h>

#include "testing.h"

namespace kubernel::kubelet {
namespace {

namespace fs = std::filesystem;
using namespace std::chrono_literals;
using testing::Bench;
using testing::TemporaryDirectory;

std::string read(const fs::path& path) {
  std::ifstream file(path);
  std::stringstream text;
  text << file.rdbuf();
  return text.str();
}

mode_t mode_of(const std::string& path) {
  struct stat info {};
  return ::stat(path.c_str(), &info) == 0 ? info.st_mode & 07777U : 0;
}

TEST(Payload, IsReplacedAsAWholeBehindOneLink) {
  const TemporaryDirectory directory;
  const fs::path base = directory.path();
  ASSERT_TRUE(write_payload(base, {{"a", {"1", 0644}}, {"sub/b", {"2", 0400}}}, std::nullopt));
  EXPECT_EQ(read(base / "a"), "1");
  EXPECT_EQ(read(base / "sub/b"), "2");
  EXPECT_EQ(mode_of(base / "sub/b"), 0400U);
  EXPECT_TRUE(fs::is_symlink(base / "a"));
  EXPECT_TRUE(fs::is_symlink(base / "..data"));
  const auto first = fs::read_symlink(base / "..data");
  ASSERT_TRUE(write_payload(base, {{"a", {"1", 0644}}, {"sub/b", {"2", 0400}}}, std::nullopt));
  EXPECT_EQ(fs::read_symlink(base / "..data"), first);
  ASSERT_TRUE(write_payload(base, {{"a", {"new", 0644}}}, std::nullopt));
  EXPECT_EQ(read(base / "a"), "new");
  EXPECT_FALSE(fs::exists(fs::symlink_status(base / "sub")));
  EXPECT_FALSE(fs::exists(base / first));
}

TEST(Payload, AMissingKeyIsNamedUnlessOptional) {
  const auto pod = *api::Object::parse(
      R"({"metadata":{"name":"x"},"items":[{"key":"k","path":"p","mode":256},{"key":"nope","path":"q"}]})");
  Payload out;
  const auto missing = add_keys({{"k", "v"}}, pod["items"], 0644, false, "configmap", out);
  ASSERT_FALSE(missing);
  EXPECT_EQ(missing.error().message(), "configmap references non-existent config key: nope");
  ASSERT_TRUE(add_keys({{"k", "v"}}, pod["items"], 0644, true, "configmap", out));
  EXPECT_EQ(out.at("p"), (PayloadFile{"v", 0400}));
}

TEST(Payload, PathsMayNotLeaveTheVolume) {
  EXPECT_TRUE(is_safe_relative("a/b"));
  for (const char* bad : {"", "/a", "../a", "a/../../b"}) EXPECT_FALSE(is_safe_relative(bad)) << bad;
}

constexpr const char* kContainer =
    R"("containers":[{"name":"app","image":"busybox:1","volumeMounts":[{"name":"v","mountPath":"/v"}]}])";

std::string spec(const std::string& volume) {
  return R"({"volumes":[{"name":"v",)" + volume + "}]," + kContainer + "}";
}

std::string host_path_of(Bench& bench) {
  const auto config = bench.runtime.config_of("app");
  if (!config) return "<no container>";
  for (const auto& mount : config->mounts) {
    if (mount.container_path == "/v") return mount.host_path;
  }
  return "<none>";
}

TEST(Volumes, AConfigMapIsFilesThatFollowItsChanges) {
  Bench bench;
  bench.cluster.put_text(
      api::resources::kConfigMaps,
      R"({"metadata":{"name":"conf","namespace":"default"},"data":{"a":"1"},"binaryData":{"b":"AAE="}})");
  bench.put_pod("web", spec(R"("configMap":{"name":"conf"})"));
  bench.settle();
  const fs::path path = host_path_of(bench);
  EXPECT_EQ(read(path / "a"), "1");
  EXPECT_EQ(read(path / "b"), std::string("\0\1", 2));
  bench.cluster.edit(api::resources::kConfigMaps, {"default", "conf"},
                     [](nlohmann::json& map) { map["data"]["a"] = "2"; });
  bench.settle();
  EXPECT_EQ(read(path / "a"), "2");
  EXPECT_EQ(bench.container("web")["restartCount"], 0);
}

TEST(Volumes, AMissingConfigMapIsFailedMountUntilItIsThere) {
  Bench bench;
  bench.put_pod("web", spec(R"("configMap":{"name":"conf"})"));
  bench.settle();
  EXPECT_TRUE(
      bench.events.has("Warning FailedMount: MountVolume.SetUp failed for volume \"v\" : configmap \"conf\" not found"))
      << bench.events.all();
  EXPECT_EQ(bench.container("web")["state"]["waiting"]["reason"], "ContainerCreating");
  bench.cluster.put_text(api::resources::kConfigMaps,
                         R"({"metadata":{"name":"conf","namespace":"default"},"data":{"a":"1"}})");
  bench.settle();
  EXPECT_EQ(bench.phase("web"), "Running");
}

TEST(Volumes, AnOptionalOneMayBeMissing) {
  Bench bench;
  bench.put_pod("web", spec(R"("secret":{"secretName":"nope","optional":true})"));
  bench.settle();
  EXPECT_EQ(bench.phase("web"), "Running");
}

TEST(Volumes, ASecretHasItsModeAndOnlyTheItemsAskedFor) {
  Bench bench;
  bench.cluster.put_text(api::resources::kSecrets,
                         R"({"metadata":{"name":"s","namespace":"default"},"data":{"a":"MQ==","b":"Mg=="}})");
  bench.put_pod("web", spec(R"("secret":{"secretName":"s","defaultMode":256,"items":[{"key":"a","path":"x/y"}]})"));
  bench.settle();
  const fs::path path = host_path_of(bench);
  EXPECT_EQ(read(path / "x/y"), "1");
  EXPECT_EQ(mode_of(path / "x/y"), 0400U);
  EXPECT_FALSE(fs::exists(path / "b"));
}

TEST(Volumes, DownwardApiGivesLabelsAndFollowsThem) {
  Bench bench;
  bench.put_pod(
      "web",
      spec(
          R"("downwardAPI":{"items":[{"path":"labels","fieldRef":{"fieldPath":"metadata.labels"}},{"path":"cpu","resourceFieldRef":{"containerName":"app","resource":"limits.cpu"}}]})"));
  bench.settle();
  const fs::path path = host_path_of(bench);
  EXPECT_EQ(read(path / "labels"), "");
  EXPECT_EQ(read(path / "cpu"), "4");
  bench.cluster.edit(api::resources::kPods, {"default", "web"},
                     [](nlohmann::json& pod) { pod["metadata"]["labels"]["a"] = "b \"c\""; });
  bench.settle();
  EXPECT_EQ(read(path / "labels"), "a=\"b \\\"c\\\"\"");
}

TEST(Volumes, AnEmptyDirectoryIsTheSameForAllContainersAndGoesWithThePod) {
  Bench bench;
  bench.put_pod("web", spec(R"("emptyDir":{})"));
  bench.settle();
  const fs::path path = host_path_of(bench);
  EXPECT_EQ(mode_of(path), 0777U);
  std::ofstream(path / "file") << "x";
  bench.runtime.exit_container("app", 1);
  bench.settle();
  EXPECT_EQ(read(path / "file"), "x");
  bench.remove_pod("web");
  EXPECT_FALSE(fs::exists(path));
}

TEST(Volumes, AHostPathIsCheckedByItsType) {
  Bench bench;
  const std::string file = bench.directory.path() + "/file";
  std::ofstream(file) << "x";
  bench.put_pod("web", spec(R"("hostPath":{"path":")" + file + R"(","type":"Directory"})"));
  bench.settle();
  EXPECT_TRUE(bench.events.has("hostPath type check failed: " + file + " is not a directory"));
  bench.put_pod("web-2",
                spec(R"("hostPath":{"path":")" + bench.directory.path() + R"(/made","type":"DirectoryOrCreate"})"));
  bench.settle();
  EXPECT_EQ(bench.phase("web-2"), "Running");
  EXPECT_TRUE(fs::is_directory(bench.directory.path() + "/made"));
}

std::string mount_spec(const std::string& mount, const std::string& path) {
  return R"({"volumes":[{"name":"v","hostPath":{"path":")" + path +
         R"("}}],"containers":[{"name":"app","image":"busybox:1",
    "env":[{"name":"WHO","value":"me"}],"volumeMounts":[{"name":"v","mountPath":"/v",)" +
         mount + "}]}]}";
}

TEST(Volumes, ASubPathIsMadeAndStaysInsideItsVolume) {
  Bench bench;
  const std::string path = bench.directory.path() + "/vol";
  fs::create_directories(path + "/in");
  fs::create_directory_symlink("/etc", path + "/out");
  bench.put_pod("web", mount_spec(R"("subPath":"in/deeper","readOnly":true)", path));
  bench.settle();
  EXPECT_EQ(host_path_of(bench), fs::canonical(path).string() + "/in/deeper");
  bench.remove_pod("web");
  bench.put_pod("expr", mount_spec(R"j("subPathExpr":"for-$(WHO)")j", path));
  bench.settle();
  EXPECT_EQ(host_path_of(bench), fs::canonical(path).string() + "/for-me");
  bench.remove_pod("expr");
  bench.put_pod("evil", mount_spec(R"("subPath":"out/passwd")", path));
  bench.settle();
  EXPECT_EQ(bench.container("evil")["state"]["waiting"]["reason"], "CreateContainerConfigError");
  EXPECT_TRUE(bench.events.has("leads outside of its volume"));
}

// Gives tokens "token-1", "token-2", …, that live an hour; knows nothing else.
class TokenClient final : public client::ApiClient {
 public:
  explicit TokenClient(const Clock& clock) : clock_(clock) {}
  using R = Result<api::Object>;
  R create(const CallContext&, const api::Resource& resource, const api::ObjectKey& parent,
           const nlohmann::json& document, const client::WriteOptions& options) override {
    if (resource != api::resources::kServiceAccounts || options.subresource != "token") return no();
    account = api::to_string(parent);
    request = document;
    nlohmann::json answer = document;
    answer["status"]["token"] = "token-" + std::to_string(++given);
    answer["status"]["expirationTimestamp"] = api::format_time(clock_.wall_now() + 1h);
    return api::Object::from_json(answer);
  }
  R get(const CallContext&, const api::Resource&, const api::ObjectKey&, std::string_view) override { return no(); }
  Result<client::ObjectList> list(const CallContext&, const api::Resource&, const client::ListOptions&) override {
    return no();
  }
  Result<std::unique_ptr<client::Watch>> watch(const CallContext&, const api::Resource&,
                                               const client::WatchOptions&) override {
    return no();
  }
  R update(const CallContext&, const api::Resource&, const api::ObjectKey&, const nlohmann::json&,
           const client::WriteOptions&) override {
    return no();
  }
  R patch(const CallContext&, const api::Resource&, const api::ObjectKey&, client::PatchType, const nlohmann::json&,
          const client::WriteOptions&) override {
    return no();
  }
  R remove(const CallContext&, const api::Resource&, const api::ObjectKey&, const client::DeleteOptions&) override {
    return no();
  }
  Result<void> remove_all(const CallContext&, const api::Resource&, const client::ListOptions&,
                          const client::DeleteOptions&) override {
    return no();
  }
  Result<std::vector<DiscoveredResource>> discover(const CallContext&) override { return no(); }

  int given = 0;
  std::string account;
  nlohmann::json request;

 private:
  static Error no() { return Error(Reason::MethodNotAllowed, "not here"); }
  const Clock& clock_;
};

TEST(Volumes, AServiceAccountTokenIsAskedForAndRenewedInTime) {
  Bench bench;
  TokenClient tokens(bench.clock);
  PodVolumes volumes(bench.config.root_directory, tokens, *bench.objects, bench.clock, bench.log, testing::no_mounts());
  const auto pod = *api::Object::parse(
      R"({"metadata":{"name":"web","namespace":"default","uid":"u1"},"spec":{"serviceAccountName":"robot",
    "volumes":[{"name":"v","projected":{"sources":[{"serviceAccountToken":{"path":"token","expirationSeconds":3607,"audience":"vault"}}]}}]}})");
  auto paths = volumes.mount({}, pod, {});
  ASSERT_TRUE(paths) << paths.error().message();
  const fs::path file = paths->at("v") + "/token";
  EXPECT_EQ(read(file), "token-1");
  EXPECT_EQ(tokens.account, "default/robot");
  EXPECT_EQ(tokens.request["spec"]["audiences"][0], "vault");
  EXPECT_EQ(tokens.request["spec"]["expirationSeconds"], 3607);
  EXPECT_EQ(tokens.request["spec"]["boundObjectRef"]["uid"], "u1");
  ASSERT_TRUE(volumes.refresh_at("u1"));
  EXPECT_EQ(*volumes.refresh_at("u1") - bench.clock.now(), 48min);
  bench.clock.advance(47min);
  ASSERT_TRUE(volumes.mount({}, pod, {}));
  EXPECT_EQ(tokens.given, 1);
  bench.clock.advance(1min);
  ASSERT_TRUE(volumes.mount({}, pod, {}));
  EXPECT_EQ(read(file), "token-2");
}

}  // namespace
}  // namespace kubernel::kubelet
