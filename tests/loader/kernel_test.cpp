// SPDX-License-Identifier: Apache-2.0
//
// The kernel program from outside: what it prints, how it exits, how it stops.

#include <csignal>
#include <cstdlib>
#include <filesystem>
#include <fstream>
#include <string>
#include <vector>

#include <fcntl.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <nlohmann/json.hpp>

#include <kubernel/base/child_process.h>

namespace kubernel {
namespace {

using nlohmann::json;
using ::testing::HasSubstr;
using ::testing::MatchesRegex;
using ::testing::Not;
namespace fs = std::filesystem;

std::string variable(const char* name) {
  const char* const value = std::getenv(name);
  EXPECT_NE(value, nullptr) << name;
  return value == nullptr ? "" : value;
}

class Kernel : public ::testing::Test {
 protected:
  Kernel() : plugins_(variable("KUBERNEL_TEST_PLUGIN_DIR")) {
    std::string name = fs::temp_directory_path() / "kubernel-test-XXXXXX";
    EXPECT_NE(mkdtemp(name.data()), nullptr);
    scratch_ = name;
  }
  ~Kernel() override { fs::remove_all(scratch_); }

  std::string manifest(const std::string& plugins) const {
    const fs::path file = scratch_ / "m.yaml";
    std::ofstream(file) << "apiVersion: kubernel/v1alpha1\nkind: PluginManifest\npluginPath: [" << plugins_.string()
                        << "]\nlog: {level: debug}\nplugins:\n"
                        << plugins;
    return file;
  }

  ChildOptions options(std::vector<std::string> arguments) const {
    ChildOptions out;
    out.argv = {variable("KUBERNEL_TEST_PROGRAM")};
    out.argv.insert(out.argv.end(), arguments.begin(), arguments.end());
    out.env = {"KUBERNEL_LIBEXEC=" + (scratch_ / "libexec").string()};
    return out;
  }

  ChildOutput run(std::vector<std::string> arguments) const {
    auto output = run_child({}, options(std::move(arguments)));
    EXPECT_TRUE(output) << output.error().message();
    return output ? *std::move(output) : ChildOutput{};
  }

  // Runs a program that is expected to fail with one line, which it returns.
  std::string failure(int exit_code, std::vector<std::string> arguments) const {
    const ChildOutput output = run(std::move(arguments));
    EXPECT_EQ(output.exit_code, exit_code) << output.standard_error;
    EXPECT_EQ(output.standard_output, "");
    EXPECT_EQ(std::count(output.standard_error.begin(), output.standard_error.end(), '\n'), 1) << output.standard_error;
    return output.standard_error;
  }

