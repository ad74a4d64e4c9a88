// SPDX-License-Identifier: Apache-2.0
#include <array>
#include <cstdint>
#include <span>

#include <openssl/sha.h>

#include "crypto/encoding.h"

namespace kubernel::crypto {
namespace {

constexpr std::string_view kStandard = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
constexpr std::string_view kUrlSafe = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_";

using ReverseAlphabet = std::array<std::int8_t, 256>;

constexpr ReverseAlphabet reverse(std::string_view alphabet) {
  ReverseAlphabet values{};
  values.fill(-1);
  for (std::size_t i = 0; i < alphabet.size(); ++i) {
    values[static_cast<unsigned char>(alphabet[i])] = static_cast<std::int8_t>(i);
  }
  return values;
}

constexpr ReverseAlphabet kStandardValues = reverse(kStandard);
constexpr ReverseAlphabet kUrlSafeValues = reverse(kUrlSafe);

std::string encode(std::string_view bytes, std::string_view alphabet, bool pad) {
  std::string out;
  out.reserve((bytes.size() + 2) / 3 * 4);
  std::uint32_t group = 0;
  int filled = 0;
  const auto put = [&](int digits) {
    for (int i = 0; i < digits; ++i) out += alphabet[(group >> (18 - 6 * i)) & 63U];
  };
  for (const char c : bytes) {
    group |= static_cast<std::uint32_t>(static_cast<unsigned char>(c)) << (16 - 8 * filled);
    if (++filled < 3) continue;
    put(4);
    group = 0;
    filled = 0;
  }
  if (filled > 0) {
    put(filled + 1);
    if (pad) out.append(static_cast<std::size_t>(3 - filled), '=');
  }
  return out;
}

// Reads digits up to the end or the first '='; returns false for a character outside the alphabet or a lone last digit.
bool decode_digits(std::string_view digits, const ReverseAlphabet& values, std::string& out) {
  if (digits.size() % 4 == 1) return false;
  std::uint32_t group = 0;
  int bits = 0;
  for (const char c : digits) {
    const int value = values[static_cast<unsigned char>(c)];
    if (value < 0) return false;
    group = group << 6U | static_cast<std::uint32_t>(value);
    bits += 6;
    if (bits < 8) continue;
    bits -= 8;
    out += static_cast<char>(group >> static_cast<unsigned>(bits) & 0xffU);
  }
  return true;
}

}  // namespace

std::string base64_encode(std::string_view bytes) {
  return encode(bytes, kStandard, true);
}

std::string base64url_encode(std::string_view bytes) {
  return encode(bytes, kUrlSafe, false);
}

Result<std::string> base64_decode(std::string_view text) {
  // As Go's StdEncoding, which upstream uses: line breaks are skipped, padding is required.
  std::string compact;
  compact.reserve(text.size());
  for (const char c : text) {
    if (c != '\r' && c != '\n') compact += c;
  }
  const Error malformed(Reason::Invalid, "illegal base64 data");
  if (compact.size() % 4 != 0) return malformed;
  std::string_view digits = compact;
  for (int i = 0; i < 2 && digits.ends_with('='); ++i) digits.remove_suffix(1);
  std::string out;
  out.reserve(digits.size() * 3 / 4);
  if (!decode_digits(digits, kStandardValues, out)) return malformed;
  return out;
}

Result<std::string> base64url_decode(std::string_view text) {
  std::string out;
  out.reserve(text.size() * 3 / 4);
  if (!decode_digits(text, kUrlSafeValues, out)) return Error(Reason::Invalid, "illegal base64url data");
  return out;
}

std::string sha256(std::string_view bytes) {
  std::string digest(SHA256_DIGEST_LENGTH, '\0');
  SHA256(reinterpret_cast<const unsigned char*>(bytes.data()), bytes.size(),
         reinterpret_cast<unsigned char*>(digest.data()));
  return digest;
}

std::string sha256_hex(std::string_view bytes) {
  constexpr std::string_view kDigits = "0123456789abcdef";
  std::string out;
  for (const char c : sha256(bytes)) {
    out += kDigits[static_cast<unsigned char>(c) >> 4U];
    out += kDigits[static_cast<unsigned char>(c) & 15U];
  }
  return out;
}

}  // namespace kubernel::crypto
