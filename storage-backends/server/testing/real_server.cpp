// SPDX-License-Identifier: Apache-2.0
#include "testing/real_server.h"

#include <fcntl.h>
#include <pwd.h>
#include <signal.h>
#include <stdlib.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <cstdio>
#include <future>
#include <utility>

namespace kubernel::storage_server::testing {
namespace {

[[noreturn]] void fail(const std::string& what) {
  std::fprintf(stderr, "the test's database server: %s\n", what.c_str());
  std::abort();
}

const std::vector<std::string> kEnvironment = {"PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin",
                                               "LC_ALL=C.UTF-8", "HOME=/nonexistent"};

// The newest version installed. Empty: none.
std::filesystem::path postgres_programs() {
  std::vector<std::pair<int, std::filesystem::path>> found;
  std::error_code none;
  for (const auto& entry : std::filesystem::directory_iterator("/usr/lib/postgresql", none)) {
    if (std::filesystem::exists(entry.path() / "bin" / "initdb")) {
      found.emplace_back(std::atoi(entry.path().filename().c_str()), entry.path() / "bin");
    }
  }
  return found.empty() ? std::filesystem::path() : std::max_element(found.begin(), found.end())->second;
}

bool has_mariadb() {
  return std::filesystem::exists("/usr/sbin/mariadbd") && std::filesystem::exists("/usr/bin/mariadb-install-db");
}

std::string run_or_fail(const std::vector<std::string>& command) {
  const auto output = run_child({}, {.argv = command, .env = kEnvironment, .working_dir = "/"}, {});
  if (!output) fail(output.error().message());
  if (output->exit_code != 0) fail(command.back() + ": " + output->standard_error + output->standard_output);
  return output->standard_output;
}

const char* user_of(Kind kind) {
  return kind == Kind::Postgres ? "postgres" : "mysql";
}

// Reads the server's messages to their end, so that it never waits for a reader; fulfils `ready` at the one that says
// so.
void read_output(UniqueFd from, std::string_view sign, std::promise<bool> ready) {
  std::string text;
  bool told = false;
  std::array<char, 4096> buffer{};
  for (;;) {
    const ssize_t size = ::read(from.get(), buffer.data(), buffer.size());
    if (size <= 0) break;
    if (told) continue;
    text.append(buffer.data(), static_cast<std::size_t>(size));
    if (text.find(sign) != std::string::npos) {
      told = true;
      ready.set_value(true);
    }
  }
  if (told) return;
  std::fprintf(stderr, "%s\n", text.c_str());
  ready.set_value(false);
}

}  // namespace

std::string RealServer::missing(Kind kind) {
  if (kind == Kind::Postgres) return postgres_programs().empty() ? "postgresql" : "";
  return has_mariadb() ? "" : "mariadb-server";
}

std::unique_ptr<RealServer> RealServer::start(Kind kind, const ServerOptions& options) {
  if (!missing(kind).empty()) return nullptr;
  std::unique_ptr<RealServer> server(new RealServer(kind, options));
  server->create();
  server->spawn();
  return server;
}

RealServer::RealServer(Kind kind, ServerOptions options) : kind_(kind), options_(std::move(options)) {
  std::string pattern = (std::filesystem::temp_directory_path() / "kubernel-server-XXXXXX").string();
  if (::mkdtemp(pattern.data()) == nullptr) fail("no temporary directory");
  directory_ = pattern;
  if (::geteuid() != 0) return;
  const passwd* owner = ::getpwnam(user_of(kind_));
  if (owner == nullptr) fail(std::string("there is no user ") + user_of(kind_));
  if (::chown(directory_.c_str(), owner->pw_uid, owner->pw_gid) != 0) fail("chown");
}

RealServer::~RealServer() {
  if (pid_ > 0) end(kind_ == Kind::Postgres ? SIGQUIT : SIGKILL);
  std::filesystem::remove_all(directory_);
}

void RealServer::create() {
  if (kind_ == Kind::MariaDb) {
    run_or_fail(as_owner({"mariadb-install-db", "--no-defaults", "--datadir=" + (directory_ / "data").string(),
                          "--auth-root-authentication-method=normal", "--skip-test-db"},
                         false));
    return;
  }
  run_or_fail(as_owner({(postgres_programs() / "initdb").string(), "-D", (directory_ / "data").string(), "-U",
                        "postgres", "-A", "trust", "-E", "UTF8", "--locale=C.UTF-8", "--no-sync"},
                       false));
  const std::string rules = (directory_ / "data" / "pg_hba.conf").string();
  std::FILE* file = std::fopen(rules.c_str(), "w");
  if (file == nullptr) fail("pg_hba.conf");
  std::fputs(
      "local all postgres,trusted,trusted_reader trust\nlocal all all scram-sha-256\nhost all all 127.0.0.1/32 "
      "scram-sha-256\n",
      file);
  std::fclose(file);
}

void RealServer::spawn() {
  std::vector<std::string> command;
  const std::string data = (directory_ / "data").string();
  if (kind_ == Kind::Postgres) {
    command = {(postgres_programs() / "postgres").string(),
               "-D",
               data,
               "-k",
               directory_.string(),
               "-c",
               options_.port == 0 ? "listen_addresses=" : "listen_addresses=127.0.0.1",
               "-c",
               "port=" + std::to_string(port()),
               "-c",
               "max_connections=100"};
    if (!options_.durable) command.insert(command.end(), {"-c", "fsync=off", "-c", "full_page_writes=off"});
  } else {
    command = {"/usr/sbin/mariadbd",
               "--no-defaults",
               "--datadir=" + data,
               "--socket=" + (directory_ / "socket").string(),
               "--skip-log-bin",
               "--innodb-buffer-pool-size=64M",
               "--innodb-log-file-size=64M"};
    if (!options_.durable) command.emplace_back("--innodb-flush-method=nosync");
    if (options_.port == 0) {
      command.emplace_back("--skip-networking");
    } else {
      command.insert(command.end(), {"--bind-address=127.0.0.1", "--port=" + std::to_string(port())});
    }
  }
  command.insert(command.end(), options_.arguments.begin(), options_.arguments.end());
  std::array<int, 2> ends{};
  if (::pipe2(ends.data(), O_CLOEXEC) != 0) fail("pipe");
  UniqueFd reader(ends[0]);
  UniqueFd writer(ends[1]);
  auto spawned = spawn_child({.argv = as_owner(std::move(command), true),
                              .env = kEnvironment,
                              .working_dir = "/",
                              .stdout_fd = writer.get(),
                              .stderr_fd = writer.get()});
  if (!spawned) fail(spawned.error().message());
  pid_ = *spawned;
  std::promise<bool> ready;
  auto is_ready = ready.get_future();
  output_reader_ =
      std::jthread(read_output, std::move(reader),
                   kind_ == Kind::Postgres ? "ready to accept connections" : "ready for connections", std::move(ready));
  writer.reset();  // The server alone holds it now: its end is the output's end.
  if (!is_ready.get()) fail("it did not start");
}

void RealServer::end(int signal) {
  ::kill(pid_, signal);
  if (!wait_child({}, pid_)) fail("wait");
  pid_ = -1;
  output_reader_ = {};
}

void RealServer::kill() {
  end(SIGKILL);
}

void RealServer::stop() {
  end(kind_ == Kind::Postgres ? SIGINT : SIGTERM);
}

void RealServer::start_again() {
  spawn();
}

std::vector<std::string> RealServer::as_owner(std::vector<std::string> command, bool ends_with_us) const {
  std::vector<std::string> out = {"setpriv"};
  const std::string user = user_of(kind_);
  if (::geteuid() == 0) out.insert(out.end(), {"--reuid=" + user, "--regid=" + user, "--clear-groups"});
  if (ends_with_us) out.emplace_back(kind_ == Kind::Postgres ? "--pdeathsig=SIGQUIT" : "--pdeathsig=SIGKILL");
  out.emplace_back("--");
  out.insert(out.end(), command.begin(), command.end());
  return out;
}

std::vector<std::string> RealServer::client(const std::string& database, const std::string& sql) const {
  if (kind_ == Kind::Postgres) {
    return {(postgres_programs() / "psql").string(),
            "-X",
            "-q",
            "-A",
            "-t",
            "-v",
            "ON_ERROR_STOP=1",
            "-h",
            directory_.string(),
            "-p",
            std::to_string(port()),
            "-U",
            "postgres",
            "-d",
            database.empty() ? "postgres" : database,
            "-c",
            sql};
  }
  return {"mariadb",
          "--no-defaults",
          "--batch",
          "--skip-column-names",
          "--socket=" + (directory_ / "socket").string(),
          "--user=root",
          database.empty() ? "mysql" : database,
          "-e",
          sql};
}

bool RealServer::try_run(const std::string& database, const std::string& sql, std::string& output) const {
  const auto done = run_child({}, {.argv = client(database, sql), .env = kEnvironment, .working_dir = "/"}, {});
  if (!done) fail(done.error().message());
  output = done->standard_output + done->standard_error;
  return done->exit_code == 0;
}

std::string RealServer::run(const std::string& database, const std::string& sql) const {
  std::string output;
  if (!try_run(database, sql, output)) fail(sql + ": " + output);
  while (!output.empty() && output.back() == '\n') output.pop_back();
  return output;
}

std::string RealServer::make_database(const std::string& user) {
  const std::lock_guard lock(mutex_);
  const std::string name = "store_" + std::to_string(++databases_);
  const bool known = std::find(users_.begin(), users_.end(), user) != users_.end();
  if (!known) users_.push_back(user);
  if (kind_ == Kind::Postgres) {
    if (!known) run("", "CREATE ROLE " + user + " LOGIN PASSWORD 'secret'");
    run("", "CREATE DATABASE " + name + " OWNER " + user);
    return name;
  }
  std::string sql = "CREATE DATABASE " + name + ";";
  if (!known) {
    sql += "CREATE USER " + user + "@localhost";
    sql += user.starts_with("trusted") ? ";" : " IDENTIFIED BY 'secret';";
  }
  run("", sql + "GRANT ALL ON " + name + ".* TO " + user + "@localhost");
  return name;
}

void RealServer::drop_database(const std::string& name) {
  run("", "DROP DATABASE " + name + (kind_ == Kind::Postgres ? " WITH (FORCE)" : ""));
}

int RealServer::port() const {
  if (options_.port != 0) return options_.port;
  return kind_ == Kind::Postgres ? 5432 : 3306;
}

std::string RealServer::tcp_url(const std::string& database, const std::string& user) const {
  return std::string(kind_ == Kind::Postgres ? "postgresql" : "mysql") + "://" + user +
         "@127.0.0.1:" + std::to_string(port()) + "/" + database;
}

std::string RealServer::url(const std::string& database, const std::string& user) const {
  if (kind_ == Kind::Postgres) {
    return "postgresql://" + user + "@:" + std::to_string(port()) + "/" + database + "?socket=" + directory_.string();
  }
  return "mysql://" + user + "@/" + database + "?socket=" + (directory_ / "socket").string();
}

}  // namespace kubernel::storage_server::testing
