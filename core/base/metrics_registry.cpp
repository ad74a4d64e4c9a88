// SPDX-License-Identifier: Apache-2.0
#include "core/base/metrics_registry.h"

#include <algorithm>
#include <array>
#include <atomic>
#include <charconv>
#include <cmath>
#include <cstdint>
#include <cstdio>
#include <cstdlib>

namespace kubernel::core {
namespace {

std::string number(double value) {
  if (std::isnan(value)) return "NaN";
  if (std::isinf(value)) return value > 0 ? "+Inf" : "-Inf";
  std::array<char, 32> text{};
  const auto end = std::to_chars(text.data(), text.data() + text.size(), value).ptr;
  return {text.data(), end};
}

// Help text escapes backslash and line feed; a label's value also the quote (text format 0.0.4).
std::string escaped(std::string_view text, bool quotes) {
  std::string out;
  for (const char c : text) {
    if (c == '\\' || (quotes && c == '"')) out += '\\';
    if (c == '\n') {
      out += "\\n";
    } else {
      out += c;
    }
  }
  return out;
}

// key="value",other="value"
std::string label_text(const MetricLabels& labels) {
  std::string out;
  for (const auto& [key, value] : labels) {
    out.append(out.empty() ? "" : ",").append(key).append("=\"").append(escaped(value, true)).append("\"");
  }
  return out;
}

void append_sample(std::string& out, std::string_view name, std::string_view labels, std::string_view value) {
  out += name;
  if (!labels.empty()) out.append("{").append(labels).append("}");
  out.append(" ").append(value).append("\n");
}

}  // namespace

// Which of the three interfaces is lent out is decided once, by the family's type.
struct MetricsRegistry::Series final : public Counter, public Gauge, public Histogram {
  explicit Series(const std::vector<double>& upper_bounds)
      : bounds(upper_bounds), counts(bounds.empty() ? 0 : bounds.size() + 1) {}

  void add(double amount) override { value.fetch_add(amount, std::memory_order_relaxed); }
  void set(double to) override { value.store(to, std::memory_order_relaxed); }
  void observe(double seen) override {
    const auto bucket = std::lower_bound(bounds.begin(), bounds.end(), seen) - bounds.begin();
    counts[static_cast<std::size_t>(bucket)].fetch_add(1, std::memory_order_relaxed);
    value.fetch_add(seen, std::memory_order_relaxed);
  }

  const std::vector<double>& bounds;  // The family's.
  std::atomic<double> value{0};       // A histogram's sum.
  std::vector<std::atomic<std::uint64_t>> counts;
};

struct MetricsRegistry::Family {
  std::string type;
  std::string help;
  std::vector<double> bounds;
  std::map<std::string, std::unique_ptr<Series>, std::less<>> series;

  void render(std::string_view name, std::string& out) const;
};

void MetricsRegistry::Family::render(std::string_view name, std::string& out) const {
  out.append("# HELP ").append(name).append(" ").append(escaped(help, false)).append("\n");
  out.append("# TYPE ").append(name).append(" ").append(type).append("\n");
  for (const auto& [labels, one] : series) {
    if (type != "histogram") {
      append_sample(out, name, labels, number(one->value.load(std::memory_order_relaxed)));
      continue;
    }
    const std::string base(name);
    std::uint64_t total = 0;
    for (std::size_t i = 0; i < one->counts.size(); ++i) {
      total += one->counts[i].load(std::memory_order_relaxed);
      const std::string le = "le=\"" + (i < bounds.size() ? number(bounds[i]) : "+Inf") + "\"";
      append_sample(out, base + "_bucket", labels.empty() ? le : labels + "," + le, std::to_string(total));
    }
    append_sample(out, base + "_sum", labels, number(one->value.load(std::memory_order_relaxed)));
    append_sample(out, base + "_count", labels, std::to_string(total));
  }
}

MetricsRegistry::MetricsRegistry() = default;
MetricsRegistry::~MetricsRegistry() = default;

MetricsRegistry::Series& MetricsRegistry::series(std::string_view type, std::string_view name, std::string_view help,
                                                 std::span<const double> buckets, const MetricLabels& labels) {
  const std::lock_guard lock(mutex_);
  auto found = families_.find(name);
  if (found == families_.end()) {
    Family family{std::string(type), std::string(help), {buckets.begin(), buckets.end()}, {}};
    found = families_.emplace(std::string(name), std::move(family)).first;
  }
  Family& family = found->second;
  if (family.type != type) {
    std::fprintf(stderr, "kubernel: metric %s is a %s and was asked for as a %s\n", found->first.c_str(),
                 family.type.c_str(), std::string(type).c_str());
    std::abort();
  }
  std::unique_ptr<Series>& one = family.series[label_text(labels)];
  if (!one) one = std::make_unique<Series>(family.bounds);
  return *one;
}

Counter& MetricsRegistry::counter(std::string_view name, std::string_view help, const MetricLabels& labels) {
  return series("counter", name, help, {}, labels);
}

Gauge& MetricsRegistry::gauge(std::string_view name, std::string_view help, const MetricLabels& labels) {
  return series("gauge", name, help, {}, labels);
}

Histogram& MetricsRegistry::histogram(std::string_view name, std::string_view help, std::span<const double> buckets,
                                      const MetricLabels& labels) {
  return series("histogram", name, help, buckets, labels);
}

std::string MetricsRegistry::render() const {
  const std::lock_guard lock(mutex_);
  std::string out;
  for (const auto& [name, family] : families_) family.render(name, out);
  return out;
}

}  // namespace kubernel::core
