// SPDX-License-Identifier: Apache-2.0
#include "net/spdy_headers.h"

#include <array>
#include <cstdlib>

namespace kubernel::net {
namespace {

// Each with its length in front.
constexpr std::array kDictionaryWords = {"options",
                                         "head",
                                         "post",
                                         "put",
                                         "delete",
                                         "trace",
                                         "accept",
                                         "accept-charset",
                                         "accept-encoding",
                                         "accept-language",
                                         "accept-ranges",
                                         "age",
                                         "allow",
                                         "authorization",
                                         "cache-control",
                                         "connection",
                                         "content-base",
                                         "content-encoding",
                                         "content-language",
                                         "content-length",
                                         "content-location",
                                         "content-md5",
                                         "content-range",
                                         "content-type",
                                         "date",
                                         "etag",
                                         "expect",
                                         "expires",
                                         "from",
                                         "host",
                                         "if-match",
                                         "if-modified-since",
                                         "if-none-match",
                                         "if-range",
                                         "if-unmodified-since",
                                         "last-modified",
                                         "location",
                                         "max-forwards",
                                         "pragma",
                                         "proxy-authenticate",
                                         "proxy-authorization",
                                         "range",
                                         "referer",
                                         "retry-after",
                                         "server",
                                         "te",
                                         "trailer",
                                         "transfer-encoding",
                                         "upgrade",
                                         "user-agent",
                                         "vary",
                                         "via",
                                         "warning",
                                         "www-authenticate",
                                         "method",
                                         "get",
                                         "status",
                                         "200 OK",
                                         "version",
                                         "HTTP/1.1",
                                         "url",
                                         "public",
                                         "set-cookie",
                                         "keep-alive",
                                         "origin"};

// Then text without lengths.
constexpr std::string_view kDictionaryText =
    "100101201202205206300302303304305306307402405406407408409410411412413414415416417502504505"
    "203 Non-Authoritative Information204 No Content301 Moved Permanently400 Bad Request401 Unauthorized"
    "403 Forbidden404 Not Found500 Internal Server Error501 Not Implemented503 Service Unavailable"
    "Jan Feb Mar Apr May Jun Jul Aug Sept Oct Nov Dec 00:00:00 Mon, Tue, Wed, Thu, Fri, Sat, Sun, GMT"
    "chunked,text/html,image/png,image/jpg,image/gif,application/xml,application/xhtml+xml,text/plain,"
    "text/javascript,publicprivatemax-age=gzip,deflate,sdchcharset=utf-8charset=iso-8859-1,utf-,*,enq=0.";

void put_number(std::string& out, std::size_t value) {
  for (int shift = 24; shift >= 0; shift -= 8) out += static_cast<char>(value >> static_cast<unsigned>(shift) & 0xffU);
}

bool take_number(std::string_view& text, std::uint32_t& value) {
  if (text.size() < 4) return false;
  value = 0;
  for (int i = 0; i < 4; ++i) value = value << 8U | static_cast<unsigned char>(text[static_cast<std::size_t>(i)]);
  text.remove_prefix(4);
  return true;
}

bool take_text(std::string_view& text, std::string_view& value) {
  std::uint32_t size = 0;
  if (!take_number(text, size) || size > text.size()) return false;
  value = text.substr(0, size);
  text.remove_prefix(size);
  return true;
}

std::optional<Headers> parse_block(std::string_view text) {
  std::uint32_t count = 0;
  if (!take_number(text, count)) return std::nullopt;
  Headers headers;
  for (std::uint32_t i = 0; i < count; ++i) {
    std::string_view name;
    std::string_view value;
    if (!take_text(text, name) || !take_text(text, value) || name.empty()) return std::nullopt;
    // Several values of one name are separated by NUL.
    for (;;) {
      const std::size_t end = value.find('\0');
      headers.add(name, value.substr(0, end));
      if (end == std::string_view::npos) break;
      value.remove_prefix(end + 1);
    }
  }
  if (!text.empty()) return std::nullopt;
  return headers;
}

Bytef* bytes_of(std::string_view text) {
  // zlib does not write to its input.
  return reinterpret_cast<Bytef*>(const_cast<char*>(text.data()));
}

}  // namespace

const std::string& spdy_dictionary() {
  static const std::string dictionary = [] {
    std::string made;
    for (const std::string_view word : kDictionaryWords) {
      put_number(made, word.size());
      made += word;
    }
    return made.append(kDictionaryText);
  }();
  return dictionary;
}

SpdyDeflater::SpdyDeflater() {
  const std::string& dictionary = spdy_dictionary();
  // Small windows: a few short blocks are all that is ever sent.
  if (deflateInit2(&state_, Z_BEST_SPEED, Z_DEFLATED, 11, 1, Z_DEFAULT_STRATEGY) != Z_OK ||
      deflateSetDictionary(&state_, bytes_of(dictionary), static_cast<uInt>(dictionary.size())) != Z_OK) {
    std::abort();  // Out of memory.
  }
}

SpdyDeflater::~SpdyDeflater() {
  deflateEnd(&state_);
}

std::string SpdyDeflater::compress(const Headers& headers) {
  std::string plain;
  put_number(plain, headers.fields().size());
  for (const auto& [name, value] : headers.fields()) {
    put_number(plain, name.size());
    plain += name;
    put_number(plain, value.size());
    plain += value;
  }
  std::string out;
  std::array<char, 1024> buffer{};
  state_.next_in = bytes_of(plain);
  state_.avail_in = static_cast<uInt>(plain.size());
  do {
    state_.next_out = reinterpret_cast<Bytef*>(buffer.data());
    state_.avail_out = static_cast<uInt>(buffer.size());
    deflate(&state_, Z_SYNC_FLUSH);
    out.append(buffer.data(), buffer.size() - state_.avail_out);
  } while (state_.avail_out == 0);
  return out;
}

SpdyInflater::SpdyInflater() {
  if (inflateInit(&state_) != Z_OK) std::abort();  // Out of memory.
}

SpdyInflater::~SpdyInflater() {
  inflateEnd(&state_);
}

std::optional<Headers> SpdyInflater::decompress(std::string_view block, std::size_t limit) {
  const std::string& dictionary = spdy_dictionary();
  std::string plain;
  std::array<char, 4096> buffer{};
  state_.next_in = bytes_of(block);
  state_.avail_in = static_cast<uInt>(block.size());
  for (;;) {
    state_.next_out = reinterpret_cast<Bytef*>(buffer.data());
    state_.avail_out = static_cast<uInt>(buffer.size());
    const int result = inflate(&state_, Z_SYNC_FLUSH);
    plain.append(buffer.data(), buffer.size() - state_.avail_out);
    if (plain.size() > limit) return std::nullopt;
    if (result == Z_NEED_DICT) {
      if (inflateSetDictionary(&state_, bytes_of(dictionary), static_cast<uInt>(dictionary.size())) != Z_OK) {
        return std::nullopt;
      }
      continue;
    }
    if (result == Z_BUF_ERROR && state_.avail_in == 0) break;  // No more output: the block is complete.
    if (result != Z_OK) return std::nullopt;
    if (state_.avail_in == 0 && state_.avail_out > 0) break;
  }
  return parse_block(plain);
}

}  // namespace kubernel::net
