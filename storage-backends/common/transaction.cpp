// SPDX-License-Identifier: Apache-2.0
#include "transaction.h"

#include <algorithm>
#include <set>
#include <utility>

namespace kubernel::storage_common {

using storage::Compare;
using storage::KeyRange;
using storage::KeyValue;
using storage::Operation;
using storage::Outcome;
using storage::Page;
using storage::PutOperation;
using storage::PutOutcome;
using storage::RangeOptions;
using storage::ReadOperation;
using storage::RemoveOperation;
using storage::RemoveOutcome;
using storage::Revision;
using storage::Transaction;
using storage::TransactionResult;

namespace {

template <class T>
bool holds(Compare::Relation relation, const T& has, const T& given) {
  switch (relation) {
    case Compare::Relation::Equal: return has == given;
    case Compare::Relation::NotEqual: return has != given;
    case Compare::Relation::Less: return has < given;
    case Compare::Relation::Greater: return has > given;
  }
  return false;
}

bool holds(const Compare& compare, const KeyValue& kv) {
  switch (compare.target) {
    case Compare::Target::Version: return holds(compare.relation, kv.version, compare.number);
    case Compare::Target::Created: return holds(compare.relation, kv.created, compare.number);
    case Compare::Target::Modified: return holds(compare.relation, kv.modified, compare.number);
    case Compare::Target::Lease: return holds(compare.relation, kv.lease, compare.number);
    case Compare::Target::Value: return holds(compare.relation, kv.value, compare.value);
  }
  return false;
}

// What is written by some way through a transaction. The two branches of one are never done both, so they may write
// the same key; an operation beside a nested transaction may not.
struct Written {
  std::set<std::string_view> puts;
  std::vector<const KeyRange*> removes;

  bool removes_key(std::string_view key) const {
    return std::any_of(removes.begin(), removes.end(), [&](const KeyRange* range) { return range->contains(key); });
  }
  bool adds(const Written& other, const Written* besides) {
    return std::all_of(other.puts.begin(), other.puts.end(), [&](std::string_view key) {
      const bool fresh = !puts.contains(key) || (besides != nullptr && besides->puts.contains(key));
      puts.insert(key);
      return fresh;
    });
  }
};

Error duplicate_key() {
  return {Reason::BadRequest, "duplicate key given in txn request"};
}

Result<Written> check_written(const std::vector<Operation>& operations);

Result<void> check_nested(const Transaction& nested, Written& written) {
  KUBERNEL_TRY(const Written then, check_written(nested.then));
  KUBERNEL_TRY(const Written otherwise, check_written(nested.otherwise));
  if (!written.adds(then, nullptr) || !written.adds(otherwise, &then)) return duplicate_key();
  for (const Written* branch : {&then, &otherwise}) {
    written.removes.insert(written.removes.end(), branch->removes.begin(), branch->removes.end());
  }
  return {};
}

Result<Written> check_written(const std::vector<Operation>& operations) {
  Written written;
  Written nested;
  for (const Operation& operation : operations) {
    if (const auto* put = std::get_if<PutOperation>(&operation.what)) {
      if (!written.puts.insert(put->key).second) return duplicate_key();
    } else if (const auto* remove = std::get_if<RemoveOperation>(&operation.what)) {
      written.removes.push_back(&remove->keys);
    } else if (const auto* transaction = std::get_if<Transaction>(&operation.what)) {
      KUBERNEL_CHECK_OK(check_nested(*transaction, nested));
    }
  }
  for (const std::string_view key : nested.puts) {
    if (written.removes_key(key)) return duplicate_key();
  }
  if (!written.adds(nested, nullptr)) return duplicate_key();
  written.removes.insert(written.removes.end(), nested.removes.begin(), nested.removes.end());
  for (const std::string_view key : written.puts) {
    // A branch of a nested transaction has been checked against itself; its other branch is never done beside it.
    if (!nested.puts.contains(key) && written.removes_key(key)) return duplicate_key();
  }
  return written;
}

class Evaluation {
 public:
  explicit Evaluation(TransactionView& view) : view_(view), revision_(view.revision() + 1) {}

