// SPDX-License-Identifier: Apache-2.0
#include "check.h"

#include <functional>
#include <map>
#include <optional>
#include <set>
#include <utility>

namespace kubernel::storage_tool {

using storage::Backend;
using storage::Event;
using storage::KeyValue;
using storage::Page;
using storage::RangeOptions;
using storage::Revision;

namespace {

constexpr std::size_t kPage = 200;

// What is kept of a key: enough to compare, whatever its value's size.
struct Known {
  Revision created = 0;
  Revision modified = 0;
  std::int64_t version = 0;
  storage::LeaseId lease = 0;
  std::size_t value = 0;  // A hash.

  explicit Known(const KeyValue& kv)
      : created(kv.created),
        modified(kv.modified),
        version(kv.version),
        lease(kv.lease),
        value(std::hash<std::string>()(kv.value)) {}
  bool operator==(const Known&) const = default;
};

std::string printable(const std::string& key) {
  std::string out = "key \"";
  for (const char c : key) {
    static constexpr char kHex[] = "0123456789abcdef";
    const auto byte = static_cast<unsigned char>(c);
    if (byte >= 0x20 && byte < 0x7f) {
      out += c;
    } else {
      out += {'\\', 'x', kHex[byte >> 4U], kHex[byte & 15U]};
    }
  }
  return out + "\"";
}

class Check {
 public:
  Check(Backend& store, const CheckOptions& options, Progress& progress)
      : store_(store), options_(options), progress_(progress) {}

  Result<CheckReport> run() {
    KUBERNEL_TRY(const auto stats, store_.stats({}));
    report_.revision = stats.revision;
    report_.compacted = stats.compacted;
    total_ = stats.keys;
    KUBERNEL_CHECK_OK(read_present());
    KUBERNEL_CHECK_OK(read_history());
    compare();
    return std::move(report_);
  }

 private:
  static bool is_damage(const Error& error) { return error.reason() == Reason::Internal; }

  void damaged(const std::string& line) {
    if (!lines_.insert(line).second) return;
    ++report_.damaged;
    if (report_.damage.size() < CheckReport::kMostDamage) report_.damage.push_back(line);
  }

  Result<void> read_present() {
    RangeOptions options{.limit = kPage, .at = report_.revision};
    for (bool more = true; more;) {
      auto page = store_.range({}, options);
      if (!page && is_damage(page.error())) {
        KUBERNEL_TRY(more, read_one_by_one(options));
        continue;
      }
      if (!page) return page.error();
      for (const KeyValue& kv : page->items) keep(kv);
      more = page->more;
      if (more) options.start = page->items.back().key + '\0';
      progress_.at("keys read:", static_cast<std::int64_t>(present_.size()), total_);
    }
    KUBERNEL_TRY(const auto now, store_.stats({}));
    const auto found = static_cast<std::int64_t>(present_.size() + unreadable_.size());
    if (now.revision == report_.revision && now.keys != found) {
      damaged("the store counts " + std::to_string(now.keys) + " keys, but holds " + std::to_string(found));
    }
    return {};
  }

  void keep(const KeyValue& kv) {
    ++report_.keys;
    present_.emplace(kv.key, Known(kv));
  }

  // There is a damaged key in this page. Moves `options` behind it; false when there is nothing behind.
  Result<bool> read_one_by_one(RangeOptions& options) {
    RangeOptions names = options;
    names.keys_only = true;
    names.at = 0;  // The past is found through values, the present is not.
    const auto page = store_.range({}, names);
    if (!page) {
      if (!is_damage(page.error())) return page.error();
      damaged(page.error().message());
      return skip_missing(options);
    }
    for (const KeyValue& name : page->items) {
      const auto found = store_.get({}, name.key, report_.revision);
      if (found && *found) {
        keep(**found);
      } else if (found) {
        damaged(printable(name.key) + " is listed but cannot be found");
      } else if (is_damage(found.error())) {
        unreadable_.insert(name.key);
        damaged(found.error().message());
      } else {
        return found.error();
      }
    }
    if (page->more) options.start = page->items.back().key + '\0';
    return page->more;
  }

  // Not even its name can be read with the others. The present, read another way, may know the next one.
  Result<bool> skip_missing(RangeOptions& options) {
    RangeOptions one = options;
    one.limit = 1;
    one.keys_only = true;
    one.at = 0;
    for (;;) {
      const auto page = store_.range({}, one);
      if (!page) break;
      if (page->items.empty()) return false;
      const std::string key = page->items.front().key;
      const auto found = store_.get({}, key, report_.revision);
      if (found && *found) keep(**found);
      if (!found) {
        if (!is_damage(found.error())) return found.error();
        unreadable_.insert(key);
        damaged(found.error().message());
      }
      one.start = key + '\0';
    }
    damaged("keys from " + printable(one.start) + " on could not be read because of the damage named before");
    blind_from_ = one.start;
    return false;
  }

