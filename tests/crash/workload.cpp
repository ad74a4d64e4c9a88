// SPDX-License-Identifier: Apache-2.0
#include "workload.h"

#include <stdlib.h>

#include <algorithm>
#include <cstdlib>

#include "sqlite_backend.h"

namespace kubernel::crash {

using storage::KeyValue;
using storage::Revision;
using testing::History;
using testing::Moment;
using testing::Operation;

namespace {

constexpr std::int64_t kWritesPerRun = 1'000'000;
constexpr std::size_t kEventsAtOnce = 100;

// Makes the clients' calls of the steps they told.
class Replay {
 public:
  explicit Replay(History& history) : history_(history) {}

  void step(const Step& step) {
    switch (step.phase) {
      case Step::Phase::Look: return look(step);
      case Step::Phase::Begin: return begin(step);
      case Step::Phase::Removed: return removed(step);
      case Step::Phase::Failed: return;  // It may have happened all the same.
      default: break;
    }
    Operation& write = answered(step);
    write.applied = step.phase == Step::Phase::Applied;
    write.revision = step.revision;
  }

 private:
  struct Removal {
    std::size_t operation = 0;
    std::int64_t run = 0;
    Revision seen_at = 0;
  };

  Operation& call(const Step& step, Operation::Kind kind) {
    under_way_[step.client] = history_.operations.size();
    Operation& out = history_.operations.emplace_back();
    out.kind = kind;
    out.client = step.client;
    out.key = step.key_text();
    out.terse = true;
    out.called = ++history_.moments;
    return out;
  }

  Operation& answered(const Step& step) {
    Operation& out = history_.operations[under_way_.at(step.client)];
    out.returned = ++history_.moments;
    out.outcome = Operation::Outcome::Done;
    return out;
  }

  void look(const Step& step) { call(step, Operation::Kind::Get); }

  void begin(const Step& step) {
    Operation& found = answered(step);
    if (step.seen_at != 0) {
      found.current = KeyValue{.key = step.key_text(), .value = step.seen.text(), .modified = step.seen_at};
    }
    Operation& write = call(step, step.remove ? Operation::Kind::Remove : Operation::Kind::Put);
    write.expected = step.expected;
    if (!step.remove) {
      write.value = step.value.text();
    } else if (step.expected == step.seen_at) {
      removals_.push_back({under_way_[step.client], step.value.number / kWritesPerRun, step.seen_at});
    }
  }

  // Of several clients that were about to remove the key, whoever began first: all of them had seen it, and nobody was
  // told. The clients of an earlier run are dead, and did not.
  void removed(const Step& step) {
    const Removal* found = nullptr;
    for (const Removal& removal : removals_) {
      const Operation& operation = history_.operations[removal.operation];
      if (operation.key != step.key_text() || removal.seen_at != step.seen_at) continue;
      if (operation.outcome == Operation::Outcome::Done && operation.applied) return;
      if (operation.outcome == Operation::Outcome::Done) continue;
      if (found == nullptr || removal.run > found->run) found = &removal;
    }
    if (found == nullptr) return;
    Operation& operation = history_.operations[found->operation];
    operation.returned = ++history_.moments;
    operation.outcome = Operation::Outcome::Done;
    operation.applied = true;
    operation.revision = step.revision;
  }

