// SPDX-License-Identifier: Apache-2.0
#include <kubernel/crypto/pki.h>

#include <gtest/gtest.h>
#include <nlohmann/json.hpp>

namespace kubernel::crypto {
namespace {

using std::chrono::hours;
const Clock::WallTime kNow{std::chrono::seconds(1'767'225'600)};

KeyPair test_ca() {
  auto ca = make_ca("test-ca", kNow - hours(1), kNow + hours(24));
  EXPECT_TRUE(ca) << ca.error().message();
  return *ca;
}

CertificateRequest leaf_request() {
  return {.common_name = "someone",
          .organizations = {"group-a", "group-b"},
          .dns_names = {"localhost", "*.example.com"},
          .ip_addresses = {"127.0.0.1", "::1"},
          .server = true,
          .not_before = kNow,
          .not_after = kNow + hours(1)};
}

TEST(Certificate, SaysWhatWasAskedFor) {
  const auto leaf = issue(test_ca(), leaf_request());
  ASSERT_TRUE(leaf) << leaf.error().message();
  const auto info = read_certificate(leaf->certificate_pem);
  ASSERT_TRUE(info) << info.error().message();
  EXPECT_EQ(info->common_name, "someone");
  EXPECT_EQ(info->organizations, (std::vector<std::string>{"group-a", "group-b"}));
  EXPECT_EQ(info->dns_names, (std::vector<std::string>{"localhost", "*.example.com"}));
  EXPECT_EQ(info->ip_addresses, (std::vector<std::string>{"127.0.0.1", "::1"}));
  EXPECT_EQ(info->not_before, kNow);
  EXPECT_EQ(info->not_after, kNow + hours(1));
}

TEST(Certificate, ANodeNameLongerThan64CharactersFits) {
  CertificateRequest request = leaf_request();
  request.common_name = "system:node:" + std::string(200, 'n');
  const auto leaf = issue(test_ca(), request);
  ASSERT_TRUE(leaf) << leaf.error().message();
  EXPECT_EQ(read_certificate(leaf->certificate_pem)->common_name, request.common_name);
}

TEST(Certificate, RefusesNamesThatAreNone) {
  for (const char* bad : {"", "a b", "evil\nname", "x,DNS:other"}) {
    CertificateRequest request = leaf_request();
    request.dns_names = {bad};
    const auto leaf = issue(test_ca(), request);
    ASSERT_FALSE(leaf) << bad;
    EXPECT_EQ(leaf.error().reason(), Reason::Invalid);
  }
  CertificateRequest request = leaf_request();
  request.ip_addresses = {"300.1.1.1"};
  ASSERT_FALSE(issue(test_ca(), request));
  request = leaf_request();
  request.common_name = std::string("admin\0.evil", 11);
  ASSERT_FALSE(issue(test_ca(), request));
}

TEST(Certificate, RefusesACaWithAnotherKey) {
  KeyPair ca = test_ca();
  ca.private_key_pem = *make_private_key();
  const auto leaf = issue(ca, leaf_request());
  ASSERT_FALSE(leaf);
  EXPECT_EQ(leaf.error().reason(), Reason::Invalid);
}

TEST(Certificate, TextThatIsNoCertificateIsInvalid) {
  const auto info = read_certificate("hello");
  ASSERT_FALSE(info);
  EXPECT_EQ(info.error().reason(), Reason::Invalid);
}

TEST(Jwt, GivesBackTheClaimsItSigned) {
  const std::string key = *make_private_key();
  const auto claims = nlohmann::json::parse(R"({"iss":"https://x","aud":["a","b"],"exp":5})");
  const auto token = sign_jwt(claims, key);
  ASSERT_TRUE(token) << token.error().message();
  const auto verified = verify_jwt(*token, {*public_key(*make_private_key()), *public_key(key)});
  ASSERT_TRUE(verified) << verified.error().message();
  EXPECT_EQ(*verified, claims);
}

TEST(Jwt, AForeignKeyIsUnauthorized) {
  const auto token = sign_jwt(nlohmann::json::object(), *make_private_key());
  const auto verified = verify_jwt(*token, {*public_key(*make_private_key())});
  ASSERT_FALSE(verified);
  EXPECT_EQ(verified.error().reason(), Reason::Unauthorized);
  EXPECT_EQ(verified.error().message().find(*token), std::string::npos);
}

TEST(Jwt, AnyChangedCharacterIsUnauthorized) {
  const std::string key = *make_private_key();
  const std::vector<std::string> keys{*public_key(key)};
  const std::string token = *sign_jwt(nlohmann::json::parse(R"({"sub":"system:serviceaccount:a:b"})"), key);
  for (std::size_t i = 0; i < token.size(); ++i) {
    // The last digit of the signature carries two bits that decode to nothing.
    std::string changed = token;
    changed[i] = changed[i] == 'A' ? 'Q' : 'A';
    if (i + 1 == token.size()) continue;
    EXPECT_FALSE(verify_jwt(changed, keys)) << i;
  }
}

TEST(Jwt, TheAlgorithmNoneIsUnauthorized) {
  const std::string key = *make_private_key();
  const std::string token = base64url_encode(R"({"alg":"none"})") + "." + base64url_encode("{}") + ".";
  EXPECT_FALSE(verify_jwt(token, {*public_key(key)}));
  for (const char* text : {"", ".", "..", "a.b.c", "a.b.c.d", "{}.{}.{}"})
    EXPECT_FALSE(verify_jwt(text, {*public_key(key)}));
}

TEST(Jwk, NamesTheKeyAsTheTokenDoes) {
  const std::string key = *make_private_key();
  const std::string public_pem = *public_key(key);
  const auto jwk = to_jwk(public_pem);
  ASSERT_TRUE(jwk) << jwk.error().message();
  EXPECT_EQ(jwk->at("kid"), *key_id(public_pem));
  EXPECT_EQ(jwk->at("crv"), "P-256");
  EXPECT_EQ(jwk->at("x").get<std::string>().size(), 43U);
  EXPECT_EQ(jwk->at("y").get<std::string>().size(), 43U);
  EXPECT_FALSE(jwk->contains("d"));
}

TEST(Base64, IsThatOfRfc4648) {
  const std::vector<std::pair<std::string, std::string>> rows = {
      {"", ""}, {"f", "Zg=="}, {"fo", "Zm8="}, {"foo", "Zm9v"}, {"foob", "Zm9vYg=="}, {"foobar", "Zm9vYmFy"}};
  for (const auto& [plain, text] : rows) {
    EXPECT_EQ(base64_encode(plain), text);
    EXPECT_EQ(*base64_decode(text), plain);
  }
  EXPECT_EQ(*base64_decode("Zm9v\r\nYmFy\n"), "foobar");
  EXPECT_EQ(base64url_encode("\xfb\xff"), "-_8");
  for (const char* bad : {"Zg", "Zg=", "Z===", "====", "Zm9v!", "Zg==Zg==", "-_8="})
    EXPECT_FALSE(base64_decode(bad)) << bad;
}

TEST(Sha256, MatchesTheStandardsExample) {
  EXPECT_EQ(sha256_hex("abc"), "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad");
}

TEST(SystemRandom, DoesNotRepeat) {
  EXPECT_NE(system_random().next(), system_random().next());
}

}  // namespace
}  // namespace kubernel::crypto
