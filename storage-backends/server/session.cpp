// SPDX-License-Identifier: Apache-2.0
#include "session.h"

#include <algorithm>
#include <charconv>
#include <utility>

namespace kubernel::storage_server {

bool Rows::next() {
  if (columns_ == 0 || at_ + columns_ > cells_.size()) return false;
  at_ += columns_;
  return true;
}

std::int64_t Rows::number(std::size_t column) const {
  const std::string_view text = bytes(column);
  std::int64_t value = 0;
  std::from_chars(text.data(), text.data() + text.size(), value);
  return value;
}

std::string_view Rows::bytes(std::size_t column) const {
  const auto& found = cell(column);
  return found ? std::string_view(*found) : std::string_view();
}

std::string Rows::take(std::size_t column) {
  auto& found = cells_.at(at_ - columns_ + column);
  return found ? std::move(*found) : std::string();
}

void append_hex(std::string& out, std::string_view bytes) {
  static constexpr char kDigits[] = "0123456789abcdef";
  const std::size_t at = out.size();
  out.resize(at + 2 * bytes.size());
  char* to = out.data() + at;
  for (const char c : bytes) {
    const auto byte = static_cast<unsigned char>(c);
    *to++ = kDigits[byte >> 4U];
    *to++ = kDigits[byte & 15U];
  }
}

Result<void> in_parts(std::span<const storage_common::Row> rows, std::size_t max_bytes,
                      const std::function<Result<void>(std::span<const storage_common::Row>)>& write) {
  // What a row costs beside its key and value.
  constexpr std::size_t kRow = 128;
  while (!rows.empty()) {
    std::size_t count = 0;
    for (std::size_t bytes = 0; count < rows.size(); ++count) {
      const auto& kv = *rows[count].kv;
      bytes += kv.key.size() + kv.value.size() + kRow;
      if (bytes > max_bytes && count > 0) break;
    }
    KUBERNEL_CHECK_OK(write(rows.first(count)));
    rows = rows.subspan(count);
  }
  return {};
}

}  // namespace kubernel::storage_server
