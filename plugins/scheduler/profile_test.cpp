// SPDX-License-Identifier: Apache-2.0
#include "profile.h"

#include <kubernel/testing/scheduler.h>

namespace kubernel::plugins {
namespace {

using scheduler::Plugin;
using scheduler::PluginContext;
using scheduler::PluginSpec;
using scheduler::Verdict;

class Sorter final : public Plugin, public scheduler::QueueSort {
 public:
  bool before(const scheduler::QueuedPod& a, const scheduler::QueuedPod& b) const override {
    return a.queued_at < b.queued_at;
  }
  std::vector<scheduler::EventInterest> retry_on() const override { return {}; }
};

class Binder final : public Plugin, public scheduler::Bind {
 public:
  Result<Verdict> bind(const CallContext&, const scheduler::Cycle&, std::string_view) override {
    return Verdict::fits();
  }
  std::vector<scheduler::EventInterest> retry_on() const override { return {}; }
};

class Judge final : public Plugin, public scheduler::Filter, public scheduler::Score {
 public:
  Result<Verdict> filter(const scheduler::PodInfo&, const scheduler::CycleData*,
                         const scheduler::NodeInfo&) const override {
    return Verdict::fits();
  }
  Result<std::int64_t> score(const scheduler::PodInfo&, const scheduler::CycleData*, const scheduler::NodeInfo&,
                             const scheduler::Snapshot&) const override {
    return 0;
  }
  void normalize(const scheduler::PodInfo&, const scheduler::CycleData*, std::span<std::int64_t>) const override {}
  std::vector<scheduler::EventInterest> retry_on() const override { return {}; }
};

template <class T>
Result<std::unique_ptr<Plugin>> make_plugin(const PluginContext&) {
  return std::make_unique<T>();
}

class ProfileTest : public testing::SchedulerPluginTest {
 protected:
  ProfileTest() {
    provide("Mine", make_plugin<Judge>, 1);
    provide("PrioritySort", make_plugin<Sorter>, 1);
    provide("NodeAffinity", make_plugin<Judge>, 2);
    provide("TaintToleration", make_plugin<Judge>, 3);
    provide("DefaultBinder", make_plugin<Binder>, 1);
  }
  using Factory = Result<std::unique_ptr<Plugin>> (*)(const PluginContext&);
  void provide(const std::string& name, Factory factory, int weight) {
    specs_.push_back(std::make_shared<const PluginSpec>(PluginSpec{.weight = weight, .make = factory}));
    extensions_.push_back(std::make_unique<plugin::Extension>(
        plugin::Extension{"scheduler", name, name, R"({"from":"manifest"})", &typeid(PluginSpec), specs_.back(),
                          [](std::string_view json) -> Result<std::string> {
                            if (json.find("wrong") != std::string_view::npos)
                              return Error(Reason::Invalid, "levle: unknown key; did you mean \"level\"?");
                            return std::string(json);
                          }}));
  }
  Result<std::unique_ptr<Profile>> build(const ProfileSettings& settings) {
    std::vector<plugin::Provided<PluginSpec>> provided;
    for (std::size_t i = 0; i < specs_.size(); ++i) provided.push_back({extensions_[i].get(), specs_[i].get()});
    return Profile::make(provided, settings, {handle_, cluster_, *informers_, log_, clock_, metrics_, random_});
  }
  // "Name:weight" of the score plugins, in order.
  static std::string scores(const Profile& profile) {
    std::string out;
    for (std::size_t i = 0; i < profile.score.size(); ++i) {
      out += (i == 0 ? "" : " ") + profile.score[i].plugin->name + ":" + std::to_string(profile.score_weights[i]);
    }
    return out;
  }
  std::string refusal(const ProfileSettings& settings) {
    const auto made = build(settings);
    return made ? "" : made.error().message();
  }
  static PluginSet& at(ProfileSettings& settings, Point point) {
    return settings.points[static_cast<std::size_t>(point)];
  }

