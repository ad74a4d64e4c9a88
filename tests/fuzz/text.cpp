// SPDX-License-Identifier: Apache-2.0
//
// The small texts of the API: quantities, selectors, times, durations, names, percentages.

#include <kubernel/api/int_or_string.h>
#include <kubernel/api/names.h>
#include <kubernel/api/quantity.h>
#include <kubernel/api/selector.h>
#include <kubernel/api/time.h>

#include "target.h"

using kubernel::fuzz::must;
namespace api = kubernel::api;

static void quantities(std::string_view input) {
  const auto quantity = api::Quantity::parse(input);
  if (!quantity) return;
  const auto again = api::Quantity::parse(quantity->to_string());
  must(again.has_value(), "a quantity's text is one");
  must(*again == *quantity, "a quantity's text is its value");
  must(again->to_string() == quantity->to_string(), "a quantity's text is canonical");
  static_cast<void>(quantity->value());
  static_cast<void>(quantity->milli_value());
  api::Quantity sum = *quantity;
  sum += *quantity;
  sum -= *quantity;
}

static void selectors(std::string_view input) {
  if (const auto selector = api::LabelSelector::parse(input)) {
    const auto again = api::LabelSelector::parse(selector->to_string());
    must(again.has_value(), "a selector's text is one");
    must(again->to_string() == selector->to_string(), "a selector's text is canonical");
    static_cast<void>(selector->matches(api::Value()));
  }
  if (const auto fields = api::FieldSelector::parse(input)) {
    static_cast<void>(fields->matches([](std::string_view) { return std::string("x"); }));
  }
}

static void times(std::string_view input) {
  if (const auto time = api::parse_time(input)) {
    const auto again = api::parse_time(api::format_micro_time(*time));
    must(again.has_value(), "a time's text is one");
    must(api::format_micro_time(*again) == api::format_micro_time(*time), "a time's text is canonical");
    static_cast<void>(api::format_time(*time));
  }
  if (const auto duration = api::parse_duration(input)) {
    const auto again = api::parse_duration(api::format_duration(*duration));
    must(again.has_value() && *again == *duration, "a duration's text is its value");
    static_cast<void>(api::human_duration(*duration));
  }
}

KUBERNEL_FUZZ(input) {
  quantities(input);
  selectors(input);
  times(input);
  for (const auto problem : {api::dns_label_problem, api::dns_subdomain_problem, api::dns_1035_label_problem,
                             api::path_segment_problem, api::qualified_name_problem, api::label_value_problem}) {
    static_cast<void>(problem(input));
  }
  for (const bool up : {false, true}) {
    static_cast<void>(api::scaled_value({.is_string = true, .number = 0, .text = std::string(input)}, 1'000'000, up));
  }
}
