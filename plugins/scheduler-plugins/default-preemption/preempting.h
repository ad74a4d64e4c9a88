// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <mutex>
#include <string>
#include <string_view>
#include <unordered_map>
#include <unordered_set>
#include <vector>

#include <kubernel/scheduler/framework.h>

#include "candidates.h"

namespace kubernel::plugins {

// The pods that evict others, and whose end each of them waits for.
//
// A preemptor goes through two states. While its victims are being told to go it is kept out of the queue. Then it
// waits for them to be gone: the end of the last wakes it, and so does everything else that happens, but for the end of
// victims of others, whose room is promised already.
//
// Threads: all members may be called concurrently.
class Preempting {
 public:
  void begin(const std::string& preemptor, const Pods& victims);
  // All but the last victim have been told: what wakes the preemptor may come at any moment now.
  void let_in(const std::string& preemptor);
  // A victim of which no end will be heard.
  void gone(const std::string& preemptor, const std::string& victim);
  // The last has been told too. Returns false when nothing is left to wait for.
  bool told(const std::string& preemptor);
  void forget(const std::string& preemptor);

  // True while victims are still to be told.
  bool contains(const std::string& preemptor) const;

  // The preemptors that the end of a pod helps. Knows from then on that it is gone.
  std::vector<std::string> helped_by_end_of(const std::string& pod);
  // Those that wait for victims which know already.
  std::vector<std::string> waiting() const;

 private:
  struct Preemptor {
    bool let_in = false;
    bool told = false;
    std::unordered_set<std::string> left;  // Victims that are still there.
  };
  // The caller of these holds the mutex.
  void erase(const std::string& preemptor);
  void victim_gone(const std::string& preemptor, const std::string& victim);

  mutable std::mutex mutex_;
  std::unordered_map<std::string, Preemptor> preemptors_;
  std::unordered_map<std::string, std::vector<std::string>> by_victim_;
  std::unordered_set<std::string> waiting_;  // Of the preemptors, those whose victims have all been told.
};

}  // namespace kubernel::plugins
