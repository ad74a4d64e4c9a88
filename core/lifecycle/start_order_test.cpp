// SPDX-License-Identifier: Apache-2.0
#include "core/lifecycle/start_order.h"

#include <deque>
#include <string>
#include <vector>

#include <gtest/gtest.h>

namespace kubernel::lifecycle {
namespace {

using plugin::Group;
using Names = std::vector<std::string>;

class StartOrder : public ::testing::Test {
 protected:
  void component(const char* name, Group group, Names needs, Names wants, Names offers) {
    plugin::ComponentSpec spec;
    spec.group = group;
    spec.needs = std::move(needs);
    spec.wants = std::move(wants);
    spec.offers = std::move(offers);
    components_.push_back({name, &specs_.emplace_back(std::move(spec))});
  }

  // The names in order, or the error.
  std::string order() {
    const Names built_in = {"process"};
    const auto sorted = start_order(components_, built_in);
    if (!sorted) return sorted.error().message();
    std::string out;
    for (const std::size_t i : *sorted) out += (out.empty() ? "" : " ") + components_[i].name;
    return out;
  }

 private:
  std::deque<plugin::ComponentSpec> specs_;
  std::vector<Startable> components_;
};

TEST_F(StartOrder, GoesByGroupAndThenByManifest) {
  component("node", Group::Node, {}, {}, {});
  component("control-b", Group::Control, {}, {}, {});
  component("control-a", Group::Control, {}, {}, {});
  component("store", Group::Storage, {}, {}, {});
  EXPECT_EQ(order(), "store control-b control-a node");
}

TEST_F(StartOrder, WithinAGroupAServiceComesBeforeWhoNeedsOrWantsIt) {
  component("c", Group::Control, {}, {"b"}, {});
  component("b", Group::Control, {"a"}, {}, {"b"});
  component("x", Group::Control, {}, {"nobody"}, {});
  component("a", Group::Control, {"process"}, {}, {"a"});
  EXPECT_EQ(order(), "x a b c");
}

TEST_F(StartOrder, AMissingServiceIsNamedInOneLine) {
  component("scheduler", Group::Control, {"api-client"}, {}, {});
  EXPECT_EQ(order(), "component \"scheduler\" needs service \"api-client\", which no plugin in the manifest offers");
}

TEST_F(StartOrder, AServiceOfALaterGroupIsTooLate) {
  component("a", Group::Server, {"s"}, {}, {});
  component("b", Group::Node, {}, {}, {"s"});
  EXPECT_EQ(order(), "component \"a\" needs service \"s\", but \"b\", which offers it, starts later (group node)");
}

TEST_F(StartOrder, AWishForALaterServiceIsNoError) {
  component("a", Group::Server, {}, {"s"}, {});
  component("b", Group::Node, {}, {}, {"s"});
  EXPECT_EQ(order(), "a b");
}

TEST_F(StartOrder, ACircleOfNeedsIsNamed) {
  component("a", Group::Control, {"b"}, {}, {"a"});
  component("b", Group::Control, {"a"}, {}, {"b"});
  EXPECT_EQ(order(), "components need each other's services in a circle: \"a\" → \"b\" → \"a\"");
}

TEST_F(StartOrder, ACircleOfWishesIsCut) {
  component("a", Group::Control, {}, {"b"}, {"a"});
  component("b", Group::Control, {}, {"a"}, {"b"});
  EXPECT_EQ(order(), "a b");
}

TEST_F(StartOrder, TwoOffersOfOneServiceAreRefused) {
  component("a", Group::Control, {}, {}, {"s"});
  component("b", Group::Node, {}, {}, {"s"});
  EXPECT_EQ(order(), "service \"s\" is offered by two components, \"a\" and \"b\"");
}

TEST_F(StartOrder, TheCoresOwnServiceCannotBeOffered) {
  component("a", Group::Control, {}, {}, {"process"});
  EXPECT_EQ(order(), "component \"a\" offers service \"process\", which is the core's own");
}

}  // namespace
}  // namespace kubernel::lifecycle
