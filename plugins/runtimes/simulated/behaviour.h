// SPDX-License-Identifier: Apache-2.0
//
// Behaviour: what a simulated container does with its life, from the plugin's configuration and the pod's annotations.
#pragma once

#include <chrono>
#include <cstdint>
#include <map>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include <kubernel/base/result.h>

namespace kubernel::runtime::simulated {

struct Behaviour {
  std::chrono::nanoseconds start_after{0};
  std::optional<std::chrono::nanoseconds> run_for;  ///< Absent: for ever.
  std::vector<int> exit_codes{0};  ///< One an attempt; the last is that of all later ones. Never empty.
  std::chrono::nanoseconds stop_after{0};

  int exit_code(std::uint32_t attempt) const {
    return exit_codes[attempt < exit_codes.size() ? attempt : exit_codes.size() - 1];
  }
};

using Annotations = std::map<std::string, std::string>;

/// The `config:` of the plugin. Errors: Invalid, naming the key.
Result<Behaviour> parse_defaults(const std::string& config_json);

/// `defaults` as changed by "simulated.kubernel.io/<what>" and, stronger, "<container>.simulated.kubernel.io/<what>",
/// where <what> is start-after, run-for, exit-code or stop-after.
///
/// Errors: Invalid, naming the annotation.
Result<Behaviour> behaviour_of(const Behaviour& defaults, const Annotations& annotations, std::string_view container);

/// Whether all annotations with this plugin's prefix, of whichever container, can be understood. Errors: as above.
Result<void> check_annotations(const Annotations& annotations);

}  // namespace kubernel::runtime::simulated
