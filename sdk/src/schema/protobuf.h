// SPDX-License-Identifier: Apache-2.0
//
// The wire format of protocol buffers, as far as the API uses it (proto2 without groups and packed fields).

#pragma once

#include <cstdint>
#include <cstring>
#include <string>
#include <string_view>

namespace kubernel::schema::wire {

enum class Type : std::uint8_t { Varint = 0, Fixed64 = 1, Length = 2, Fixed32 = 5 };

inline constexpr std::string_view kMagic{"k8s\0", 4};  ///< In front of every object.

/// Writes from the end to the beginning, so that the length of a message is known when its prefix is written.
/// What comes last in the message is written first.
class ReverseWriter {
 public:
  ReverseWriter() : buffer_(1024, '\0'), at_(buffer_.size()) {}

  std::size_t size() const noexcept { return buffer_.size() - at_; }
  std::string take() { return buffer_.substr(at_); }

  void bytes(std::string_view text) {
    reserve(text.size());
    at_ -= text.size();
    if (!text.empty()) std::memcpy(buffer_.data() + at_, text.data(), text.size());
  }
  void varint(std::uint64_t value) {
    char digits[10];
    std::size_t count = 0;
    for (; value >= 0x80; value >>= 7) digits[count++] = static_cast<char>(value | 0x80);
    digits[count++] = static_cast<char>(value);
    bytes({digits, count});
  }
  void tag(std::uint32_t number, Type type) { varint(std::uint64_t{number} << 3 | static_cast<std::uint64_t>(type)); }

  void varint_field(std::uint32_t number, std::uint64_t value) {
    varint(value);
    tag(number, Type::Varint);
  }
  void double_field(std::uint32_t number, double value) {
    char raw[8];
    std::memcpy(raw, &value, 8);
    bytes({raw, 8});
    tag(number, Type::Fixed64);
  }
  void bytes_field(std::uint32_t number, std::string_view text) {
    bytes(text);
    varint(text.size());
    tag(number, Type::Length);
  }
  /// Ends the message of which everything was written since size() was `before`.
  void close(std::uint32_t number, std::size_t before) {
    varint(size() - before);
    tag(number, Type::Length);
  }

 private:
  void reserve(std::size_t count) {
    if (count <= at_) return;
    const std::size_t used = size();
    std::string larger(buffer_.size() * 2 + count, '\0');
    std::memcpy(larger.data() + larger.size() - used, buffer_.data() + at_, used);
    at_ = larger.size() - used;
    buffer_ = std::move(larger);
  }

  std::string buffer_;
  std::size_t at_;
};

struct FieldHead {
  std::uint32_t number = 0;
  Type type = Type::Varint;
  std::uint64_t value = 0;   ///< Varint, and the bits of fixed numbers.
  std::string_view bytes{};  ///< Of type Length.
};

/// Reads the fields of one message.
class Reader {
 public:
  explicit Reader(std::string_view message) : rest_(message) {}
  bool at_end() const noexcept { return rest_.empty(); }
  /// False when the message is malformed.
  bool next(FieldHead& field);

 private:
  bool varint(std::uint64_t& value);
  bool fixed(std::size_t size, std::uint64_t& value);

  std::string_view rest_;
};

}  // namespace kubernel::schema::wire
