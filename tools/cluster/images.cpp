// SPDX-License-Identifier: Apache-2.0
#include "images.h"

#include <cctype>
#include <chrono>
#include <cstdio>
#include <filesystem>

#include <nlohmann/json.hpp>

namespace kubernel::cluster {
namespace {

using nlohmann::json;

constexpr auto kPatience = std::chrono::minutes(5);

std::string percent_encoded(const std::string& text) {
  static constexpr char kHex[] = "0123456789ABCDEF";
  std::string out;
  for (const char c : text) {
    const auto byte = static_cast<unsigned char>(c);
    if (std::isalnum(byte) != 0 || c == '/' || c == '-' || c == '_' || c == '.') {
      out += c;
    } else {
      out += {'%', kHex[byte >> 4U], kHex[byte & 15U]};
    }
  }
  return out;
}

}  // namespace

// A node of a sandboxed cluster sees this machine's files, so a path is all it needs.
Result<void> load_image(ApiAccess& api, const ClusterRecord& record, const std::string& path) {
  std::error_code failure;
  const auto file = std::filesystem::canonical(path, failure);
  if (failure) return Error(Reason::NotFound, path + ": " + failure.message());
  for (int node = 1; node <= record.nodes; ++node) {
    const auto loaded =
        api.call("POST", "/api/v1/nodes/" + node_name(node) + "/proxy/images?path=" + percent_encoded(file.string()),
                 std::chrono::steady_clock::now() + kPatience);
    if (!loaded) return Error(loaded.error()).wrap(node_name(node));
  }
  return {};
}

Result<std::string> list_images(ApiAccess& api, const ClusterRecord& record, bool as_json) {
  json all = json::array();
  std::string text;
  for (int node = 1; node <= record.nodes; ++node) {
    KUBERNEL_TRY(const std::string body, api.call("GET", "/api/v1/nodes/" + node_name(node) + "/proxy/images",
                                                  std::chrono::steady_clock::now() + kPatience));
    const json images = json::parse(body, nullptr, false);
    if (!images.is_array()) return Error(Reason::Internal, node_name(node) + ": malformed list of images");
    for (json image : images) {
      for (const auto& tag : image.value("tags", json::array())) {
        text +=
            node_name(node) + "  " + tag.get<std::string>() + "  " + std::to_string(image.value("sizeBytes", 0)) + "\n";
      }
      image["node"] = node_name(node);
      all.push_back(std::move(image));
    }
  }
  return as_json ? all.dump(2) + "\n" : text;
}

}  // namespace kubernel::cluster
