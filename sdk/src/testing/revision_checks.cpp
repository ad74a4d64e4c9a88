// SPDX-License-Identifier: Apache-2.0
#include <algorithm>
#include <set>
#include <utility>

#include <kubernel/testing/history.h>

#include "revision_history.h"

namespace kubernel::testing {

using storage::Event;
using storage::KeyValue;
using storage::Revision;
using Kind = Operation::Kind;
using Outcome = Operation::Outcome;

namespace {

bool same(const KeyValue& a, const KeyValue& b) {
  return a.key == b.key && a.value == b.value && a.created == b.created && a.modified == b.modified &&
         a.version == b.version && a.lease == b.lease;
}

std::string or_nothing(const KeyValue* kv) {
  return kv == nullptr ? "nothing" : describe(*kv);
}

std::string or_nothing(const std::optional<KeyValue>& kv) {
  return or_nothing(kv ? &*kv : nullptr);
}

std::string describe_event(const Event& event) {
  const std::string what = event.type == Event::Type::Put ? "put " : "delete ";
  return what + describe(event.kv) + (event.previous ? ", was " + describe(*event.previous) : "");
}

bool is_write(const Operation& operation) {
  return operation.kind == Kind::Put || operation.kind == Kind::Remove;
}

// Checks calls against the order of the revisions.
class RevisionChecks {
 public:
  RevisionChecks(const History& history, const RevisionHistory& revisions) : history_(history), revisions_(revisions) {
    order_real_time();
  }

  std::string violation() {
    if (std::string wrong = writes_in_real_time(); !wrong.empty()) return wrong;
    for (const Operation& operation : history_.operations) {
      if (operation.outcome != Outcome::Done) continue;
      if (std::string wrong = check(operation); !wrong.empty()) return wrong + "  " + describe(operation) + "\n";
    }
    return reads_in_real_time();
  }

 private:
  // A moment, and the highest revision anybody knew of by then.
  struct Known {
    Moment moment = 0;
    Revision revision = 0;
  };
  // A read or write that tells the store's revision at one moment of its.
  struct Told {
    const Operation* operation = nullptr;
    Revision revision = 0;
    Revision saw = 0;
  };

  void order_real_time() {
    for (const auto& [revision, write] : revisions_.writes()) {
      if (write.returned != kNever) returned_.push_back({write.returned, revision});
    }
    std::sort(returned_.begin(), returned_.end(), [](const Known& a, const Known& b) { return a.moment < b.moment; });
    Revision highest = history_.start;
    for (Known& known : returned_) known.revision = highest = std::max(highest, known.revision);
  }

  // The least revision a call that began at `moment` may be at: that of the newest write that had returned.
  Revision least(Moment moment) const {
    const auto after = std::lower_bound(returned_.begin(), returned_.end(), moment,
                                        [](const Known& known, Moment m) { return known.moment < m; });
    return after == returned_.begin() ? history_.start : std::prev(after)->revision;
  }

  // Whether the write at `revision` had begun before `moment`. One nobody knows of may have.
  bool begun(Revision revision, Moment moment) const {
    const auto write = revisions_.writes().find(revision);
    return write == revisions_.writes().end() || write->second.called < moment;
  }

  std::string writes_in_real_time() const {
    const AppliedWrite* latest = nullptr;
    Revision latest_at = 0;
    for (const auto& [revision, write] : revisions_.writes()) {
      if (latest != nullptr && write.returned < latest->called) {
        return "revision " + std::to_string(latest_at) + " was given after revision " + std::to_string(revision) +
               " had returned:\n  " + describe(write) + "\n  " + describe(*latest) + "\n";
      }
      if (latest == nullptr || write.called > latest->called) {
        latest = &write;
        latest_at = revision;
      }
    }
    return "";
  }

  std::string check(const Operation& operation) {
    if (is_write(operation) && !operation.applied) return operation.terse ? "" : check_lost(operation);
    if (is_write(operation)) return check_removed(operation);
    switch (operation.kind) {
      case Kind::Get: return check_get(operation);
      case Kind::Range: return check_range(operation);
      case Kind::Transact: return operation.applied ? "" : check_unchanging(operation);
      default: return "";  // Leases have no revisions.
    }
  }

  // That the store may have been at `revision` while the call was under way.
  std::string check_moment(const Operation& operation, Revision revision) {
    if (const Revision wanted = least(operation.called); revision < wanted) {
      return "it is of revision " + std::to_string(revision) + ", but the write at " + std::to_string(wanted) +
             " had returned before it began:\n";
    }
    if (revision > history_.start && !begun(revision, operation.returned)) {
      return "it is of revision " + std::to_string(revision) + ", which was not written yet:\n";
    }
    told_.push_back({&operation, revision, revision});
    return "";
  }

