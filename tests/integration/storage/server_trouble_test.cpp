// SPDX-License-Identifier: Apache-2.0
//
// What the backends on a server say and do when the server, the database or the rights are not as they should be.

#include <netinet/in.h>
#include <pwd.h>
#include <stdlib.h>
#include <sys/socket.h>
#include <unistd.h>

#include <chrono>
#include <cstdlib>
#include <filesystem>
#include <fstream>
#include <stop_token>
#include <thread>

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "live_surroundings.h"

namespace kubernel::storage_server::testing {
namespace {

using ::testing::AllOf;
using ::testing::AnyOf;
using ::testing::HasSubstr;
using ::testing::Not;

class ServerTrouble : public ::testing::TestWithParam<Flavor> {
 protected:
  void SetUp() override {
    server_ = shared_server(GetParam().kind);
    if (server_ == nullptr) GTEST_SKIP() << "SKIPPED: " << RealServer::missing(GetParam().kind) << " is not installed";
  }

  Result<std::unique_ptr<storage::Backend>> open(const std::string& url, const std::string& more = "") {
    return around_.open(GetParam().open, R"({"url":")" + url + "\"" + more + "}");
  }

  // The one line open() fails with.
  std::string refusal(const std::string& url, const std::string& more = "") {
    const auto opened = open(url, more);
    EXPECT_FALSE(opened);
    if (opened) return "";
    EXPECT_THAT(opened.error().message(), Not(HasSubstr("\n")));
    return opened.error().message();
  }

  std::string plugin() const {
    return GetParam().kind == Kind::Postgres ? "storage-postgres: postgresql://" : "storage-mysql: mysql://";
  }

  // A password file that goes with the server.
  std::string password_file(const std::string& password) {
    const std::string path = (server_->directory() / "password").string();
    std::ofstream(path) << password << "\n";
    return R"(,"passwordFile":")" + path + "\"";
  }

  // Holds a lock that reading waits for, until release().
  std::jthread hold(const std::string& database) {
    const std::string sql = GetParam().kind == Kind::Postgres ? "BEGIN; LOCK TABLE kubernel_keys; SELECT pg_sleep(60)"
                                                              : "LOCK TABLES kubernel_keys WRITE; SELECT sleep(60)";
    return std::jthread([this, database, sql] {
      std::string output;
      server_->try_run(database, sql, output);
    });
  }
  void release() {
    if (GetParam().kind == Kind::Postgres) {
      server_->run("",
                   "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE query LIKE '%pg_sleep(60)%' AND pid "
                   "<> pg_backend_pid()");
      return;
    }
    const std::string id =
        server_->run("", "SELECT id FROM information_schema.processlist WHERE info = 'SELECT sleep(60)'");
    if (!id.empty()) server_->run("", "KILL " + id);
  }

  // Ends every connection to the database.
  void cut(const std::string& database) {
    if (GetParam().kind == Kind::Postgres) {
      server_->run("", "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE datname = '" + database + "'");
      return;
    }
    std::string ids = server_->run(
        "", "SELECT group_concat('KILL ', id SEPARATOR ';') FROM information_schema.processlist WHERE db = '" +
                database + "'");
    server_->run("", ids);
  }

  RealServer* server_ = nullptr;
  LiveSurroundings around_;
};

TEST_P(ServerTrouble, AServerThatIsNotThereIsNamed) {
  const std::string scheme = GetParam().kind == Kind::Postgres ? "postgresql" : "mysql";
  EXPECT_THAT(refusal(scheme + "://trusted@/store?socket=/nonexistent/place"),
              AllOf(HasSubstr(plugin() + "trusted@/store?socket=/nonexistent/place: "),
                    HasSubstr("is the server running there?")));
  EXPECT_THAT(refusal(scheme + "://trusted@127.0.0.1:1/store", R"(,"tls":{"mode":"disable"})"),
              AllOf(HasSubstr(plugin() + "trusted@127.0.0.1:1/store: "), HasSubstr("is the server running there?")));
}

