// SPDX-License-Identifier: Apache-2.0
//
// The environment variables and the command line of a container.

#pragma once

#include <functional>
#include <map>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include <kubernel/api/object.h>
#include <kubernel/base/result.h>

#include "pods/field_ref.h"
#include "pods/spec.h"

namespace kubernel::kubelet {

// The text behind configMapKeyRef, secretKeyRef and envFrom: data and decoded binary data by key.
// An absent object is NotFound.
struct ConfigSource {
  std::function<Result<std::map<std::string, std::string>>(std::string_view name)> config_map;
  std::function<Result<std::map<std::string, std::string>>(std::string_view name)> secret;
};

using Environment = std::vector<std::pair<std::string, std::string>>;

// Replaces $(NAME) by its value; "$$" is a "$"; an unknown name stays as it is written.
std::string expand(std::string_view text, const std::function<const std::string*(std::string_view name)>& lookup);

// The variables of a container, in upstream's order of precedence: services, envFrom, env (later wins).
// `services`: the variables of service_variables(), which $(…) may refer to.
//
// Errors: Invalid or NotFound with upstream's message for a reference that cannot be resolved: the container waits in
// CreateContainerConfigError.
Result<Environment> container_environment(const api::Object& pod, const ContainerSpec& container, const PodFacts& facts,
                                          const ConfigSource& sources,
                                          const std::map<std::string, std::string>& services);

// <NAME>_SERVICE_HOST and its companions for each service with a cluster IP: the pod's namespace, and the API's own
// service from "default" always (enableServiceLinks false leaves only that).
std::map<std::string, std::string> service_variables(const std::vector<api::Object>& services, std::string_view ns,
                                                     bool service_links);

// command or args with $(NAME) replaced.
std::vector<std::string> expand_words(api::Value words, const Environment& environment);

}  // namespace kubernel::kubelet
