// SPDX-License-Identifier: Apache-2.0
#include "settings.h"

#include <set>

#include <nlohmann/json.hpp>

#include <kubernel/api/time.h>
#include <kubernel/crypto/pki.h>

namespace kubernel::plugins {
namespace {

using nlohmann::json;

Error wrong(const std::string& where, const std::string& what) {
  return {Reason::Invalid, where + ": " + what};
}

Result<std::chrono::milliseconds> read_duration(const json& object, const char* key, const std::string& where,
                                                std::chrono::milliseconds fallback) {
  if (!object.contains(key)) return fallback;
  const auto parsed = api::parse_duration(object[key].get<std::string>());
  if (!parsed || *parsed < std::chrono::milliseconds(1))
    return wrong(where + "." + key, "expected a duration such as \"15s\"");
  return std::chrono::duration_cast<std::chrono::milliseconds>(*parsed);
}

PluginSet read_set(const json& set) {
  PluginSet out;
  for (const json& plugin : set.value("enabled", json::array())) {
    out.enabled.push_back({plugin.at("name").get<std::string>(), plugin.value("weight", 0)});
  }
  for (const json& plugin : set.value("disabled", json::array()))
    out.disabled.push_back(plugin.at("name").get<std::string>());
  return out;
}

// The arguments without the type that upstream lets one write beside them.
Result<std::string> read_arguments(const json& entry, const std::string& where) {
  const std::string name = entry.at("name").get<std::string>();
  json arguments = entry.value("args", json::object());
  const std::string kind = arguments.value("kind", name + "Args");
  if (kind != name + "Args") return wrong(where + ".args.kind", "expected " + name + "Args, got " + kind);
  const std::string version = arguments.value("apiVersion", "kubescheduler.config.k8s.io/v1");
  if (version != "kubescheduler.config.k8s.io/v1") {
    return wrong(where + ".args.apiVersion", "expected kubescheduler.config.k8s.io/v1, got " + version);
  }
  arguments.erase("kind");
  arguments.erase("apiVersion");
  return arguments.dump();
}

Result<ProfileSettings> read_profile(const json& profile, const std::string& where) {
  ProfileSettings out;
  out.scheduler_name = profile.value("schedulerName", out.scheduler_name);
  if (profile.contains("percentageOfNodesToScore"))
    out.percentage_of_nodes_to_score = profile["percentageOfNodesToScore"].get<int>();
  const json plugins = profile.value("plugins", json::object());
  if (plugins.contains("multiPoint")) out.multi_point = read_set(plugins["multiPoint"]);
  for (std::size_t i = 0; i < kPoints; ++i) {
    if (const auto set = plugins.find(kPointNames[i]); set != plugins.end()) out.points[i] = read_set(*set);
  }
  const json arguments = profile.value("pluginConfig", json::array());
  std::set<std::string> seen;
  for (std::size_t i = 0; i < arguments.size(); ++i) {
    const std::string at = where + ".pluginConfig[" + std::to_string(i) + "]";
    const std::string name = arguments[i].at("name").get<std::string>();
    if (!seen.insert(name).second) return wrong(at, "\"" + name + "\" is configured twice");
    KUBERNEL_TRY(std::string text, read_arguments(arguments[i], at));
    out.arguments.emplace_back(name, std::move(text));
  }
  return out;
}

Result<std::string> read_data(const json& tls, const char* key, const std::string& where) {
  if (!tls.contains(key)) return std::string();
  auto decoded = crypto::base64_decode(tls[key].get<std::string>());
  if (!decoded) return wrong(where + ".tlsConfig." + key, "expected base64");
  return decoded;
}

Result<void> read_tls(const json& extender, const std::string& where, ExtenderSettings& out) {
  const json tls = extender.value("tlsConfig", json::object());
  if (tls.value("insecure", false)) {
    return wrong(where + ".tlsConfig.insecure",
                 "a server whose certificate is not verified is not supported; give caFile or caData");
  }
  out.server_name = tls.value("serverName", "");
  out.ca_file = tls.value("caFile", "");
  out.certificate_file = tls.value("certFile", "");
  out.key_file = tls.value("keyFile", "");
  KUBERNEL_TRY(out.ca_pem, read_data(tls, "caData", where));
  KUBERNEL_TRY(out.certificate_pem, read_data(tls, "certData", where));
  KUBERNEL_TRY(out.key_pem, read_data(tls, "keyData", where));
  const bool has_certificate = !out.certificate_file.empty() || !out.certificate_pem.empty();
  const bool has_key = !out.key_file.empty() || !out.key_pem.empty();
  if (has_certificate != has_key) return wrong(where + ".tlsConfig", "a client certificate and its key go together");
  return {};
}

Result<ExtenderSettings> read_extender(const json& extender, const std::string& where) {
  ExtenderSettings out;
  out.url_prefix = extender.at("urlPrefix").get<std::string>();
  while (out.url_prefix.ends_with('/')) out.url_prefix.pop_back();
  if (!out.url_prefix.starts_with("http://") && !out.url_prefix.starts_with("https://")) {
    return wrong(where + ".urlPrefix", "expected http:// or https://, got \"" + out.url_prefix + "\"");
  }
  out.filter_verb = extender.value("filterVerb", "");
  out.preempt_verb = extender.value("preemptVerb", "");
  out.prioritize_verb = extender.value("prioritizeVerb", "");
  out.bind_verb = extender.value("bindVerb", "");
  out.weight = extender.value("weight", std::int64_t{0});
  if (!out.prioritize_verb.empty() && out.weight <= 0)
    return wrong(where + ".weight", "must have a positive weight applied to it");
  out.https = extender.value("enableHTTPS", false) || out.url_prefix.starts_with("https://");
  if (out.https && out.url_prefix.starts_with("http://")) {
    return wrong(where + ".urlPrefix", "enableHTTPS is set, so the URL must begin with https://");
  }
  KUBERNEL_CHECK_OK(read_tls(extender, where, out));
  KUBERNEL_TRY(out.timeout, read_duration(extender, "httpTimeout", where, out.timeout));
  out.node_cache_capable = extender.value("nodeCacheCapable", false);
  for (const json& resource : extender.value("managedResources", json::array())) {
    out.managed_resources.push_back(resource.at("name").get<std::string>());
    if (resource.value("ignoredByScheduler", false)) out.ignored_resources.push_back(out.managed_resources.back());
  }
  out.ignorable = extender.value("ignorable", false);
  return out;
}

Result<ElectionSettings> read_election(const json& election) {
  ElectionSettings out;
  const std::string where = "leaderElection";
  out.enabled = election.value("leaderElect", out.enabled);
  out.ns = election.value("resourceNamespace", out.ns);
  out.name = election.value("resourceName", out.name);
  KUBERNEL_TRY(out.lease_duration, read_duration(election, "leaseDuration", where, out.lease_duration));
  KUBERNEL_TRY(out.renew_deadline, read_duration(election, "renewDeadline", where, out.renew_deadline));
  KUBERNEL_TRY(out.retry_period, read_duration(election, "retryPeriod", where, out.retry_period));
  return out;
}

Result<SchedulerSettings> read(const json& config) {
  SchedulerSettings out;
  out.parallelism = config.value("parallelism", out.parallelism);
  out.percentage_of_nodes_to_score = config.value("percentageOfNodesToScore", 0);
  out.initial_backoff = std::chrono::seconds(config.value("podInitialBackoffSeconds", 1));
  out.max_backoff = std::chrono::seconds(config.value("podMaxBackoffSeconds", 10));
  if (out.max_backoff < out.initial_backoff) {
    return wrong("podMaxBackoffSeconds", "must be greater than or equal to podInitialBackoffSeconds");
  }
  KUBERNEL_TRY(out.election, read_election(config.value("leaderElection", json::object())));
  const json profiles = config.value("profiles", json::array());
  if (!profiles.empty()) out.profiles.clear();
  for (std::size_t i = 0; i < profiles.size(); ++i) {
    const std::string where = "profiles[" + std::to_string(i) + "]";
    KUBERNEL_TRY(auto profile, read_profile(profiles[i], where));
    if (profiles.size() > 1 && !profiles[i].contains("schedulerName"))
      return wrong(where + ".schedulerName", "required with several profiles");
    out.profiles.push_back(std::move(profile));
  }
  const json extenders = config.value("extenders", json::array());
  std::size_t binders = 0;
  for (std::size_t i = 0; i < extenders.size(); ++i) {
    KUBERNEL_TRY(auto extender, read_extender(extenders[i], "extenders[" + std::to_string(i) + "]"));
    binders += extender.bind_verb.empty() ? 0 : 1;
    out.extenders.push_back(std::move(extender));
  }
  if (binders > 1) return wrong("extenders", "only one extender can implement bind, found " + std::to_string(binders));
  return out;
}

}  // namespace

Result<SchedulerSettings> read_settings(const std::string& config_json) {
  return catch_as_error("config", [&] { return read(json::parse(config_json)); });
}

}  // namespace kubernel::plugins
