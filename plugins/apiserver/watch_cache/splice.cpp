// SPDX-License-Identifier: Apache-2.0
#include "watch_cache/splice.h"

#include <cstddef>
#include <optional>
#include <utility>

namespace kubernel::apiserver {

namespace {

bool is_space(char c) {
  return c == ' ' || c == '\n' || c == '\t' || c == '\r';
}

// Walks over valid JSON text. Every function returns npos-like failure as false and leaves the place undefined.
class Scanner {
 public:
  explicit Scanner(std::string_view text) : text_(text) {}

  std::size_t at() const { return at_; }

  bool enter(char open) {
    skip_space();
    if (at_ >= text_.size() || text_[at_] != open) return false;
    ++at_;
    return true;
  }

  // At a member: its name, and the place is that of its value. Absent at the end of the object.
  std::optional<std::string_view> next_key() {
    skip_space();
    if (at_ < text_.size() && text_[at_] == ',') ++at_;
    skip_space();
    if (at_ >= text_.size() || text_[at_] != '"') return std::nullopt;
    const std::size_t begin = at_ + 1;
    if (!skip_string()) return std::nullopt;
    const std::string_view key = text_.substr(begin, at_ - begin - 1);
    skip_space();
    if (at_ >= text_.size() || text_[at_] != ':') return std::nullopt;
    ++at_;
    skip_space();
    return key;
  }

  bool skip_value() {
    skip_space();
    if (at_ >= text_.size()) return false;
    if (text_[at_] == '"') return skip_string();
    if (text_[at_] == '{' || text_[at_] == '[') return skip_nested();
    while (at_ < text_.size() && text_[at_] != ',' && text_[at_] != '}' && text_[at_] != ']') ++at_;
    return true;
  }

 private:
  void skip_space() {
    while (at_ < text_.size() && is_space(text_[at_])) ++at_;
  }

  bool skip_string() {
    for (++at_; at_ < text_.size(); ++at_) {
      if (text_[at_] == '\\') {
        ++at_;
      } else if (text_[at_] == '"') {
        ++at_;
        return true;
      }
    }
    return false;
  }

  bool skip_nested() {
    std::size_t depth = 0;
    while (at_ < text_.size()) {
      const char c = text_[at_];
      if (c == '"') {
        if (!skip_string()) return false;
        continue;
      }
      if (c == '{' || c == '[') ++depth;
      if (c == '}' || c == ']') --depth;
      ++at_;
      if (depth == 0) return true;
    }
    return false;
  }

  std::string_view text_;
  std::size_t at_ = 0;
};

// The place just inside the metadata object, or absent.
bool enter_metadata(Scanner& scan) {
  if (!scan.enter('{')) return false;
  while (const auto key = scan.next_key()) {
    if (*key == "metadata") return scan.enter('{');
    if (!scan.skip_value()) return false;
  }
  return false;
}

struct Place {
  std::size_t begin = 0;  // Of the member's key, or where one is to be inserted.
  std::size_t end = 0;    // After its value; equal to begin when there is none.
  bool first = true;      // Nothing stands before it in metadata.
  bool last = false;      // Nothing stands after it in metadata.
};

// Upstream's member order puts resourceVersion after these.
bool stands_before_version(std::string_view key) {
  return key == "name" || key == "generateName" || key == "namespace" || key == "selfLink" || key == "uid";
}

std::optional<Place> find_version(std::string_view json) {
  Scanner scan(json);
  if (!enter_metadata(scan)) return std::nullopt;
  Place insert{scan.at(), scan.at(), true, false};
  bool ordered = true;
  for (std::size_t before = scan.at();; before = scan.at()) {
    const auto key = scan.next_key();
    if (!key) {
      if (insert.begin == before) insert.last = true;
      return insert;
    }
    if (!scan.skip_value()) return std::nullopt;
    if (*key == "resourceVersion") {
      Scanner rest = scan;
      return Place{before, scan.at(), json[before - 1] == '{', !rest.next_key().has_value()};
    }
    ordered = ordered && stands_before_version(*key);
    if (ordered) insert = Place{scan.at(), scan.at(), false, false};
  }
}

}  // namespace

std::string_view raw_metadata(std::string_view json) {
  Scanner scan(json);
  if (!scan.enter('{')) return "{}";
  while (const auto key = scan.next_key()) {
    const std::size_t begin = scan.at();
    if (!scan.skip_value()) return "{}";
    if (*key == "metadata") return json.substr(begin, scan.at() - begin);
  }
  return "{}";
}

Result<std::string> with_resource_version(std::string_view json, std::int64_t revision) {
  const auto place = find_version(json);
  if (!place) return Error(Reason::Internal, "stored object has no metadata");
  const std::string member = "\"resourceVersion\":\"" + std::to_string(revision) + "\"";
  std::string out;
  out.reserve(json.size() + member.size() + 2);
  out.append(json.substr(0, place->begin));
  if (!place->first) out += ',';
  out += member;
  std::string_view rest = json.substr(place->end);
  if (place->first && !place->last && !rest.empty() && rest.front() != ',') out += ',';
  out.append(rest);
  return out;
}

std::string without_resource_version(std::string_view json) {
  const auto place = find_version(json);
  if (!place || place->begin == place->end) return std::string(json);
  std::string out(json.substr(0, place->begin));
  std::string_view rest = json.substr(place->end);
  if (place->first && !rest.empty() && rest.front() == ',') rest.remove_prefix(1);
  out.append(rest);
  return out;
}

}  // namespace kubernel::apiserver