  History& history_;
  std::map<std::int32_t, std::size_t> under_way_;  // By client.
  std::vector<Removal> removals_;
};

}  // namespace

Result<std::unique_ptr<storage::Backend>> Surroundings::open(const std::string& path, const std::string& synchronous) {
  const std::string config = R"({"path":")" + path + R"(","synchronous":")" + synchronous + R"("})";
  return storage_sqlite::open_sqlite({config, log, metrics, clock, blocking, poller});
}

ScratchDirectory::ScratchDirectory() {
  const std::filesystem::path memory = "/dev/shm";
  std::error_code missing;
  const auto parent = std::filesystem::is_directory(memory, missing) ? memory : std::filesystem::temp_directory_path();
  std::string pattern = (parent / "kubernel-crash-XXXXXX").string();
  if (::mkdtemp(pattern.data()) == nullptr) std::abort();
  path_ = pattern;
}

ScratchDirectory::~ScratchDirectory() {
  std::error_code ignored;  // It is the system's temporary directory.
  std::filesystem::remove_all(path_, ignored);
}

void ScratchDirectory::clear() const {
  for (const auto& entry : std::filesystem::directory_iterator(path_)) std::filesystem::remove_all(entry.path());
}

std::string Signature::text() const {
  std::string out = std::to_string(client) + "." + std::to_string(number) + ".";
  out.resize(std::max<std::size_t>(out.size(), static_cast<std::size_t>(bytes)), 'v');
  return out;
}

Signature Signature::of(const std::string& text) {
  Signature out;
  char* end = nullptr;
  out.client = static_cast<std::int32_t>(std::strtol(text.c_str(), &end, 10));
  if (*end == '.') out.number = std::strtoll(end + 1, &end, 10);
  out.bytes = static_cast<std::int64_t>(text.size());
  return out;
}

Client::Client(storage::Backend& store, int client, std::uint64_t seed, std::int64_t run, std::uint64_t large,
               Tell tell)
    : store_(store),
      client_(client),
      random_(seed * 31 + static_cast<std::uint64_t>(client)),
      number_(run * kWritesPerRun),
      large_(large),
      tell_(std::move(tell)) {}

bool Client::step() {
  Step step;
  step.client = client_;
  step.key = static_cast<std::int64_t>(random_below(random_, static_cast<std::uint64_t>(kKeys)));
  tell_(step);
  const auto found = store_.get({}, step.key_text(), 0);
  if (!found) return false;
  step.phase = Step::Phase::Begin;
  if (*found) {
    step.seen = Signature::of((*found)->value);
    step.seen_at = (*found)->modified;
  }
  step.expected = step.seen_at;
  // Now and then with what it knew before, to lose.
  if (const auto known = known_.find(step.key); known != known_.end() && random_below(random_, 8) == 0) {
    step.expected = known->second;
  }
  step.remove = step.expected != 0 && random_below(random_, 5) == 0;
  // Mostly small; some over several pages.
  const std::uint64_t most = random_below(random_, 10) == 0 ? large_ : 300;
  step.value = {client_, ++number_, static_cast<std::int64_t>(random_below(random_, most))};
  tell_(step);
  const auto result = step.remove ? store_.remove({}, step.key_text(), step.expected)
                                  : store_.put({}, step.key_text(), step.value.text(), step.expected, 0);
  step.phase = !result ? Step::Phase::Failed : result->applied ? Step::Phase::Applied : Step::Phase::Lost;
  if (result) step.revision = known_[step.key] = result->revision;
  tell_(step);
  return result.has_value();
}

bool Client::compact() {
  const auto stats = store_.stats({});
  if (!stats) return false;
  const auto spread = static_cast<std::uint64_t>(stats->revision - stats->compacted + 1);
  const Revision to = stats->compacted + static_cast<Revision>(random_below(random_, spread));
  return tell_removed(stats->compacted + 1, to) && store_.compact({}, to).has_value();
}

bool Client::tell_removed(Revision from, Revision to) {
  if (from > to) return true;
  const auto watch = store_.watch({.from = from});
  if (!watch) return false;
  for (Revision told = from - 1; told < to;) {
    const auto batch = (*watch)->take(kEventsAtOnce);
    if (!batch) return false;
    for (const storage::Event& event : batch->events) {
      if (event.type != storage::Event::Type::Delete || !event.previous) continue;
      Step step;
      step.phase = Step::Phase::Removed;
      step.client = client_;
      step.key = std::stoll(event.kv.key.substr(2));
      step.revision = event.kv.modified;
      step.seen_at = event.previous->modified;
      tell_(step);
    }
    told = batch->progress;
  }
  return true;
}

void Record::add(const Step& step) {
  steps_.push_back(step);
  if (step.phase == Step::Phase::Applied) ++acknowledged_;
}

std::unique_ptr<History> Record::history() const {
  auto out = std::make_unique<History>();
  out->start = start_;
  out->initial = initial_;
  Replay replay(*out);
  for (const Step& step : steps_) replay.step(step);
  return out;
}

// Reads everything, and goes on: no revision may be given again. Returns what the store holds in the end.
Result<storage::Page> Record::read_and_write(History& history, storage::Backend& store) {
  constexpr int kJudge = -1;
  testing::RecordedClient client(history, store, kJudge);
  KUBERNEL_TRY(const auto before, client.range({}));
  KUBERNEL_TRY(const auto found, client.get("/judge"));
  const std::string value = "judge " + std::to_string(before.revision);
  KUBERNEL_CHECK_OK(client.put("/judge", value, found ? found->modified : 0));
  return client.range({});
}

std::string Record::judge(storage::Backend& store) {
  const auto history = this->history();
  const auto stats = store.stats({});
  if (!stats) return "stats: " + stats.error().message();
  const Revision from = std::max(start_ + 1, stats->compacted + 1);
  {
    // All that is left of history, in takes of odd sizes.
    testing::RecordedWatch watch(*history, store, {.from = from});
    while (std::max(watch.progress(), from - 1) < stats->revision) {
      const auto batch = watch.take(7);
      if (!batch) return "a watch from " + std::to_string(from) + ": " + batch.error().message();
      if (batch->events.empty() && batch->progress < stats->revision) {
        return "a watch has nothing more to tell at " + std::to_string(batch->progress) + ", the store is at " +
               std::to_string(stats->revision);
      }
    }
  }
  const auto page = read_and_write(*history, store);
  if (!page) return page.error().message();
  if (std::string wrong = testing::violation(*history); !wrong.empty()) return wrong;
  start_ = page->revision;
  initial_.clear();
  for (const KeyValue& item : page->items) initial_[item.key] = item;
  steps_.clear();
  return "";
}

std::uint64_t seed() {
  const char* const chosen = std::getenv("KUBERNEL_CRASH_SEED");
  return chosen == nullptr ? 20261121 : std::strtoull(chosen, nullptr, 10);
}

TimeLimit::TimeLimit(std::chrono::seconds usual) : end_(std::chrono::steady_clock::time_point::max()) {
  if (std::getenv("KUBERNEL_CRASH_ROUNDS") == nullptr) end_ = std::chrono::steady_clock::now() + usual;
}

bool TimeLimit::reached() const {
  return std::chrono::steady_clock::now() >= end_;
}

int rounds(int usual) {
  const char* const chosen = std::getenv("KUBERNEL_CRASH_ROUNDS");
  return chosen == nullptr ? usual : std::max(1, std::atoi(chosen));
}

}  // namespace kubernel::crash
