// SPDX-License-Identifier: Apache-2.0
//
// Jobs and cron jobs (batch/validation).
#include <array>
#include <charconv>
#include <string>

#include "validation/pod_rules.h"
#include "validation/rules.h"

namespace kubernel::apiserver::validation {

namespace {

void check_exit_codes(const Field& rule) {
  const Field codes = rule["onExitCodes"];
  const bool on_codes = codes.set();
  const bool on_conditions = !rule["onPodConditions"].zero();
  if (on_codes && on_conditions) rule.invalid("specifying both OnExitCodes and OnPodConditions is not supported");
  if (!on_codes && !on_conditions) rule.invalid("specifying one of OnExitCodes and OnPodConditions is required");
  codes["values"].each([&](const Field& value, std::size_t) {
    if (codes["operator"].text() == "In" && value.number() == 0) value.invalid("must not be 0 for the In operator");
  });
}

void check_failure_policy(const Field& spec) {
  const Field policy = spec["podFailurePolicy"];
  if (!policy.set()) return;
  if (policy["rules"].size() > 20) policy["rules"].too_many(policy["rules"].size(), 20);
  policy["rules"].each([](const Field& rule, std::size_t) { check_exit_codes(rule); });
  const Field restart = spec["template"]["spec"]["restartPolicy"];
  if (restart.text() != "Never") restart.invalid("only \"Never\" is supported when podFailurePolicy is specified");
}

void check_indexed(const Field& spec) {
  const bool indexed = spec["completionMode"].text() == "Indexed";
  const Field per_index = spec["backoffLimitPerIndex"];
  const Field failed = spec["maxFailedIndexes"];
  if (per_index.set() && !indexed) per_index.invalid("requires indexed completion mode");
  if (failed.set()) {
    if (spec["completions"].set() && failed.number() > spec["completions"].number()) {
      failed.invalid("must be less than or equal to completions");
    }
    if (!per_index.set()) per_index.required("when maxFailedIndexes is specified");
  }
  if (!indexed) {
    if (spec["successPolicy"].set()) spec["successPolicy"].invalid("requires indexed completion mode");
    return;
  }
  if (!spec["completions"].set()) spec["completions"].required("when completion mode is Indexed");
  if (spec["parallelism"].number() > 100000) {
    spec["parallelism"].invalid("must be less than or equal to 100000 when completion mode is Indexed");
  }
}

void check_job_spec(const Field& spec) {
  for (const char* field : {"parallelism", "completions", "activeDeadlineSeconds", "backoffLimit",
                            "ttlSecondsAfterFinished", "backoffLimitPerIndex", "maxFailedIndexes"}) {
    check_not_negative(spec[field]);
  }
  check_indexed(spec);
  check_failure_policy(spec);
  check_pod_template(spec["template"]);
  const Field policy = spec["template"]["spec"]["restartPolicy"];
  if (policy.zero() || policy.text() == "Always") policy.required("valid values: \"OnFailure\", \"Never\"");
}

struct CronField {
  int low, high;
  std::array<std::string_view, 12> names;  // Of `low`, `low` + 1, …
};

constexpr std::array<CronField, 5> kCronFields = {{
    {0, 59, {}},
    {0, 23, {}},
    {1, 31, {}},
    {1, 12, {"jan", "feb", "mar", "apr", "may", "jun", "jul", "aug", "sep", "oct", "nov", "dec"}},
    {0, 6, {"sun", "mon", "tue", "wed", "thu", "fri", "sat"}},
}};

std::string lower_case(std::string_view text) {
  std::string out(text);
  for (char& c : out) c = c >= 'A' && c <= 'Z' ? static_cast<char>(c + 32) : c;
  return out;
}

// Sets `why` when `text` is neither a number nor a name.
int cron_number(std::string_view text, const CronField& field, std::string& why) {
  const std::string name = lower_case(text);
  for (std::size_t i = 0; i < field.names.size(); ++i) {
    if (!name.empty() && field.names[i] == name) return field.low + static_cast<int>(i);
  }
  int value = 0;
  const auto [stop, error] = std::from_chars(text.data(), text.data() + text.size(), value);
  if (error != std::errc() || stop != text.data() + text.size()) {
    why =
        "failed to parse int from " + std::string(text) + ": strconv.Atoi: parsing " + quote(text) + ": invalid syntax";
  } else if (value < 0) {
    why = "negative number (" + std::to_string(value) + ") not allowed: " + std::string(text);
  }
  return value;
}

// number | number "-" number [ "/" number ] | "*" [ "/" number ]
std::string cron_range_problem(std::string_view range, const CronField& field) {
  std::string why;
  const std::size_t slash = range.find('/');
  const std::string_view span = range.substr(0, slash);
  if (slash != std::string_view::npos && range.find('/', slash + 1) != std::string_view::npos) {
    return "too many slashes: " + std::string(range);
  }
  int first = field.low;
  int last = field.high;
  if (span != "*" && span != "?") {
    const std::size_t dash = span.find('-');
    if (dash != std::string_view::npos && span.find('-', dash + 1) != std::string_view::npos) {
      return "too many hyphens: " + std::string(range);
    }
    first = cron_number(span.substr(0, dash), field, why);
    if (!why.empty()) return why;
    last = first;
    if (dash != std::string_view::npos) last = cron_number(span.substr(dash + 1), field, why);
    if (!why.empty()) return why;
    if (dash == std::string_view::npos && slash != std::string_view::npos) last = field.high;
  }
  const auto limits = [&](const char* what, int value, const char* relation, int limit) {
    return std::string(what) + " (" + std::to_string(value) + ") " + relation + " (" + std::to_string(limit) +
           "): " + std::string(range);
  };
  if (slash != std::string_view::npos) {
    const int step = cron_number(range.substr(slash + 1), field, why);
    if (!why.empty()) return why;
    if (step == 0) return "step of range should be a positive number: " + std::string(range);
  }
  if (first < field.low) return limits("beginning of range", first, "below minimum", field.low);
  if (last > field.high) return limits("end of range", last, "above maximum", field.high);
  if (first > last) return limits("beginning of range", first, "beyond end of range", last);
  return {};
}

std::string cron_field_problem(std::string_view text, const CronField& field) {
  for (;;) {
    const std::size_t comma = text.find(',');
    if (comma != 0) {
      if (std::string why = cron_range_problem(text.substr(0, comma), field); !why.empty()) return why;
    }
    if (comma == std::string_view::npos) return {};
    text.remove_prefix(comma + 1);
    if (text.empty()) return {};
  }
}

std::string every_problem(std::string_view duration, std::string_view schedule) {
  bool digits = false;
  bool units = false;
  for (const char c : duration) {
    if ((c >= '0' && c <= '9') || c == '.') {
      digits = true;
    } else if (digits && (c == 'h' || c == 'm' || c == 's')) {
      units = true;
    } else {
      units = false;
      break;
    }
  }
  if (units) return {};
  return "failed to parse duration " + std::string(schedule) + ": time: invalid duration " + quote(duration);
}

// The five fields and the descriptors of the cron library upstream uses, with its messages. Empty: a legal schedule.
std::string schedule_problem(const std::string& schedule) {
  if (schedule.starts_with('@')) {
    for (const char* known : {"@yearly", "@annually", "@monthly", "@weekly", "@daily", "@midnight", "@hourly"}) {
      if (schedule == known) return {};
    }
    if (schedule.starts_with("@every ")) return every_problem(std::string_view(schedule).substr(7), schedule);
    return "unrecognized descriptor: " + schedule;
  }
  std::vector<std::string> parts;
  for (std::size_t i = 0; i < schedule.size();) {
    const std::size_t start = schedule.find_first_not_of(" \t\n", i);
    if (start == std::string::npos) break;
    const std::size_t end = std::min(schedule.find_first_of(" \t\n", start), schedule.size());
    parts.push_back(schedule.substr(start, end - start));
    i = end;
  }
  if (parts.size() != kCronFields.size()) {
    return "expected exactly 5 fields, found " + std::to_string(parts.size()) + ": [" + join(parts, " ") + "]";
  }
  for (std::size_t i = 0; i < parts.size(); ++i) {
    if (std::string why = cron_field_problem(parts[i], kCronFields[i]); !why.empty()) return why;
  }
  return {};
}

void check_schedule(const Field& spec) {
  const Field schedule = spec["schedule"];
  if (schedule.zero()) {
    schedule.required();
    return;
  }
  const std::string text = schedule.text();
  if (text.find("TZ") != std::string::npos) {
    schedule.invalid("cannot use TZ or CRON_TZ in schedule, use timeZone field instead");
    return;
  }
  if (const std::string why = schedule_problem(text); !why.empty()) schedule.invalid(why);
}

bool is_elastic(const Field& spec, const json& before) {
  return spec["completionMode"].text() == "Indexed" && spec["completions"].value() == spec["parallelism"].value() &&
         member(before, {"completions"}) == member(before, {"parallelism"});
}

// What a suspended job that has not started may have changed in its template: where its pods run, and how they are
// labelled.
void cover_placement(json& pods, const json& before) {
  for (const char* field : {"nodeSelector", "tolerations", "schedulingGates", "affinity"}) {
    copy_member(make_member(pods, {"spec"}), member(before, {"spec"}), field);
  }
  for (const char* field : {"labels", "annotations"})
    copy_member(make_member(pods, {"metadata"}), member(before, {"metadata"}), field);
  for (const char* list : {"containers", "initContainers"}) {
    json& now = make_member(pods, {"spec", list});
    const json& then = member(before, {"spec", list});
    if (now.is_null()) pods["spec"].erase(list);
    if (!now.is_array() || !then.is_array() || now.size() != then.size()) continue;
    for (std::size_t i = 0; i < now.size(); ++i) copy_member(now[i], then[i], "resources");
  }
}

}  // namespace

void check_job(const Field& job) {
  const Field spec = job["spec"];
  check_job_spec(spec);
  const Field selector = spec["selector"];
  if (!selector.set()) {
    selector.required();
    return;
  }
  check_selector(selector);
  const Field labels = spec["template"]["metadata"]["labels"];
  if (!selects(selector.value(), labels.value())) labels.invalid("`selector` does not match template `labels`");
}

void check_job_update(const Field& job, const json& old) {
  const Field spec = job["spec"];
  const json& before = member(old, {"spec"});
  if (!is_elastic(spec, before)) check_unchanged(spec["completions"], member(before, {"completions"}));
  for (const char* field :
       {"selector", "completionMode", "podFailurePolicy", "backoffLimitPerIndex", "managedBy", "successPolicy"}) {
    check_unchanged(spec[field], member(before, {field}));
  }
  json pods = spec["template"].value();
  const json& pods_before = member(before, {"template"});
  const bool not_started = flag(before, {"suspend"}) && member(old, {"status", "startTime"}).is_null();
  if (not_started && pods.is_object()) cover_placement(pods, pods_before);
  if (pods != pods_before) spec["template"].invalid(kImmutable);
}

void check_cron_job(const Field& job) {
  const Field spec = job["spec"];
  check_schedule(spec);
  const Field zone = spec["timeZone"];
  if (zone.set() && zone.text().empty()) zone.invalid("timeZone must be nil or non-empty string");
  for (const char* field : {"startingDeadlineSeconds", "successfulJobsHistoryLimit", "failedJobsHistoryLimit"}) {
    check_not_negative(spec[field]);
  }
  const Field pods = spec["jobTemplate"];
  check_labels(pods["metadata"]["labels"].as_path(pods["labels"].path()));
  check_job_spec(pods["spec"]);
  if (pods["spec"]["manualSelector"].flag()) pods["spec"]["manualSelector"].not_supported({"nil", "false"});
  if (pods["spec"]["selector"].set()) pods["spec"]["selector"].invalid("`selector` will be auto-generated");
}

void check_cron_job_create(const Field& job) {
  // The controller appends eleven characters to the name.
  const Field name = job["metadata"]["name"];
  if (name.text().size() > 52) name.invalid("must be no more than 52 characters");
}

}  // namespace kubernel::apiserver::validation
