// SPDX-License-Identifier: Apache-2.0
#include "core/lifecycle/lifecycle.h"

#include <deque>
#include <functional>
#include <map>
#include <set>
#include <stdexcept>
#include <string>
#include <vector>

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <kubernel/plugin/services.h>
#include <kubernel/testing/fake_clock.h>

namespace kubernel::lifecycle {
namespace {

using plugin::Group;
using std::chrono::seconds;
using ::testing::Contains;
using ::testing::ElementsAre;
using ::testing::HasSubstr;

struct Note {
  static constexpr std::string_view kService = "note";
  std::string text;
};

// What happened, and what each fake component shall do, by component name. A make function is a plain pointer.
struct Script {
  std::vector<std::string> events;
  std::map<std::string, std::function<Result<void>(const plugin::ComponentContext&, const CallContext&)>> on_start;
  std::map<std::string, std::function<void(const CallContext&)>> on_stop;
  std::map<std::string, std::function<std::string()>> problem;
  std::map<std::string, std::function<Result<std::unique_ptr<plugin::Component>>()>> on_make;
};
Script* script = nullptr;

class FakeComponent final : public plugin::Component {
 public:
  explicit FakeComponent(const plugin::ComponentContext& context) : context_(context) {}
  ~FakeComponent() override { script->events.push_back("destroy " + context_.name); }

  Result<void> start(const CallContext& ctx) override {
    script->events.push_back("start " + context_.name);
    const auto action = script->on_start.find(context_.name);
    return action == script->on_start.end() ? Result<void>() : action->second(context_, ctx);
  }
  void stop(const CallContext& ctx) override {
    script->events.push_back("stop " + context_.name);
    if (const auto action = script->on_stop.find(context_.name); action != script->on_stop.end()) action->second(ctx);
  }
  std::string problem() const override {
    const auto action = script->problem.find(context_.name);
    return action == script->problem.end() ? "" : action->second();
  }

 private:
  const plugin::ComponentContext& context_;
};

Result<std::unique_ptr<plugin::Component>> make_fake(const plugin::ComponentContext& context) {
  if (const auto action = script->on_make.find(context.name); action != script->on_make.end()) return action->second();
  return std::unique_ptr<plugin::Component>(std::make_unique<FakeComponent>(context));
}

class FakeExtensions final : public plugin::Extensions {
 public:
  std::vector<const plugin::Extension*> at(std::string_view point) const override {
    std::vector<const plugin::Extension*> out;
    for (const auto& extension : extensions) {
      if (extension.point == point) out.push_back(&extension);
    }
    return out;
  }
  std::deque<plugin::Extension> extensions;
};

class NoPoller final : public Poller {
 public:
  Result<std::unique_ptr<Subscription>> when_readable(int, std::function<void()>) override {
    return Error(Reason::BadRequest, "no descriptors in this test");
  }
};

class LifecycleTest : public ::testing::Test {
 protected:
  LifecycleTest() { script = &script_; }
  ~LifecycleTest() override {
    lifecycle_.reset();
    script = nullptr;
  }

  void component(const std::string& name, Group group, std::vector<std::string> needs = {},
                 std::vector<std::string> offers = {}) {
    auto spec = std::make_shared<plugin::ComponentSpec>();
    spec->group = group;
    spec->needs = std::move(needs);
    spec->offers = std::move(offers);
    spec->make = make_fake;
    extensions_.extensions.push_back(
        {"component", name, name + "-plugin", R"({"of":")" + name + "\"}", &typeid(plugin::ComponentSpec), spec});
  }

  Lifecycle& lifecycle() {
    if (!lifecycle_) {
      lifecycle_ = std::make_unique<Lifecycle>(
          extensions_,
          Surroundings{
              [this](std::string_view) { return std::make_unique<Forward>(log_); }, metrics_, clock_, random_,
              executor_, executor_, poller_, optional_,
              [](std::string_view service) {
                return service == "note" ? std::vector<std::string>{"notebook", "slate"} : std::vector<std::string>();
              },
              [this](std::string_view name) { abandoned_.emplace_back(name); }});
    }
    return *lifecycle_;
  }

  struct Forward final : Logger {
    explicit Forward(Logger& l) : to(l) {}
    bool enabled(LogLevel level) const override { return to.enabled(level); }
    void write(LogLevel level, std::string_view message, const std::vector<LogField>& fields) override {
      to.write(level, message, fields);
    }
    Logger& to;
  };

