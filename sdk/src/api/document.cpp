// SPDX-License-Identifier: Apache-2.0
#include "api/document.h"

#include <algorithm>
#include <cstdlib>
#include <new>
#include <string>
#include <vector>

#include "api/json_scanner.h"

namespace kubernel::api::detail {
namespace {

constexpr std::uint32_t kOwnString =
    1U << 3;  ///< In a tag while parsing: `first` is an offset into the unescaped strings.
constexpr std::uint32_t kNoKey = ~std::uint32_t{0};

std::uint32_t make_tag(Value::Kind kind, std::size_t size) {
  return static_cast<std::uint32_t>(kind) | static_cast<std::uint32_t>(size) << Node::kKindBits;
}

std::uint64_t mix(std::uint64_t a, std::uint64_t b) {
  __extension__ using Wide = unsigned __int128;
  const Wide product = static_cast<Wide>(a) * b;
  return static_cast<std::uint64_t>(product) ^ static_cast<std::uint64_t>(product >> 64);
}

/// The member names of one text, each once. Cleared by raising the generation, so that small texts pay for no large
/// table.
class KeyTable {
 public:
  void clear() {
    ++generation_;
    count_ = 0;
    records_.clear();
    entries_.clear();
    if (slots_.empty()) slots_.resize(256);
  }

  /// The number of the name; numbers count from 0.
  std::uint32_t intern(std::string_view key) {
    const std::uint64_t hash = hash_of(key);
    for (std::size_t i = hash & (slots_.size() - 1);; i = (i + 1) & (slots_.size() - 1)) {
      Slot& slot = slots_[i];
      if (slot.generation != generation_) return add(slot, key, hash);
      if (slot.hash == hash && text(slot.entry) == key) return slot.entry;
    }
  }

  /// True when the name has been seen with the same stamp before.
  bool stamp(std::uint32_t entry, std::uint64_t stamp) {
    const bool seen = entries_[entry].stamp == stamp;
    entries_[entry].stamp = stamp;
    return seen;
  }

  std::uint32_t record(std::uint32_t entry) const { return entries_[entry].record; }
  const std::vector<char>& records() const { return records_; }

  void shrink() {
    if (slots_.size() <= 4096) return;
    slots_ = {};
    records_ = {};
    entries_ = {};
  }

 private:
  struct Slot {
    std::uint64_t hash = 0;
    std::uint32_t generation = 0;
    std::uint32_t entry = 0;
  };
  struct Entry {
    std::uint32_t record;
    std::uint64_t stamp;
    std::uint64_t hash;
  };

  /// Seeded by where the library was loaded, so that nobody can prepare names that collide.
  static std::uint64_t hash_of(std::string_view key) {
    std::uint64_t hash = reinterpret_cast<std::uintptr_t>(&kNoKey) ^ key.size();
    while (key.size() > 8) {
      std::uint64_t part;
      std::memcpy(&part, key.data(), 8);
      hash = mix(hash ^ part, 0x9e3779b97f4a7c15);
      key.remove_prefix(8);
    }
    std::uint64_t part = 0;
    std::memcpy(&part, key.data(), key.size());
    return mix(hash ^ part, 0xd6e8feb86659fd93);
  }

  std::string_view text(std::uint32_t entry) const {
    const char* record = records_.data() + entries_[entry].record;
    std::uint32_t length;
    std::memcpy(&length, record, sizeof length);
    return {record + sizeof length, length};
  }

  std::uint32_t add(Slot& slot, std::string_view key, std::uint64_t hash) {
    const auto entry = static_cast<std::uint32_t>(entries_.size());
    const auto length = static_cast<std::uint32_t>(key.size());
    entries_.push_back({static_cast<std::uint32_t>(records_.size()), 0, hash});
    slot = {hash, generation_, entry};
    const std::size_t start = records_.size();
    records_.resize(start + sizeof length + key.size());
    std::memcpy(records_.data() + start, &length, sizeof length);
    if (!key.empty()) std::memcpy(records_.data() + start + sizeof length, key.data(), key.size());
    if (++count_ * 2 > slots_.size()) grow();
    return entry;
  }

  void grow() {
    std::vector<Slot> slots(slots_.size() * 4);
    for (std::uint32_t entry = 0; entry < entries_.size(); ++entry) {
      std::size_t i = entries_[entry].hash & (slots.size() - 1);
      while (slots[i].generation == generation_) i = (i + 1) & (slots.size() - 1);
      slots[i] = {entries_[entry].hash, generation_, entry};
    }
    slots_ = std::move(slots);
  }

  std::vector<Slot> slots_;
  std::vector<Entry> entries_;
  std::vector<char> records_;
  std::size_t count_ = 0;
  std::uint32_t generation_ = 0;
};

/// Parses into reusable memory. While parsing, Node::key is the name's number (or kNoKey) and Node::first of a
/// container is an index into `done_`.
class Parser {
 public:
  /// Returns the error, or an empty text.
  std::string parse(std::string_view text);
  void* make_block() const;
  void shrink();

