// SPDX-License-Identifier: Apache-2.0
#include "http/gzip.h"

#include <cstdlib>

#include <zlib.h>

#include "registry/errors.h"

namespace kubernel::apiserver {

namespace {

constexpr int kGzipWindow = 15 + 16;  // The largest window; 16 asks for gzip's own header.

// zlib does not write to its input.
Bytef* input(std::string_view bytes) {
  return reinterpret_cast<Bytef*>(const_cast<char*>(bytes.data()));
}

}  // namespace

std::string gzip(std::string_view text) {
  z_stream stream{};
  if (deflateInit2(&stream, Z_DEFAULT_COMPRESSION, Z_DEFLATED, kGzipWindow, 8, Z_DEFAULT_STRATEGY) != Z_OK) {
    std::abort();  // Only for lack of memory.
  }
  std::string out(deflateBound(&stream, static_cast<uLong>(text.size())), '\0');
  stream.next_in = input(text);
  stream.avail_in = static_cast<uInt>(text.size());
  stream.next_out = reinterpret_cast<Bytef*>(out.data());
  stream.avail_out = static_cast<uInt>(out.size());
  deflate(&stream, Z_FINISH);  // One call suffices: the bound holds everything.
  out.resize(stream.total_out);
  deflateEnd(&stream);
  out.shrink_to_fit();
  return out;
}

Result<std::string> gunzip(std::string_view bytes) {
  z_stream stream{};
  if (inflateInit2(&stream, kGzipWindow) != Z_OK) std::abort();  // Only for lack of memory.
  stream.next_in = input(bytes);
  stream.avail_in = static_cast<uInt>(bytes.size());
  std::string out(bytes.size() * 8 + 1024, '\0');
  int state = Z_OK;
  while (state == Z_OK) {
    if (stream.total_out == out.size()) out.resize(out.size() * 2);
    stream.next_out = reinterpret_cast<Bytef*>(out.data()) + stream.total_out;
    stream.avail_out = static_cast<uInt>(out.size() - stream.total_out);
    state = inflate(&stream, Z_NO_FLUSH);
  }
  out.resize(stream.total_out);
  inflateEnd(&stream);
  if (state != Z_STREAM_END) return bad_request("the bytes are no whole gzip stream");
  return out;
}

bool accepts_gzip(const net::Request& request) {
  for (std::string_view header : request.headers.all("accept-encoding")) {
    while (!header.empty()) {
      const std::size_t comma = header.find(',');
      std::string_view one = header.substr(0, comma);
      header.remove_prefix(comma == std::string_view::npos ? header.size() : comma + 1);
      const std::size_t semicolon = one.find(';');
      const std::string_view weight =
          semicolon == std::string_view::npos ? std::string_view() : one.substr(semicolon + 1);
      one = one.substr(0, semicolon);
      const std::size_t begin = one.find_first_not_of(" \t");
      if (begin == std::string_view::npos) continue;
      one = one.substr(begin, one.find_last_not_of(" \t") - begin + 1);
      if (one == "gzip" || one == "*")
        return weight.find("q=0") == std::string_view::npos || weight.find("q=0.") != std::string_view::npos;
    }
  }
  return false;
}

}  // namespace kubernel::apiserver
