// SPDX-License-Identifier: Apache-2.0
#include "net/http1_parser.h"

#include <algorithm>

#include "net/http_text.h"

namespace kubernel::net {
namespace {

constexpr std::size_t kMaxChunkOverhead = 16 * 1024;
constexpr int kMaxSizeDigits = 15;

ParseFailure bad(std::string message) {
  return {400, std::move(message)};
}

// The next line without its CRLF. False for a bare CR or LF.
bool next_line(std::string_view& text, std::string_view& line) {
  const std::size_t end = text.find("\r\n");
  line = text.substr(0, end);
  text = end == std::string_view::npos ? std::string_view() : text.substr(end + 2);
  return line.find_first_of("\r\n") == std::string_view::npos;
}

bool parse_fields(std::string_view text, Headers& headers) {
  while (!text.empty()) {
    std::string_view line;
    if (!next_line(text, line)) return false;
    const std::size_t colon = line.find(':');
    if (colon == std::string_view::npos) return false;
    const std::string_view name = line.substr(0, colon);
    const std::string_view value = trim(line.substr(colon + 1));
    // A space before the colon or a folded line make the name no token.
    if (!is_token(name) || !is_field_value(value)) return false;
    headers.add(name, value);
  }
  return true;
}

// Content-Length and Transfer-Encoding as both kinds of message share them. False: malformed.
bool parse_framing(const Headers& headers, bool http10, BodyFraming& body, int& status) {
  const auto lengths = headers.all("content-length");
  const auto encodings = headers.all("transfer-encoding");
  if (!encodings.empty()) {
    if (!lengths.empty() || http10) return false;
    if (encodings.size() != 1 || !equal_ignoring_case(encodings.front(), "chunked")) {
      status = 501;
      return false;
    }
    body.framing = Framing::Chunked;
    return true;
  }
  for (const std::string_view text : lengths) {
    const auto length = parse_decimal(text);
    if (!length || text != lengths.front()) return false;
    body = {Framing::Length, *length};
  }
  if (body.length == 0) body.framing = lengths.empty() ? body.framing : Framing::None;
  return true;
}

bool wants_keep_alive(const Headers& headers, bool http10) {
  if (has_word(headers, "connection", "close")) return false;
  return !http10 || has_word(headers, "connection", "keep-alive");
}

int hex_value(char c) {
  if (c >= '0' && c <= '9') return c - '0';
  if (c >= 'a' && c <= 'f') return c - 'a' + 10;
  return c >= 'A' && c <= 'F' ? c - 'A' + 10 : -1;
}

}  // namespace

HeadReader::State HeadReader::take(std::string_view& bytes) {
  // A few clients send an empty line after a body.
  while (text_.empty() && (bytes.starts_with('\r') || bytes.starts_with('\n'))) bytes.remove_prefix(1);
  const std::size_t before = text_.size();
  const std::size_t room = limit_ + 4 - std::min(before, limit_ + 4);
  const std::size_t size = std::min(bytes.size(), room);
  text_.append(bytes.substr(0, size));
  const std::size_t end = text_.find("\r\n\r\n", before < 3 ? 0 : before - 3);
  if (end == std::string::npos) {
    bytes.remove_prefix(size);
    return text_.size() >= limit_ + 4 ? State::TooLarge : State::More;
  }
  bytes.remove_prefix(end + 4 - before);
  text_.resize(end);
  return State::Complete;
}

std::string HeadReader::release() {
  return std::exchange(text_, {});
}

std::optional<ParseFailure> parse_request_head(std::string_view text, RequestHead& head) {
  std::string_view line;
  if (!next_line(text, line)) return bad("malformed request line");
  const std::size_t first = line.find(' ');
  const std::size_t last = line.rfind(' ');
  if (first == std::string_view::npos || first == last) return bad("malformed request line");
  const std::string_view method = line.substr(0, first);
  const std::string_view version = line.substr(last + 1);
  if (!is_token(method)) return bad("malformed method");
  if (!version.starts_with("HTTP/")) return bad("malformed HTTP version");
  if (version != "HTTP/1.1" && version != "HTTP/1.0") return ParseFailure{505, "HTTP version not supported"};
  head.http10 = version == "HTTP/1.0";
  head.request.method = method;
  if (method == "CONNECT") return ParseFailure{501, "CONNECT is not supported"};
  if (!parse_target(line.substr(first + 1, last - first - 1), head.request)) return bad("malformed request target");

  Headers& headers = head.request.headers;
  if (!parse_fields(text, headers)) return bad("malformed header field");
  const std::size_t hosts = headers.all("host").size();
  if (hosts > 1 || (hosts == 0 && !head.http10)) return bad("exactly one Host header is required");
  int status = 400;
  if (!parse_framing(headers, head.http10, head.body, status)) {
    return ParseFailure{status, status == 501 ? "unsupported transfer encoding" : "malformed message length"};
  }
  head.keep_alive = wants_keep_alive(headers, head.http10);
  head.expects_continue = !head.http10 && equal_ignoring_case(headers.get("expect"), "100-continue");
  return std::nullopt;
}

bool parse_response_head(std::string_view text, std::string_view method, ResponseHead& head) {
  std::string_view line;
  if (!next_line(text, line)) return false;
  if (!line.starts_with("HTTP/1.1 ") && !line.starts_with("HTTP/1.0 ")) return false;
  const bool http10 = line[7] == '0';
  const auto status = parse_decimal(line.substr(9, 3));
  if (line.size() < 12 || (line.size() > 12 && line[12] != ' ') || !status || *status < 100) return false;
  head.status = static_cast<int>(*status);
  if (!parse_fields(text, head.headers)) return false;
  int refused = 0;
  if (!parse_framing(head.headers, http10, head.body, refused)) return false;
  head.keep_alive = wants_keep_alive(head.headers, http10);
  if (method == "HEAD" || head.status < 200 || head.status == 204 || head.status == 304) {
    head.body = {};
  } else if (head.body.framing == Framing::None && head.headers.get("content-length").empty()) {
    head.body.framing = Framing::UntilClose;
    head.keep_alive = false;
  }
  return true;
}

void BodyReader::begin(const BodyFraming& framing) {
  left_ = framing.length;
  digits_ = 0;
  overhead_ = 0;
  trailer_.clear();
  switch (framing.framing) {
    case Framing::None: phase_ = Phase::Done; break;
    case Framing::Length: phase_ = left_ == 0 ? Phase::Done : Phase::Fixed; break;
    case Framing::Chunked:
      phase_ = Phase::Size;
      left_ = 0;
      break;
    case Framing::UntilClose: phase_ = Phase::UntilClose; break;
  }
}

bool BodyReader::end_of_input() {
  if (phase_ != Phase::UntilClose) return phase_ == Phase::Done;
  phase_ = Phase::Done;
  return true;
}

BodyReader::State BodyReader::take(std::string_view& bytes, std::string_view& data) {
  while (phase_ != Phase::Done) {
    if (bytes.empty()) return State::More;
    if (phase_ == Phase::Fixed || phase_ == Phase::Chunk || phase_ == Phase::UntilClose) {
      const std::uint64_t room = phase_ == Phase::UntilClose ? bytes.size() : left_;
      data = bytes.substr(0, static_cast<std::size_t>(std::min<std::uint64_t>(room, bytes.size())));
      bytes.remove_prefix(data.size());
      if (phase_ == Phase::UntilClose) return State::Data;
      left_ -= data.size();
      if (left_ == 0) phase_ = phase_ == Phase::Fixed ? Phase::Done : Phase::ChunkReturn;
      return State::Data;
    }
    const char c = bytes.front();
    bytes.remove_prefix(1);
    const State state = phase_ == Phase::Trailer ? take_trailer_byte(c) : take_line_byte(c);
    if (state == State::Malformed) return state;
  }
  return State::End;
}

BodyReader::State BodyReader::take_line_byte(char c) {
  switch (phase_) {
    case Phase::Size: {
      const int value = hex_value(c);
      if (value >= 0) {
        left_ = left_ * 16 + static_cast<std::uint64_t>(value);
        return ++digits_ > kMaxSizeDigits ? State::Malformed : State::More;
      }
      if (digits_ == 0) return State::Malformed;
      if (c == '\r') {
        phase_ = Phase::SizeEnd;
      } else if (c == ';' || c == ' ' || c == '\t') {
        phase_ = Phase::Extension;
      } else {
        return State::Malformed;
      }
      return State::More;
    }
    case Phase::Extension:
      if (c == '\n' || ++overhead_ > kMaxChunkOverhead) return State::Malformed;
      if (c == '\r') phase_ = Phase::SizeEnd;
      return State::More;
    case Phase::SizeEnd:
      if (c != '\n') return State::Malformed;
      phase_ = left_ == 0 ? Phase::Trailer : Phase::Chunk;
      digits_ = 0;
      return State::More;
    case Phase::ChunkReturn: phase_ = Phase::ChunkFeed; return c == '\r' ? State::More : State::Malformed;
    case Phase::ChunkFeed: phase_ = Phase::Size; return c == '\n' ? State::More : State::Malformed;
    default: return State::Malformed;
  }
}

// Trailer fields are read over; the empty line after them ends the body.
BodyReader::State BodyReader::take_trailer_byte(char c) {
  trailer_ += c;
  if (++overhead_ > kMaxChunkOverhead) return State::Malformed;
  if (c != '\n') return State::More;
  if (!trailer_.ends_with("\r\n")) return State::Malformed;
  if (trailer_.size() == 2) phase_ = Phase::Done;
  trailer_.clear();
  return State::More;
}

void append_fields(std::string& out, const Headers& headers) {
  for (const auto& [name, value] : headers.fields()) {
    if (!is_token(name) || !is_field_value(value)) continue;
    out += name;
    out += ": ";
    out += value;
    out += "\r\n";
  }
}

}  // namespace kubernel::net
