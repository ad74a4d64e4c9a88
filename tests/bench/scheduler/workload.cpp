// SPDX-License-Identifier: Apache-2.0
#include "workload.h"

#include <algorithm>
#include <fstream>
#include <sstream>

#include "core/config/yaml_reader.h"

namespace kubernel::bench {

using nlohmann::json;

namespace {

constexpr std::string_view kIndex = "$INDEX";

Step read_step(const json& entry, double scale) {
  Step out;
  const char* verb = "create";
  if (entry.contains("churn")) {
    out.kind = Step::Kind::Churn;
    verb = "churn";
  } else if (entry.contains("remove")) {
    out.kind = Step::Kind::Remove;
    verb = "remove";
  } else if (entry.contains("steady")) {
    out.kind = Step::Kind::Steady;
    verb = "steady";
  }
  out.resource = entry.at(verb).get<std::string>();
  const double count = entry.value("count", 1.0);
  // Others name the namespaces by number.
  out.count = static_cast<std::size_t>(out.resource == "namespaces" ? count : std::max(1.0, count * scale));
  out.object = entry.at("object");
  out.bound = entry.value("bound", true);
  out.measured = entry.value("measured", false);
  out.keep = entry.value("keep", false);
  out.seconds = std::max(1, static_cast<int>(entry.value("seconds", 1) * scale));
  out.every_milliseconds = entry.value("everyMilliseconds", 0);
  return out;
}

}  // namespace

std::string Workload::load(const std::filesystem::path& file, double scale, Workload& out) {
  std::ifstream in(file);
  if (!in) return "cannot read " + file.string();
  std::ostringstream text;
  text << in.rdbuf();
  json document;
  std::map<std::string, config::Position, std::less<>> positions;
  const auto read = config::read_yaml(
      text.str(), [](const std::string&) { return std::optional<std::string>(); }, document, positions);
  if (!read) return file.string() + ":" + read.error().message();
  try {
    out.name = document.at("name").get<std::string>();
    const json upstream = document.value("upstream", json::object());
    out.upstream_highest = upstream.value("highest", 0.0);
    out.upstream_136 = upstream.value("v1.36", 0.0);
    out.also_runs = document.value("alsoRuns", out.also_runs);
    for (const json& entry : document.at("steps")) out.steps.push_back(read_step(entry, scale));
  } catch (const json::exception& error) {
    return file.string() + ": " + error.what();
  }
  return {};
}

json numbered(const json& object, std::size_t index) {
  if (object.is_string()) {
    std::string text = object.get<std::string>();
    for (auto at = text.find(kIndex); at != std::string::npos; at = text.find(kIndex, at)) {
      auto end = at + kIndex.size();
      std::size_t number = index;
      if (end < text.size() && text[end] == '%') {
        const auto digits = text.find_first_not_of("0123456789", end + 1);
        const auto modulus = text.substr(end + 1, digits == std::string::npos ? digits : digits - end - 1);
        number %= std::stoul(modulus);
        end += 1 + modulus.size();
      }
      text.replace(at, end - at, std::to_string(number));
    }
    return text;
  }
  if (!object.is_structured()) return object;
  json out = object;
  for (json& member : out) member = numbered(member, index);
  return out;
}

}  // namespace kubernel::bench
