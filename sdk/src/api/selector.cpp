// SPDX-License-Identifier: Apache-2.0
#include <kubernel/api/selector.h>

#include <algorithm>
#include <array>
#include <charconv>
#include <utility>

#include <kubernel/api/names.h>

namespace kubernel::api {
namespace {

struct Token {
  enum class Kind : std::uint8_t {
    End,
    Word,
    In,
    NotIn,
    Not,
    Equals,
    NotEquals,
    Greater,
    Less,
    Comma,
    Open,
    Close,
    Bad
  };
  Kind kind = Kind::End;
  std::string_view text;
};

bool is_space(char c) {
  return c == ' ' || c == '\t' || c == '\r' || c == '\n';
}
bool is_special(char c) {
  return std::string_view("=!(),><").find(c) != std::string_view::npos;
}

// Splits the query form into tokens; `in` and `notin` are words only where a key or value is expected.
class Lexer {
 public:
  explicit Lexer(std::string_view text) : rest_(text) {}

  Token next() {
    while (!rest_.empty() && is_space(rest_.front())) rest_.remove_prefix(1);
    if (rest_.empty()) return {};
    if (is_special(rest_.front())) return symbol();
    const auto end = std::ranges::find_if(rest_, [](char c) { return is_space(c) || is_special(c); });
    const std::string_view word(rest_.begin(), end);
    rest_.remove_prefix(word.size());
    if (word == "in") return {Token::Kind::In, word};
    if (word == "notin") return {Token::Kind::NotIn, word};
    return {Token::Kind::Word, word};
  }

 private:
  Token symbol() {
    static constexpr std::array kSymbols = {std::pair(std::string_view("=="), Token::Kind::Equals),
                                            std::pair(std::string_view("!="), Token::Kind::NotEquals),
                                            std::pair(std::string_view("="), Token::Kind::Equals),
                                            std::pair(std::string_view("!"), Token::Kind::Not),
                                            std::pair(std::string_view("("), Token::Kind::Open),
                                            std::pair(std::string_view(")"), Token::Kind::Close),
                                            std::pair(std::string_view(","), Token::Kind::Comma),
                                            std::pair(std::string_view(">"), Token::Kind::Greater),
                                            std::pair(std::string_view("<"), Token::Kind::Less)};
    for (const auto& [text, kind] : kSymbols) {
      if (!rest_.starts_with(text)) continue;
      const Token token{kind, rest_.substr(0, text.size())};
      rest_.remove_prefix(text.size());
      return token;
    }
    return {Token::Kind::Bad, rest_.substr(0, 1)};
  }

  std::string_view rest_;
};

class Parser {
 public:
  explicit Parser(std::string_view text) : lexer_(text), current_(lexer_.next()) {}

  Result<std::vector<Requirement>> run() {
    std::vector<Requirement> out;
    if (current_.kind == Token::Kind::End) return out;
    for (;;) {
      KUBERNEL_TRY(Requirement requirement, requirement_());
      out.push_back(std::move(requirement));
      if (current_.kind == Token::Kind::End) return out;
      if (current_.kind != Token::Kind::Comma) return unexpected("',' or 'end of string'");
      advance();
      if (current_.kind != Token::Kind::Word && current_.kind != Token::Kind::Not && !is_keyword()) {
        return unexpected("identifier after ','");
      }
    }
  }

 private:
  using Kind = Token::Kind;

  void advance() { current_ = lexer_.next(); }
  bool is_keyword() const { return current_.kind == Kind::In || current_.kind == Kind::NotIn; }
  Error unexpected(std::string_view wanted) const {
    return {Reason::BadRequest, "found '" + std::string(current_.text) + "', expected: " + std::string(wanted)};
  }

  Result<Requirement> requirement_() {
    const bool negated = current_.kind == Kind::Not;
    if (negated) advance();
    if (current_.kind != Kind::Word && !is_keyword()) return unexpected("identifier");
    Requirement out{std::string(current_.text), negated ? Operator::DoesNotExist : Operator::Exists, {}};
    if (const std::string problem = qualified_name_problem(out.key); !problem.empty()) {
      return Error(Reason::BadRequest, "key: Invalid value: \"" + out.key + "\": " + problem);
    }
    advance();
    if (negated || current_.kind == Kind::End || current_.kind == Kind::Comma) return out;
    KUBERNEL_TRY(out.op, operator_());
    advance();
    const bool set = out.op == Operator::In || out.op == Operator::NotIn;
    if (set) {
      KUBERNEL_TRY(out.values, value_set());
    } else {
      KUBERNEL_TRY(out.values, single_value());
    }
    KUBERNEL_CHECK_OK(check_values(out));
    return out;
  }

