// SPDX-License-Identifier: Apache-2.0
#include "scheduler.h"

#include <algorithm>
#include <cctype>
#include <chrono>

#include <nlohmann/json.hpp>

namespace kubernel::cluster {
namespace {

using nlohmann::json;

constexpr std::chrono::seconds kPatience{30};

// For a query: everything but letters, digits, '-' and '.' is escaped; names of pods need no more.
std::string escaped(const std::string& text) {
  constexpr const char* kHex = "0123456789ABCDEF";
  std::string out;
  for (const char c : text) {
    const auto byte = static_cast<unsigned char>(c);
    if (std::isalnum(byte) != 0 || c == '-' || c == '.') {
      out += c;
    } else {
      out += {'%', kHex[byte >> 4], kHex[byte & 15]};
    }
  }
  return out;
}

std::string padded(std::string text, std::size_t width) {
  text.resize(std::max(width, text.size()), ' ');
  return text;
}

std::size_t widest(const json& nodes) {
  std::size_t out = 0;
  for (const json& node : nodes) {
    for (const char* list : {"filters", "scores"}) {
      for (const json& entry : node.at(list))
        out = std::max(out, entry.at("plugin").get_ref<const std::string&>().size());
    }
  }
  return out;
}

std::string filter_line(const json& filter, std::size_t width) {
  const std::string verdict = filter.at("verdict").get<std::string>();
  std::string out = "  filter  " + padded(filter.at("plugin").get<std::string>(), width) + "  ";
  if (verdict == "Fits") return out + "yes\n";
  if (verdict == "Skip") return out + "-    nothing to check for this pod\n";
  std::string reasons;
  for (const json& reason : filter.at("reasons")) reasons += (reasons.empty() ? "" : "; ") + reason.get<std::string>();
  return out + "no   " + reasons + (verdict == "Unschedulable" ? " (preemption might help)" : "") + "\n";
}

std::string score_line(const json& score, std::size_t width) {
  const auto points = score.at("score").get<std::int64_t>();
  const auto weight = score.at("weight").get<std::int64_t>();
  return "  score   " + padded(score.at("plugin").get<std::string>(), width) + "  " + std::to_string(points) + " x " +
         std::to_string(weight) + " = " + std::to_string(points * weight) + "\n";
}

std::string text_of(const json& answer) {
  std::string out =
      "pod " + answer.at("pod").get<std::string>() + ", scheduler " + answer.at("scheduler").get<std::string>() + "\n";
  if (const auto refused = answer.at("refused").get<std::string>(); !refused.empty())
    out += "not tried: " + refused + "\n";
  const json& nodes = answer.at("nodes");
  if (nodes.empty()) out += "there are no nodes\n";
  const std::size_t width = widest(nodes);
  for (const json& node : nodes) {
    const bool fits = node.at("fits").get<bool>();
    out += "node " + node.at("name").get<std::string>() + ": " +
           (fits ? "fits, total score " + std::to_string(node.at("total").get<std::int64_t>()) : "does not fit") + "\n";
    for (const json& filter : node.at("filters")) out += filter_line(filter, width);
    for (const json& score : node.at("scores")) out += score_line(score, width);
  }
  return out;
}

}  // namespace

Result<std::string> explanation_text(const std::string& answer) {
  return catch_as_error("the scheduler's answer",
                        [&]() -> Result<std::string> { return text_of(json::parse(answer)); });
}

Result<std::string> explain_pod(ApiAccess& api, const std::string& ns, const std::string& pod, bool as_json) {
  const std::string path = "/scheduler/explain?namespace=" + escaped(ns) + "&pod=" + escaped(pod);
  KUBERNEL_TRY(const std::string answer, api.call("GET", path, std::chrono::steady_clock::now() + kPatience));
  if (as_json) return answer + "\n";
  return explanation_text(answer);
}

}  // namespace kubernel::cluster
