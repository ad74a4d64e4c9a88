// SPDX-License-Identifier: Apache-2.0
#include <kubernel/api/value.h>

#include <nlohmann/json.hpp>

#include "api/document.h"
#include "api/json_writer.h"

namespace kubernel::api {
namespace {

const detail::Node* find(const detail::Node& object, std::string_view key) noexcept {
  const detail::Node* const first = object.children();
  for (const detail::Node* node = first; node != first + object.size(); ++node) {
    if (node->name() == key) return node;
  }
  return nullptr;
}

bool is_container(const detail::Node* node) noexcept {
  return node != nullptr && (node->kind() == Value::Kind::Array || node->kind() == Value::Kind::Object);
}

bool same_members(Value a, Value b) noexcept {
  for (auto it = a.begin(); it != a.end(); ++it) {
    const Value other = b[it.key()];
    if (!other || !(*it == other)) return false;
  }
  return true;
}

bool same_elements(Value a, Value b) noexcept {
  for (auto x = a.begin(), y = b.begin(); x != a.end(); ++x, ++y) {
    if (!(*x == *y)) return false;
  }
  return true;
}

void dump_container(Value value, std::string& out);

void dump(Value value, std::string& out) {
  switch (value.kind()) {
    case Value::Kind::Missing:
    case Value::Kind::Null: out += "null"; return;
    case Value::Kind::Bool: out += value.boolean() ? "true" : "false"; return;
    case Value::Kind::Integer: detail::write_json_integer(value.integer(), out); return;
    case Value::Kind::Double: detail::write_json_double(value.number(), out); return;
    case Value::Kind::String: detail::write_json_string(value.string(), out); return;
    case Value::Kind::Array:
    case Value::Kind::Object: dump_container(value, out); return;
  }
}

void dump_container(Value value, std::string& out) {
  const bool object = value.is_object();
  out.push_back(object ? '{' : '[');
  bool more = false;
  for (auto it = value.begin(); it != value.end(); ++it) {
    if (more) out.push_back(',');
    more = true;
    if (object) {
      detail::write_json_string(it.key(), out);
      out.push_back(':');
    }
    dump(*it, out);
  }
  out.push_back(object ? '}' : ']');
}

}  // namespace

Value::Kind Value::kind() const noexcept {
  return node_ != nullptr ? node_->kind() : Kind::Missing;
}

std::string_view Value::string(std::string_view fallback) const noexcept {
  return kind() == Kind::String ? node_->text() : fallback;
}

std::int64_t Value::integer(std::int64_t fallback) const noexcept {
  return kind() == Kind::Integer ? node_->integer : fallback;
}

double Value::number(double fallback) const noexcept {
  if (kind() == Kind::Double) return node_->number;
  return kind() == Kind::Integer ? static_cast<double>(node_->integer) : fallback;
}

bool Value::boolean(bool fallback) const noexcept {
  return kind() == Kind::Bool ? node_->integer != 0 : fallback;
}

std::size_t Value::size() const noexcept {
  return is_container(node_) ? node_->size() : 0;
}

Value Value::operator[](std::string_view key) const noexcept {
  return kind() == Kind::Object ? Value(find(*node_, key)) : Value();
}

Value Value::at(std::size_t index) const noexcept {
  return index < size() ? Value(node_->children() + index) : Value();
}

Value Value::pointer(std::string_view path) const noexcept {
  Value value = *this;
  while (!path.empty() && value) {
    path.remove_prefix(1);  // The slash.
    const std::string_view step = path.substr(0, path.find('/'));
    path.remove_prefix(step.size());
    if (!value.is_array()) {
      value = value[step];
      continue;
    }
    std::size_t index = 0;
    for (const char c : step) {
      if (c < '0' || c > '9' || index > detail::Node::kMaxSize) return {};
      index = index * 10 + static_cast<std::size_t>(c - '0');
    }
    value = step.empty() ? Value() : value.at(index);
  }
  return value;
}

Value::Iterator Value::begin() const noexcept {
  Iterator it;
  if (is_container(node_)) it.node_ = node_->children();
  return it;
}

Value::Iterator Value::end() const noexcept {
  Iterator it;
  if (is_container(node_)) it.node_ = node_->children() + node_->size();
  return it;
}

Value Value::Iterator::operator*() const noexcept {
  return Value(node_);
}
std::string_view Value::Iterator::key() const noexcept {
  return node_->name();
}
Value::Iterator& Value::Iterator::operator++() noexcept {
  ++node_;
  return *this;
}

bool operator==(Value a, Value b) noexcept {
  const Value::Kind kind = a.kind();
  if (kind != b.kind()) return false;
  switch (kind) {
    case Value::Kind::Missing:
    case Value::Kind::Null: return true;
    case Value::Kind::Bool: return a.boolean() == b.boolean();
    case Value::Kind::Integer: return a.integer() == b.integer();
    case Value::Kind::Double: return a.number() == b.number();
    case Value::Kind::String: return a.string() == b.string();
    case Value::Kind::Array: return a.size() == b.size() && same_elements(a, b);
    case Value::Kind::Object: return a.size() == b.size() && same_members(a, b);
  }
  return false;
}

nlohmann::json Value::to_json() const {
  switch (kind()) {
    case Kind::Missing:
    case Kind::Null: return nullptr;
    case Kind::Bool: return boolean();
    case Kind::Integer: return integer();
    case Kind::Double: return number();
    case Kind::String: return std::string(string());
    case Kind::Array: {
      auto result = nlohmann::json::array();
      for (const Value element : *this) result.push_back(element.to_json());
      return result;
    }
    case Kind::Object: {
      auto result = nlohmann::json::object();
      for (auto it = begin(); it != end(); ++it) result.emplace(std::string(it.key()), (*it).to_json());
      return result;
    }
  }
  return nullptr;
}

std::string Value::dump() const {
  std::string out;
  api::dump(*this, out);
  return out;
}

Result<std::shared_ptr<const Document>> Document::parse(std::string text) {
  std::shared_ptr<Document> document(new Document);
  document->text_ = std::move(text);  // Strings of the nodes point into it, so it must be in its place first.
  KUBERNEL_TRY(detail::NodeBlock block, detail::NodeBlock::parse(document->text_));
  document->nodes_ = block.release();
  return std::shared_ptr<const Document>(std::move(document));
}

Document::~Document() {
  detail::NodeBlock::own(nodes_);
}

Value Document::root() const noexcept {
  return detail::ValueAccess::make(detail::NodeBlock::root_of(nodes_));
}

std::size_t Document::memory_bytes() const noexcept {
  return sizeof(*this) + text_.capacity() + detail::NodeBlock::bytes_of(nodes_);
}

}  // namespace kubernel::api
