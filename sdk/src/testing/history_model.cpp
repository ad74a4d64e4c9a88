// SPDX-License-Identifier: Apache-2.0
#include "history_model.h"

#include <algorithm>
#include <variant>

namespace kubernel::testing {

using storage::Compare;
using storage::KeyRange;
using storage::KeyValue;
using storage::LeaseId;
using storage::Revision;
using storage::Transaction;
using storage::TransactionResult;
using Kind = Operation::Kind;
using Outcome = Operation::Outcome;

namespace {

void mix(std::size_t& hash, std::size_t more) {
  hash = (hash ^ more) * 0x9e3779b97f4a7c15ULL;
  hash ^= hash >> 29U;
}

// Whether something holds: certainly, certainly not, or it depends on a revision nobody was told.
enum class Tri : std::uint8_t { No, Maybe, Yes };

Tri tri(bool holds) {
  return holds ? Tri::Yes : Tri::No;
}

std::int64_t number_of(const ModelKey& key, Compare::Target target) {
  switch (target) {
    case Compare::Target::Version: return key.version;
    case Compare::Target::Created: return key.created;
    case Compare::Target::Lease: return key.lease;
    default: return key.modified;
  }
}

template <class T>
bool related(const T& has, Compare::Relation relation, const T& given) {
  switch (relation) {
    case Compare::Relation::Equal: return has == given;
    case Compare::Relation::NotEqual: return has != given;
    case Compare::Relation::Less: return has < given;
    default: return has > given;
  }
}

Tri holds(const Compare& compare, const ModelKey& key) {
  if (compare.target == Compare::Target::Value) {
    return tri(key.exists && related(*key.value, compare.relation, compare.value));
  }
  const std::int64_t has = number_of(key, compare.target);
  if (has >= 0) return tri(related(has, compare.relation, compare.number));
  // What nobody was told is above everything that was known then.
  const bool possible = compare.number > key.after;
  if (compare.relation == Compare::Relation::Equal) return possible ? Tri::Maybe : Tri::No;
  if (compare.relation == Compare::Relation::NotEqual) return possible ? Tri::Maybe : Tri::Yes;
  return Tri::Maybe;
}

// One call on a model.
class Call {
 public:
  Call(Model& model, const ModelCall& call, std::string* why)
      : model_(model), call_(call), operation_(*call.operation), why_(why), own_(call.stand_in) {
    if (operation_.outcome == Outcome::Done) own_ = operation_.revision;
  }

  bool apply() {
    switch (operation_.kind) {
      case Kind::Put:
      case Kind::Remove: return write();
      case Kind::Get: return is_as_seen(model_.key(operation_.key), operation_.current);
      case Kind::Range: return read();
      case Kind::Transact: return transact();
      case Kind::Grant: return grant();
      case Kind::Renew: return renew();
      default: return revoke();
    }
  }

 private:
  bool wrong(const std::string& what) {
    if (why_ != nullptr) *why_ = what;
    return false;
  }

  bool done() const { return operation_.outcome == Outcome::Done; }
  bool refused() const { return operation_.outcome == Outcome::Refused; }

  // Nothing is known of a lease that is not one of the model's.
  bool may_be_missing(LeaseId id) {
    const ModelLease* found = model_.lease(id);
    return id != 0 && (found == nullptr || !found->alive);
  }

  // Everybody who sees a revision sees the same one.
  void reveal(Revision stand_in, Revision revision) {
    for (ModelKey& key : model_.keys) {
      if (key.modified == stand_in) key.modified = revision;
      if (key.created == stand_in) key.created = revision;
    }
  }

  // Whether the key's revision is or may be `revision`; it is, from now on.
  bool is_at(ModelKey& key, Revision revision) {
    if (!key.exists) return false;
    if (key.modified < 0 && revision > key.after) reveal(key.modified, revision);
    return key.modified == revision;
  }

  bool is_as_seen(ModelKey& key, const std::optional<KeyValue>& seen) {
    return seen ? is_as_seen(key, *seen, false) : !key.exists;
  }

