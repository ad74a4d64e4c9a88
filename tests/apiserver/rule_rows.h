// SPDX-License-Identifier: Apache-2.0
//
// Tables of validation rules: each row changes a legal object, and names what a client is told.
#pragma once

#include <string>
#include <vector>

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "fixture.h"

namespace kubernel::apiserver {

struct Row {
  const char* rule;                 ///< What upstream calls the rule, or what it says.
  const char* change;               ///< A JSON merge patch on the legal object of the table.
  std::vector<std::string> causes;  ///< "reason field: message" in order.
};

inline std::vector<std::string> causes_of(const Error& error) {
  std::vector<std::string> out;
  if (error.details() == nullptr) return {error.message()};
  for (const Cause& cause : error.details()->causes)
    out.push_back(cause.reason.substr(10) + " " + cause.field + ": " + cause.message);
  return out;
}

inline void check_creates(const api::Resource& resource, const char* ns, const char* legal,
                          const std::vector<Row>& rows) {
  Fixture f;
  client::WriteOptions dry;
  dry.dry_run = true;
  const auto good = f.client().create({}, resource, {ns, ""}, json::parse(legal), dry);
  ASSERT_TRUE(good) << good.error().message();
  for (const Row& row : rows) {
    json object = json::parse(legal);
    object.merge_patch(json::parse(row.change));
    const auto made = f.client().create({}, resource, {ns, ""}, object, dry);
    if (made) {
      EXPECT_TRUE(row.causes.empty()) << row.rule << ": accepted";
      continue;
    }
    EXPECT_EQ(made.error().reason(), Reason::Invalid) << row.rule;
    EXPECT_THAT(causes_of(made.error()), ::testing::ElementsAreArray(row.causes)) << row.rule;
  }
}

inline void check_updates(const api::Resource& resource, const char* ns, const char* legal,
                          const std::vector<Row>& rows) {
  Fixture f;
  const auto made = f.create(resource, ns, legal);
  client::WriteOptions dry;
  dry.dry_run = true;
  for (const Row& row : rows) {
    json object = made.to_json();
    object.merge_patch(json::parse(row.change));
    const auto updated = f.client().update({}, resource, made.key(), object, dry);
    if (updated) {
      EXPECT_TRUE(row.causes.empty()) << row.rule << ": accepted";
      continue;
    }
    EXPECT_EQ(updated.error().reason(), Reason::Invalid) << row.rule;
    EXPECT_THAT(causes_of(updated.error()), ::testing::ElementsAreArray(row.causes)) << row.rule;
  }
}

}  // namespace kubernel::apiserver
