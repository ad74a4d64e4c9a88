// SPDX-License-Identifier: Apache-2.0
#include "validation/field.h"

#include <arpa/inet.h>

#include <algorithm>
#include <charconv>

#include <kubernel/api/selector.h>
#include <kubernel/api/value.h>

namespace kubernel::apiserver::validation {

Field Field::operator[](const char* name) const {
  return {member(*value_, {name}), path_.empty() ? std::string(name) : path_ + "." + name, *causes_};
}

Field Field::at(std::size_t index) const {
  static const json kNull;
  const json& element = value_->is_array() && index < value_->size() ? (*value_)[index] : kNull;
  return {element, path_ + "[" + std::to_string(index) + "]", *causes_};
}

Field Field::key(const std::string& name) const {
  return {member(*value_, {name.c_str()}), path_ + "[" + name + "]", *causes_};
}

bool Field::zero() const {
  switch (value_->type()) {
    case json::value_t::null: return true;
    case json::value_t::string: return value_->get_ref<const std::string&>().empty();
    case json::value_t::boolean: return !value_->get<bool>();
    case json::value_t::number_integer:
    case json::value_t::number_unsigned: return value_->get<std::int64_t>() == 0;
    default: return value_->empty();
  }
}

api::Quantity Field::quantity() const {
  if (!set()) return {};
  const auto parsed = api::Quantity::parse(value_->is_string() ? text() : value_->dump());
  return parsed ? *parsed : api::Quantity();
}

std::string Field::printed() const {
  return value_->is_string() ? quote(value_->get_ref<const std::string&>())
                             : value_->dump(-1, ' ', false, json::error_handler_t::replace);
}

void Field::required(std::string_view why) const {
  causes_->push_back(apiserver::required(path_, why));
}
void Field::invalid(std::string_view why) const {
  invalid_as(printed(), why);
}
void Field::invalid(const std::vector<std::string>& why) const {
  for (const std::string& one : why) invalid(one);
}
void Field::invalid_as(std::string_view printed, std::string_view why) const {
  causes_->push_back(invalid_value(path_, printed, why));
}
void Field::forbidden(std::string_view why) const {
  causes_->push_back(forbidden_field(path_, why));
}
void Field::duplicate() const {
  duplicate_as(printed());
}
void Field::duplicate_as(std::string_view printed) const {
  causes_->push_back(apiserver::duplicate(path_, printed));
}
void Field::not_found() const {
  causes_->push_back(field_not_found(path_, printed()));
}
void Field::not_supported(const std::vector<std::string>& supported) const {
  std::vector<std::string> sorted = supported;
  std::sort(sorted.begin(), sorted.end());
  causes_->push_back(apiserver::not_supported(path_, set() ? printed() : "\"\"", sorted));
}
void Field::too_long(std::size_t bytes) const {
  causes_->push_back(
      {"FieldValueTooLong", "Too long: may not be more than " + std::to_string(bytes) + " bytes", path_});
}
void Field::too_many(std::size_t count, std::size_t limit) const {
  causes_->push_back({"FieldValueTooMany",
                      "Too many: " + std::to_string(count) + ": must have at most " + std::to_string(limit) + " items",
                      path_});
}

std::string join(const std::vector<std::string>& parts, std::string_view separator) {
  std::string out;
  for (const std::string& part : parts) out.append(out.empty() ? "" : separator).append(part);
  return out;
}

void check_not_negative(const Field& field) {
  if (field.number() < 0) field.invalid("must be greater than or equal to 0");
}

void check_between(const Field& field, std::int64_t low, std::int64_t high) {
  if (!field.set() || (field.number() >= low && field.number() <= high)) return;
  field.invalid("must be between " + std::to_string(low) + " and " + std::to_string(high) + ", inclusive");
}

void check_name_rule(const Field& field, NameRule rule) {
  if (!field.zero()) field.invalid(check_name(rule, field.text(), false));
}

void check_label_name(const Field& field) {
  field.invalid(check_label_key(field.text()));
}
void check_labels(const Field& map) {
  validate_labels(map.value(), map.path(), map.causes());
}
void check_annotations(const Field& map) {
  validate_annotations(map.value(), map.path(), map.causes());
}

void check_selector(const Field& selector) {
  check_labels(selector["matchLabels"]);
  selector["matchExpressions"].each([](const Field& term, std::size_t) {
    const std::string op = term["operator"].text();
    const Field values = term["values"];
    if (op == "In" || op == "NotIn") {
      if (values.zero()) values.required("must be specified when `operator` is 'In' or 'NotIn'");
    } else if (op == "Exists" || op == "DoesNotExist") {
      if (!values.zero()) values.forbidden("may not be specified when `operator` is 'Exists' or 'DoesNotExist'");
    } else if (!op.empty()) {
      term["operator"].invalid("not a valid selector operator");
    }
    if (!term["key"].zero()) check_label_name(term["key"]);
    values.each([](const Field& value, std::size_t) { value.invalid(check_label_value(value.text())); });
  });
}

bool is_empty_selector(const json& selector) {
  return member(selector, {"matchLabels"}).empty() && member(selector, {"matchExpressions"}).empty();
}

bool selects(const json& selector, const json& labels) {
  const auto parsed_selector = api::Document::parse(selector.dump(-1, ' ', false, json::error_handler_t::replace));
  const auto parsed_labels =
      api::Document::parse(labels.is_object() ? labels.dump(-1, ' ', false, json::error_handler_t::replace) : "{}");
  if (!parsed_selector || !parsed_labels) return false;
  const auto match = api::LabelSelector::from_api((*parsed_selector)->root());
  return match && match->matches((*parsed_labels)->root());
}

void check_port_number(const Field& field) {
  if (field.number() < 1 || field.number() > 65535) field.invalid("must be between 1 and 65535, inclusive");
}

namespace {

std::vector<std::string> port_name_problems(const std::string& name) {
  std::vector<std::string> out;
  const auto lower_alnum = [](char c) { return (c >= 'a' && c <= 'z') || (c >= '0' && c <= '9'); };
  if (name.size() > 15) out.emplace_back("must be no more than 15 characters");
  if (!std::all_of(name.begin(), name.end(), [&](char c) { return lower_alnum(c) || c == '-'; })) {
    out.emplace_back("must contain only alpha-numeric characters (a-z, 0-9), and hyphens (-)");
  }
  if (!std::any_of(name.begin(), name.end(), [](char c) { return c >= 'a' && c <= 'z'; })) {
    out.emplace_back("must contain at least one letter (a-z)");
  }
  if (name.find("--") != std::string::npos) out.emplace_back("must not contain consecutive hyphens");
  if (!name.empty() && (name.front() == '-' || name.back() == '-')) {
    out.emplace_back("must not begin or end with a hyphen");
  }
  return out;
}

}  // namespace

void check_port_name(const Field& field) {
  field.invalid(port_name_problems(field.text()));
}

void check_port_number_or_name(const Field& field) {
  if (field.value().is_string()) {
    check_port_name(field);
  } else if (field.set()) {
    check_port_number(field);
  }
}

namespace {

std::vector<std::string> config_key_problems(const std::string& key) {
  std::vector<std::string> out;
  if (key.size() > 253) out.emplace_back("must be no more than 253 characters");
  const bool legal = !key.empty() && std::all_of(key.begin(), key.end(), [](char c) {
    return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9') || c == '-' || c == '_' ||
           c == '.';
  });
  if (!legal) {
    out.emplace_back(
        "a valid config key must consist of alphanumeric characters, '-', '_' or '.' (e.g. 'key.name',  or 'KEY_NAME', "
        " "
        "or 'key-name', regex used for validation is '[-._a-zA-Z0-9]+')");
  }
  if (key == ".") {
    out.emplace_back("must not be '.'");
  } else if (key == "..") {
    out.emplace_back("must not be '..'");
  } else if (key.starts_with("..")) {
    out.emplace_back("must not start with '..'");
  }
  return out;
}

}  // namespace

void check_config_key(const Field& field) {
  field.invalid(config_key_problems(field.text()));
}
void check_config_key(const Field& field, const std::string& key) {
  for (const std::string& why : config_key_problems(key)) field.invalid_as(quote(key), why);
}

void check_env_name(const Field& field) {
  const std::string name = field.text();
  const bool legal = std::all_of(name.begin(), name.end(), [](char c) { return c >= ' ' && c <= '~' && c != '='; });
  if (!legal) {
    field.invalid("a valid environment variable name must consist only of printable ASCII characters other than '='");
  }
}

bool is_ipv4(const std::string& text) {
  in_addr address{};
  return inet_pton(AF_INET, text.c_str(), &address) == 1;
}

bool is_ip(const std::string& text) {
  in6_addr address{};
  return is_ipv4(text) || inet_pton(AF_INET6, text.c_str(), &address) == 1;
}

void check_ip(const Field& field) {
  if (!is_ip(field.text())) field.invalid("must be a valid IP address, (e.g. 10.9.8.7 or 2001:db8::ffff)");
}

void check_cidr(const Field& field) {
  const std::string text = field.text();
  const std::size_t slash = text.find('/');
  int bits = -1;
  bool legal = slash != std::string::npos && is_ip(text.substr(0, slash));
  if (legal) {
    const char* end = text.data() + text.size();
    const auto [stop, error] = std::from_chars(text.data() + slash + 1, end, bits);
    legal = error == std::errc() && stop == end && bits >= 0 && bits <= (is_ipv4(text.substr(0, slash)) ? 32 : 128);
  }
  if (!legal) field.invalid("must be a valid CIDR value, (e.g. 10.9.8.0/24 or 2001:db8::/64)");
}

namespace {

bool is_percent(const std::string& text) {
  return text.size() > 1 && text.back() == '%' &&
         std::all_of(text.begin(), text.end() - 1, [](char c) { return c >= '0' && c <= '9'; });
}

}  // namespace

std::int64_t int_or_percent(const json& value) {
  if (value.is_number_integer()) return value.get<std::int64_t>();
  if (!value.is_string()) return 0;
  const auto& text = value.get_ref<const std::string&>();
  std::int64_t out = 0;
  std::from_chars(text.data(), text.data() + text.size(), out);
  return out;
}

void check_int_or_percent(const Field& field, bool limit_100) {
  if (!field.set()) return;
  if (!field.value().is_string()) return check_not_negative(field);
  if (!is_percent(field.text())) {
    field.invalid(
        "a valid percent string must be a numeric string followed by an ending '%' (e.g. '1%',  or '93%', regex used "
        "for "
        "validation is '[0-9]+%')");
  } else if (limit_100 && int_or_percent(field.value()) > 100) {
    field.invalid("must not be greater than 100%");
  }
}

void check_unchanged(const Field& field, const json& before) {
  if (field.value() != before) field.invalid(kImmutable);
}

void check_quantity_not_negative(const Field& field) {
  if (field.quantity().sign() < 0) {
    field.invalid_as(quote(field.quantity().to_string()), "must be greater than or equal to 0");
  }
}

void check_no_backsteps(const Field& field) {
  std::string_view rest =
      field.value().is_string() ? std::string_view(field.value().get_ref<const std::string&>()) : "";
  while (!rest.empty()) {
    const std::size_t slash = rest.find('/');
    if (rest.substr(0, slash) == "..") {
      field.invalid("must not contain '..'");
      return;
    }
    if (slash == std::string_view::npos) return;
    rest.remove_prefix(slash + 1);
  }
}

void check_relative_path(const Field& field) {
  if (field.text().starts_with('/')) field.invalid("must be a relative path");
  check_no_backsteps(field);
}

}  // namespace kubernel::apiserver::validation
