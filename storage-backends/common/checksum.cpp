// SPDX-License-Identifier: Apache-2.0
#include "checksum.h"

#include <array>
#include <string>

#include <zlib.h>

namespace kubernel::storage_common {
namespace {

// Keys are bytes; an error line is text.
std::string printable(std::string_view key) {
  static constexpr char kHex[] = "0123456789abcdef";
  std::string out;
  for (const char c : key.substr(0, 256)) {
    const auto byte = static_cast<unsigned char>(c);
    if (byte >= 0x20 && byte < 0x7f && c != '"' && c != '\\') {
      out += c;
    } else {
      out += {'\\', 'x', kHex[byte >> 4U], kHex[byte & 15U]};
    }
  }
  return key.size() > 256 ? out + "..." : out;
}

}  // namespace

std::uint32_t row_checksum(const Row& row) {
  const storage::KeyValue& kv = *row.kv;
  std::array<unsigned char, 8 * 8> numbers{};
  std::size_t at = 0;
  const auto add = [&](std::int64_t number) {
    for (unsigned shift = 0; shift < 64; shift += 8) {
      numbers[at++] = static_cast<unsigned char>(static_cast<std::uint64_t>(number) >> shift);
    }
  };
  for (const std::int64_t number : {kv.modified, kv.created, kv.version, kv.lease, revision_of(row.previous),
                                    std::int64_t{row.deleted}, static_cast<std::int64_t>(kv.key.size())}) {
    add(number);  // The key's length keeps a byte from moving between key and value unnoticed.
  }
  // Rows of the first schema had no place in a revision, and keep their checksum.
  const std::int64_t places =
      ((row.id & (kRowsPerRevision - 1)) << kPlaceBits) | (row.previous & (kRowsPerRevision - 1));
  if (places != 0) add(places);
  auto sum = crc32_z(0, numbers.data(), at);
  sum = crc32_z(sum, reinterpret_cast<const unsigned char*>(kv.key.data()), kv.key.size());
  if (!kv.value.empty()) {
    sum = crc32_z(sum, reinterpret_cast<const unsigned char*>(kv.value.data()), kv.value.size());
  }
  return static_cast<std::uint32_t>(sum);
}

Error damaged(std::string_view key, storage::Revision revision, std::string_view what) {
  return {Reason::Internal, "the store is damaged: key \"" + printable(key) + "\" at revision " +
                                std::to_string(revision) + ": " + std::string(what)};
}

}  // namespace kubernel::storage_common