  Result<Operator> operator_() const {
    switch (current_.kind) {
      case Kind::In: return Operator::In;
      case Kind::NotIn: return Operator::NotIn;
      case Kind::Equals: return Operator::Equals;
      case Kind::NotEquals: return Operator::NotEquals;
      case Kind::Greater: return Operator::GreaterThan;
      case Kind::Less: return Operator::LessThan;
      default: return unexpected("in, notin, =, ==, !=, gt, lt");
    }
  }

  // "a=" means the empty value.
  Result<std::vector<std::string>> single_value() {
    if (current_.kind == Kind::End || current_.kind == Kind::Comma) return std::vector<std::string>{""};
    if (current_.kind != Kind::Word && !is_keyword()) return unexpected("identifier");
    std::vector<std::string> out{std::string(current_.text)};
    advance();
    return out;
  }

  Result<std::vector<std::string>> value_set() {
    if (current_.kind != Kind::Open) return unexpected("'('");
    advance();
    std::vector<std::string> out;
    bool value_pending = true;  // "(a,)" and "()" hold an empty value.
    for (;; advance()) {
      if (current_.kind == Kind::Word || is_keyword()) {
        if (!value_pending) return unexpected("',' or ')'");
        out.emplace_back(current_.text);
        value_pending = false;
      } else if (current_.kind == Kind::Comma) {
        if (value_pending) out.emplace_back();
        value_pending = true;
      } else if (current_.kind == Kind::Close) {
        if (value_pending) out.emplace_back();
        advance();
        std::ranges::sort(out);
        out.erase(std::unique(out.begin(), out.end()), out.end());
        return out;
      } else {
        return unexpected("',', ')' or identifier");
      }
    }
  }

  static Result<void> check_values(const Requirement& requirement) {
    const bool numeric = requirement.op == Operator::GreaterThan || requirement.op == Operator::LessThan;
    for (const std::string& value : requirement.values) {
      if (numeric) {
        std::int64_t number = 0;
        const auto [end, ec] = std::from_chars(value.data(), value.data() + value.size(), number);
        if (ec != std::errc() || end != value.data() + value.size()) {
          return Error(Reason::BadRequest, "values[0][" + requirement.key + "]: Invalid value: \"" + value +
                                               "\": for 'Gt', 'Lt' operators, the value must be an integer");
        }
        continue;
      }
      if (const std::string problem = label_value_problem(value); !problem.empty()) {
        return Error(Reason::BadRequest,
                     "values[0][" + requirement.key + "]: Invalid value: \"" + value + "\": " + problem);
      }
    }
    return {};
  }