  Result<void> read_history() {
    Revision next = report_.compacted + 1;
    if (next < 2) next = 2;
    while (next <= report_.revision) {
      const auto watch = store_.watch({.from = next});
      if (!watch) return watch.error();
      KUBERNEL_TRY(next, follow(**watch, next));
    }
    return {};
  }

  // Reads events from `next` on, until the end or a damaged one. Returns where to go on.
  Result<Revision> follow(storage::Watch& watch, Revision next) {
    for (std::size_t size = kPage; next <= report_.revision;) {
      const auto batch = watch.take(size);
      if (!batch) {
        if (!is_damage(batch.error())) return batch.error();
        // Of a batch that failed nothing is told. One by one, the damaged one is the next.
        if (size > 1) return one_by_one(next);
        damaged(batch.error().message());
        gaps_.insert(next);
        return next + 1;
      }
      if (batch->events.empty() && batch->progress < next) {
        damaged("history ends at revision " + std::to_string(next - 1) + ", the store is at " +
                std::to_string(report_.revision));
        return report_.revision + 1;
      }
      for (const Event& event : batch->events) see(event, next);
      next = std::max(next, batch->progress + 1);
      progress_.at("events read:", next - report_.compacted, report_.revision - report_.compacted);
    }
    return next;
  }

  Result<Revision> one_by_one(Revision next) {
    const auto watch = store_.watch({.from = next});
    if (!watch) return watch.error();
    for (std::size_t read = 0; read <= kPage && next <= report_.revision; ++read) {
      const auto batch = (*watch)->take(1);
      if (!batch) {
        if (!is_damage(batch.error())) return batch.error();
        damaged(batch.error().message());
        gaps_.insert(next);
        return next + 1;
      }
      for (const Event& event : batch->events) see(event, next);
      if (batch->progress < next) break;
      next = batch->progress + 1;
    }
    return next;
  }

  // `next`: the revision that must come now, or later ones of the same batch.
  void see(const Event& event, Revision next) {
    const Revision revision = event.kv.modified;
    if (revision > report_.revision) return;  // Written since we began.
    const Revision wanted = std::max(next, last_ + 1);
    if (options_.revisions_without_gap && revision > wanted) {
      damaged("revision " + std::to_string(wanted) + " is missing from history; the next is of " +
              printable(event.kv.key) + " at revision " + std::to_string(revision));
    }
    last_ = std::max(last_, revision);
    ++report_.events;
    auto& newest = newest_[event.kv.key];
    newest.revision = revision;
    newest.known = event.type == Event::Type::Put ? std::optional(Known(event.kv)) : std::nullopt;
  }

  void compare() {
    for (const auto& [key, newest] : newest_) {
      if (unreadable_.contains(key) || (blind_from_ && key >= *blind_from_)) continue;
      const auto found = present_.find(key);
      const std::string name = printable(key) + " at revision " + std::to_string(newest.revision);
      if (!newest.known && found != present_.end() && found->second.modified < newest.revision) {
        damaged(name + ": history says it was deleted, the present still has it");
      } else if (newest.known && found == present_.end()) {
        damaged(name + ": history says it was written, the present does not have it");
      } else if (newest.known && found->second != *newest.known && !gaps_.contains(found->second.modified)) {
        damaged(name + ": history and the present (revision " + std::to_string(found->second.modified) +
                ") do not agree");
      }
    }
    for (const auto& [key, known] : present_) {
      if (known.modified <= report_.compacted || newest_.contains(key) || gaps_.contains(known.modified)) continue;
      damaged(printable(key) + " at revision " + std::to_string(known.modified) +
              ": the present has it, history does not");
    }
  }

  struct Newest {
    Revision revision = 0;
    std::optional<Known> known;  // Nothing: deleted.
  };

  Backend& store_;
  const CheckOptions options_;
  Progress& progress_;
  CheckReport report_;
  std::int64_t total_ = 0;
  std::map<std::string, Known> present_;
  std::set<std::string> unreadable_;
  std::optional<std::string> blind_from_;  // Keys from here on are not known.
  std::map<std::string, Newest> newest_;
  std::set<Revision> gaps_;  // Damaged events.
  std::set<std::string> lines_;
  Revision last_ = 0;
};

}  // namespace

Result<CheckReport> check_store(Backend& store, const CheckOptions& options, Progress& progress) {
  return Check(store, options, progress).run();
}

}  // namespace kubernel::storage_tool
