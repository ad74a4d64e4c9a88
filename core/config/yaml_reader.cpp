// SPDX-License-Identifier: Apache-2.0
#include "core/config/yaml_reader.h"

#include <algorithm>
#include <cctype>
#include <charconv>
#include <cmath>
#include <cstdint>
#include <limits>
#include <optional>
#include <sstream>

#include <yaml-cpp/eventhandler.h>
#include <yaml-cpp/yaml.h>
#include <nlohmann/json.hpp>

namespace kubernel::config {
namespace {

using nlohmann::json;
using Positions = std::map<std::string, Position, std::less<>>;

constexpr int kDeepest = 64;
constexpr int kMostNodes = 200'000;  // Aliases of aliases must not fill the memory.

Position position_of(const YAML::Mark& mark) {
  return {mark.line + 1, mark.column + 1};
}

Error at(const Position& position, const std::string& path, const std::string& message) {
  return Error(Reason::Invalid, std::to_string(position.line) + ":" + std::to_string(position.column) + ": " +
                                    (path.empty() ? "" : path + ": ") + message);
}

bool is_variable_name(std::string_view name) {
  const auto ok = [](char c) { return std::isalnum(static_cast<unsigned char>(c)) != 0 || c == '_'; };
  return !name.empty() && std::isdigit(static_cast<unsigned char>(name.front())) == 0 &&
         std::all_of(name.begin(), name.end(), ok);
}

// ${VAR}, ${VAR:-default}, $${ for a plain ${.
Result<std::string> substitute(std::string_view text, const Environment& environment) {
  std::string out;
  while (!text.empty()) {
    const auto start = text.find("${");
    if (start == std::string_view::npos) return out.append(text);
    if (start > 0 && text[start - 1] == '$') {
      out.append(text.substr(0, start - 1)).append("${");
      text.remove_prefix(start + 2);
      continue;
    }
    out.append(text.substr(0, start));
    text.remove_prefix(start + 2);
    const auto end = text.find('}');
    if (end == std::string_view::npos) return Error(Reason::Invalid, "\"${\" without \"}\"; write $${ for a plain ${");
    const std::string_view inside = text.substr(0, end);
    text.remove_prefix(end + 1);
    const auto dash = inside.find(":-");
    const std::string name(inside.substr(0, dash));
    if (!is_variable_name(name)) return Error(Reason::Invalid, "\"" + name + "\" is no name of a variable");
    const auto value = environment(name);
    if (value && (!value->empty() || dash == std::string_view::npos)) {
      out.append(*value);
    } else if (dash != std::string_view::npos) {
      out.append(inside.substr(dash + 2));
    } else {
      return Error(Reason::Invalid,
                   "environment variable " + name + " is not set; set it or write ${" + name + ":-default}");
    }
  }
  return out;
}

template <class T>
bool parse_whole(std::string_view text, T& out, int base) {
  const auto [end, failure] = std::from_chars(text.data(), text.data() + text.size(), out, base);
  return failure == std::errc{} && end == text.data() + text.size();
}

// The YAML 1.2 core schema: what a scalar without quotes means.
json plain(const std::string& text) {
  if (text.empty() || text == "~" || text == "null" || text == "Null" || text == "NULL") return nullptr;
  if (text == "true" || text == "True" || text == "TRUE") return true;
  if (text == "false" || text == "False" || text == "FALSE") return false;
  const std::string_view digits = std::string_view(text).substr(text.front() == '+' ? 1 : 0);
  std::int64_t whole = 0;
  std::uint64_t large = 0;
  if (parse_whole(digits, large, 10)) return large;
  if (parse_whole(digits, whole, 10)) return whole;
  if (digits.starts_with("0x") && parse_whole(digits.substr(2), large, 16)) return large;
  if (digits.starts_with("0o") && parse_whole(digits.substr(2), large, 8)) return large;
  double real = 0;
  const auto [end, failure] = std::from_chars(digits.data(), digits.data() + digits.size(), real);
  const bool numeric = failure == std::errc{} && end == digits.data() + digits.size() && std::isfinite(real);
  if (numeric && digits.find_first_of("0123456789") != std::string_view::npos) return real;
  return text;
}

class Reader {
 public:
  Reader(const Environment& environment, Positions& positions) : environment_(environment), positions_(positions) {}

