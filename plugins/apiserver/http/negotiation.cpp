// SPDX-License-Identifier: Apache-2.0
#include "http/negotiation.h"

#include <algorithm>
#include <charconv>
#include <map>
#include <optional>
#include <vector>

#include "registry/errors.h"

namespace kubernel::apiserver {

namespace {

struct MediaRange {
  std::string type;
  std::map<std::string, std::string, std::less<>> parameters;
  std::string parameter(std::string_view name) const {
    const auto place = parameters.find(name);
    return place == parameters.end() ? "" : place->second;
  }
};

std::string_view trim(std::string_view text) {
  while (!text.empty() && (text.front() == ' ' || text.front() == '\t')) text.remove_prefix(1);
  while (!text.empty() && (text.back() == ' ' || text.back() == '\t')) text.remove_suffix(1);
  return text;
}

std::string lower(std::string_view text) {
  std::string out(text);
  for (char& c : out) c = c >= 'A' && c <= 'Z' ? static_cast<char>(c + 32) : c;
  return out;
}

MediaRange parse_range(std::string_view text) {
  MediaRange out;
  std::size_t semicolon = text.find(';');
  out.type = lower(trim(text.substr(0, semicolon)));
  while (semicolon != std::string_view::npos) {
    text.remove_prefix(semicolon + 1);
    semicolon = text.find(';');
    const std::string_view one = trim(text.substr(0, semicolon));
    const std::size_t equals = one.find('=');
    if (equals == std::string_view::npos) continue;
    std::string_view value = trim(one.substr(equals + 1));
    if (value.size() >= 2 && value.front() == '"' && value.back() == '"') value = value.substr(1, value.size() - 2);
    out.parameters[lower(trim(one.substr(0, equals)))] = value;
  }
  return out;
}

std::vector<MediaRange> parse_accept(const net::Request& request) {
  std::vector<MediaRange> out;
  for (std::string_view header : request.headers.all("accept")) {
    while (!header.empty()) {
      const std::size_t comma = header.find(',');
      if (const std::string_view one = trim(header.substr(0, comma)); !one.empty()) out.push_back(parse_range(one));
      header.remove_prefix(comma == std::string_view::npos ? header.size() : comma + 1);
    }
  }
  return out;
}

// The wanted form, or absent when this server does not know it here.
std::optional<Accepted> form_of(const MediaRange& range, const Choices& choices) {
  Accepted out;
  const std::string as = range.parameter("as");
  if (as.empty()) return out;
  const std::string group = range.parameter("g");
  const std::string version = range.parameter("v");
  out.form_version = version;
  if (group == "apidiscovery.k8s.io") {
    const bool known =
        choices.aggregated_discovery && as == "APIGroupDiscoveryList" && (version == "v2" || version == "v2beta1");
    out.form = Form::AggregatedDiscovery;
    return known ? std::optional(out) : std::nullopt;
  }
  const bool known = group == "meta.k8s.io" && (version == "v1" || version == "v1beta1") && choices.table;
  if (!known) return std::nullopt;
  if (as == "Table") {
    out.form = Form::Table;
    return out;
  }
  if (as == "PartialObjectMetadata" || as == "PartialObjectMetadataList") {
    out.form = Form::Metadata;
    out.list_form = as == "PartialObjectMetadataList";
    return out;
  }
  return std::nullopt;
}

std::optional<Accepted> accept(const MediaRange& range, const Choices& choices) {
  const bool json_type = range.type == "application/json" || range.type == "*/*" || range.type == "application/*" ||
                         range.type == "application/json;stream=watch";
  const bool protobuf_type = range.type == "application/vnd.kubernetes.protobuf" && choices.protobuf;
  if (!json_type && !protobuf_type) return std::nullopt;
  auto out = form_of(range, choices);
  if (!out) return std::nullopt;
  // Tables are JSON only, as upstream.
  if (protobuf_type && out->form != Form::Plain) return std::nullopt;
  out->encoding = protobuf_type ? Encoding::Protobuf : Encoding::Json;
  return out;
}

}  // namespace

Result<Accepted> negotiate(const net::Request& request, const Choices& choices) {
  const std::vector<MediaRange> ranges = parse_accept(request);
  std::optional<Accepted> out;
  if (ranges.empty()) out = Accepted();
  for (const MediaRange& range : ranges) {
    out = accept(range, choices);
    if (out) break;
  }
  if (!out) {
    return Error(Reason::NotAcceptable, std::string("only the following media types are accepted: application/json") +
                                            (choices.protobuf ? ", application/vnd.kubernetes.protobuf" : ""));
  }
  const auto pretty = request.param("pretty");
  out->pretty = pretty && flag_param(request, "pretty");
  return *std::move(out);
}

Result<std::string_view> choose_type(const net::Request& request, std::span<const std::string_view> offered) {
  const std::vector<MediaRange> ranges = parse_accept(request);
  if (ranges.empty()) return offered.front();
  for (const MediaRange& range : ranges) {
    if (range.type == "*/*" || range.type == "application/*") return offered.front();
    const auto found = std::find(offered.begin(), offered.end(), range.type);
    if (found != offered.end()) return *found;
  }
  std::string names;
  for (const std::string_view one : offered) names.append(names.empty() ? "" : ", ").append(one);
  return Error(Reason::NotAcceptable, "only the following media types are accepted: " + names);
}

std::string body_type(const net::Request& request) {
  const std::string_view header = request.headers.get("content-type");
  return header.empty() ? "application/json" : parse_range(header).type;
}

bool flag_param(const net::Request& request, std::string_view name) {
  const auto value = request.param(name);
  if (!value) return false;
  return !(*value == "0" || lower(*value) == "false");
}

Result<std::int64_t> number_param(const net::Request& request, std::string_view name, std::int64_t fallback) {
  const auto value = request.param(name);
  if (!value || value->empty()) return fallback;
  std::int64_t out = 0;
  const auto [end, problem] = std::from_chars(value->data(), value->data() + value->size(), out);
  if (problem != std::errc() || end != value->data() + value->size()) {
    return bad_request("strconv.ParseInt: parsing " + quote(*value) + ": invalid syntax");
  }
  return out;
}

std::string text_param(const net::Request& request, std::string_view name) {
  return std::string(request.param(name).value_or(""));
}

}  // namespace kubernel::apiserver
