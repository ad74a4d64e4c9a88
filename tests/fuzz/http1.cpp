// SPDX-License-Identifier: Apache-2.0
//
// HTTP/1.1 heads and bodies: the same bytes mean the same, however they are cut.

#include <vector>

#include "net/http1_parser.h"
#include "target.h"

using kubernel::fuzz::must;
namespace net = kubernel::net;

namespace {

struct Read {
  int status = 0;  // 0: a good head.
  std::string path;
  std::string body;
  int end = 0;  // How the body ended.

  bool operator==(const Read&) const = default;
};

// Reads a request whose bytes come `step` at a time.
Read read_request(std::string_view input, std::size_t step) {
  Read out;
  net::HeadReader head_reader(2048);
  net::BodyReader body_reader;
  bool in_body = false;
  while (!input.empty()) {
    std::string_view bytes = input.substr(0, step);
    input.remove_prefix(bytes.size());
    if (!in_body) {
      const auto state = head_reader.take(bytes);
      if (state == net::HeadReader::State::TooLarge) return {.status = 431, .path = {}, .body = {}, .end = 0};
      if (state == net::HeadReader::State::More) continue;
      net::RequestHead head;
      if (const auto failure = net::parse_request_head(head_reader.release(), head)) {
        must(failure->status >= 400 && failure->status < 600, "a refusal is an error status");
        return {.status = failure->status, .path = {}, .body = {}, .end = 0};
      }
      out.path = head.request.path;
      std::string fields;
      net::append_fields(fields, head.request.headers);
      body_reader.begin(head.body);
      in_body = true;
    }
    while (!body_reader.ended()) {
      std::string_view data;
      const std::size_t before = bytes.size();
      const auto state = body_reader.take(bytes, data);
      if (state == net::BodyReader::State::Malformed) {
        out.end = 2;
        return out;
      }
      if (state != net::BodyReader::State::Data) break;
      must(!data.empty() && bytes.size() < before, "a piece of a body moves on");
      out.body += data;
    }
    if (body_reader.ended()) {
      out.end = 1;
      return out;
    }
  }
  return out;
}

}  // namespace

KUBERNEL_FUZZ(input) {
  const Read whole = read_request(input, input.size());
  must(read_request(input, 1) == whole, "a request cut into bytes is the same request");
  must(read_request(input, 7) == whole, "a request cut into pieces is the same request");
  for (const char* method : {"GET", "HEAD", "CONNECT"}) {
    net::ResponseHead head;
    static_cast<void>(net::parse_response_head(input, method, head));
  }
}
