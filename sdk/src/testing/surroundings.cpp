// SPDX-License-Identifier: Apache-2.0
#include <atomic>

#include <kubernel/testing/fake_clock.h>

namespace kubernel::testing {

Result<void> ManualExecutor::submit(std::function<void()> task) {
  const std::lock_guard lock(mutex_);
  tasks_.push_back(std::move(task));
  return {};
}

std::size_t ManualExecutor::run_all() {
  std::size_t ran = 0;
  for (;;) {
    std::function<void()> task;
    {
      const std::lock_guard lock(mutex_);
      if (tasks_.empty()) return ran;
      task = std::move(tasks_.front());
      tasks_.pop_front();
    }
    task();
    ++ran;
  }
}

std::size_t ManualExecutor::pending() const {
  const std::lock_guard lock(mutex_);
  return tasks_.size();
}

std::uint64_t SeededRandom::next() {
  const std::lock_guard lock(mutex_);
  state_ += 0x9e3779b97f4a7c15ULL;
  std::uint64_t z = state_;
  z = (z ^ (z >> 30U)) * 0xbf58476d1ce4e5b9ULL;
  z = (z ^ (z >> 27U)) * 0x94d049bb133111ebULL;
  return z ^ (z >> 31U);
}

void RecordingLogger::write(LogLevel level, std::string_view message, const std::vector<LogField>& fields) {
  static constexpr const char* kNames[] = {"debug", "info", "warning", "error"};
  std::string line = std::string(kNames[static_cast<std::size_t>(level)]) + ": " + std::string(message);
  for (const LogField& field : fields) line += " " + field.key + "=" + field.value;
  const std::lock_guard lock(mutex_);
  lines_.push_back(std::move(line));
}

std::vector<std::string> RecordingLogger::lines() const {
  const std::lock_guard lock(mutex_);
  return lines_;
}

namespace {

// One series of any type; which of the three interfaces is used says what it is.
class Series final : public Counter, public Gauge, public Histogram {
 public:
  void add(double amount) override { change(amount); }
  void set(double value) override { value_.store(value); }
  void observe(double) override { change(1); }
  double value() const { return value_.load(); }

 private:
  void change(double by) {
    double seen = value_.load();
    while (!value_.compare_exchange_weak(seen, seen + by)) {
    }
  }
  std::atomic<double> value_{0};
};

std::string series_name(std::string_view name, const MetricLabels& labels) {
  std::string out(name);
  if (labels.empty()) return out;
  out += '{';
  for (const auto& [key, value] : labels) out += (out.back() == '{' ? "" : ",") + key + "=\"" + value + "\"";
  return out + '}';
}

}  // namespace

struct RecordingMetrics::State {
  mutable std::mutex mutex;
  std::map<std::string, Series, std::less<>> series;
  Series& at(std::string_view name, const MetricLabels& labels) {
    const std::lock_guard lock(mutex);
    return series[series_name(name, labels)];
  }
};

RecordingMetrics::RecordingMetrics() : state_(std::make_unique<State>()) {}
RecordingMetrics::~RecordingMetrics() = default;

Counter& RecordingMetrics::counter(std::string_view name, std::string_view, const MetricLabels& labels) {
  return state_->at(name, labels);
}
Gauge& RecordingMetrics::gauge(std::string_view name, std::string_view, const MetricLabels& labels) {
  return state_->at(name, labels);
}
Histogram& RecordingMetrics::histogram(std::string_view name, std::string_view, std::span<const double>,
                                       const MetricLabels& labels) {
  return state_->at(name, labels);
}

std::string RecordingMetrics::render() const {
  const std::lock_guard lock(state_->mutex);
  std::string out;
  for (const auto& [name, series] : state_->series) out += name + " " + std::to_string(series.value()) + "\n";
  return out;
}

double RecordingMetrics::value(std::string_view series) const {
  const std::lock_guard lock(state_->mutex);
  const auto found = state_->series.find(series);
  return found == state_->series.end() ? 0 : found->second.value();
}

}  // namespace kubernel::testing