  bool is_as_seen(ModelKey& key, const KeyValue& seen, bool without_value) {
    if (!key.exists || !is_at(key, seen.modified)) return false;
    if (!without_value && *key.value != seen.value) return false;
    if (operation_.terse) return true;
    if (key.created < 0 && seen.created <= seen.modified) reveal(key.created, seen.created);
    return key.created == seen.created && key.version == seen.version && key.lease == seen.lease;
  }

  void set(ModelKey& key, const std::string& value, LeaseId lease) {
    key.created = key.exists ? key.created : own_;
    key.version = key.exists ? key.version + 1 : 1;
    key.exists = true;
    key.modified = own_;
    key.after = model_.last;
    key.value = &value;
    key.lease = lease;
  }

  bool wrote() {
    if (own_ < 0) return true;
    if (own_ <= model_.last) return wrong("its revision is not above " + std::to_string(model_.last));
    model_.last = own_;
    return true;
  }

  bool lost(ModelKey& key) {
    if (!is_as_seen(key, operation_.current)) return false;
    if (operation_.expected != 0) return !key.exists || key.modified != operation_.expected;
    return operation_.kind != Kind::Put || key.exists;
  }

  bool write() {
    if (refused()) return may_be_missing(operation_.lease);
    ModelKey& key = model_.key(operation_.key);
    if (done() && !operation_.applied) return lost(key);
    const bool creates = operation_.kind == Kind::Put && operation_.expected == 0;
    if (creates ? key.exists : !is_at(key, operation_.expected)) return false;
    if (operation_.kind == Kind::Put) {
      if (!model_.alive(operation_.lease)) return false;
      set(key, operation_.value, operation_.lease);
    } else {
      if (operation_.current && !is_as_seen(key, operation_.current)) return false;
      key = {};
    }
    return wrote();
  }

  // Of the keys this model has.
  bool read() {
    const auto [begin, end] = model_.within(operation_.key, operation_.end);
    for (std::size_t i = begin; i < end; ++i) {
      const std::string& name = (*model_.names)[i];
      if (operation_.more && (operation_.items.empty() || name > operation_.items.back().key)) break;
      const auto item = std::lower_bound(operation_.items.begin(), operation_.items.end(), name,
                                         [](const KeyValue& kv, const std::string& n) { return kv.key < n; });
      const bool seen = item != operation_.items.end() && item->key == name;
      if (seen ? !is_as_seen(model_.keys[i], *item, false) : model_.keys[i].exists) return false;
    }
    return true;
  }

  bool grant() {
    ModelLease& lease = *model_.lease(operation_.lease);
    if (refused()) return lease.alive;
    if (lease.alive) return false;
    lease = {.alive = true, .due = operation_.called_at + operation_.ttl};
    return true;
  }

  bool renew() {
    ModelLease& lease = *model_.lease(operation_.lease);
    // What is due may be on its way out already.
    if (refused()) return !lease.alive || lease.due <= call_.latest;
    if (!lease.alive) return false;
    if (done()) lease.due = std::max(lease.due, operation_.called_at + operation_.ttl);
    return true;
  }

  bool revoke() {
    ModelLease& lease = *model_.lease(operation_.lease);
    if (refused()) return !lease.alive;
    if (!lease.alive) return false;
    model_.end(static_cast<std::size_t>(&lease - model_.leases.data()));
    return true;
  }

  // --- transactions ---

  bool transact() {
    const Transaction& transaction = operation_.transaction;
    if (refused()) {
      bool missing = false;
      for_each_put(transaction, [&](const auto& put) { missing = missing || may_be_missing(put.lease); });
      return missing;
    }
    const TransactionResult* result = done() ? &operation_.result : nullptr;
    if (!decide(transaction, result) || !run(transaction, result)) return false;
    return !changed_ || wrote();
  }