  Result<Evaluated> run(const Transaction& transaction) {
    KUBERNEL_CHECK_OK(check_written(transaction.then));
    KUBERNEL_CHECK_OK(check_written(transaction.otherwise));
    KUBERNEL_CHECK_OK(choose(transaction));
    Evaluated out;
    KUBERNEL_TRY(out.result, perform(transaction));
    out.changes = std::move(order_);
    stamp(out.result, out.changes.empty() ? revision_ - 1 : revision_);
    return out;
  }

 private:
  // Which branches are done is decided before anything is, for nested transactions too.
  Result<void> choose(const Transaction& transaction) {
    bool all = true;
    for (const Compare& compare : transaction.compares) {
      KUBERNEL_TRY(const bool one, check(compare));
      all = all && one;
      if (!all) break;
    }
    chosen_[&transaction] = all;
    for (const Operation& operation : all ? transaction.then : transaction.otherwise) {
      if (const auto* nested = std::get_if<Transaction>(&operation.what)) KUBERNEL_CHECK_OK(choose(*nested));
    }
    return {};
  }

  Result<bool> check(const Compare& compare) {
    if (compare.keys.single()) {
      KUBERNEL_TRY(const auto kv, view_.current(compare.keys.start));
      return kv ? holds(compare, *kv) : compare.target != Compare::Target::Value && holds(compare, KeyValue{});
    }
    const bool value = compare.target == Compare::Target::Value;
    KUBERNEL_TRY(const Page page,
                 view_.range({.start = compare.keys.start, .end = compare.keys.end, .keys_only = !value}));
    if (page.items.empty()) return !value && holds(compare, KeyValue{});
    return std::all_of(page.items.begin(), page.items.end(), [&](const KeyValue& kv) { return holds(compare, kv); });
  }

  Result<TransactionResult> perform(const Transaction& transaction) {
    TransactionResult result{.succeeded = chosen_.at(&transaction), .revision = 0, .outcomes = {}};
    for (const Operation& operation : result.succeeded ? transaction.then : transaction.otherwise) {
      KUBERNEL_TRY(Outcome outcome, std::visit([this](const auto& what) { return done(what); }, operation.what));
      result.outcomes.push_back(std::move(outcome));
    }
    return result;
  }

  Result<Outcome> done(const PutOperation& put) {
    KUBERNEL_TRY(const auto current, view_.current(put.key));
    if (!current && (put.keep_value || put.keep_lease)) {
      return Error(Reason::NotFound, "key not found");
    }
    auto kv = std::make_shared<KeyValue>();
    kv->key = put.key;
    kv->value = put.keep_value ? current->value : put.value;
    kv->created = current ? current->created : revision_;
    kv->modified = revision_;
    kv->version = current ? current->version + 1 : 1;
    kv->lease = put.keep_lease ? current->lease : put.lease;
    if (!put.keep_lease) KUBERNEL_CHECK_OK(view_.check_lease(put.lease));
    KUBERNEL_CHECK_OK(change({std::move(kv), current, false}));
    PutOutcome outcome;
    if (put.want_previous && current) outcome.previous = *current;
    return Outcome{std::move(outcome)};
  }

  Result<Outcome> done(const RemoveOperation& remove) {
    RemoveOutcome outcome;
    if (remove.keys.single()) {
      KUBERNEL_TRY(const auto current, view_.current(remove.keys.start));
      const auto changed = changes_.find(remove.keys.start);
      const bool gone = changed != changes_.end() && changed->second.deleted;
      if (current && !gone) KUBERNEL_CHECK_OK(take_away(remove, current, outcome));
      return Outcome{std::move(outcome)};
    }
    KUBERNEL_TRY(Page page, range({.start = remove.keys.start, .end = remove.keys.end}));
    for (KeyValue& kv : page.items) {
      KUBERNEL_CHECK_OK(take_away(remove, std::make_shared<KeyValue>(std::move(kv)), outcome));
    }
    return Outcome{std::move(outcome)};
  }

  Result<Outcome> done(const ReadOperation& read) {
    KUBERNEL_TRY(Page page, read.range.at != 0 ? view_.range(read.range) : range(read.range));
    page.revision = order_.empty() ? revision_ - 1 : revision_;
    return Outcome{std::move(page)};
  }

  Result<Outcome> done(const Transaction& nested) {
    KUBERNEL_TRY(TransactionResult result, perform(nested));
    return Outcome{std::move(result)};
  }

