// SPDX-License-Identifier: Apache-2.0
#include "preempting.h"

#include <gmock/gmock.h>

#include "fixture.h"

namespace kubernel::plugins {
namespace {

using ::testing::ElementsAre;
using ::testing::IsEmpty;
using ::testing::UnorderedElementsAre;

class PreemptingTest : public PreemptionTest {
 protected:
  Pods victims(const std::vector<std::string>& of) {
    Pods out;
    for (const std::string& name : of) out.push_back(running(name, 1, "1"));
    return out;
  }
  Preempting preempting_;
};

TEST_F(PreemptingTest, ThePreemptorIsKeptOutUntilOnlyOneVictimIsLeftToTell) {
  preempting_.begin("p", victims({"a", "b"}));
  EXPECT_TRUE(preempting_.contains("p"));
  preempting_.let_in("p");
  EXPECT_FALSE(preempting_.contains("p"));
}

TEST_F(PreemptingTest, TheEndOfTheLastVictimHelps) {
  preempting_.begin("p", victims({"a", "b"}));
  preempting_.let_in("p");
  EXPECT_TRUE(preempting_.told("p"));
  EXPECT_THAT(preempting_.helped_by_end_of("u-a"), IsEmpty());
  EXPECT_THAT(preempting_.helped_by_end_of("u-b"), ElementsAre("p"));
  EXPECT_THAT(preempting_.helped_by_end_of("u-stranger"), IsEmpty());  // Nobody waits any more.
}

TEST_F(PreemptingTest, TheEndOfTheLastVictimHelpsWhileItIsStillBeingTold) {
  preempting_.begin("p", victims({"a"}));
  preempting_.let_in("p");
  EXPECT_THAT(preempting_.helped_by_end_of("u-a"), ElementsAre("p"));
  EXPECT_FALSE(preempting_.told("p"));
}

TEST_F(PreemptingTest, VictimsThatEndBeforeAllAreToldLeaveNothingToWaitFor) {
  preempting_.begin("p", victims({"a", "b"}));
  EXPECT_THAT(preempting_.helped_by_end_of("u-a"), IsEmpty());
  EXPECT_THAT(preempting_.helped_by_end_of("u-b"), IsEmpty());
  EXPECT_FALSE(preempting_.told("p"));
}

TEST_F(PreemptingTest, AVictimThatWasGoneBeforeIsNotWaitedFor) {
  preempting_.begin("p", victims({"a", "b"}));
  preempting_.gone("p", "u-a");
  preempting_.let_in("p");
  EXPECT_TRUE(preempting_.told("p"));
  EXPECT_THAT(preempting_.helped_by_end_of("u-b"), ElementsAre("p"));
}

TEST_F(PreemptingTest, TheRoomOfOthersVictimsIsPromisedAlready) {
  preempting_.begin("p", victims({"a"}));
  preempting_.begin("q", victims({"b"}));
  EXPECT_TRUE(preempting_.told("p"));
  EXPECT_TRUE(preempting_.told("q"));
  EXPECT_THAT(preempting_.helped_by_end_of("u-b"), ElementsAre("q"));
  EXPECT_THAT(preempting_.waiting(), ElementsAre("p"));
}

TEST_F(PreemptingTest, TheRoomOfAStrangerMayHelpWhoeverWaits) {
  preempting_.begin("p", victims({"a"}));
  preempting_.begin("q", victims({"b"}));
  preempting_.begin("r", victims({"c"}));
  EXPECT_TRUE(preempting_.told("p"));
  EXPECT_TRUE(preempting_.told("q"));
  EXPECT_THAT(preempting_.helped_by_end_of("u-stranger"), UnorderedElementsAre("p", "q"));
}

TEST_F(PreemptingTest, TwoMayWaitForOneVictim) {
  preempting_.begin("p", victims({"a"}));
  preempting_.begin("q", victims({"a", "b"}));
  EXPECT_TRUE(preempting_.told("p"));
  EXPECT_TRUE(preempting_.told("q"));
  EXPECT_THAT(preempting_.helped_by_end_of("u-a"), ElementsAre("p"));
  EXPECT_THAT(preempting_.helped_by_end_of("u-b"), ElementsAre("q"));
}

TEST_F(PreemptingTest, AForgottenPreemptorIsNeitherKeptOutNorHelped) {
  preempting_.begin("p", victims({"a"}));
  preempting_.forget("p");
  EXPECT_FALSE(preempting_.contains("p"));
  EXPECT_THAT(preempting_.helped_by_end_of("u-a"), IsEmpty());
}

TEST_F(PreemptingTest, AnotherAttemptCountsAnew) {
  preempting_.begin("p", victims({"a"}));
  EXPECT_TRUE(preempting_.told("p"));
  preempting_.begin("p", victims({"b"}));
  EXPECT_TRUE(preempting_.contains("p"));
  EXPECT_THAT(preempting_.waiting(), IsEmpty());
  EXPECT_TRUE(preempting_.told("p"));
  EXPECT_THAT(preempting_.helped_by_end_of("u-b"), ElementsAre("p"));
}

}  // namespace
}  // namespace kubernel::plugins
