// SPDX-License-Identifier: Apache-2.0

#include <algorithm>
#include <cstdlib>

#include "functions.h"

namespace kubernel::cel {
namespace {

// Operators as functions, for the checker; the evaluator knows how they work.
constexpr const char* kOperators[] = {
    "_+_(int, int) -> int",
    "_+_(uint, uint) -> uint",
    "_+_(double, double) -> double",
    "_+_(string, string) -> string",
    "_+_(bytes, bytes) -> bytes",
    "_+_(list(A), list(A)) -> list(A)",
    "_+_(timestamp, duration) -> timestamp",
    "_+_(duration, timestamp) -> timestamp",
    "_+_(duration, duration) -> duration",
    "_-_(int, int) -> int",
    "_-_(uint, uint) -> uint",
    "_-_(double, double) -> double",
    "_-_(timestamp, timestamp) -> duration",
    "_-_(timestamp, duration) -> timestamp",
    "_-_(duration, duration) -> duration",
    "_*_(int, int) -> int",
    "_*_(uint, uint) -> uint",
    "_*_(double, double) -> double",
    "_/_(int, int) -> int",
    "_/_(uint, uint) -> uint",
    "_/_(double, double) -> double",
    "_%_(int, int) -> int",
    "_%_(uint, uint) -> uint",
    "!_(bool) -> bool",
    "-_(int) -> int",
    "-_(double) -> double",
    "_==_(A, A) -> bool",
    "_!=_(A, A) -> bool",
    "@in(A, list(A)) -> bool",
    "@in(A, map(A, B)) -> bool",
    "_[_](list(A), int) -> A",
    "_[_](map(A, B), A) -> B",
    "_[_](optional(list(A)), int) -> optional(A)",
    "_[_](optional(map(A, B)), A) -> optional(B)",
};
constexpr const char* kOrders[] = {"_<_", "_<=_", "_>_", "_>=_"};
constexpr const char* kOrdered[] = {"bool", "string", "bytes", "timestamp", "duration"};
constexpr const char* kNumbers[] = {"int", "uint", "double"};

void add(Library& library, const std::string& signature, Function run) {
  auto parsed = parse_signature(signature);
  if (!parsed) std::abort();  // The tables are part of the program; a test reads them all.
  parsed->second.run = std::move(run);
  library.functions[parsed->first].push_back(std::move(parsed->second));
}

void add_operators(Library& library) {
  for (const char* signature : kOperators) add(library, signature, {});
  for (const std::string order : kOrders) {
    for (const std::string type : kOrdered) add(library, order + "(" + type + ", " + type + ") -> bool", {});
    for (const std::string a : kNumbers) {
      for (const std::string b : kNumbers) add(library, order + "(" + a + ", " + b + ") -> bool", {});
    }
  }
}

// Up to the first comma outside parentheses.
std::string_view take_argument(std::string_view& text) {
  int depth = 0;
  std::size_t end = 0;
  for (; end < text.size() && (depth > 0 || text[end] != ','); ++end)
    depth += text[end] == '(' ? 1 : text[end] == ')' ? -1 : 0;
  const std::string_view out = text.substr(0, end);
  text.remove_prefix(std::min(text.size(), end + 1));
  return out;
}

}  // namespace

Error no_such_overload() {
  return problem("no such overload");
}

Result<std::pair<std::string, Overload>> parse_signature(std::string_view text) {
  const Error malformed(Reason::Invalid, "malformed function signature: " + std::string(text));
  Overload out;
  const std::size_t arrow = text.rfind(" -> ");
  if (arrow == std::string_view::npos) return malformed;
  KUBERNEL_TRY(out.result, Type::parse(text.substr(arrow + 4)));
  std::string_view head = text.substr(0, arrow);
  if (head.starts_with('(')) {
    const std::size_t end = head.find(").");
    if (end == std::string_view::npos) return malformed;
    KUBERNEL_TRY(Type receiver, Type::parse(head.substr(1, end - 1)));
    out.member = true;
    out.arguments.push_back(std::move(receiver));
    head.remove_prefix(end + 2);
  }
  const std::size_t open = head.find('(');
  if (open == std::string_view::npos || open == 0 || !head.ends_with(')')) return malformed;
  std::string name(head.substr(0, open));
  std::string_view arguments = head.substr(open + 1, head.size() - open - 2);
  while (!arguments.empty()) {
    KUBERNEL_TRY(Type argument, Type::parse(take_argument(arguments)));
    out.arguments.push_back(std::move(argument));
  }
  return std::pair(std::move(name), std::move(out));
}

std::shared_ptr<const Library> standard_library() {
  static const std::shared_ptr<const Library> kLibrary = [] {
    auto library = std::make_shared<Library>();
    add_operators(*library);
    for (const auto& rows :
         {core_functions(), time_functions(), text_functions(), list_functions(), quantity_functions(),
          semver_functions(), network_functions(), url_functions(), format_functions()}) {
      for (const FunctionRow& row : rows) add(*library, row.signature, row.run);
    }
    return library;
  }();
  return kLibrary;
}

Environment::Environment() : library_(standard_library()) {}
Environment::~Environment() = default;
Environment::Environment(const Environment&) = default;
Environment& Environment::operator=(const Environment&) = default;

void Environment::declare(std::string name, Type type) {
  const auto found = std::ranges::find(variables_, name, &std::pair<std::string, Type>::first);
  if (found != variables_.end()) {
    found->second = std::move(type);
  } else {
    variables_.emplace_back(std::move(name), std::move(type));
  }
}

Result<void> Environment::declare_function(std::string_view signature, Function function) {
  KUBERNEL_TRY(auto parsed, parse_signature(signature));
  parsed.second.run = std::move(function);
  auto changed = std::make_shared<Library>(*library_);
  changed->functions[parsed.first].push_back(std::move(parsed.second));
  library_ = std::move(changed);
  return {};
}

}  // namespace kubernel::cel
