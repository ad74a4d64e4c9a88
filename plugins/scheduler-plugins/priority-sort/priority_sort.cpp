// SPDX-License-Identifier: Apache-2.0

#include "priority_sort.h"

namespace kubernel::plugins {
namespace {

using namespace scheduler;

class PrioritySort final : public Plugin, public QueueSort {
 public:
  bool before(const QueuedPod& a, const QueuedPod& b) const override {
    if (a.pod->priority != b.pod->priority) return a.pod->priority > b.pod->priority;
    return a.queued_at < b.queued_at;
  }
  std::vector<EventInterest> retry_on() const override { return {}; }
};

}  // namespace

Result<std::unique_ptr<Plugin>> make_priority_sort(const PluginContext&) {
  return std::make_unique<PrioritySort>();
}

}  // namespace kubernel::plugins
