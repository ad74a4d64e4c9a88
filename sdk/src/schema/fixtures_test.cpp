// SPDX-License-Identifier: Apache-2.0
//
// Upstream's own fixtures: an object of each kind with all fields set, as JSON and as protobuf.

#include <kubernel/schema/codec.h>

#include <cstdlib>
#include <fstream>

#include <gtest/gtest.h>

namespace kubernel::schema {
namespace {

struct Fixture {
  std::string name, json, protobuf_base64;
  const Type* type = nullptr;
};

std::vector<Fixture> load() {
  const char* path = std::getenv("KUBERNEL_API_FIXTURES");
  std::ifstream file(path != nullptr ? path : "");
  std::vector<Fixture> fixtures;
  Fixture row;
  while (std::getline(file, row.name, '\t') && std::getline(file, row.json, '\t') &&
         std::getline(file, row.protobuf_base64)) {
    const std::size_t kind = row.name.rfind('.');
    const std::size_t version = row.name.rfind('.', kind - 1);
    const std::string group = row.name.substr(0, version);
    row.type = find_kind(group == "core" ? "" : group, row.name.substr(version + 1, kind - version - 1),
                         row.name.substr(kind + 1));
    fixtures.push_back(row);
  }
  return fixtures;
}

const std::vector<Fixture>& fixtures() {
  static const std::vector<Fixture> all = load();
  return all;
}

TEST(Fixtures, AreThereAndAllKindsAreKnown) {
  ASSERT_GE(fixtures().size(), 91U) << "KUBERNEL_API_FIXTURES must name a file made by sdk/schema/pack_fixtures.py";
  for (const Fixture& fixture : fixtures()) EXPECT_NE(fixture.type, nullptr) << fixture.name;
}

TEST(Fixtures, JsonReadsStrictlyAndWritesBackByteForByte) {
  for (const Fixture& fixture : fixtures()) {
    const auto decoded = decode_json(*fixture.type, fixture.json, Strictness::Strict);
    ASSERT_TRUE(decoded) << fixture.name << ": " << decoded.error().message();
    EXPECT_EQ(encode_json(*fixture.type, decoded->document), fixture.json) << fixture.name;
  }
}

}  // namespace
}  // namespace kubernel::schema
