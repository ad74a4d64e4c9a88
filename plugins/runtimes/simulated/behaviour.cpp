// SPDX-License-Identifier: Apache-2.0
#include "behaviour.h"

#include <charconv>

#include <nlohmann/json.hpp>

#include <kubernel/api/time.h>

namespace kubernel::runtime::simulated {
namespace {

constexpr std::string_view kDomain = "simulated.kubernel.io";

Result<std::chrono::nanoseconds> parse_time_span(std::string_view text) {
  KUBERNEL_TRY(const auto duration, api::parse_duration(text));
  if (duration.count() < 0) return Error(Reason::Invalid, "\"" + std::string(text) + "\" is negative");
  return duration;
}

Result<std::optional<std::chrono::nanoseconds>> parse_run_for(std::string_view text) {
  if (text.empty() || text == "forever") return std::optional<std::chrono::nanoseconds>();
  KUBERNEL_TRY(const auto duration, parse_time_span(text));
  return std::optional(duration);
}

// "1,1,0".
Result<std::vector<int>> parse_exit_codes(std::string_view text) {
  std::vector<int> out;
  for (std::size_t from = 0; from <= text.size();) {
    const std::size_t comma = std::min(text.find(',', from), text.size());
    const std::string_view part = text.substr(from, comma - from);
    int code = -1;
    const auto [end, error] = std::from_chars(part.data(), part.data() + part.size(), code);
    if (error != std::errc() || end != part.data() + part.size() || code < 0 || code > 255) {
      return Error(Reason::Invalid, "\"" + std::string(text) + "\" is no list of exit codes from 0 to 255");
    }
    out.push_back(code);
    from = comma + 1;
  }
  return out;
}

Result<void> apply(std::string_view what, std::string_view text, Behaviour& to) {
  if (what == "start-after") {
    KUBERNEL_TRY(to.start_after, parse_time_span(text));
  } else if (what == "run-for") {
    KUBERNEL_TRY(to.run_for, parse_run_for(text));
  } else if (what == "exit-code") {
    KUBERNEL_TRY(to.exit_codes, parse_exit_codes(text));
  } else if (what == "stop-after") {
    KUBERNEL_TRY(to.stop_after, parse_time_span(text));
  } else {
    return Error(Reason::Invalid, "is not known: start-after, run-for, exit-code and stop-after are");
  }
  return {};
}

// Calls visit(container, what, value) for each annotation of ours; `container` is empty in those for all.
template <class Visit>
Result<void> for_each(const Annotations& annotations, const Visit& visit) {
  for (const auto& [name, value] : annotations) {
    const std::size_t slash = name.find('/');
    if (slash == std::string::npos) continue;
    std::string_view container = std::string_view(name).substr(0, slash);
    if (!container.ends_with(kDomain)) continue;
    container.remove_suffix(kDomain.size());
    if (!container.empty() && !container.ends_with('.')) continue;
    if (!container.empty()) container.remove_suffix(1);
    if (auto done = visit(container, std::string_view(name).substr(slash + 1), value); !done) {
      return std::move(done).error().wrap("annotation " + name);
    }
  }
  return {};
}

}  // namespace

Result<Behaviour> parse_defaults(const std::string& config_json) {
  const auto config = nlohmann::json::parse(config_json, nullptr, false);
  if (!config.is_object()) return Error(Reason::Invalid, "the configuration of plugin simulated is not an object");
  return catch_as_error("plugin simulated", [&]() -> Result<Behaviour> {
    Behaviour out;
    for (const auto& [key, what] : {std::pair("startAfter", "start-after"), std::pair("runFor", "run-for"),
                                    std::pair("stopAfter", "stop-after")}) {
      const auto at = config.find(key);
      if (at == config.end()) continue;
      if (auto done = apply(what, at->get<std::string>(), out); !done) return std::move(done).error().wrap(key);
    }
    out.exit_codes = {config.value("exitCode", 0)};
    return out;
  });
}

Result<Behaviour> behaviour_of(const Behaviour& defaults, const Annotations& annotations, std::string_view container) {
  Behaviour out = defaults;
  for (const bool own : {false, true}) {
    KUBERNEL_CHECK_OK(
        for_each(annotations, [&](std::string_view of, std::string_view what, std::string_view value) -> Result<void> {
          if (own ? of != container : !of.empty()) return {};
          return apply(what, value, out);
        }));
  }
  return out;
}

Result<void> check_annotations(const Annotations& annotations) {
  Behaviour ignored;
  return for_each(annotations, [&](std::string_view, std::string_view what, std::string_view value) {
    return apply(what, value, ignored);
  });
}

}  // namespace kubernel::runtime::simulated