TEST_P(ServerTrouble, AWrongPasswordIsSaidAndNotShown) {
  const std::string database = server_->make_database("guarded");
  const std::string url = server_->url(database, "guarded");
  EXPECT_THAT(refusal(url, password_file("not-the-secret")),
              AllOf(HasSubstr(plugin() + "guarded@"), HasSubstr("check the user and its password file"),
                    Not(HasSubstr("not-the-secret"))));
  EXPECT_THAT(refusal(url), HasSubstr("check the user and its password file"));
  EXPECT_THAT(refusal(url, R"(,"passwordFile":"/nonexistent/password")"),
              HasSubstr("the password file /nonexistent/password cannot be read"));
  for (const std::string& line : around_.log.lines()) EXPECT_THAT(line, Not(HasSubstr("not-the-secret")));
}

TEST_P(ServerTrouble, ThePasswordComesFromAFileOrTheEnvironment) {
  const std::string database = server_->make_database("guarded");
  const std::string url = server_->url(database, "guarded");
  const auto from_file = open(url, password_file("secret"));
  ASSERT_TRUE(from_file) << from_file.error().message();
  ASSERT_EQ(::setenv("KUBERNEL_TEST_PASSWORD", "secret", 1), 0);
  const auto from_environment = open(url, R"(,"passwordEnvironment":"KUBERNEL_TEST_PASSWORD")");
  ::unsetenv("KUBERNEL_TEST_PASSWORD");
  EXPECT_TRUE(from_environment) << from_environment.error().message();
}

TEST_P(ServerTrouble, AnUnknownDatabaseIsToBeCreated) {
  server_->make_database();
  const std::string says = refusal(server_->url("no_such_store"));
  // MariaDB tells a user without rights in it no more than that it has none.
  EXPECT_THAT(says, AnyOf(HasSubstr("create it"), HasSubstr("grant the user all on the database")));
  EXPECT_THAT(says, HasSubstr("no_such_store"));
}

TEST_P(ServerTrouble, ANewerSchemaIsRefused) {
  const std::string database = server_->make_database();
  ASSERT_TRUE(open(server_->url(database)));
  server_->run(database, "UPDATE kubernel_meta SET version = 99");
  EXPECT_THAT(refusal(server_->url(database)),
              AllOf(HasSubstr(plugin()), HasSubstr("schema version 99"), HasSubstr("newer")));
}

TEST_P(ServerTrouble, AUserWhoMayOnlyReadIsRefused) {
  const std::string database = server_->make_database();
  server_->make_database("trusted_reader");
  ASSERT_TRUE(open(server_->url(database)));
  server_->run(database, GetParam().kind == Kind::Postgres
                             ? "GRANT SELECT ON ALL TABLES IN SCHEMA public TO trusted_reader"
                             : "GRANT SELECT ON " + database + ".* TO trusted_reader@localhost");
  EXPECT_THAT(refusal(server_->url(database, "trusted_reader")),
              AllOf(HasSubstr("denied"), HasSubstr("kubernel_meta"), HasSubstr("grant")));
}

TEST_P(ServerTrouble, AnotherProgramsTableIsLeftAlone) {
  const std::string database = server_->make_database();
  server_->run(database, "CREATE TABLE kubernel_meta (theirs int)");
  EXPECT_THAT(refusal(server_->url(database)), HasSubstr(plugin()));
}

TEST_P(ServerTrouble, AStatementEndsWithTheCallersDeadline) {
  const std::string database = server_->make_database();
  auto store = open(server_->url(database));
  ASSERT_TRUE(store) << store.error().message();
  const auto holder = hold(database);
  Result<std::optional<storage::KeyValue>> found = std::optional<storage::KeyValue>();
  const auto began = around_.clock.now();
  // Until the lock is there, reads succeed.
  while (found && around_.clock.now() - began < std::chrono::seconds(30)) {
    const CallContext ctx{.stop = {}, .deadline = around_.clock.now() + std::chrono::milliseconds(100)};
    found = (*store)->get(ctx, "/a", 0);
  }
  release();
  ASSERT_FALSE(found);
  EXPECT_EQ(found.error().reason(), Reason::Timeout) << found.error().message();
  EXPECT_TRUE((*store)->get({}, "/a", 0)) << "the next read has the usual time again";
}