  // All conditions are looked at before anything is done.
  bool decide(const Transaction& transaction, const TransactionResult* result) {
    const bool succeeded = result != nullptr ? result->succeeded : (call_.branches >> decided_++ & 1U) == 1;
    branches_.push_back(succeeded);
    if (succeeded ? !all_hold(transaction) : !one_fails(transaction)) {
      return wrong(std::string("its conditions ") + (succeeded ? "did not hold" : "held"));
    }
    const auto& operations = succeeded ? transaction.then : transaction.otherwise;
    if (result != nullptr && result->outcomes.size() != operations.size()) {
      return wrong("it told " + std::to_string(result->outcomes.size()) + " outcomes");
    }
    for (std::size_t i = 0; i < operations.size(); ++i) {
      const auto* nested = std::get_if<Transaction>(&operations[i].what);
      if (nested == nullptr) continue;
      const auto* told = result == nullptr ? nullptr : std::get_if<TransactionResult>(&result->outcomes[i].of);
      if (result != nullptr && told == nullptr) return wrong("an outcome is of another kind");
      if (!decide(*nested, told)) return false;
    }
    return true;
  }

  // A range without a key is compared as a key that does not exist.
  template <class Visit>
  void for_each_compared(const Compare& compare, const Visit& visit) {
    const auto [begin, end] = model_.within(compare.keys.start, compare.keys.end);
    bool any = false;
    for (std::size_t i = begin; i < end; ++i) {
      if (!model_.keys[i].exists) continue;
      any = true;
      visit(model_.keys[i]);
    }
    ModelKey none;
    if (!any) visit(none);
  }

  bool all_hold(const Transaction& transaction) {
    bool all = true;
    for (const Compare& compare : transaction.compares) {
      for_each_compared(compare, [&](ModelKey& key) {
        const Tri found = all ? holds(compare, key) : Tri::No;
        all = found != Tri::No;
        const bool reveals = found == Tri::Maybe && compare.relation == Compare::Relation::Equal;
        if (reveals) reveal(number_of(key, compare.target), compare.number);
      });
    }
    return all;
  }

  bool one_fails(const Transaction& transaction) {
    bool fails = false;
    for (const Compare& compare : transaction.compares) {
      for_each_compared(compare, [&](ModelKey& key) { fails = fails || holds(compare, key) != Tri::Yes; });
    }
    return fails;
  }

  bool run(const Transaction& transaction, const TransactionResult* result) {
    const bool succeeded = branches_[ran_++];
    const auto& operations = succeeded ? transaction.then : transaction.otherwise;
    for (std::size_t i = 0; i < operations.size(); ++i) {
      const storage::Outcome* outcome = result == nullptr ? nullptr : &result->outcomes[i];
      const bool fine = std::visit([&](const auto& what) { return run_one(what, outcome); }, operations[i].what);
      if (fine) continue;
      if (why_ != nullptr && why_->empty()) *why_ = "its operation " + std::to_string(i) + " told something else";
      return false;
    }
    return true;
  }

  bool run_one(const storage::PutOperation& put, const storage::Outcome* outcome) {
    ModelKey& key = model_.key(put.key);
    if ((put.keep_value || put.keep_lease) && !key.exists) return wrong("it kept what was not there");
    if (outcome != nullptr) {
      const auto* told = std::get_if<storage::PutOutcome>(&outcome->of);
      if (told == nullptr) return wrong("an outcome is of another kind");
      if (put.want_previous && !is_as_seen(key, told->previous)) return false;
    }
    const LeaseId lease = put.keep_lease ? key.lease : put.lease;
    if (!model_.alive(lease)) return wrong("it attached a key to a lease that had ended");
    set(key, put.keep_value ? *key.value : put.value, lease);
    changed_ = true;
    return true;
  }