  std::vector<std::shared_ptr<const PluginSpec>> specs_;
  std::vector<std::unique_ptr<plugin::Extension>> extensions_;
};

TEST_F(ProfileTest, ByDefaultUpstreamsOrderAndWeightsThenWhateverElseIsLoaded) {
  const auto profile = build({});
  ASSERT_TRUE(profile) << profile.error().message();
  EXPECT_EQ(scores(**profile), "TaintToleration:3 NodeAffinity:2 Mine:1");
}

TEST_F(ProfileTest, MultiPointReplacesADefaultInItsPlace) {
  ProfileSettings settings;
  settings.multi_point.enabled = {{"NodeAffinity", 9}};
  settings.multi_point.disabled = {"Mine"};
  EXPECT_EQ(scores(**build(settings)), "TaintToleration:3 NodeAffinity:9");
}

TEST_F(ProfileTest, AStarLeavesOnlyWhatIsListed) {
  ProfileSettings settings;
  settings.multi_point.disabled = {"*"};
  settings.multi_point.enabled = {{"PrioritySort"}, {"DefaultBinder"}, {"NodeAffinity"}};
  EXPECT_EQ(scores(**build(settings)), "NodeAffinity:1");  // A weight that is not given is 1.
}

TEST_F(ProfileTest, APointOverridesMultiPointAndComesFirst) {
  ProfileSettings settings;
  at(settings, Point::Score).enabled = {{"NodeAffinity", 5}};
  EXPECT_EQ(scores(**build(settings)), "NodeAffinity:5 TaintToleration:3 Mine:1");
}

TEST_F(ProfileTest, APluginMayBeOffAtOnePointOnly) {
  ProfileSettings settings;
  at(settings, Point::Score).disabled = {"*"};
  const auto profile = build(settings);
  EXPECT_EQ(scores(**profile), "");
  EXPECT_EQ((*profile)->filter.size(), 3U);
}

TEST_F(ProfileTest, ArgumentsOfTheProfileTakeThePlaceOfTheManifests) {
  ProfileSettings settings;
  settings.arguments = {{"Mine", R"({"level":1})"}};
  const auto profile = build(settings);
  const auto& plugins = (*profile)->plugins();
  EXPECT_EQ((*profile)->arguments(*std::ranges::find(plugins, "Mine", &ProfilePlugin::name)), R"({"level":1})");
  EXPECT_EQ((*profile)->arguments(*std::ranges::find(plugins, "NodeAffinity", &ProfilePlugin::name)),
            R"({"from":"manifest"})");
}

TEST_F(ProfileTest, RefusesWhatItCannotDo) {
  ProfileSettings not_loaded;
  at(not_loaded, Point::Filter).enabled = {{"NodePorts"}};
  EXPECT_EQ(
      refusal(not_loaded),
      "profile \"default-scheduler\": plugins.filter.enabled: no loaded plugin provides \"NodePorts\"; add the plugin "
      "node-ports to the manifest");
  ProfileSettings misspelt;
  misspelt.multi_point.enabled = {{"NodeAfinity"}};
  EXPECT_EQ(refusal(misspelt),
            "profile \"default-scheduler\": plugins.multiPoint.enabled: no loaded plugin provides \"NodeAfinity\"; did "
            "you mean "
            "\"NodeAffinity\"?");
  ProfileSettings wrong_point;
  at(wrong_point, Point::Bind).enabled = {{"Mine"}};
  EXPECT_EQ(refusal(wrong_point),
            "profile \"default-scheduler\": plugins.bind.enabled: the plugin \"Mine\" does not extend this point");
  ProfileSettings wrong_arguments;
  wrong_arguments.arguments = {{"Mine", R"({"wrong":1})"}};
  EXPECT_EQ(refusal(wrong_arguments),
            "profile \"default-scheduler\": pluginConfig \"Mine\": levle: unknown key; did you mean \"level\"?");
  ProfileSettings twice;
  twice.multi_point.enabled = {{"Mine"}, {"Mine"}};
  EXPECT_EQ(refusal(twice), "profile \"default-scheduler\": plugins.multiPoint.enabled: \"Mine\" is listed twice");
}

TEST_F(ProfileTest, DisablingAKnownPluginThatIsNotLoadedChangesNothing) {
  ProfileSettings settings;
  settings.multi_point.disabled = {"ImageLocality"};
  EXPECT_EQ(refusal(settings), "");
}

}  // namespace
}  // namespace kubernel::plugins