 private:
  bool value(JsonScanner& in, std::uint32_t key, int depth);
  bool string(JsonScanner& in, std::uint32_t key);
  bool number(JsonScanner& in, std::uint32_t key);
  bool word(JsonScanner& in, std::string_view word, Value::Kind kind, bool flag, std::uint32_t key);
  bool member(JsonScanner& in, int depth);
  bool array(JsonScanner& in, std::uint32_t key, int depth);
  bool object(JsonScanner& in, std::uint32_t key, int depth);
  void close(Value::Kind kind, std::size_t bottom, std::uint32_t key);
  void drop_duplicates(std::size_t bottom);
  void push(Node node, std::uint32_t key) {
    node.key = static_cast<std::int32_t>(key);
    open_.push_back(node);
  }
  void fix(Node* nodes, const char* records, const char* strings) const;

  KeyTable keys_;
  std::vector<Node> open_;  ///< Finished values whose container is not finished.
  std::vector<Node> done_;  ///< Children of finished containers; the root last.
  std::string strings_;     ///< Unescaped strings.
  std::string scratch_;
  std::uint64_t objects_ = 0;
};

std::string Parser::parse(std::string_view text) {
  if (text.size() > Node::kMaxSize) return "the text is larger than 256 MiB";
  keys_.clear();
  open_.clear();
  done_.clear();
  strings_.clear();
  objects_ = 0;
  JsonScanner in(text);
  bool good = value(in, kNoKey, 0);
  if (good && !in.at_end()) good = in.fail_at_character("after top-level value");
  if (!good) return in.error() + " (at byte " + std::to_string(in.offset()) + ")";
  done_.push_back(open_.back());
  return {};
}

bool Parser::value(JsonScanner& in, std::uint32_t key, int depth) {
  switch (const char c = in.peek()) {
    case '"': return string(in, key);
    case '{': return object(in, key, depth);
    case '[': return array(in, key, depth);
    case 't': return word(in, "true", Value::Kind::Bool, true, key);
    case 'f': return word(in, "false", Value::Kind::Bool, false, key);
    case 'n': return word(in, "null", Value::Kind::Null, false, key);
    default:
      if (c == '-' || (c >= '0' && c <= '9')) return number(in, key);
      return in.fail_at_character("looking for beginning of value");
  }
}

bool Parser::string(JsonScanner& in, std::uint32_t key) {
  ScannedString text;
  if (!in.string(text)) return false;
  Node node{};
  if (text.escaped) {
    node.first = static_cast<std::int64_t>(strings_.size());
    unescape(text.raw, strings_);
    node.tag = make_tag(Value::Kind::String, strings_.size() - static_cast<std::size_t>(node.first)) | kOwnString;
  } else {
    node.string = text.raw.data();
    node.tag = make_tag(Value::Kind::String, text.raw.size());
  }
  push(node, key);
  return true;
}

bool Parser::number(JsonScanner& in, std::uint32_t key) {
  ScannedNumber scanned;
  if (!in.number(scanned)) return false;
  Node node{};
  node.tag = make_tag(scanned.integral ? Value::Kind::Integer : Value::Kind::Double, 0);
  if (scanned.integral) {
    node.integer = scanned.integer;
  } else {
    node.number = scanned.number;
  }
  push(node, key);
  return true;
}

bool Parser::word(JsonScanner& in, std::string_view word, Value::Kind kind, bool flag, std::uint32_t key) {
  if (!in.literal(word)) return false;
  Node node{};
  node.tag = make_tag(kind, 0);
  node.integer = flag ? 1 : 0;
  push(node, key);
  return true;
}

bool Parser::array(JsonScanner& in, std::uint32_t key, int depth) {
  if (depth >= kMaxJsonDepth) return in.fail("exceeded max depth");
  const std::size_t bottom = open_.size();
  in.advance();
  if (in.peek() != ']') {
    while (true) {
      if (!value(in, kNoKey, depth + 1)) return false;
      const char next = in.peek();
      if (next == ']') break;
      if (next != ',') return in.fail_at_character("after array element");
      in.advance();
    }
  }
  in.advance();
  close(Value::Kind::Array, bottom, key);
  return true;
}

bool Parser::member(JsonScanner& in, int depth) {
  if (in.peek() != '"') return in.fail_at_character("looking for beginning of object key string");
  ScannedString name;
  if (!in.string(name)) return false;
  std::uint32_t key;
  if (name.escaped) {
    scratch_.clear();
    unescape(name.raw, scratch_);
    key = keys_.intern(scratch_);
  } else {
    key = keys_.intern(name.raw);
  }
  if (in.peek() != ':') return in.fail_at_character("after object key");
  in.advance();
  return value(in, key, depth + 1);
}

bool Parser::object(JsonScanner& in, std::uint32_t key, int depth) {
  if (depth >= kMaxJsonDepth) return in.fail("exceeded max depth");
  const std::size_t bottom = open_.size();
  in.advance();
  if (in.peek() != '}') {
    while (true) {
      if (!member(in, depth)) return false;
      const char next = in.peek();
      if (next == '}') break;
      if (next != ',') return in.fail_at_character("after object key:value pair");
      in.advance();
    }
  }
  in.advance();
  drop_duplicates(bottom);
  close(Value::Kind::Object, bottom, key);
  return true;
}

/// Of members with the same name the last one wins and takes the first one's place.
void Parser::drop_duplicates(std::size_t bottom) {
  const std::uint64_t stamp = ++objects_;
  bool duplicate = false;
  for (std::size_t i = bottom; i < open_.size(); ++i) {
    duplicate |= keys_.stamp(static_cast<std::uint32_t>(open_[i].key), stamp);
  }
  if (!duplicate) return;
  const std::uint64_t again = ++objects_;
  std::size_t kept = bottom;
  for (std::size_t i = bottom; i < open_.size(); ++i) {
    const Node node = open_[i];
    if (keys_.stamp(static_cast<std::uint32_t>(node.key), again)) {
      std::find_if(open_.begin() + static_cast<std::ptrdiff_t>(bottom), open_.end(),
                   [&](const Node& other) { return other.key == node.key; })[0] = node;
    } else {
      open_[kept++] = node;
    }
  }
  open_.resize(kept);
}

void Parser::close(Value::Kind kind, std::size_t bottom, std::uint32_t key) {
  Node node{};
  node.first = static_cast<std::int64_t>(done_.size());
  node.tag = make_tag(kind, open_.size() - bottom);
  done_.insert(done_.end(), open_.begin() + static_cast<std::ptrdiff_t>(bottom), open_.end());
  open_.resize(bottom);
  push(node, key);
}

/// Turns numbers and indexes into distances. `nodes` is where done_ was copied to.
void Parser::fix(Node* nodes, const char* records, const char* strings) const {
  for (std::size_t i = 0; i < done_.size(); ++i) {
    Node& node = nodes[i];
    if (static_cast<std::uint32_t>(node.key) == kNoKey) {
      node.key = 0;
    } else {
      const char* record = records + keys_.record(static_cast<std::uint32_t>(node.key));
      node.key = static_cast<std::int32_t>(record - reinterpret_cast<const char*>(&node));
    }
    if ((node.tag & kOwnString) != 0) {
      node.string = strings + node.first;
      node.tag &= ~kOwnString;
    } else if (node.kind() == Value::Kind::Array || node.kind() == Value::Kind::Object) {
      node.first -= static_cast<std::int64_t>(i);
    }
  }
}

struct Header {
  std::size_t nodes;
  std::size_t bytes;
};
static_assert(sizeof(Header) % alignof(Node) == 0);

void* Parser::make_block() const {
  const std::size_t node_bytes = done_.size() * sizeof(Node);
  const std::size_t bytes = sizeof(Header) + node_bytes + keys_.records().size() + strings_.size();
  void* memory = ::operator new(bytes);
  new (memory) Header{done_.size(), bytes};
  auto* nodes = reinterpret_cast<Node*>(static_cast<char*>(memory) + sizeof(Header));
  char* records = reinterpret_cast<char*>(nodes) + node_bytes;
  char* strings = records + keys_.records().size();
  std::memcpy(nodes, done_.data(), node_bytes);
  std::copy(keys_.records().begin(), keys_.records().end(), records);
  std::copy(strings_.begin(), strings_.end(), strings);
  fix(nodes, records, strings);
  return memory;
}

void Parser::shrink() {
  constexpr std::size_t kKeep = 8192;
  if (open_.capacity() > kKeep) open_ = {};
  if (done_.capacity() > kKeep) done_ = {};
  if (strings_.capacity() > kKeep * sizeof(Node)) strings_ = {};
  keys_.shrink();
}

Parser& thread_parser() {
  static thread_local Parser parser;
  return parser;
}

}  // namespace

Result<NodeBlock> NodeBlock::parse(std::string_view text) {
  Parser& parser = thread_parser();
  if (std::string error = parser.parse(text); !error.empty()) return Error(Reason::BadRequest, std::move(error));
  NodeBlock block = own(parser.make_block());
  parser.shrink();
  return block;
}

NodeBlock& NodeBlock::operator=(NodeBlock&& other) noexcept {
  std::swap(memory_, other.memory_);
  return *this;
}

NodeBlock::~NodeBlock() {
  ::operator delete(memory_);
}

const Node* NodeBlock::root() const noexcept {
  return root_of(memory_);
}

std::size_t NodeBlock::bytes_of(const void* memory) noexcept {
  return memory != nullptr ? static_cast<const Header*>(memory)->bytes : 0;
}

void* NodeBlock::release() noexcept {
  return std::exchange(memory_, nullptr);
}

NodeBlock NodeBlock::own(void* memory) noexcept {
  NodeBlock block;
  block.memory_ = memory;
  return block;
}

const Node* NodeBlock::root_of(const void* memory) noexcept {
  if (memory == nullptr) return nullptr;
  const auto* header = static_cast<const Header*>(memory);
  return reinterpret_cast<const Node*>(header + 1) + header->nodes - 1;
}

}  // namespace kubernel::api::detail
