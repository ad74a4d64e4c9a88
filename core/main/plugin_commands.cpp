// SPDX-License-Identifier: Apache-2.0
#include "core/main/plugin_commands.h"

#include <algorithm>
#include <array>
#include <cstdio>
#include <string>

#include <nlohmann/json.hpp>

#include "core/config/manifest.h"
#include "core/lifecycle/assembly.h"
#include "core/loader/plugin_loader.h"
#include "core/main/run.h"

namespace kubernel::core {
namespace {

using lifecycle::AssembledPlugin;
using lifecycle::Assembly;
using lifecycle::PluginState;
using nlohmann::json;

void print(const std::string& text) {
  std::fwrite(text.data(), 1, text.size(), stdout);
}

void print_json(const json& value) {
  print(value.dump(2, ' ', false, json::error_handler_t::replace) + "\n");
}

std::string value_in(const loader::PluginText& text, std::string_view key) {
  const auto found = text.find(key);
  return found == text.end() ? "" : found->second;
}

std::string joined(const std::vector<std::string>& words) {
  std::string out;
  for (const std::string& word : words) out.append(out.empty() ? "" : " ").append(word);
  return out;
}

using Row = std::array<std::string, 5>;

// Columns as wide as their widest cell; the last is not padded.
void print_table(const std::vector<Row>& rows) {
  Row::size_type widths[5] = {};
  for (const Row& row : rows) {
    for (std::size_t i = 0; i < row.size(); ++i) widths[i] = std::max(widths[i], row[i].size());
  }
  for (const Row& row : rows) {
    std::string line;
    for (std::size_t i = 0; i < row.size(); ++i) {
      line += row[i];
      if (i + 1 < row.size()) line.append(widths[i] - row[i].size() + 3, ' ');
    }
    line.erase(line.find_last_not_of(' ') + 1);
    print(line + "\n");
  }
}

json as_json(const AssembledPlugin& plugin) {
  json out = {{"name", plugin.name},
              {"state", lifecycle::to_string(plugin.state)},
              {"required", plugin.required},
              {"file", plugin.file.string()},
              {"version", value_in(plugin.text, "version")},
              {"summary", value_in(plugin.text, "summary")},
              {"provides", loader::declared(plugin.text)}};
  if (!plugin.why.empty()) out["why"] = plugin.why;
  return out;
}

// What one file says about itself, and why it does not load here, if so.
struct Inspected {
  loader::PluginText text;
  std::string why_not;
};

Inspected inspect(const std::filesystem::path& file, bool load) {
  Inspected out;
  auto text = loader::read_plugin_text(file);
  if (!text) {
    out.why_not = text.error().message();
    return out;
  }
  out.text = *std::move(text);
  const auto without_file = [&](const Error& error) {
    const std::string prefix = file.string() + ": ";
    return error.message().starts_with(prefix) ? error.message().substr(prefix.size()) : error.message();
  };
  if (const auto verified = loader::verify_plugin(file, file.stem().string()); !verified) {
    out.why_not = without_file(verified.error());
    return out;
  }
  if (const std::string schema_text = value_in(out.text, "schema"); !schema_text.empty()) {
    if (const auto schema = config::ConfigSchema::parse(schema_text); !schema) out.why_not = schema.error().message();
  }
  if (!load || !out.why_not.empty()) return out;
  loader::Taken taken;
  if (const auto loaded = loader::load_plugin(file, out.text, taken); !loaded) {
    out.why_not = without_file(loaded.error());
  }
  return out;
}

json as_json(const std::filesystem::path& file, const Inspected& inspected) {
  json out = {{"file", file.string()}, {"loadsHere", inspected.why_not.empty()}};
  if (!inspected.why_not.empty()) out["why"] = inspected.why_not;
  json text = json::object();
  for (const auto& [key, value] : inspected.text) {
    if (key != "schema" && key != "provides") text[key] = value;
  }
  out["text"] = std::move(text);
  out["provides"] = loader::declared(inspected.text);
  if (const auto schema = inspected.text.find("schema"); schema != inspected.text.end()) {
    const json parsed = json::parse(schema->second, nullptr, false);
    out["schema"] = parsed.is_discarded() ? json(schema->second) : parsed;
  }
  return out;
}

void print_text(const std::filesystem::path& file, const Inspected& inspected) {
  print(file.string() + "\n");
  for (const auto& [key, value] : inspected.text) {
    if (key == "magic") continue;
    print("  " + key + std::string(key.size() < 14 ? 14 - key.size() : 0, ' ') + " " + value + "\n");
  }
  print("  loads here     " + (inspected.why_not.empty() ? "yes" : "no: " + inspected.why_not) + "\n");
}

}  // namespace

int list_plugins(const std::filesystem::path& manifest_file, bool as_json_text) {
  const auto manifest = config::load_manifest(manifest_file, config::process_environment(), KUBERNEL_PLUGIN_DIR);
  if (!manifest) {
    std::fprintf(stderr, "kubernel: %s\n", manifest.error().message().c_str());
    return kExitFailure;
  }
  const Assembly assembly(*manifest);
  int code = kExitOk;
  json items = json::array();
  std::vector<Row> rows = {{"NAME", "STATE", "VERSION", "PROVIDES", "NOTE"}};
  for (const AssembledPlugin& plugin : assembly.plugins()) {
    if (plugin.state == PluginState::Refused && plugin.required) code = kExitFailure;
    items.push_back(as_json(plugin));
    rows.push_back({plugin.name, std::string(lifecycle::to_string(plugin.state)), value_in(plugin.text, "version"),
                    joined(loader::declared(plugin.text)),
                    plugin.why.empty() ? value_in(plugin.text, "summary") : plugin.why});
  }
  if (as_json_text) {
    print_json({{"plugins", std::move(items)}});
  } else {
    print_table(rows);
  }
  return code;
}

int inspect_plugins(const std::vector<std::filesystem::path>& files, bool load, bool as_json_text) {
  int code = kExitOk;
  json items = json::array();
  for (const auto& file : files) {
    const Inspected inspected = inspect(file, load);
    if (!inspected.why_not.empty()) code = kExitFailure;
    if (as_json_text) {
      items.push_back(as_json(file, inspected));
    } else {
      print_text(file, inspected);
    }
  }
  if (as_json_text) print_json({{"plugins", std::move(items)}});
  return code;
}

int print_version(bool as_json_text) {
  json abi = json::object();
  std::string line = "kubernel " KUBERNEL_VERSION " (";
  for (const auto& [key, value] : loader::core_text()) {
    if (!key.starts_with("abi.")) continue;
    line.append(abi.empty() ? "" : ", ").append(key.substr(4)).append(" ").append(value);
    abi[key.substr(4)] = value;
  }
  if (as_json_text) {
    print_json({{"version", KUBERNEL_VERSION}, {"abi", std::move(abi)}});
  } else {
    print(line + ")\n");
  }
  return kExitOk;
}

}  // namespace kubernel::core
