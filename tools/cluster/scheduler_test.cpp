// SPDX-License-Identifier: Apache-2.0
#include "scheduler.h"

#include <gtest/gtest.h>

namespace kubernel::cluster {
namespace {

class FakeApi final : public ApiAccess {
 public:
  Result<void> wait_for_nodes(int, std::chrono::steady_clock::time_point) override { return {}; }
  Result<std::string> call(const std::string& method, const std::string& path,
                           std::chrono::steady_clock::time_point) override {
    asked = method + " " + path;
    return answer;
  }
  std::string asked;
  std::string answer = R"({"pod":"shop/web","scheduler":"default-scheduler","refused":"","nodes":[
    {"name":"a","fits":true,"total":150,"filters":[{"plugin":"NodePorts","verdict":"Skip","reasons":[]},{"plugin":"Fit","verdict":"Fits","reasons":[]}],
     "scores":[{"plugin":"Fit","score":75,"weight":2}]},
    {"name":"b","fits":false,"total":0,"filters":[{"plugin":"Fit","verdict":"Unschedulable","reasons":["Insufficient cpu","Too many pods"]}],"scores":[]}]})";
};

TEST(ExplainPod, PrintsNodeByNode) {
  FakeApi api;
  const auto text = explain_pod(api, "shop", "web", false);
  ASSERT_TRUE(text) << text.error().message();
  EXPECT_EQ(*text,
            "pod shop/web, scheduler default-scheduler\n"
            "node a: fits, total score 150\n"
            "  filter  NodePorts  -    nothing to check for this pod\n"
            "  filter  Fit        yes\n"
            "  score   Fit        75 x 2 = 150\n"
            "node b: does not fit\n"
            "  filter  Fit        no   Insufficient cpu; Too many pods (preemption might help)\n");
  EXPECT_EQ(api.asked, "GET /scheduler/explain?namespace=shop&pod=web");
}

TEST(ExplainPod, EscapesWhatANameCannotHave) {
  FakeApi api;
  ASSERT_TRUE(explain_pod(api, "a&b", "c d", true));
  EXPECT_EQ(api.asked, "GET /scheduler/explain?namespace=a%26b&pod=c%20d");
}

TEST(ExplainPod, AnAnswerThatIsNoneIsAnError) {
  EXPECT_FALSE(explanation_text("<html>"));
  EXPECT_FALSE(explanation_text("{}"));
}

}  // namespace
}  // namespace kubernel::cluster
