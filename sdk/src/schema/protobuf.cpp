// SPDX-License-Identifier: Apache-2.0
#include "schema/protobuf.h"

namespace kubernel::schema::wire {

bool Reader::varint(std::uint64_t& value) {
  value = 0;
  for (std::size_t i = 0; i < 10 && i < rest_.size(); ++i) {
    const auto byte = static_cast<unsigned char>(rest_[i]);
    value |= std::uint64_t{byte & 0x7fU} << (7 * i);
    if (byte < 0x80) {
      rest_.remove_prefix(i + 1);
      return true;
    }
  }
  return false;
}

bool Reader::fixed(std::size_t size, std::uint64_t& value) {
  if (rest_.size() < size) return false;
  value = 0;
  std::memcpy(&value, rest_.data(), size);
  rest_.remove_prefix(size);
  return true;
}

bool Reader::next(FieldHead& field) {
  std::uint64_t tag;
  if (!varint(tag) || tag >> 3 == 0 || tag >> 3 > 0x1fffffff) return false;
  field.number = static_cast<std::uint32_t>(tag >> 3);
  field.type = static_cast<Type>(tag & 7);
  switch (field.type) {
    case Type::Varint: return varint(field.value);
    case Type::Fixed64: return fixed(8, field.value);
    case Type::Fixed32: return fixed(4, field.value);
    case Type::Length: {
      if (!varint(field.value) || field.value > rest_.size()) return false;
      field.bytes = rest_.substr(0, field.value);
      rest_.remove_prefix(field.value);
      return true;
    }
  }
  return false;
}

}  // namespace kubernel::schema::wire
