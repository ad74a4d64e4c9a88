// SPDX-License-Identifier: Apache-2.0
#include "net/grpc_wire.h"

#include <algorithm>
#include <charconv>
#include <cstdint>

namespace kubernel::net {

std::shared_ptr<const std::string> grpc_frame(std::string_view message) {
  auto framed = std::make_shared<std::string>();
  framed->reserve(kGrpcPrefixBytes + message.size());
  framed->push_back('\0');
  for (int shift = 24; shift >= 0; shift -= 8) {
    framed->push_back(static_cast<char>((message.size() >> static_cast<unsigned>(shift)) & 0xffU));
  }
  framed->append(message);
  return framed;
}

std::optional<std::chrono::nanoseconds> parse_grpc_timeout(std::string_view text) {
  constexpr std::size_t kMostDigits = 8;
  if (text.size() < 2 || text.size() > kMostDigits + 1) return std::nullopt;
  const std::string_view digits = text.substr(0, text.size() - 1);
  std::int64_t count = 0;
  const auto [end, error] = std::from_chars(digits.data(), digits.data() + digits.size(), count);
  if (error != std::errc() || end != digits.data() + digits.size() || count < 0) return std::nullopt;
  switch (text.back()) {
    case 'H': return std::chrono::hours(std::min<std::int64_t>(count, 24 * 365 * 100));
    case 'M': return std::chrono::minutes(count);
    case 'S': return std::chrono::seconds(count);
    case 'm': return std::chrono::milliseconds(count);
    case 'u': return std::chrono::microseconds(count);
    case 'n': return std::chrono::nanoseconds(count);
    default: return std::nullopt;
  }
}

std::string encode_grpc_message(std::string_view message) {
  static constexpr char kHex[] = "0123456789ABCDEF";
  std::string out;
  for (const char c : message) {
    if (c >= ' ' && c <= '~' && c != '%') {
      out.push_back(c);
    } else {
      const auto byte = static_cast<unsigned char>(c);
      out.push_back('%');
      out.push_back(kHex[byte >> 4U]);
      out.push_back(kHex[byte & 0xfU]);
    }
  }
  return out;
}

std::optional<std::string_view> GrpcDeframer::next(std::size_t max_message_bytes) {
  const std::string_view left = std::string_view(buffer_).substr(used_);
  if (refusal_ || left.size() < kGrpcPrefixBytes) return std::nullopt;
  std::size_t size = 0;
  for (std::size_t i = 1; i < kGrpcPrefixBytes; ++i) size = size << 8U | static_cast<unsigned char>(left[i]);
  if (left[0] != 0) {
    refusal_ = {GrpcCode::Unimplemented, "grpc: compressed messages are not taken"};
  } else if (size > max_message_bytes) {
    refusal_ = {GrpcCode::ResourceExhausted, "grpc: received message larger than max (" + std::to_string(size) +
                                                 " vs. " + std::to_string(max_message_bytes) + ")"};
  }
  if (refusal_ || left.size() - kGrpcPrefixBytes < size) return std::nullopt;
  used_ += kGrpcPrefixBytes + size;
  return left.substr(kGrpcPrefixBytes, size);
}

void GrpcDeframer::compact() {
  buffer_.erase(0, used_);
  used_ = 0;
}

}  // namespace kubernel::net
