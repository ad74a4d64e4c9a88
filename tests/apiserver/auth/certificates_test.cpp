// SPDX-License-Identifier: Apache-2.0
#include "http/client_certificate.h"

#include <chrono>

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <kubernel/crypto/pki.h>

namespace kubernel::apiserver {
namespace {

using ::testing::ElementsAre;

TEST(ClientCertificate, ItsNamesAreTheUserAndTheGroups) {
  const Clock::WallTime now{};
  const auto pair = crypto::make_ca("ca", now, now + std::chrono::hours(1));
  ASSERT_TRUE(pair);
  net::Request request;
  request.peer_certificate = net::PeerCertificate{"alice", {"dev", "ops"}, pair->certificate_pem};
  const auto found = make_certificate_authenticator()->authenticate({}, request);
  ASSERT_TRUE(found && *found);
  EXPECT_EQ((*found)->name, "alice");
  EXPECT_THAT((*found)->groups, ElementsAre("dev", "ops", "system:authenticated"));
  const auto& id = (*found)->extra.at("authentication.kubernetes.io/credential-id");
  ASSERT_EQ(id.size(), 1U);
  EXPECT_TRUE(id[0].starts_with("X509SHA256="));
  EXPECT_EQ(id[0].size(), 11U + 64U);
}

TEST(ClientCertificate, WithoutOneThereIsNoUser) {
  const auto found = make_certificate_authenticator()->authenticate({}, net::Request());
  ASSERT_TRUE(found);
  EXPECT_FALSE(*found);
}

}  // namespace
}  // namespace kubernel::apiserver
