// SPDX-License-Identifier: Apache-2.0
#include "core/lifecycle/service_table.h"

#include <algorithm>
#include <cstdio>
#include <cstdlib>
#include <utility>

namespace kubernel::lifecycle {
namespace {

[[noreturn]] void end_process(const std::string& why) {
  std::fprintf(stderr, "kubernel: %s\n", why.c_str());
  std::abort();
}

}  // namespace

void ServiceTable::offer_raw(std::string_view name, const std::type_info& type, std::shared_ptr<void> service) {
  const std::string service_name(name);
  if (!service) end_process("service \"" + service_name + "\" was offered as null");
  const std::lock_guard lock(mutex_);
  const auto allowed = std::find(allowed_.begin(), allowed_.end(), name);
  if (allowed == allowed_.end()) {
    end_process(owner_.empty() ? "service \"" + service_name + "\" was offered outside of a component's start()"
                               : "component \"" + owner_ + "\" offers service \"" + service_name +
                                     "\", which it does not declare or has offered before");
  }
  allowed_.erase(allowed);
  entries_.insert_or_assign(service_name, Entry{owner_, &type, std::move(service)});
}

std::shared_ptr<void> ServiceTable::find_raw(std::string_view name, const std::type_info& type) const {
  const std::lock_guard lock(mutex_);
  const auto found = entries_.find(name);
  if (found == entries_.end()) return nullptr;
  if (*found->second.type != type) {
    end_process("service \"" + std::string(name) + "\" is a " + found->second.type->name() +
                " and was asked for as a " + type.name());
  }
  return found->second.service;
}

bool ServiceTable::has(std::string_view name) const {
  const std::lock_guard lock(mutex_);
  return entries_.contains(name);
}

void ServiceTable::open_for(std::string_view owner, const std::vector<std::string>& offers) {
  const std::lock_guard lock(mutex_);
  owner_ = owner;
  allowed_ = offers;
}

std::vector<std::string> ServiceTable::close() {
  const std::lock_guard lock(mutex_);
  owner_.clear();
  return std::exchange(allowed_, {});
}

void ServiceTable::drop(std::string_view owner) {
  std::vector<std::shared_ptr<void>> dropped;  // Destroyed after the lock is released.
  const std::lock_guard lock(mutex_);
  std::erase_if(entries_, [&](auto& entry) {
    if (entry.second.owner != owner) return false;
    dropped.push_back(std::move(entry.second.service));
    return true;
  });
}

}  // namespace kubernel::lifecycle
