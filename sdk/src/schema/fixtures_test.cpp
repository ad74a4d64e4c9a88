// SPDX-License-Identifier: Apache-2.0
//
// Upstream's own fixtures: an object of each kind with all fields set, as JSON and as protobuf.

#include <kubernel/schema/codec.h>

#include <cstdlib>
#include <fstream>

#include <gtest/gtest.h>

#include "schema/base64.h"

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

std::string bytes_of(const Fixture& fixture) {
  std::string bytes;
  EXPECT_EQ(base64_decode(fixture.protobuf_base64, bytes), "");
  return bytes;
}

TEST(Fixtures, JsonBecomesTheSameProtobufByteForByte) {
  for (const Fixture& fixture : fixtures()) {
    const auto document = api::Document::parse(fixture.json);
    ASSERT_TRUE(document) << fixture.name;
    const std::string wanted = bytes_of(fixture);
    const auto message = encode_message(*fixture.type, (*document)->root());
    ASSERT_TRUE(message) << fixture.name << ": " << message.error().message();
    const auto wanted_message = protobuf_message(wanted);
    ASSERT_TRUE(wanted_message) << fixture.name << ": " << wanted_message.error().message();
    EXPECT_TRUE(*message == *wanted_message) << fixture.name;
    // A watch event's JSON does not say what kind it is.
    if (!(*document)->root()["kind"]) continue;
    const auto bytes = encode_protobuf((*document)->root());
    ASSERT_TRUE(bytes) << fixture.name << ": " << bytes.error().message();
    EXPECT_TRUE(*bytes == wanted) << fixture.name;
  }
}

TEST(Fixtures, ProtobufBecomesTheSameJsonByteForByte) {
  for (const Fixture& fixture : fixtures()) {
    const std::string bytes = bytes_of(fixture);
    const auto from_json = decode_json(*fixture.type, fixture.json, Strictness::Strict);
    ASSERT_TRUE(from_json);
    if (fixture.type->find("kind") == nullptr) {
      // A watch event does not say what kind it is; its reader knows.
      const auto message = decode_message(*fixture.type, *protobuf_message(bytes));
      ASSERT_TRUE(message) << fixture.name << ": " << message.error().message();
      EXPECT_EQ(message->dump(), from_json->document.dump()) << fixture.name;
      continue;
    }
    const auto decoded = decode_protobuf(bytes);
    ASSERT_TRUE(decoded) << fixture.name << ": " << decoded.error().message();
    EXPECT_EQ(encode_json(*fixture.type, decoded->document), fixture.json) << fixture.name;
    EXPECT_EQ(decoded->document.dump(), from_json->document.dump()) << fixture.name;
  }
}

TEST(Fixtures, DamagedJsonIsRefusedExactlyWhenAnotherParserRefusesIt) {
  for (const Fixture& fixture : fixtures()) {
    const std::size_t step = fixture.json.size() / 24 + 1;
    for (std::size_t at = 0; at < fixture.json.size(); at += step) {
      std::string damaged = fixture.json;
      damaged[at] = static_cast<char>(damaged[at] ^ (1 << at % 8));
      for (const std::string& text : {damaged, fixture.json.substr(0, at)}) {
        EXPECT_EQ(api::Document::parse(text).has_value(), nlohmann::json::accept(text)) << text;
        (void)decode_json(*fixture.type, text, Strictness::Warn);
      }
    }
  }
}

/// No message, however broken, may do more than be refused.
TEST(Fixtures, TruncatedAndDamagedProtobufIsRefusedOrReadButNeverMore) {
  for (const Fixture& fixture : fixtures()) {
    const std::string bytes = bytes_of(fixture);
    const std::size_t step = bytes.size() / 16 + 1;
    for (std::size_t length = 0; length < bytes.size(); length += step) {
      (void)decode_protobuf(std::string_view(bytes).substr(0, length));
    }
    for (std::size_t at = 4; at < bytes.size(); at += step) {
      std::string damaged = bytes;
      damaged[at] = static_cast<char>(damaged[at] ^ (1 << at % 8));
      (void)decode_protobuf(damaged);
    }
  }
}

}  // namespace
}  // namespace kubernel::schema