  Lexer lexer_;
  Token current_;
};

bool holds(const Requirement& requirement, Value labels) {
  const Value label = labels[requirement.key];
  const bool present = label.is_string();
  const auto listed = [&] {
    return std::ranges::any_of(requirement.values, [&](const std::string& v) { return v == label.string(); });
  };
  switch (requirement.op) {
    case Operator::In:
    case Operator::Equals: return present && listed();
    case Operator::NotIn:
    case Operator::NotEquals: return !present || !listed();
    case Operator::Exists: return present;
    case Operator::DoesNotExist: return !present;
    case Operator::GreaterThan:
    case Operator::LessThan: break;
  }
  std::int64_t have = 0;
  std::int64_t want = 0;
  const std::string_view text = label.string();
  const std::string& bound = requirement.values.front();
  const auto parsed = std::from_chars(text.data(), text.data() + text.size(), have);
  if (!present || parsed.ec != std::errc() || parsed.ptr != text.data() + text.size()) return false;
  std::from_chars(bound.data(), bound.data() + bound.size(), want);  // Checked when the selector was made.
  return requirement.op == Operator::GreaterThan ? have > want : have < want;
}

std::optional<Operator> api_operator(std::string_view text) {
  if (text == "In") return Operator::In;
  if (text == "NotIn") return Operator::NotIn;
  if (text == "Exists") return Operator::Exists;
  if (text == "DoesNotExist") return Operator::DoesNotExist;
  return std::nullopt;
}

void sort_by_key(std::vector<Requirement>& requirements) {
  std::ranges::stable_sort(requirements, {}, &Requirement::key);
}

std::string text_of(const Requirement& r) {
  std::string joined;
  for (const std::string& v : r.values) joined += (&v == &r.values.front() ? "" : ",") + v;
  switch (r.op) {
    case Operator::Exists: return r.key;
    case Operator::DoesNotExist: return "!" + r.key;
    case Operator::Equals: return r.key + "=" + joined;
    case Operator::NotEquals: return r.key + "!=" + joined;
    case Operator::In: return r.key + " in (" + joined + ")";
    case Operator::NotIn: return r.key + " notin (" + joined + ")";
    case Operator::GreaterThan: return r.key + ">" + joined;
    case Operator::LessThan: return r.key + "<" + joined;
  }
  return {};
}

}  // namespace

LabelSelector LabelSelector::nothing() {
  LabelSelector out;
  out.nothing_ = true;
  return out;
}

Result<LabelSelector> LabelSelector::parse(std::string_view text) {
  auto requirements = Parser(text).run();
  if (!requirements) {
    return Error(Reason::BadRequest, "unable to parse requirement: " + requirements.error().message());
  }
  LabelSelector out;
  out.requirements_ = *std::move(requirements);
  sort_by_key(out.requirements_);
  return out;
}

Result<LabelSelector> LabelSelector::from_api(Value selector) {
  if (!selector.is_object()) return nothing();
  LabelSelector out = from_map(selector["matchLabels"]);
  for (const Value expression : selector["matchExpressions"]) {
    Requirement requirement{std::string(expression["key"].string()), Operator::Exists, {}};
    const auto op = api_operator(expression["operator"].string());
    if (!op) {
      return Error(Reason::Invalid,
                   "\"" + std::string(expression["operator"].string()) + "\" is not a valid label selector operator");
    }
    requirement.op = *op;
    for (const Value value : expression["values"]) requirement.values.emplace_back(value.string());
    const bool takes_values = requirement.op == Operator::In || requirement.op == Operator::NotIn;
    if (takes_values == requirement.values.empty()) {
      return Error(Reason::Invalid,
                   takes_values ? "values: Invalid value: []: for 'in', 'notin' operators, values set can't be empty"
                                : "values: Invalid value: values set must be empty for exists and does not exist");
    }
    std::ranges::sort(requirement.values);
    out.requirements_.push_back(std::move(requirement));
  }
  sort_by_key(out.requirements_);
  return out;
}

LabelSelector LabelSelector::from_map(Value map) {
  LabelSelector out;
  for (auto it = map.begin(); it != map.end(); ++it) {
    out.requirements_.push_back({std::string(it.key()), Operator::Equals, {std::string((*it).string())}});
  }
  sort_by_key(out.requirements_);
  return out;
}

bool LabelSelector::matches(Value labels) const {
  return !nothing_ && std::ranges::all_of(requirements_, [&](const Requirement& r) { return holds(r, labels); });
}

std::string LabelSelector::to_string() const {
  std::string out;
  for (const Requirement& r : requirements_) out += (out.empty() ? "" : ",") + text_of(r);
  return out;
}

Result<FieldSelector> FieldSelector::parse(std::string_view text) {
  FieldSelector out;
  while (!text.empty()) {
    // A backslash escapes comma, equals sign and itself.
    std::string plain;
    std::optional<Term> term;
    std::size_t at = 0;
    for (; at < text.size() && text[at] != ','; ++at) {
      const char c = text[at];
      if (c == '\\' && at + 1 < text.size()) {
        plain += text[++at];
      } else if (!term && (c == '=' || (c == '!' && text.substr(at, 2) == "!="))) {
        term = Term{std::exchange(plain, {}), c == '=', {}};
        if (text.substr(at, 2) == "==" || c == '!') ++at;
      } else {
        plain += c;
      }
    }
    if (!term) {
      if (!plain.empty()) {
        return Error(Reason::BadRequest,
                     "invalid selector: '" + std::string(text) + "'; can't understand '" + plain + "'");
      }
    } else {
      term->value = std::move(plain);
      out.terms_.push_back(*std::move(term));
    }
    text.remove_prefix(std::min(text.size(), at + 1));
  }
  return out;
}

bool FieldSelector::matches(const std::function<std::string(std::string_view field)>& field_value) const {
  return std::ranges::all_of(terms_, [&](const Term& t) { return (field_value(t.field) == t.value) == t.equal; });
}

std::optional<std::string> FieldSelector::exact(std::string_view field) const {
  for (const Term& term : terms_) {
    if (term.equal && term.field == field) return term.value;
  }
  return std::nullopt;
}

}  // namespace kubernel::api