  Result<json> read(const YAML::Node& node, const std::string& path, int depth) {
    const Position position = position_of(node.Mark());
    positions_.try_emplace(path, position);
    if (depth > kDeepest) return at(position, path, "nested deeper than " + std::to_string(kDeepest) + " levels");
    if (++nodes_ > kMostNodes) return at(position, path, "the document has too many values");
    switch (node.Type()) {
      case YAML::NodeType::Scalar: return scalar(node, path);
      case YAML::NodeType::Sequence: return sequence(node, path, depth);
      case YAML::NodeType::Map: return mapping(node, path, depth);
      default: return json(nullptr);
    }
  }

 private:
  Result<json> scalar(const YAML::Node& node, const std::string& path) {
    auto text = substitute(node.Scalar(), environment_);
    if (!text) return at(position_of(node.Mark()), path, text.error().message());
    const bool is_plain = node.Tag() == "?" || node.Tag().empty();
    return is_plain ? plain(*text) : json(*std::move(text));
  }

  Result<json> sequence(const YAML::Node& node, const std::string& path, int depth) {
    json out = json::array();
    for (std::size_t i = 0; i < node.size(); ++i) {
      KUBERNEL_TRY(json item, read(node[i], path + "[" + std::to_string(i) + "]", depth + 1));
      out.push_back(std::move(item));
    }
    return out;
  }

  Result<json> mapping(const YAML::Node& node, const std::string& path, int depth) {
    json out = json::object();
    for (const auto& entry : node) {
      const Position position = position_of(entry.first.Mark());
      if (!entry.first.IsScalar()) return at(position, path, "a key must be a plain word");
      const std::string& key = entry.first.Scalar();
      if (key == "<<") return at(position, path, "merge keys are not supported");
      const std::string key_path = path_of_key(path, key);
      if (out.contains(key)) return at(position, key_path, "key given twice");
      positions_.insert_or_assign(key_path, position);
      KUBERNEL_TRY(json value, read(entry.second, key_path, depth + 1));
      out[key] = std::move(value);
    }
    return out;
  }

  const Environment& environment_;
  Positions& positions_;
  int nodes_ = 0;
};

// The library takes any bytes, and JSON cannot hold what is no UTF-8.
Result<void> check_encoding(const std::string& text) {
  std::istringstream in(text);
  Position position{0, 1};
  for (std::string line; std::getline(in, line);) {
    ++position.line;
    const auto checked = catch_as_error("UTF-8", [&]() -> Result<void> {
      static_cast<void>(json(line).dump());
      return {};
    });
    if (!checked) return at(position, "", "not YAML: this line is not UTF-8");
  }
  return {};
}

// Notes where documents begin.
class DocumentStarts final : public YAML::EventHandler {
 public:
  YAML::Mark last() const { return last_; }

  void OnDocumentStart(const YAML::Mark& mark) override { last_ = mark; }
  void OnDocumentEnd() override {}
  void OnNull(const YAML::Mark&, YAML::anchor_t) override {}
  void OnAlias(const YAML::Mark&, YAML::anchor_t) override {}
  void OnScalar(const YAML::Mark&, const std::string&, YAML::anchor_t, const std::string&) override {}
  void OnSequenceStart(const YAML::Mark&, const std::string&, YAML::anchor_t, YAML::EmitterStyle::value) override {}
  void OnSequenceEnd() override {}
  void OnMapStart(const YAML::Mark&, const std::string&, YAML::anchor_t, YAML::EmitterStyle::value) override {}
  void OnMapEnd() override {}

 private:
  YAML::Mark last_;
};

// Where a second document begins. (YAML::LoadAll() makes documents for ever of a brace too many.)
std::optional<YAML::Mark> second_document(const std::string& text) {
  std::istringstream in(text);
  YAML::Parser parser(in);
  DocumentStarts starts;
  if (!parser.HandleNextDocument(starts) || !parser.HandleNextDocument(starts)) return std::nullopt;
  return starts.last();
}

}  // namespace

Result<void> read_yaml(const std::string& text, const Environment& environment, json& out, Positions& positions) {
  KUBERNEL_CHECK_OK(check_encoding(text));
  try {
    if (const auto second = second_document(text)) return at(position_of(*second), "", "only one document is allowed");
    const YAML::Node document = YAML::Load(text);
    if (document.IsNull()) return at({1, 1}, "", "the document is empty");
    KUBERNEL_TRY(out, Reader(environment, positions).read(document, "", 0));
    return {};
  } catch (const YAML::Exception& e) {
    return at(position_of(e.mark), "", "not YAML: " + e.msg);
  }
}

}  // namespace kubernel::config