  std::string check_removed(const Operation& operation) {
    if (operation.kind != Kind::Remove || operation.terse) return "";
    const auto& previous = revisions_.writes().at(operation.revision).changes.front().previous;
    if (previous && operation.current && same(*previous, *operation.current)) return "";
    return "it should have told that it removed " + or_nothing(previous) + ":\n";
  }

  // A transaction that wrote nothing tells the revision it saw. RevisionHistory has looked at the others.
  std::string check_unchanging(const Operation& operation) {
    if (std::string wrong = check_moment(operation, operation.revision); !wrong.empty()) return wrong;
    const std::string why = revisions_.check_transaction(operation, operation.revision, operation.revision, nullptr);
    return why.empty() ? "" : "it cannot have been so at that revision: " + why + ":\n";
  }

  // Precondition: the operation is not terse.
  std::string check_lost(const Operation& operation) {
    if (std::string wrong = check_moment(operation, operation.revision); !wrong.empty()) return wrong;
    const KeyValue* there = revisions_.at(operation.key, operation.revision);
    const Revision current = there == nullptr ? 0 : there->modified;
    if (operation.expected == current && !(operation.kind == Kind::Remove && current == 0)) {
      return "it lost although nobody had changed the key:\n";
    }
    if (is_as_told(there, operation)) return "";
    return "it should have been told that " + or_nothing(there) + " won:\n";
  }

  static bool is_as_told(const KeyValue* there, const Operation& operation) {
    if (there == nullptr || !operation.current) return there == nullptr && !operation.current;
    const KeyValue& told = *operation.current;
    return operation.terse ? told.modified == there->modified && told.value == there->value : same(*there, told);
  }

  std::string check_get(const Operation& operation) {
    if (operation.at != 0) {
      const KeyValue* there = revisions_.at(operation.key, operation.at);
      if (is_as_told(there, operation)) return "";
      return "at that revision there was " + or_nothing(there) + ":\n";
    }
    // It told no revision: any one of the moments it was under way in will do.
    Revision from = least(operation.called);
    while (true) {
      const KeyValue* there = revisions_.at(operation.key, from);
      if (is_as_told(there, operation)) return "";
      const auto next = revisions_.next_write(operation.key, from);
      if (!next || !begun(*next, operation.returned)) {
        return "from the moment it began to the moment it returned there was something else, last " +
               or_nothing(there) + ":\n";
      }
      from = *next;
    }
  }

  std::string check_range(const Operation& operation) {
    if (operation.at == 0) {
      if (std::string wrong = check_moment(operation, operation.revision); !wrong.empty()) return wrong;
    } else if (operation.revision != operation.at) {
      return "it was asked for another revision:\n";
    }
    const auto there = revisions_.range(operation.key, operation.end, operation.revision);
    const std::size_t wanted = operation.limit == 0 ? there.size() : std::min(operation.limit, there.size());
    for (std::size_t i = 0; i < std::max(wanted, operation.items.size()); ++i) {
      const KeyValue* should = i < wanted ? &there[i] : nullptr;
      const KeyValue* is = i < operation.items.size() ? &operation.items[i] : nullptr;
      if (should != nullptr && is != nullptr && same(*should, *is)) continue;
      return "item " + std::to_string(i) + " is " + or_nothing(is) + ", but at revision " +
             std::to_string(operation.revision) + " it was " + or_nothing(should) + ":\n";
    }
    if (operation.more != (wanted < there.size())) {
      return std::string("it says there is ") +
             (operation.more ? "more, but there is not:\n" : "no more, but there is:\n");
    }
    return "";
  }

  // Who begins after another returned cannot be at an older revision.
  std::string reads_in_real_time() {
    std::vector<Told> by_return = told_;
    std::sort(by_return.begin(), by_return.end(),
              [](const Told& a, const Told& b) { return a.operation->returned < b.operation->returned; });
    // A write saw the store as it was before it.
    for (const auto& [revision, write] : revisions_.writes()) {
      if (write.operation != nullptr) told_.push_back({write.operation, revision, revision - 1});
    }
    std::sort(told_.begin(), told_.end(),
              [](const Told& a, const Told& b) { return a.operation->called < b.operation->called; });
    const Told* newest = nullptr;
    auto returned = by_return.begin();
    for (const Told& told : told_) {
      for (; returned != by_return.end() && returned->operation->returned < told.operation->called; ++returned) {
        if (newest == nullptr || returned->revision > newest->revision) newest = &*returned;
      }
      if (newest != nullptr && told.saw < newest->revision) {
        return "the store was at revision " + std::to_string(newest->revision) + " before, and at " +
               std::to_string(told.revision) + " after:\n  " + describe(*newest->operation) + "\n  " +
               describe(*told.operation) + "\n";
      }
    }
    return "";
  }

  const History& history_;
  const RevisionHistory& revisions_;
  std::vector<Known> returned_;
  std::vector<Told> told_;
};

// Checks one watch against the order of the revisions.
class WatchChecks {
 public:
  WatchChecks(const WatchRecord& watch, const RevisionHistory& revisions) : watch_(watch), revisions_(revisions) {}