  Result<Page> range(const RangeOptions& options) {
    return range_through(
        changes_, [this](const RangeOptions& wider) { return view_.range(wider); }, options);
  }

  Result<void> take_away(const RemoveOperation& remove, std::shared_ptr<const KeyValue> doomed,
                         RemoveOutcome& outcome) {
    ++outcome.removed;
    if (remove.want_previous) outcome.previous.push_back(*doomed);
    auto tombstone = std::make_shared<KeyValue>();
    tombstone->key = doomed->key;
    tombstone->modified = revision_;
    return change({std::move(tombstone), std::move(doomed), true});
  }

  // Siblings of a nested transaction can still write what it wrote.
  Result<void> change(Change change) {
    if (!changes_.try_emplace(change.kv->key, change).second) return duplicate_key();
    order_.push_back(std::move(change));
    return {};
  }

  static void stamp(TransactionResult& result, Revision revision) {
    result.revision = revision;
    for (Outcome& outcome : result.outcomes) {
      if (auto* nested = std::get_if<TransactionResult>(&outcome.of)) stamp(*nested, revision);
    }
  }

  TransactionView& view_;
  const Revision revision_;
  std::map<const Transaction*, bool> chosen_;
  Changes changes_;            // For reads that come later.
  std::vector<Change> order_;  // The same.
};

struct Merged {
  std::vector<KeyValue> items;
  bool cut = false;  // Changes beyond what was read were left out.
};

// `base` ascending, `from` .. `to` the changes in the range. `cut_at_end`: the base goes on after its last item.
Merged merge(std::vector<KeyValue> base, Changes::const_iterator from, Changes::const_iterator to, bool cut_at_end,
             bool keys_only) {
  Merged out;
  const auto add = [&](const Change& change) {
    if (change.deleted) return;
    out.items.push_back(*change.kv);
    if (keys_only) out.items.back().value.clear();
  };
  for (KeyValue& item : base) {
    for (; from != to && from->first < item.key; ++from) add(from->second);
    if (from != to && from->first == item.key) {
      add(from->second);
      ++from;
    } else {
      out.items.push_back(std::move(item));
    }
  }
  out.cut = cut_at_end && from != to;
  if (!cut_at_end) {
    for (; from != to; ++from) add(from->second);
  }
  return out;
}

}  // namespace

Result<Page> range_through(const Changes& changes, const ReadRange& store, const RangeOptions& options) {
  const auto from = changes.lower_bound(options.start);
  const auto to = options.end.empty() ? changes.end() : changes.lower_bound(std::max(options.start, options.end));
  if (from == to) return store(options);
  RangeOptions wider = options;
  // As many more as the changes could take away.
  if (options.limit != 0) wider.limit += static_cast<std::size_t>(std::distance(from, to));
  KUBERNEL_TRY(Page page, store(wider));
  if (options.count) {
    for (auto at = from; at != to; ++at) page.count += (at->second.deleted ? 0 : 1) - (at->second.previous ? 1 : 0);
  }
  Merged merged = merge(std::move(page.items), from, to, page.more, options.keys_only);
  page.items = std::move(merged.items);
  page.more = page.more || merged.cut;
  if (options.limit != 0 && page.items.size() > options.limit) {
    page.items.resize(options.limit);
    page.more = true;
  }
  return page;
}

Result<Evaluated> evaluate(const Transaction& transaction, TransactionView& view) {
  return Evaluation(view).run(transaction);
}

void named_keys(const Transaction& transaction, std::vector<std::string_view>& keys) {
  for (const Compare& compare : transaction.compares) {
    if (compare.keys.single()) keys.push_back(compare.keys.start);
  }
  for (const auto* branch : {&transaction.then, &transaction.otherwise}) {
    for (const Operation& operation : *branch) {
      if (const auto* put = std::get_if<PutOperation>(&operation.what)) {
        keys.push_back(put->key);
      } else if (const auto* remove = std::get_if<RemoveOperation>(&operation.what)) {
        if (remove->keys.single()) keys.push_back(remove->keys.start);
      } else if (const auto* nested = std::get_if<Transaction>(&operation.what)) {
        named_keys(*nested, keys);
      }
    }
  }
}

}  // namespace kubernel::storage_common