  const fs::path plugins_;
  fs::path scratch_;
};

// ---- Wrong usage: exit code 2, one line.

TEST_F(Kernel, AnUnknownFlagIsNamed) {
  EXPECT_EQ(
      failure(2, {"run", "--manifst", "x"}),
      "kubernel run: unknown flag \"--manifst\"; did you mean \"--manifest\"? (kubernel run --help tells more)\n");
}

TEST_F(Kernel, AnUnknownCommandIsNamed) {
  EXPECT_EQ(failure(2, {"rnu"}),
            "kubernel: unknown command \"rnu\"; did you mean \"run\"? (kubernel help lists them)\n");
}

TEST_F(Kernel, AMissingFlagIsNamed) {
  EXPECT_THAT(failure(2, {"run"}), HasSubstr("--manifest is required"));
  EXPECT_THAT(failure(2, {"plugin", "list", "-m", "x", "-o", "yaml"}), HasSubstr("yaml not in {text,json}"));
}

TEST_F(Kernel, HelpIsEverywhereAndHasExamples) {
  for (const std::vector<std::string>& words : {std::vector<std::string>{"--help"},
                                                {"help"},
                                                {},
                                                {"run", "--help"},
                                                {"help", "plugin", "inspect"},
                                                {"plugin", "--help"},
                                                {"plugin", "list", "-h"},
                                                {"version", "--help"}}) {
    const ChildOutput output = run(words);
    EXPECT_EQ(output.exit_code, 0);
    EXPECT_THAT(output.standard_output, HasSubstr("examples:\n"));
    EXPECT_EQ(output.standard_error, "");
  }
}

// ---- Failures: exit code 1, one line that says what and where.

TEST_F(Kernel, AMissingManifestIsNamed) {
  EXPECT_EQ(failure(1, {"run", "-m", "/nonexistent.yaml"}),
            "kubernel: manifest /nonexistent.yaml: No such file or directory\n");
}

TEST_F(Kernel, ABadManifestIsNamedWithThePlace) {
  const std::string file = manifest("  - nmae: sleeper\n");
  EXPECT_THAT(
      failure(1, {"run", "-m", file}),
      HasSubstr(file + ":6:5: plugins[0]: missing \"name\"; plugins[0].nmae: unknown key; did you mean \"name\"?"));
}

TEST_F(Kernel, AMissingPluginIsNamed) {
  const std::string said = failure(1, {"run", "-m", manifest("  - name: sleper\n")});
  EXPECT_THAT(said, HasSubstr("plugin sleper: no sleper.so in " + plugins_.string() + ", "));
  EXPECT_THAT(said, HasSubstr("; did you mean \"sleeper\"?"));
}

TEST_F(Kernel, ABadPluginIsNamed) {
  EXPECT_THAT(failure(1, {"run", "-m", manifest("  - name: refuses\n")}),
              HasSubstr("plugin refuses: " + (plugins_ / "refuses.so").string() + ": not on a tuesday"));
}

TEST_F(Kernel, ConfigurationIsCheckedBeforeThePluginRuns) {
  const std::string file = manifest("  - name: sleeper\n    config: {stuborn: true, fail: 3}\n");
  EXPECT_THAT(failure(1, {"run", "-m", file}),
              HasSubstr("plugin sleeper: " + file +
                        ":7:29: plugins[0].config.fail: expected string, got integer; "
                        "plugins[0].config.stuborn: unknown key; did you mean \"stubborn\"?"));
}

TEST_F(Kernel, APluginWithoutASchemaTakesNoConfiguration) {
  EXPECT_THAT(failure(1, {"run", "-m", manifest("  - name: good\n    config: {a: 1}\n")}),
              HasSubstr("plugins[0].config: plugin \"good\" takes no configuration"));
}

TEST_F(Kernel, ABadSchemaIsRefused) {
  EXPECT_THAT(failure(1, {"run", "-m", manifest("  - name: bad-schema\n")}),
              HasSubstr("bad-schema.so: schema: keyword \"propertys\" is not supported; did you mean \"properties\"?"));
}

TEST_F(Kernel, AMissingServiceIsNamed) {
  EXPECT_THAT(failure(1, {"run", "-m", manifest("  - name: needy\n")}),
              HasSubstr("component \"needy\" needs service \"unobtainium\", which no plugin in the manifest offers"));
}

TEST_F(Kernel, AMissingServiceIsNamedWithThePluginThatWouldOfferIt) {
  EXPECT_THAT(failure(1, {"run", "-m", manifest("  - name: thirsty\n")}),
              HasSubstr("component \"thirsty\" needs service \"water\", which no plugin in the manifest offers; "
                        "add plugin \"well\", which does\n"));
}

TEST_F(Kernel, AComponentThatFailsToStartIsNamed) {
  const ChildOutput output = run({"run", "-m", manifest("  - name: sleeper\n    config: {fail: now}\n")});
  EXPECT_EQ(output.exit_code, 1);
  EXPECT_THAT(output.standard_error, HasSubstr("error kubernel: component sleeper of plugin sleeper: told to fail\n"));
}

// ---- plugin list, plugin inspect, version.

TEST_F(Kernel, ListShowsWhatWouldRun) {
  const ChildOutput output = run({"plugin", "list", "-o", "json", "-m", manifest(R"(
  - name: sleeper
  - name: good
    when: {component: sleeper}
  - name: duplicate
    when: {component: nobody}
  - name: refuses
    required: false
)")});
  EXPECT_EQ(output.exit_code, 0) << output.standard_error;
  const json listed = json::parse(output.standard_output);
  std::string states;
  for (const json& plugin : listed.at("plugins")) {
    states += plugin.at("name").get<std::string>() + "=" + plugin.at("state").get<std::string>() + " ";
  }
  EXPECT_EQ(states, "sleeper=loaded good=loaded duplicate=skipped refuses=refused ");
  EXPECT_EQ(listed.at("plugins").at(1).at("provides"), json::parse(R"(["greeting/Hello", "greeting/Bye"])"));
  EXPECT_EQ(listed.at("plugins").at(2).at("why"), "the manifest has no component \"nobody\"");
}

TEST_F(Kernel, ListFailsWhenARequiredPluginIsRefused) {
  const ChildOutput output = run({"plugin", "list", "-m", manifest("  - name: good\n  - name: duplicate\n")});
  EXPECT_EQ(output.exit_code, 1);
  EXPECT_THAT(output.standard_output, HasSubstr("greeting/Hello is already provided by plugin good"));
}

TEST_F(Kernel, InspectSaysWhetherAFileLoadsHere) {
  const ChildOutput good = run({"plugin", "inspect", plugins_ / "good.so"});
  EXPECT_EQ(good.exit_code, 0);
  EXPECT_THAT(good.standard_output, HasSubstr("  provides       greeting/Hello greeting/Bye\n"));
  EXPECT_THAT(good.standard_output, HasSubstr("  loads here     yes\n"));
  const ChildOutput bad =
      run({"plugin", "inspect", "-o", "json", plugins_ / "undeclared.so", plugins_ / "bad-schema.so"});
  EXPECT_EQ(bad.exit_code, 1);
  const json listed = json::parse(bad.standard_output);
  EXPECT_EQ(listed.at("plugins").at(0).at("loadsHere"), false);
  EXPECT_EQ(listed.at("plugins").at(0).at("why"), "declares greeting/A but registered greeting/A greeting/B");
  EXPECT_THAT(listed.at("plugins").at(1).at("why").get<std::string>(), HasSubstr("propertys"));
  EXPECT_EQ(run({"plugin", "inspect", "--no-load", plugins_ / "undeclared.so"}).exit_code, 0);
}

TEST_F(Kernel, VersionNamesTheAbi) {
  const json version = json::parse(run({"version", "-o", "json"}).standard_output);
  EXPECT_EQ(version.at("abi").at("headers").get<std::string>().size(), 16U);
  EXPECT_THAT(run({"version"}).standard_output, HasSubstr("kubernel " + version.at("version").get<std::string>()));
}

// ---- Commands beside the kernel's own.

TEST_F(Kernel, AnUnknownVerbIsAProgram) {
  fs::create_directory(scratch_ / "libexec");
  const fs::path program = scratch_ / "libexec" / "kubernel-greet";
  std::ofstream(program) << "#!/bin/sh\necho \"hello $*\"\nexit 7\n";
  fs::permissions(program, fs::perms::owner_all);
  const ChildOutput output = run({"greet", "--to", "all of you"});
  EXPECT_EQ(output.standard_output, "hello --to all of you\n");
  EXPECT_EQ(output.exit_code, 7);
  EXPECT_THAT(run({"help"}).standard_output, HasSubstr("  greet\n"));
  EXPECT_EQ(run({"help", "greet"}).standard_output, "hello --help\n");
  EXPECT_THAT(failure(2, {"gret"}), HasSubstr("did you mean \"greet\"?"));
}

// ---- Running and stopping.

// A kernel that runs, and the socket on which it says how it is.
class Running {
 public:
  Running(ChildOptions options, const fs::path& scratch) : log_(scratch / "log") {
    const std::string address = scratch / "notify";
    notify_.reset(socket(AF_UNIX, SOCK_DGRAM | SOCK_CLOEXEC, 0));
    sockaddr_un name{};
    name.sun_family = AF_UNIX;
    address.copy(name.sun_path, sizeof name.sun_path - 1);
    EXPECT_EQ(bind(notify_.get(), reinterpret_cast<const sockaddr*>(&name), sizeof name), 0);
    const timeval patience{30, 0};
    EXPECT_EQ(setsockopt(notify_.get(), SOL_SOCKET, SO_RCVTIMEO, &patience, sizeof patience), 0);
    const UniqueFd log(open(log_.c_str(), O_CREAT | O_WRONLY | O_CLOEXEC, 0600));
    options.env.push_back("NOTIFY_SOCKET=" + address);
    options.stderr_fd = log.get();
    const auto pid = spawn_child(options);
    EXPECT_TRUE(pid) << pid.error().message();
    if (pid) pid_ = *pid;
  }
  ~Running() {
    if (pid_ <= 0) return;
    kill(pid_, SIGKILL);
    static_cast<void>(wait_child({}, pid_));
  }
  Running(const Running&) = delete;
  Running& operator=(const Running&) = delete;

  std::string notice() const {
    char text[64] = {};
    return recv(notify_.get(), text, sizeof text - 1, 0) > 0 ? text : "nothing";
  }
  void send(int signal) const { EXPECT_EQ(kill(pid_, signal), 0); }
  int exit_code() {
    const auto code = wait_child({}, std::exchange(pid_, 0));
    return code ? *code : -1;
  }
  std::string log() const {
    std::ifstream in(log_);
    return {std::istreambuf_iterator<char>(in), {}};
  }

 private:
  const fs::path log_;
  UniqueFd notify_;
  pid_t pid_ = 0;
};

TEST_F(Kernel, RunsUntilItIsAskedToStop) {
  for (const int signal : {SIGTERM, SIGINT}) {
    fs::remove(scratch_ / "notify");
    fs::remove(scratch_ / "log");
    Running kernel(options({"run", "-m", manifest("  - name: sleeper\n")}), scratch_);
    ASSERT_EQ(kernel.notice(), "READY=1") << kernel.log();
    kernel.send(SIGHUP);
    kernel.send(signal);
    EXPECT_EQ(kernel.notice(), "STOPPING=1");
    EXPECT_EQ(kernel.exit_code(), 0);
    EXPECT_THAT(kernel.log(), HasSubstr("info sleeper: sleeping config=\"{\\\"stubborn\\\":false}\"\n"));
    EXPECT_THAT(kernel.log(), HasSubstr(" info kubernel: ready ms="));
    EXPECT_THAT(kernel.log(), HasSubstr(signal == SIGINT ? "why=SIGINT" : "why=SIGTERM"));
    EXPECT_THAT(kernel.log(), HasSubstr(" info kubernel: stopped\n"));
  }
}

TEST_F(Kernel, ASecondSignalEndsItAtOnce) {
  Running kernel(options({"run", "-m", manifest("  - name: sleeper\n    config: {stubborn: true}\n")}), scratch_);
  ASSERT_EQ(kernel.notice(), "READY=1") << kernel.log();
  kernel.send(SIGTERM);
  ASSERT_EQ(kernel.notice(), "STOPPING=1");
  kernel.send(SIGTERM);
  EXPECT_EQ(kernel.exit_code(), 1);
  EXPECT_THAT(kernel.log(), Not(HasSubstr("stopped\n")));
}

TEST_F(Kernel, AnOptionalPluginThatIsRefusedIsOneWarning) {
  Running kernel(options({"run", "-m", manifest("  - name: sleeper\n  - name: refuses\n    required: false\n")}),
                 scratch_);
  ASSERT_EQ(kernel.notice(), "READY=1") << kernel.log();
  kernel.send(SIGTERM);
  EXPECT_EQ(kernel.exit_code(), 0);
  EXPECT_THAT(kernel.log(), HasSubstr("warning kubernel: plugin refuses: "));
}

TEST_F(Kernel, AnOptionalComponentThatFailsToStartIsOneWarning) {
  Running kernel(
      options(
          {"run", "-m", manifest("  - name: well\n  - name: sleeper\n    required: false\n    config: {fail: now}\n")}),
      scratch_);
  ASSERT_EQ(kernel.notice(), "READY=1") << kernel.log();
  kernel.send(SIGTERM);
  EXPECT_EQ(kernel.exit_code(), 0);
  EXPECT_THAT(kernel.log(),
              HasSubstr("warning kubernel: optional component is left out component=sleeper error=\"told to fail\"\n"));
}

}  // namespace
}  // namespace kubernel
