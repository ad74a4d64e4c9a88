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

std::uint32_t row_checksum(std::string_view key, std::string_view value, storage::Revision revision,
                           storage::Revision created, std::int64_t version, storage::LeaseId lease,
                           storage::Revision previous, bool deleted) {
  std::array<unsigned char, 7 * 8> numbers{};
  std::size_t at = 0;
  // The key's length keeps a byte from moving between key and value unnoticed.
  for (const std::int64_t number :
       {revision, created, version, lease, previous, std::int64_t{deleted}, static_cast<std::int64_t>(key.size())}) {
    for (unsigned shift = 0; shift < 64; shift += 8) {
      numbers[at++] = static_cast<unsigned char>(static_cast<std::uint64_t>(number) >> shift);
    }
  }
  auto sum = crc32_z(0, numbers.data(), numbers.size());
  sum = crc32_z(sum, reinterpret_cast<const unsigned char*>(key.data()), key.size());
  if (!value.empty()) sum = crc32_z(sum, reinterpret_cast<const unsigned char*>(value.data()), value.size());
  return static_cast<std::uint32_t>(sum);
}

Error damaged(std::string_view key, storage::Revision revision, std::string_view what) {
  return {Reason::Internal, "the store is damaged: key \"" + printable(key) + "\" at revision " +
                                std::to_string(revision) + ": " + std::string(what)};
}

}  // namespace kubernel::storage_common
