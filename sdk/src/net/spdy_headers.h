// SPDX-License-Identifier: Apache-2.0
//
// SPDY/3's compressed name/value blocks.

#pragma once

#include <optional>
#include <string>
#include <string_view>

#include <zlib.h>

#include <kubernel/net/http.h>

namespace kubernel::net {

/// The dictionary both directions begin with (SPDY/3, 2.6.10.1).
const std::string& spdy_dictionary();

/// One direction's compression state: every block depends on all before it, so none may be skipped.
class SpdyDeflater {
 public:
  SpdyDeflater();
  SpdyDeflater(const SpdyDeflater&) = delete;
  SpdyDeflater& operator=(const SpdyDeflater&) = delete;
  ~SpdyDeflater();
  std::string compress(const Headers& headers);

 private:
  z_stream state_{};
};

class SpdyInflater {
 public:
  SpdyInflater();
  SpdyInflater(const SpdyInflater&) = delete;
  SpdyInflater& operator=(const SpdyInflater&) = delete;
  ~SpdyInflater();
  /// Absent: malformed, or larger than `limit`; the connection cannot go on.
  std::optional<Headers> decompress(std::string_view block, std::size_t limit);

 private:
  z_stream state_{};
};

}  // namespace kubernel::net