TEST_P(ServerTrouble, AStatementEndsWhenItsCallerIsStopped) {
  const std::string database = server_->make_database();
  auto store = open(server_->url(database));
  ASSERT_TRUE(store) << store.error().message();
  const auto holder = hold(database);
  const auto began = around_.clock.now();
  const auto waits = [&] {
    const CallContext probe{.stop = {}, .deadline = around_.clock.now() + std::chrono::milliseconds(100)};
    return !(*store)->get(probe, "/a", 0);
  };
  while (!waits() && around_.clock.now() - began < std::chrono::seconds(30)) {
  }
  std::stop_source stop;
  Result<std::optional<storage::KeyValue>> found = std::optional<storage::KeyValue>();
  const auto called = around_.clock.now();
  {
    const std::jthread reader([&] { found = (*store)->get({.stop = stop.get_token()}, "/a", 0); });
    stop.request_stop();
  }
  const auto took = around_.clock.now() - called;
  release();
  ASSERT_FALSE(found);
  EXPECT_EQ(found.error().reason(), Reason::Cancelled) << found.error().message();
  EXPECT_LT(took, std::chrono::seconds(20)) << "the statement's own time-out is 30 s";
}

TEST_P(ServerTrouble, LostConnectionsAreMadeAnewUnnoticed) {
  const std::string database = server_->make_database();
  auto opened = open(server_->url(database));
  ASSERT_TRUE(opened) << opened.error().message();
  storage::Backend& store = **opened;
  const auto first = store.put({}, "/a", "1", 0, 0);
  ASSERT_TRUE(first && first->applied);
  cut(database);
  const auto second = store.put({}, "/a", "2", first->revision, 0);
  ASSERT_TRUE(second) << second.error().message();
  EXPECT_TRUE(second->applied);
  cut(database);
  const auto found = store.get({}, "/a", 0);
  ASSERT_TRUE(found && *found) << (found ? "gone" : found.error().message());
  EXPECT_EQ((*found)->value, "2");
}

TEST_P(ServerTrouble, ALongKeyIsRefusedAlone) {
  auto opened = open(server_->url(server_->make_database()));
  ASSERT_TRUE(opened) << opened.error().message();
  const auto refused = (*opened)->put({}, std::string(4000, 'k'), "1", 0, 0);
  ASSERT_FALSE(refused);
  EXPECT_EQ(refused.error().reason(), Reason::RequestEntityTooLarge);
  EXPECT_TRUE((*opened)->put({}, std::string(1024, 'k'), std::string(1'500'000, 'v'), 0, 0));
}

int free_port() {
  const UniqueFd socket(::socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0));
  sockaddr_in address{};
  address.sin_family = AF_INET;
  address.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
  socklen_t size = sizeof address;
  if (::bind(socket.get(), reinterpret_cast<const sockaddr*>(&address), size) != 0 ||
      ::getsockname(socket.get(), reinterpret_cast<sockaddr*>(&address), &size) != 0) {
    std::abort();
  }
  return ntohs(address.sin_port);
}

// A certificate for 127.0.0.1 that is its own authority, and its key, which `owner` can read.
void make_certificate(const std::filesystem::path& base, const char* owner) {
  const auto made = run_child(
      {}, {.argv = {"openssl", "req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1", "-nodes",
                    "-days", "2", "-subj", "/CN=127.0.0.1", "-addext", "subjectAltName=IP:127.0.0.1,DNS:localhost",
                    "-keyout", base.string() + ".key", "-out", base.string() + ".crt"},
           .env = {"PATH=/usr/bin:/bin"}});
  ASSERT_TRUE(made && made->exit_code == 0) << (made ? made->standard_error : made.error().message());
  const passwd* user = ::getpwnam(owner);
  if (::geteuid() == 0 && user != nullptr) {
    ASSERT_EQ(::chown((base.string() + ".key").c_str(), user->pw_uid, user->pw_gid), 0);
  }
}