  std::string violation() {
    for (std::size_t i = 0; i < watch_.batches.size(); ++i) {
      if (std::string wrong = check(watch_.batches[i]); !wrong.empty()) {
        return "the watch of [" + watch_.start + ", " + watch_.end + ") from " + std::to_string(watch_.from) +
               ", take " + std::to_string(i) + ": " + wrong + "\n";
      }
    }
    if (std::string wrong = complete(); !wrong.empty()) {
      return "the watch of [" + watch_.start + ", " + watch_.end + ") from " + std::to_string(watch_.from) + ": " +
             wrong + "\n";
    }
    return "";
  }

 private:
  bool in_range(const std::string& key) const {
    return key >= watch_.start && (watch_.end.empty() || key < watch_.end);
  }

  std::string check(const storage::WatchBatch& batch) {
    for (const Event& event : batch.events) {
      const Revision revision = event.kv.modified;
      if (revision < last_ || delivered_.contains({revision, event.kv.key})) {
        return "told again or out of order: " + describe_event(event) + ", after revision " + std::to_string(last_);
      }
      if (revision <= progress_) {
        return "progress was told up to " + std::to_string(progress_) + ", and then came " + describe_event(event);
      }
      if (watch_.from != 0 && revision < watch_.from) return "older than what was asked for: " + describe_event(event);
      if (!in_range(event.kv.key)) return "not in its range: " + describe_event(event);
      if (std::string wrong = check_write(event); !wrong.empty()) return wrong;
      last_ = revision;
      delivered_.emplace(revision, event.kv.key);
    }
    if (std::string wrong = check_whole(batch); !wrong.empty()) return wrong;
    if (batch.progress != 0 && batch.progress < std::max(progress_, last_)) {
      return "progress went back to " + std::to_string(batch.progress) + " from " +
             std::to_string(std::max(progress_, last_));
    }
    progress_ = std::max(progress_, batch.progress);
    return "";
  }

  // That it is of the write it says.
  std::string check_write(const Event& event) const {
    const auto found = revisions_.writes().find(event.kv.modified);
    if (found == revisions_.writes().end()) return "nobody wrote this: " + describe_event(event);
    const AppliedWrite& write = found->second;
    const auto change = std::find_if(write.changes.begin(), write.changes.end(),
                                     [&](const Change& one) { return one.kv.key == event.kv.key; });
    if (change == write.changes.end() || change->deleted != (event.type == Event::Type::Delete) ||
        !same(change->kv, event.kv)) {
      return "what was written is " + describe(write) + ", what was told is " + describe_event(event);
    }
    // What it replaced may have been compacted.
    if (event.previous && !(change->previous && same(*change->previous, *event.previous))) {
      return "what was there before was " + (change->previous ? describe(*change->previous) : "nothing") +
             ", what was told is " + describe_event(event);
    }
    return "";
  }

  // A take has all of a revision or nothing.
  std::string check_whole(const storage::WatchBatch& batch) const {
    for (std::size_t i = 0; i < batch.events.size(); ++i) {
      const Revision revision = batch.events[i].kv.modified;
      if (i + 1 < batch.events.size() && batch.events[i + 1].kv.modified == revision) continue;
      for (const Change& change : revisions_.writes().at(revision).changes) {
        if (!in_range(change.kv.key) || delivered_.contains({revision, change.kv.key})) continue;
        return "revision " + std::to_string(revision) + " was torn, " + change.kv.key + " is not with " +
               describe_event(batch.events[i]);
      }
    }
    return "";
  }

  std::string complete() const {
    const Revision first = watch_.from != 0 ? watch_.from : watch_.must_follow + 1;
    for (auto write = revisions_.writes().lower_bound(first);
         write != revisions_.writes().end() && write->first <= progress_; ++write) {
      for (const Change& change : write->second.changes) {
        if (!in_range(change.kv.key) || delivered_.contains({write->first, change.kv.key})) continue;
        return "progress was told up to " + std::to_string(progress_) + ", but " + change.kv.key +
               " was never told: " + describe(write->second);
      }
    }
    return "";
  }

  const WatchRecord& watch_;
  const RevisionHistory& revisions_;
  Revision last_ = 0;
  Revision progress_ = 0;
  std::set<std::pair<Revision, std::string>> delivered_;
};

}  // namespace

std::string revision_violation(const History& history) {
  const RevisionHistory revisions(history);
  return revisions.wrong().empty() ? RevisionChecks(history, revisions).violation() : revisions.wrong();
}

std::string watch_violation(const History& history) {
  const RevisionHistory revisions(history);
  if (!revisions.wrong().empty()) return revisions.wrong();
  for (const WatchRecord& watch : history.watches) {
    if (std::string wrong = WatchChecks(watch, revisions).violation(); !wrong.empty()) return wrong;
  }
  return "";
}

}  // namespace kubernel::testing
