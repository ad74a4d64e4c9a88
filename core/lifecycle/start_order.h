// SPDX-License-Identifier: Apache-2.0
//
// start_order: in which order components start, decided before the first one does.

#pragma once

#include <cstddef>
#include <optional>
#include <span>
#include <string>
#include <vector>

#include <kubernel/plugin/component.h>

namespace kubernel::lifecycle {

struct Startable {
  std::string name;
  const plugin::ComponentSpec* spec;
};

std::string_view to_string(plugin::Group group);

struct MissingService {
  std::size_t component;  // Index of who needs it.
  std::string service;
};

// The first need that neither a component nor the core offers.
std::optional<MissingService> find_missing(std::span<const Startable> components,
                                           std::span<const std::string> built_in);

// Says so. `would_offer`: plugins that are not in the manifest and offer it.
Error missing_service(const std::string& component, const std::string& service,
                      const std::vector<std::string>& would_offer);

// Indices into `components` (which are in manifest order), by group, and within a group in manifest order, except that
// a component comes after those of its group that offer what it needs or wants. `built_in` services are always there.
//
// Errors: Invalid, in one line, when a needed service is offered by nobody, only by a later group, or in a circle, or
// when two components offer the same one.
Result<std::vector<std::size_t>> start_order(std::span<const Startable> components,
                                             std::span<const std::string> built_in);

}  // namespace kubernel::lifecycle
