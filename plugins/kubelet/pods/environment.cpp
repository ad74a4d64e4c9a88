// SPDX-License-Identifier: Apache-2.0
#include "pods/environment.h"

#include <algorithm>
#include <cctype>

namespace kubernel::kubelet {

namespace {

const std::string* find_variable(const Environment& environment, std::string_view name) {
  const auto at =
      std::find_if(environment.rbegin(), environment.rend(), [&](const auto& e) { return e.first == name; });
  return at == environment.rend() ? nullptr : &at->second;
}

void set_variable(Environment& environment, std::string_view name, std::string value) {
  for (auto& [known, old] : environment) {
    if (known == name) {
      old = std::move(value);
      return;
    }
  }
  environment.emplace_back(std::string(name), std::move(value));
}

// One key of a ConfigMap or Secret; nothing when it is optional and not there.
Result<std::optional<std::string>> key_value(
    const api::Object& pod, std::string_view kind, api::Value ref,
    const std::function<Result<std::map<std::string, std::string>>(std::string_view)>& source) {
  const std::string name(ref["name"].string()), key(ref["key"].string());
  const bool optional = ref["optional"].boolean();
  auto data = source(name);
  if (!data) {
    if (optional && data.error().reason() == Reason::NotFound) return std::optional<std::string>();
    return std::move(data).error();
  }
  const auto at = data->find(key);
  if (at != data->end()) return std::optional(at->second);
  if (optional) return std::optional<std::string>();
  return Error(Reason::NotFound, "couldn't find key " + key + " in " + std::string(kind) + " " + pod.ns() + "/" + name);
}

Result<std::optional<std::string>> value_from(const api::Object& pod, const ContainerSpec& container, api::Value from,
                                              const PodFacts& facts, const ConfigSource& sources) {
  if (const auto ref = from["fieldRef"]) {
    KUBERNEL_TRY(std::string value, field_value(pod, ref["fieldPath"].string(), facts));
    return std::optional(std::move(value));
  }
  if (const auto ref = from["resourceFieldRef"]) {
    const std::string_view named = ref["containerName"].string();
    KUBERNEL_TRY(std::string value, resource_field_value(pod, named.empty() ? container.name : named,
                                                         ref["resource"].string(), ref["divisor"], facts));
    return std::optional(std::move(value));
  }
  if (const auto ref = from["configMapKeyRef"]) return key_value(pod, "ConfigMap", ref, sources.config_map);
  if (const auto ref = from["secretKeyRef"]) return key_value(pod, "Secret", ref, sources.secret);
  return Error(Reason::Invalid, "container " + container.name + ": unsupported valueFrom");
}

Result<void> add_env_from(const ContainerSpec& container, const ConfigSource& sources, Environment& out) {
  for (const api::Value from : container.value["envFrom"]) {
    const bool is_secret = static_cast<bool>(from["secretRef"]);
    const api::Value ref = is_secret ? from["secretRef"] : from["configMapRef"];
    auto data = (is_secret ? sources.secret : sources.config_map)(ref["name"].string());
    if (!data) {
      if (ref["optional"].boolean() && data.error().reason() == Reason::NotFound) continue;
      return std::move(data).error();
    }
    const std::string prefix(from["prefix"].string());
    for (auto& [key, value] : *data) {
      // A name with '=' or a NUL cannot be a variable; the API allows no other key that could not.
      const std::string name = prefix + key;
      if (!name.empty() && name.find('=') == std::string::npos) set_variable(out, name, std::move(value));
    }
  }
  return {};
}

std::string variable_name(std::string_view service) {
  std::string out(service);
  for (char& c : out) c = c == '-' ? '_' : static_cast<char>(std::toupper(static_cast<unsigned char>(c)));
  return out;
}

void add_service(const api::Object& service, std::map<std::string, std::string>& out) {
  const api::Value spec = service["spec"];
  const std::string ip(spec["clusterIP"].string());
  const std::string name = variable_name(service.name());
  const auto host = ip.find(':') == std::string::npos ? ip : "[" + ip + "]";
  bool first = true;
  for (const api::Value port : spec["ports"]) {
    const std::string number = std::to_string(port["port"].integer());
    std::string protocol(port["protocol"].string("TCP"));
    std::string lower = protocol;
    for (char& c : lower) c = static_cast<char>(std::tolower(static_cast<unsigned char>(c)));
    const std::string url = lower + "://" + host + ":" + number;
    if (first) {
      out[name + "_SERVICE_HOST"] = ip;
      out[name + "_SERVICE_PORT"] = number;
      out[name + "_PORT"] = url;
      first = false;
    }
    if (const auto port_name = port["name"].string(); !port_name.empty()) {
      out[name + "_SERVICE_PORT_" + variable_name(port_name)] = number;
    }
    const std::string prefix = name + "_PORT_" + number + "_" + protocol;
    out[prefix] = url;
    out[prefix + "_PROTO"] = lower;
    out[prefix + "_PORT"] = number;
    out[prefix + "_ADDR"] = ip;
  }
}

}  // namespace

std::string expand(std::string_view text, const std::function<const std::string*(std::string_view name)>& lookup) {
  std::string out;
  for (std::size_t i = 0; i < text.size(); ++i) {
    if (text[i] != '$' || i + 1 == text.size()) {
      out += text[i];
      continue;
    }
    const char next = text[i + 1];
    if (next == '$') {
      out += '$';
      ++i;
      continue;
    }
    const auto close = next == '(' ? text.find(')', i) : std::string_view::npos;
    if (close == std::string_view::npos) {
      // Not a reference: the "$" and what follows it stay.
      out += '$';
      if (next != '(') {
        out += next;
        ++i;
      }
      continue;
    }
    const std::string* value = lookup(text.substr(i + 2, close - i - 2));
    out += value != nullptr ? std::string_view(*value) : text.substr(i, close - i + 1);
    i = close;
  }
  return out;
}

Result<Environment> container_environment(const api::Object& pod, const ContainerSpec& container, const PodFacts& facts,
                                          const ConfigSource& sources,
                                          const std::map<std::string, std::string>& services) {
  Environment out;
  KUBERNEL_CHECK_OK(add_env_from(container, sources, out));
  const auto lookup = [&](std::string_view name) -> const std::string* {
    if (const std::string* value = find_variable(out, name)) return value;
    const auto at = services.find(std::string(name));
    return at == services.end() ? nullptr : &at->second;
  };
  for (const api::Value variable : container.value["env"]) {
    const std::string_view name = variable["name"].string();
    if (const auto from = variable["valueFrom"]) {
      KUBERNEL_TRY(auto value, value_from(pod, container, from, facts, sources));
      if (value) set_variable(out, name, *std::move(value));
    } else {
      set_variable(out, name, expand(variable["value"].string(), lookup));
    }
  }
  for (const auto& [name, value] : services) {
    if (find_variable(out, name) == nullptr) out.emplace_back(name, value);
  }
  return out;
}

std::map<std::string, std::string> service_variables(const std::vector<api::Object>& services, std::string_view ns,
                                                     bool service_links) {
  std::map<std::string, std::string> out;
  const auto usable = [](const api::Object& service) {
    const std::string_view ip = service["spec"]["clusterIP"].string();
    return !ip.empty() && ip != "None";
  };
  for (const api::Object& service : services) {
    if (service.ns() == "default" && service.name() == "kubernetes" && usable(service)) add_service(service, out);
  }
  if (!service_links) return out;
  for (const api::Object& service : services) {
    if (service.ns() == ns && usable(service)) add_service(service, out);
  }
  return out;
}

std::vector<std::string> expand_words(api::Value words, const Environment& environment) {
  std::vector<std::string> out;
  for (const api::Value word : words) {
    out.push_back(expand(word.string(), [&](std::string_view name) { return find_variable(environment, name); }));
  }
  return out;
}

}  // namespace kubernel::kubelet
