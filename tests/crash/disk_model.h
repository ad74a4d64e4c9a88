// SPDX-License-Identifier: Apache-2.0
//
// DiskModel: what a disk may hold after the power went.
//
// Only what was synced is certain. Of what was written since, any part may have reached the disk, in any order: whole
// writes, or single sectors of them. A file's name is certain only when its directory was synced; a file that was
// created, deleted or renamed since may have either name, or none. A sync that failed leaves what it was for in doubt
// for good: a later sync that succeeds does not bring it back.

#pragma once

#include <map>
#include <string>
#include <vector>

#include <kubernel/base/random.h>

#include "recorded_disk.h"

namespace kubernel::crash {

class DiskModel {
 public:
  /// The next call. `random` decides what a failed sync leaves behind.
  void apply(const DiskCall& call, Random& random);

  /// Writes the files that are left after a power cut now into `directory`, which exists and is empty.
  void cut(Random& random, const std::string& directory) const;

 private:
  struct File {
    std::string durable;
    std::vector<DiskCall> pending;  // Writes and truncations since the last sync.
  };
  // How bad this cut is.
  struct Style {
    std::size_t sector = 512;
    unsigned keep_percent = 50;
    bool whole_writes = false;
    bool names_in_order = true;
  };

  static Style style(Random& random);
  static bool keeps(Random& random, unsigned percent) { return random_below(random, 100) < percent; }
  static void apply_all(const std::vector<DiskCall>& pending, std::string& content);
  static void apply_some(const std::vector<DiskCall>& pending, const Style& style, Random& random,
                         std::string& content);
  static void apply_name(const DiskCall& call, std::map<std::string, int>& names);

  std::map<int, File> files_;
  std::map<std::string, int> names_;  // Synced.
  std::vector<DiskCall> pending_names_;
};

}  // namespace kubernel::crash