// MariaDB looked at every key in every step, for the few that were gone.
TEST_P(ServerTrouble, CompactionDoesNotLookAtEveryKey) {
  if (GetParam().kind == Kind::Postgres) return;  // Counts its reads later than anybody can wait for.
  constexpr int kKeys = 2000, kGone = 10;
  const std::string database = server_->make_database();
  const auto opened = open(server_->url(database));
  ASSERT_TRUE(opened) << opened.error().message();
  storage::Backend& store = **opened;
  storage::Transaction all;
  for (int i = 0; i < kKeys; ++i)
    all.then.push_back({storage::PutOperation{.key = "/" + std::to_string(i), .value = "v"}});
  const auto written = store.transact({}, all);
  ASSERT_TRUE(written) << written.error().message();
  const auto reads = [&] {
    const std::string sum =
        "SELECT sum(variable_value) FROM information_schema.global_status WHERE variable_name LIKE ";
    return std::stoll(server_->run(database, sum + "'handler_read_%'"));
  };
  const auto before = reads();
  for (int i = 0; i < kGone; ++i) {
    const auto removed = store.remove({}, "/" + std::to_string(i), written->revision);
    ASSERT_TRUE(removed && removed->applied);
    const auto compacted = store.compact({}, removed->revision);
    ASSERT_TRUE(compacted) << compacted.error().message();
  }
  EXPECT_LT(reads() - before, kGone * kKeys / 2);
}

TEST_P(ServerTrouble, TlsIsDemandedAndVerified) {
  std::string pattern = (std::filesystem::temp_directory_path() / "kubernel-tls-XXXXXX").string();
  ASSERT_NE(::mkdtemp(pattern.data()), nullptr);
  const std::filesystem::path directory = pattern;
  std::filesystem::permissions(directory, std::filesystem::perms::others_exec, std::filesystem::perm_options::add);
  const bool postgres = GetParam().kind == Kind::Postgres;
  make_certificate(directory / "server", postgres ? "postgres" : "mysql");
  make_certificate(directory / "other", "root");
  const std::string cert = (directory / "server.crt").string();
  const std::string key = (directory / "server.key").string();
  const auto tls = [&](const char* mode, const char* authority) {
    const std::string ca = authority == nullptr ? "" : R"(,"caFile":")" + (directory / authority).string() + "\"";
    return password_file("secret") + R"(,"tls":{"mode":")" + mode + "\"" + ca + "}";
  };
  const auto plain = RealServer::start(GetParam().kind, {.port = free_port()});
  const std::string nowhere = plain->tcp_url(plain->make_database("guarded"), "guarded");
  EXPECT_FALSE(open(nowhere, tls("require", nullptr))) << "the server has no TLS";
  EXPECT_TRUE(open(nowhere, tls("disable", nullptr)));
  const auto server = RealServer::start(
      GetParam().kind, {.port = free_port(),
                        .arguments = postgres ? std::vector<std::string>{"-c", "ssl=on", "-c", "ssl_cert_file=" + cert,
                                                                         "-c", "ssl_key_file=" + key}
                                              : std::vector<std::string>{"--ssl-cert=" + cert, "--ssl-key=" + key}});
  const std::string url = server->tcp_url(server->make_database("guarded"), "guarded");
  const auto trusted = open(url, tls("verify-full", "server.crt"));
  EXPECT_TRUE(trusted) << trusted.error().message();
  EXPECT_FALSE(open(url, tls("verify-full", "other.crt"))) << "the authority did not sign it";
  const auto required = open(url, tls("require", nullptr));
  EXPECT_TRUE(required) << required.error().message();
  std::filesystem::remove_all(directory);
}

INSTANTIATE_TEST_SUITE_P(Servers, ServerTrouble, ::testing::ValuesIn(flavors()),
                         [](const auto& row) { return std::string(row.param.name); });

}  // namespace
}  // namespace kubernel::storage_server::testing