  bool run_one(const storage::RemoveOperation& remove, const storage::Outcome* outcome) {
    const auto* told = outcome == nullptr ? nullptr : std::get_if<storage::RemoveOutcome>(&outcome->of);
    if (outcome != nullptr && told == nullptr) return wrong("an outcome is of another kind");
    const auto [begin, end] = model_.within(remove.keys.start, remove.keys.end);
    std::size_t removed = 0;
    for (std::size_t i = begin; i < end; ++i) {
      ModelKey& key = model_.keys[i];
      if (!key.exists) continue;
      if (told != nullptr && remove.want_previous) {
        if (removed >= told->previous.size() || told->previous[removed].key != (*model_.names)[i]) return false;
        if (!is_as_seen(key, told->previous[removed], false)) return false;
      }
      ++removed;
      key = {};
    }
    changed_ = changed_ || removed > 0;
    if (told == nullptr) return true;
    if (remove.want_previous && told->previous.size() != removed) return false;
    return told->removed == static_cast<std::int64_t>(removed);
  }

  bool run_one(const storage::ReadOperation& read, const storage::Outcome* outcome) {
    if (outcome == nullptr) return true;
    const auto* page = std::get_if<storage::Page>(&outcome->of);
    if (page == nullptr) return wrong("an outcome is of another kind");
    if (read.range.at != 0) return !call_.past || is_past(read.range, *page);
    const auto [begin, end] = model_.within(read.range.start, read.range.end);
    std::size_t seen = 0;
    std::size_t there = 0;
    for (std::size_t i = begin; i < end; ++i) {
      ModelKey& key = model_.keys[i];
      if (!key.exists) continue;
      ++there;
      if (read.range.limit != 0 && seen == read.range.limit) continue;
      if (seen == page->items.size() || page->items[seen].key != (*model_.names)[i]) return false;
      if (!is_as_seen(key, page->items[seen], read.range.keys_only)) return false;
      ++seen;
    }
    return is_whole(read.range, *page, seen, there);
  }

  bool is_past(const storage::RangeOptions& range, const storage::Page& page) const {
    const auto there = call_.past(range);
    const std::size_t wanted = range.limit == 0 ? there.size() : std::min(range.limit, there.size());
    if (page.items.size() != wanted) return false;
    for (std::size_t i = 0; i < wanted; ++i) {
      if (page.items[i].key != there[i].key || page.items[i].modified != there[i].modified) return false;
      if (!range.keys_only && page.items[i].value != there[i].value) return false;
    }
    return is_whole(range, page, wanted, there.size());
  }

  static bool is_whole(const storage::RangeOptions& range, const storage::Page& page, std::size_t seen,
                       std::size_t there) {
    if (seen != page.items.size() || page.more != (seen < there)) return false;
    return !range.count || page.count == static_cast<std::int64_t>(there);
  }

  bool run_one(const Transaction& nested, const storage::Outcome* outcome) {
    return run(nested, outcome == nullptr ? nullptr : &std::get<TransactionResult>(outcome->of));
  }

