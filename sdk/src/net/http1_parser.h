// SPDX-License-Identifier: Apache-2.0
//
// HTTP/1.1 on the wire (RFC 9112), strict where leniency lets two readers of one message disagree: bare line feeds,
// folded fields, a space before a colon, two lengths, and a length beside chunks are all refused.

#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <string_view>

#include <kubernel/net/http.h>

namespace kubernel::net {

/// Collects bytes up to the empty line that ends a head.
class HeadReader {
 public:
  explicit HeadReader(std::size_t limit) : limit_(limit) {}

  enum class State : std::uint8_t { More, Complete, TooLarge };
  /// Takes from the front of `bytes` what belongs to the head.
  State take(std::string_view& bytes);
  bool started() const { return !text_.empty(); }
  /// The head without its empty line; leaves the reader ready for the next one.
  std::string release();

 private:
  std::string text_;
  std::size_t limit_;
};

enum class Framing : std::uint8_t { None, Length, Chunked, UntilClose };

struct BodyFraming {
  Framing framing = Framing::None;
  std::uint64_t length = 0;
};

/// A request's head. On failure `status` is what to answer.
struct RequestHead {
  Request request;
  BodyFraming body;
  bool http10 = false;
  bool keep_alive = true;
  bool expects_continue = false;
};
struct ParseFailure {
  int status = 400;
  std::string message;
};
std::optional<ParseFailure> parse_request_head(std::string_view text, RequestHead& head);

struct ResponseHead {
  int status = 0;
  Headers headers;
  BodyFraming body;
  bool keep_alive = true;
};
/// `method`: the request's, because it decides whether there is a body. False: malformed.
bool parse_response_head(std::string_view text, std::string_view method, ResponseHead& head);

/// Reads a body of either framing.
class BodyReader {
 public:
  void begin(const BodyFraming& framing);

  enum class State : std::uint8_t { More, Data, End, Malformed };
  /// Takes from the front of `bytes`. Data: `data` is a piece of the body, call again.
  State take(std::string_view& bytes, std::string_view& data);
  bool ended() const { return phase_ == Phase::Done; }
  /// The connection ended. True: that is how this body ends.
  bool end_of_input();

 private:
  enum class Phase : std::uint8_t {
    Done,
    Fixed,
    UntilClose,
    Size,
    Extension,
    SizeEnd,
    Chunk,
    ChunkReturn,
    ChunkFeed,
    Trailer
  };
  State take_line_byte(char c);
  State take_trailer_byte(char c);

  Phase phase_ = Phase::Done;
  std::uint64_t left_ = 0;
  int digits_ = 0;
  std::size_t overhead_ = 0;  // Bytes of extensions and trailers: neither may be endless.
  std::string trailer_;
};

/// Writes a field block; drops fields that could not be read back (control characters), never lets a value add a line.
void append_fields(std::string& out, const Headers& headers);

}  // namespace kubernel::net
