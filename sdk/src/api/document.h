// SPDX-License-Identifier: Apache-2.0
//
// The parsed form behind Value: one allocation with 16 bytes a value and each distinct member name once.

#pragma once

#include <cstddef>
#include <cstdint>
#include <cstring>
#include <string_view>

#include <kubernel/api/value.h>
#include <kubernel/base/result.h>

namespace kubernel::api::detail {

/// One value together with the name it has in its object. The children of a container lie next to each other.
struct Node {
  union {
    const char* string;    ///< In the parsed text, or behind the nodes when it had escapes.
    std::int64_t integer;  ///< Also 0 or 1 for a Bool.
    double number;
    std::int64_t first;  ///< Of a container: how many nodes from here to the first child.
  };
  std::uint32_t tag;  ///< Value::Kind in the low bits, length of the string or number of children above.
  std::int32_t key;   ///< Distance in bytes to the name's record (std::uint32_t length, then the text); 0: has no name.

  static constexpr unsigned kKindBits = 4;
  static constexpr std::size_t kMaxSize = (std::size_t{1} << (32 - kKindBits)) - 1;

  Value::Kind kind() const noexcept { return static_cast<Value::Kind>(tag & 7); }
  std::uint32_t size() const noexcept { return tag >> kKindBits; }
  const Node* children() const noexcept { return this + first; }
  std::string_view text() const noexcept { return {string, size()}; }
  std::string_view name() const noexcept {
    if (key == 0) return {};
    const char* record = reinterpret_cast<const char*>(this) + key;
    std::uint32_t length;
    std::memcpy(&length, record, sizeof length);
    return {record + sizeof length, length};
  }
};
static_assert(sizeof(Node) == 16);

/// Owns the nodes of one text. The text must outlive it and stay where it is.
class NodeBlock {
 public:
  NodeBlock() noexcept = default;
  /// Errors: BadRequest with the byte offset.
  static Result<NodeBlock> parse(std::string_view text);

  NodeBlock(NodeBlock&& other) noexcept : memory_(other.release()) {}
  NodeBlock& operator=(NodeBlock&& other) noexcept;
  ~NodeBlock();

  const Node* root() const noexcept;

  /// Gives the memory away; own() takes it back.
  void* release() noexcept;
  static NodeBlock own(void* memory) noexcept;
  static const Node* root_of(const void* memory) noexcept;
  static std::size_t bytes_of(const void* memory) noexcept;

 private:
  void* memory_ = nullptr;
};

/// Makes Values for those that hold nodes.
struct ValueAccess {
  static Value make(const Node* node) noexcept { return Value(node); }
};

}  // namespace kubernel::api::detail