  Model& model_;
  const ModelCall& call_;
  const Operation& operation_;
  std::string* const why_;
  Revision own_;
  bool changed_ = false;
  unsigned decided_ = 0;
  std::size_t ran_ = 0;
  std::vector<bool> branches_;  // Of the transactions in the order they are come upon.
};

template <class Visit>
void for_each_operation(const Transaction& transaction, const Visit& visit) {
  for (const auto* operations : {&transaction.then, &transaction.otherwise}) {
    for (const storage::Operation& operation : *operations) visit(operation);
  }
}

}  // namespace

bool ModelKey::operator==(const ModelKey& other) const {
  if (exists != other.exists) return false;
  if (!exists) return true;
  return created == other.created && modified == other.modified && after == other.after && version == other.version &&
         lease == other.lease && *value == *other.value;
}

std::size_t Model::hash() const {
  std::size_t out = static_cast<std::size_t>(last);
  for (const ModelKey& key : keys) {
    mix(out, static_cast<std::size_t>(key.exists ? key.modified : 0));
    mix(out, static_cast<std::size_t>(key.exists ? key.version : 0));
  }
  for (const ModelLease& lease : leases) mix(out, lease.alive ? 1 : 0);
  return out;
}

void Model::set(std::size_t key, const KeyValue& kv) {
  keys[key] = {.exists = true,
               .created = kv.created,
               .modified = kv.modified,
               .after = 0,
               .version = kv.version,
               .lease = kv.lease,
               .value = &kv.value};
}

ModelKey& Model::key(const std::string& name) {
  return keys[static_cast<std::size_t>(std::lower_bound(names->begin(), names->end(), name) - names->begin())];
}

std::pair<std::size_t, std::size_t> Model::within(const std::string& start, const std::string& end) const {
  const auto first = std::lower_bound(names->begin(), names->end(), start);
  const auto last_one = end.empty() ? names->end() : std::lower_bound(first, names->end(), end);
  return {static_cast<std::size_t>(first - names->begin()), static_cast<std::size_t>(last_one - names->begin())};
}

ModelLease* Model::lease(LeaseId id) {
  if (lease_ids == nullptr) return nullptr;
  const auto found = std::lower_bound(lease_ids->begin(), lease_ids->end(), id);
  if (found == lease_ids->end() || *found != id) return nullptr;
  return &leases[static_cast<std::size_t>(found - lease_ids->begin())];
}

bool Model::alive(LeaseId id) {
  const ModelLease* found = lease(id);
  return found == nullptr || found->alive;
}

void Model::end(std::size_t lease) {
  leases[lease] = {};
  for (ModelKey& key : keys) {
    if (key.exists && key.lease == (*lease_ids)[lease]) key = {};
  }
}

bool apply(Model& model, const ModelCall& call, std::string* why) {
  return Call(model, call, why).apply();
}

std::size_t transactions_in(const Transaction& transaction) {
  std::size_t out = 1;
  for_each_operation(transaction, [&](const storage::Operation& operation) {
    if (const auto* nested = std::get_if<Transaction>(&operation.what)) out += transactions_in(*nested);
  });
  return out;
}

bool has_written(const Transaction& transaction, const TransactionResult& result) {
  const auto& operations = result.succeeded ? transaction.then : transaction.otherwise;
  for (std::size_t i = 0; i < std::min(operations.size(), result.outcomes.size()); ++i) {
    const auto& outcome = result.outcomes[i].of;
    if (std::holds_alternative<storage::PutOperation>(operations[i].what)) return true;
    if (const auto* removed = std::get_if<storage::RemoveOutcome>(&outcome); removed && removed->removed > 0) {
      return true;
    }
    const auto* nested = std::get_if<Transaction>(&operations[i].what);
    const auto* told = std::get_if<TransactionResult>(&outcome);
    if (nested != nullptr && told != nullptr && has_written(*nested, *told)) return true;
  }
  return false;
}

void for_each_range(const Transaction& transaction, const std::function<void(const KeyRange&)>& visit) {
  for (const Compare& compare : transaction.compares) visit(compare.keys);
  for_each_operation(transaction, [&](const storage::Operation& operation) {
    if (const auto* put = std::get_if<storage::PutOperation>(&operation.what)) visit(KeyRange::only(put->key));
    if (const auto* remove = std::get_if<storage::RemoveOperation>(&operation.what)) visit(remove->keys);
    if (const auto* nested = std::get_if<Transaction>(&operation.what)) for_each_range(*nested, visit);
    const auto* read = std::get_if<storage::ReadOperation>(&operation.what);
    if (read != nullptr && read->range.at == 0) visit({read->range.start, read->range.end});
  });
}

void for_each_removed(const Transaction& transaction, const std::function<void(const KeyRange&)>& visit) {
  for_each_operation(transaction, [&](const storage::Operation& operation) {
    if (const auto* remove = std::get_if<storage::RemoveOperation>(&operation.what)) visit(remove->keys);
    if (const auto* nested = std::get_if<Transaction>(&operation.what)) for_each_removed(*nested, visit);
  });
}

void for_each_put(const Transaction& transaction, const std::function<void(const storage::PutOperation&)>& visit) {
  for_each_operation(transaction, [&](const storage::Operation& operation) {
    if (const auto* put = std::get_if<storage::PutOperation>(&operation.what)) visit(*put);
    if (const auto* nested = std::get_if<Transaction>(&operation.what)) for_each_put(*nested, visit);
  });
}

}  // namespace kubernel::testing
