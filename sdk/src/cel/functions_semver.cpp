// SPDX-License-Identifier: Apache-2.0
//
// Kubernetes' semver library (semver.org 2.0.0).

#include <algorithm>
#include <charconv>

#include "functions.h"

namespace kubernel::cel {
namespace {

struct Version {
  std::uint64_t major = 0, minor = 0, patch = 0;
  std::vector<std::string> prerelease;
  std::string build;
};

class SemverValue final : public Opaque {
 public:
  explicit SemverValue(Version parsed) : version(std::move(parsed)) {}
  std::string_view type_name() const override { return "kubernetes.Semver"; }
  bool equals(const Opaque& other) const override;

  const Version version;
};

bool is_number(std::string_view text) {
  return !text.empty() && std::ranges::all_of(text, [](char c) { return c >= '0' && c <= '9'; });
}

// Identifiers of numbers come before others and compare as numbers; so do equally long texts of digits.
int order_of_identifiers(const std::string& a, const std::string& b) {
  const bool number_a = is_number(a);
  const bool number_b = is_number(b);
  if (number_a != number_b) return number_a ? -1 : 1;
  if (number_a && a.size() != b.size()) return a.size() < b.size() ? -1 : 1;
  return a < b ? -1 : b < a ? 1 : 0;
}

int order_of(const Version& a, const Version& b) {
  const auto numbers = std::tie(a.major, a.minor, a.patch) <=> std::tie(b.major, b.minor, b.patch);
  if (numbers != 0) return numbers < 0 ? -1 : 1;
  if (a.prerelease.empty() != b.prerelease.empty()) return a.prerelease.empty() ? 1 : -1;
  for (std::size_t i = 0; i < std::min(a.prerelease.size(), b.prerelease.size()); ++i) {
    if (const int order = order_of_identifiers(a.prerelease[i], b.prerelease[i]); order != 0) return order;
  }
  if (a.prerelease.size() == b.prerelease.size()) return 0;
  return a.prerelease.size() < b.prerelease.size() ? -1 : 1;
}

bool SemverValue::equals(const Opaque& other) const {
  return order_of(version, static_cast<const SemverValue&>(other).version) == 0;
}

bool is_identifier(std::string_view text) {
  return !text.empty() && std::ranges::all_of(text, [](char c) {
    return (c >= '0' && c <= '9') || (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || c == '-';
  });
}

bool has_leading_zero(std::string_view text) {
  return text.size() > 1 && text.front() == '0' && is_number(text);
}

std::vector<std::string> split(std::string_view text, char by) {
  std::vector<std::string> out;
  for (;;) {
    const std::size_t end = text.find(by);
    out.emplace_back(text.substr(0, end));
    if (end == std::string_view::npos) return out;
    text.remove_prefix(end + 1);
  }
}

Error malformed(std::string_view text, const char* why) {
  return problem("failed to parse \"" + std::string(text) + "\" as a semver: " + why);
}

Result<Version> parse_version(std::string_view text) {
  Version out;
  std::string_view core = text;
  if (const std::size_t plus = core.find('+'); plus != std::string_view::npos) {
    out.build = core.substr(plus + 1);
    for (const std::string& part : split(out.build, '.')) {
      if (!is_identifier(part)) return malformed(text, "invalid build metadata");
    }
    core = core.substr(0, plus);
  }
  if (const std::size_t dash = core.find('-'); dash != std::string_view::npos) {
    out.prerelease = split(core.substr(dash + 1), '.');
    for (const std::string& part : out.prerelease) {
      if (!is_identifier(part) || has_leading_zero(part)) return malformed(text, "invalid pre-release");
    }
    core = core.substr(0, dash);
  }
  const auto parts = split(core, '.');
  if (parts.size() != 3) return malformed(text, "it must have major, minor and patch numbers");
  std::uint64_t* const numbers[] = {&out.major, &out.minor, &out.patch};
  for (std::size_t i = 0; i < 3; ++i) {
    const std::string& part = parts[i];
    if (!is_number(part) || has_leading_zero(part) ||
        std::from_chars(part.data(), part.data() + part.size(), *numbers[i]).ec != std::errc()) {
      return malformed(text, "major, minor and patch must be numbers without leading zeros");
    }
  }
  return out;
}

// What people write: "v1.02" means 1.2.0.
std::string normalized(std::string_view text) {
  if (text.starts_with('v')) text.remove_prefix(1);
  const std::size_t end = text.find_first_of("-+");
  auto parts = split(text.substr(0, end), '.');
  for (std::string& part : parts)
    part.erase(0, std::min(part.find_first_not_of('0'), part.empty() ? 0 : part.size() - 1));
  while (parts.size() < 3) parts.emplace_back("0");
  std::string out;
  for (const std::string& part : parts) out += (out.empty() ? "" : ".") + part;
  return end == std::string_view::npos ? out : out + std::string(text.substr(end));
}

const Version& version(const Value& value) {
  return static_cast<const SemverValue*>(value.as_opaque())->version;
}

std::string written(Args args) {
  return args.size() > 1 && args[1].as_bool() ? normalized(args[0].as_string()) : std::string(args[0].as_string());
}

Result<Value> parse(Args args) {
  return make_semver(written(args));
}

Result<Value> is_semver(Args args) {
  return Value::boolean(parse_version(written(args)).has_value());
}

template <std::uint64_t Version::*Part>
Result<Value> number(Args args) {
  return Value::integer(static_cast<std::int64_t>(version(args[0]).*Part));
}

Result<Value> less(Args args) {
  return Value::boolean(order_of(version(args[0]), version(args[1])) < 0);
}

Result<Value> greater(Args args) {
  return Value::boolean(order_of(version(args[0]), version(args[1])) > 0);
}

Result<Value> order(Args args) {
  return Value::integer(order_of(version(args[0]), version(args[1])));
}

constexpr FunctionRow kRows[] = {
    {"semver(string) -> kubernetes.Semver", parse},
    {"semver(string, bool) -> kubernetes.Semver", parse},
    {"isSemver(string) -> bool", is_semver},
    {"isSemver(string, bool) -> bool", is_semver},
    {"(kubernetes.Semver).major() -> int", number<&Version::major>},
    {"(kubernetes.Semver).minor() -> int", number<&Version::minor>},
    {"(kubernetes.Semver).patch() -> int", number<&Version::patch>},
    {"(kubernetes.Semver).isLessThan(kubernetes.Semver) -> bool", less},
    {"(kubernetes.Semver).isGreaterThan(kubernetes.Semver) -> bool", greater},
    {"(kubernetes.Semver).compareTo(kubernetes.Semver) -> int", order},
};

}  // namespace

Result<Value> make_semver(std::string_view text) {
  KUBERNEL_TRY(Version parsed, parse_version(text));
  return Value::opaque(std::make_shared<const SemverValue>(std::move(parsed)));
}

std::span<const FunctionRow> semver_functions() {
  return kRows;
}

}  // namespace kubernel::cel