  Script script_;
  testing::RecordingLogger log_;
  testing::RecordingMetrics metrics_;
  testing::FakeClock clock_;
  testing::SeededRandom random_{1};
  testing::ManualExecutor executor_;
  NoPoller poller_;
  FakeExtensions extensions_;
  std::set<std::string> optional_;
  std::vector<std::string> abandoned_;
  std::unique_ptr<Lifecycle> lifecycle_;
};

TEST_F(LifecycleTest, StartsInOrderAndStopsInReverse) {
  component("node", Group::Node);
  component("store", Group::Storage);
  component("server", Group::Server);
  ASSERT_TRUE(lifecycle().start());
  EXPECT_THAT(script_.events, ElementsAre("start store", "start server", "start node"));
  script_.events.clear();
  lifecycle().stop();
  EXPECT_THAT(script_.events,
              ElementsAre("stop node", "destroy node", "stop server", "destroy server", "stop store", "destroy store"));
  script_.events.clear();
  lifecycle().stop();
  EXPECT_TRUE(script_.events.empty());
}

TEST_F(LifecycleTest, AComponentGetsItsConfigurationAndTheServicesOfEarlierOnes) {
  component("reader", Group::Control, {"note"});
  component("writer", Group::Server, {"process"}, {"note"});
  script_.on_start["writer"] = [](const plugin::ComponentContext& context, const CallContext&) -> Result<void> {
    EXPECT_EQ(context.config_json, R"({"of":"writer"})");
    EXPECT_NE(plugin::find<plugin::Process>(context.services), nullptr);
    plugin::offer(context.services, std::make_shared<Note>(Note{"hello"}));
    return {};
  };
  std::string seen;
  script_.on_start["reader"] = [&](const plugin::ComponentContext& context, const CallContext&) -> Result<void> {
    seen = plugin::find<Note>(context.services)->text;
    return {};
  };
  const auto started = lifecycle().start();
  ASSERT_TRUE(started) << started.error().message();
  EXPECT_EQ(seen, "hello");
}

TEST_F(LifecycleTest, NothingStartsWhenAServiceIsMissing) {
  component("store", Group::Storage);
  component("reader", Group::Control, {"note"});
  const auto started = lifecycle().start();
  ASSERT_FALSE(started);
  EXPECT_EQ(started.error().message(),
            "component \"reader\" needs service \"note\", which no plugin in the manifest offers; "
            "add plugin \"notebook\" or \"slate\", which does");
  EXPECT_TRUE(script_.events.empty());
}

TEST_F(LifecycleTest, AnOptionalComponentThatFailsIsReportedAndTheRestRuns) {
  component("store", Group::Storage);
  component("extra", Group::Server);
  component("node", Group::Node);
  optional_ = {"extra-plugin"};
  script_.on_start["extra"] = [](const plugin::ComponentContext&, const CallContext&) -> Result<void> {
    return Error(Reason::Invalid, "port 6443 is in use");
  };
  ASSERT_TRUE(lifecycle().start());
  EXPECT_THAT(script_.events, ElementsAre("start store", "start extra", "destroy extra", "start node"));
  EXPECT_THAT(log_.lines(),
              Contains("warning: optional component is left out component=extra error=port 6443 is in use"));
  const auto checks = lifecycle().readiness();
  ASSERT_EQ(checks.size(), 3U);
  EXPECT_EQ(checks[1].problem, "port 6443 is in use");
  EXPECT_FALSE(checks[1].required);
  bool ready = false;
  lifecycle().when_ready([&] { ready = true; });
  EXPECT_TRUE(ready);
  script_.events.clear();
  lifecycle().stop();
  EXPECT_THAT(script_.events, ElementsAre("stop node", "destroy node", "stop store", "destroy store"));
}

TEST_F(LifecycleTest, AnOptionalComponentThatBreaksItsPromiseIsStoppedAndLeftOut) {
  component("extra", Group::Server, {}, {"note"});
  component("node", Group::Node);
  optional_ = {"extra-plugin"};
  ASSERT_TRUE(lifecycle().start());
  EXPECT_THAT(script_.events, ElementsAre("start extra", "stop extra", "destroy extra", "start node"));
}

TEST_F(LifecycleTest, WhoNeedsAServiceOfAnOptionalComponentThatFailedIsLeftOutOrEndsTheProcess) {
  component("writer", Group::Server, {}, {"note"});
  component("reader", Group::Control, {"note"});
  optional_ = {"writer-plugin", "reader-plugin"};
  script_.on_make["writer"] = []() -> Result<std::unique_ptr<plugin::Component>> {
    return Error(Reason::Invalid, "no");
  };
  const std::string why = "needs service \"note\" of component \"writer\", which did not start: no";
  ASSERT_TRUE(lifecycle().start());
  EXPECT_TRUE(script_.events.empty());
  EXPECT_EQ(lifecycle().readiness().at(1).problem, why);
  lifecycle_.reset();
  optional_ = {"writer-plugin"};
  const auto started = lifecycle().start();
  ASSERT_FALSE(started);
  EXPECT_EQ(started.error().message(), "component reader of plugin reader-plugin: " + why);
}

TEST_F(LifecycleTest, AnOptionalComponentWithoutItsServiceIsLeftOutAndSoIsWhoNeedsIt) {
  component("reader", Group::Control, {"ink"}, {"text"});
  component("critic", Group::Node, {"text"});
  component("store", Group::Storage);
  optional_ = {"reader-plugin", "critic-plugin"};
  ASSERT_TRUE(lifecycle().start());
  EXPECT_THAT(script_.events, ElementsAre("start store"));
  EXPECT_EQ(lifecycle().readiness().at(1).problem,
            "component \"critic\" needs service \"text\", which no plugin in the manifest offers");
}

TEST_F(LifecycleTest, AStopDuringTheStartOfAnOptionalComponentIsNoFailureOfIt) {
  component("extra", Group::Server);
  optional_ = {"extra-plugin"};
  script_.on_start["extra"] = [this](const plugin::ComponentContext&, const CallContext&) -> Result<void> {
    lifecycle().request_stop("signal");
    return Error(Reason::Cancelled, "stop was requested");
  };
  const auto started = lifecycle().start();
  ASSERT_FALSE(started);
  EXPECT_EQ(started.error().reason(), Reason::Cancelled);
}

TEST_F(LifecycleTest, AFailureStopsWhatWasStarted) {
  component("store", Group::Storage);
  component("server", Group::Server);
  component("node", Group::Node);
  script_.on_start["server"] = [](const plugin::ComponentContext&, const CallContext&) -> Result<void> {
    return Error(Reason::Invalid, "port 6443 is in use");
  };
  const auto started = lifecycle().start();
  ASSERT_FALSE(started);
  EXPECT_EQ(started.error().message(), "component server of plugin server-plugin: port 6443 is in use");
  EXPECT_THAT(script_.events,
              ElementsAre("start store", "start server", "destroy server", "stop store", "destroy store"));
}

TEST_F(LifecycleTest, AnExceptionIsAnErrorAndIsCounted) {
  component("server", Group::Server);
  script_.on_start["server"] = [](const plugin::ComponentContext&, const CallContext&) -> Result<void> {
    throw std::runtime_error("boom");
  };
  const auto started = lifecycle().start();
  ASSERT_FALSE(started);
  EXPECT_EQ(started.error().reason(), Reason::Internal);
  EXPECT_EQ(started.error().message(), "component server of plugin server-plugin: start: boom");
  EXPECT_EQ(metrics_.value("plugin_exceptions_total{plugin=\"server-plugin\"}"), 1);
}

TEST_F(LifecycleTest, AMakeThatFailsThrowsOrReturnsNothingIsNamed) {
  component("server", Group::Server);
  script_.on_make["server"] = []() -> Result<std::unique_ptr<plugin::Component>> {
    return Error(Reason::Invalid, "no");
  };
  EXPECT_EQ(lifecycle().start().error().message(), "component server of plugin server-plugin: no");
  lifecycle_.reset();
  script_.on_make["server"] = []() -> Result<std::unique_ptr<plugin::Component>> { throw std::runtime_error("boom"); };
  EXPECT_EQ(lifecycle().start().error().message(), "component server of plugin server-plugin: make: boom");
  lifecycle_.reset();
  script_.on_make["server"] = []() -> Result<std::unique_ptr<plugin::Component>> {
    return std::unique_ptr<plugin::Component>();
  };
  EXPECT_EQ(lifecycle().start().error().message(), "component server of plugin server-plugin: make returned nothing");
}

TEST_F(LifecycleTest, ADeclaredServiceThatIsNotOfferedIsAnError) {
  component("writer", Group::Server, {}, {"note"});
  const auto started = lifecycle().start();
  ASSERT_FALSE(started);
  EXPECT_THAT(started.error().message(), HasSubstr("does not offer service \"note\" as it declares"));
  EXPECT_THAT(script_.events, ElementsAre("start writer", "stop writer", "destroy writer"));
}

TEST_F(LifecycleTest, ARequestToStopDuringStartKeepsTheRestFromStarting) {
  component("store", Group::Storage);
  component("server", Group::Server);
  script_.on_start["store"] = [this](const plugin::ComponentContext&, const CallContext& ctx) -> Result<void> {
    EXPECT_FALSE(ctx.stopping());
    lifecycle().request_stop("signal");
    EXPECT_TRUE(ctx.stopping());
    return {};
  };
  const auto started = lifecycle().start();
  ASSERT_FALSE(started);
  EXPECT_EQ(started.error().reason(), Reason::Cancelled);
  EXPECT_THAT(script_.events, ElementsAre("start store", "stop store", "destroy store"));
}

TEST_F(LifecycleTest, WhoMissesTheStopDeadlineIsNamedAndInTheEndAbandoned) {
  component("node", Group::Node);
  ASSERT_TRUE(lifecycle().start());
  script_.on_stop["node"] = [this](const CallContext& ctx) {
    EXPECT_EQ(ctx.deadline, clock_.now() + stop_deadline(Group::Node));
    clock_.advance(stop_deadline(Group::Node));
    EXPECT_THAT(log_.lines(), Contains("error: component has not stopped by its deadline component=node seconds=30"));
    EXPECT_TRUE(abandoned_.empty());
    clock_.advance(kStopGrace);
    EXPECT_THAT(abandoned_, ElementsAre("node"));
  };
  lifecycle().stop();
}

TEST_F(LifecycleTest, AStopInTimeLeavesNoTimerBehind) {
  component("node", Group::Node);
  ASSERT_TRUE(lifecycle().start());
  lifecycle().stop();
  EXPECT_FALSE(clock_.next_timer());
}

TEST_F(LifecycleTest, AStopThatThrowsIsLoggedAndTheRestStops) {
  component("store", Group::Storage);
  component("node", Group::Node);
  ASSERT_TRUE(lifecycle().start());
  script_.on_stop["node"] = [](const CallContext&) { throw std::runtime_error("boom"); };
  lifecycle().stop();
  EXPECT_THAT(log_.lines(), Contains("error: component failed to stop component=node error=stop: boom"));
  EXPECT_THAT(script_.events, Contains("stop store"));
}

TEST_F(LifecycleTest, ReadinessFollowsEachComponent) {
  component("store", Group::Storage);
  component("server", Group::Server);
  script_.problem["store"] = [] { return "recovering"; };
  const auto report = [this] {
    std::string out;
    for (const auto& check : lifecycle().readiness()) out += check.name + "=" + check.problem + ";";
    return out;
  };
  std::string during;
  script_.on_start["store"] = [&](const plugin::ComponentContext&, const CallContext&) -> Result<void> {
    during = report();
    return {};
  };
  ASSERT_TRUE(lifecycle().start());
  EXPECT_EQ(during, "store=not started yet;server=not started yet;");
  EXPECT_EQ(report(), "store=recovering;server=;");
  script_.problem["store"] = []() -> std::string { throw std::runtime_error("boom"); };
  EXPECT_EQ(report(), "store=problem: boom;server=;");
  script_.on_stop["server"] = [&](const CallContext&) { during = report(); };
  lifecycle().stop();
  EXPECT_EQ(during, "store=problem: boom;server=stopping;");
  EXPECT_EQ(report(), "store=stopped;server=stopped;");
}

TEST_F(LifecycleTest, TellsOnceWhenEverythingIsReady) {
  component("store", Group::Storage);
  bool recovered = false;
  script_.problem["store"] = [&] { return recovered ? "" : "recovering"; };
  ASSERT_TRUE(lifecycle().start());
  int told = 0;
  lifecycle().when_ready([&] { ++told; });
  clock_.advance(seconds(10));
  EXPECT_EQ(told, 0);
  recovered = true;
  clock_.advance(seconds(1));
  EXPECT_EQ(told, 1);
  EXPECT_FALSE(clock_.next_timer());
}

TEST_F(LifecycleTest, IsReadyAtOnceWithoutComponents) {
  ASSERT_TRUE(lifecycle().start());
  int told = 0;
  lifecycle().when_ready([&] { ++told; });
  EXPECT_EQ(told, 1);
}

TEST_F(LifecycleTest, AStopEndsTheQuestionsForReadiness) {
  component("store", Group::Storage);
  script_.problem["store"] = [] { return "recovering"; };
  ASSERT_TRUE(lifecycle().start());
  lifecycle().when_ready([] { FAIL(); });
  lifecycle().stop();
  EXPECT_FALSE(clock_.next_timer());
}

TEST_F(LifecycleTest, WaitReturnsTheReasonOfTheFirstRequest) {
  lifecycle().request_stop("SIGTERM");
  lifecycle().request_stop("again");
  EXPECT_EQ(lifecycle().wait(), "SIGTERM");
}

TEST_F(LifecycleTest, AComponentOfAnotherTypeIsRefused) {
  extensions_.extensions.push_back({"component", "odd", "odd", "{}", &typeid(int), std::make_shared<int>(1)});
  const auto started = lifecycle().start();
  ASSERT_FALSE(started);
  EXPECT_EQ(started.error().message(), "plugin odd: component \"odd\" is not described by a ComponentSpec");
}

}  // namespace
}  // namespace kubernel::lifecycle
