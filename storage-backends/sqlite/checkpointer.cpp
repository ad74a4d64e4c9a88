// SPDX-License-Identifier: Apache-2.0
#include "checkpointer.h"

#include <atomic>
#include <cstdint>
#include <mutex>
#include <utility>

namespace kubernel::storage_sqlite {
namespace {

// From this length on the log is copied.
constexpr std::int64_t kCopyFromBytes = 4'096'000;
// A log this many times longer is copied by the writer at once: the pool does not get round to it.
constexpr int kTooLong = 4;

int pages_of(Connection& db, std::int64_t bytes) {
  constexpr std::int64_t kUsual = 4096;
  const auto page = db.number("PRAGMA page_size", kUsual);
  return static_cast<int>(bytes / (page && *page > 0 ? *page : kUsual));
}

// The log's length and how much of it is in the database now. Readers of an older snapshot can end a copy early.
struct Copied {
  int pages = 0;
  int copied = 0;
};

// Tells of the first failure of a row, and of its end. One thread at a time: whose turn it is.
class Outcome {
 public:
  void failed(Logger& log, const std::string& why) {
    if (!std::exchange(failing_, true)) log_warning(log, "the write-ahead log could not be copied", {{"error", why}});
  }
  void succeeded(Logger& log) {
    if (std::exchange(failing_, false)) log_info(log, "the write-ahead log is copied again");
  }
  void lost(const std::string& why) {
    why_ = why;
    lost_ = true;
  }
  const std::string* loss() const { return lost_ ? &why_ : nullptr; }

 private:
  bool failing_ = false;
  std::string why_;  // Does not change once lost_ is set.
  std::atomic<bool> lost_ = false;
};

Copied copy(Connection& db, Outcome& outcome, Logger& log) {
  Copied done;
  const int result =
      sqlite3_wal_checkpoint_v2(db.handle(), "main", SQLITE_CHECKPOINT_PASSIVE, &done.pages, &done.copied);
  if (result == SQLITE_OK) {
    outcome.succeeded(log);
  } else if (result == SQLITE_IOERR_FSYNC) {
    outcome.lost(db.error("checkpoint").message());
  } else if (result != SQLITE_BUSY) {
    // Nothing is lost: the log keeps the pages. What is wrong shows at the next write, too.
    outcome.failed(log, db.error("checkpoint").message());
  }
  return done;
}

}  // namespace

// Whose turn it is to copy; see checkpointer.h.
enum class Turn : std::uint8_t { Writer, PoolMay, PoolCopies, WriterRest };

struct Checkpointer::Shared {
  std::mutex mutex;  // Held while a copy runs on the pool.
  std::string path;
  std::unique_ptr<Connection> connection;
  bool closed = false;
  std::atomic<Turn> turn = Turn::Writer;
  Outcome outcome;

  void run(Logger& log) {
    const std::lock_guard lock(mutex);
    Turn expected = Turn::PoolMay;
    if (closed || !turn.compare_exchange_strong(expected, Turn::PoolCopies)) return;
    if (!connection) {
      auto opened = Connection::open(path, true);
      if (opened) {
        connection = *std::move(opened);
      } else {
        outcome.failed(log, opened.error().message());
      }
    }
    if (connection) copy(*connection, outcome, log);
    turn = Turn::WriterRest;
  }
};

Checkpointer::Checkpointer(Connection& writer, Executor& executor, Logger& log)
    : writer_(writer),
      executor_(executor),
      log_(log),
      copy_from_(pages_of(writer, kCopyFromBytes)),
      shared_(std::make_shared<Shared>()) {
  shared_->path = writer.path();
  sqlite3_wal_hook(
      writer_.handle(),
      [](void* self, sqlite3*, const char*, int pages) {
        static_cast<Checkpointer*>(self)->pages_ = pages;
        return SQLITE_OK;
      },
      this);
}

Checkpointer::~Checkpointer() {
  const std::lock_guard lock(shared_->mutex);
  shared_->closed = true;
  shared_->connection.reset();
  // Else SQLite copies the rest, and empties the log, when the last connection is closed.
  if (failure() != nullptr) sqlite3_db_config(writer_.handle(), SQLITE_DBCONFIG_NO_CKPT_ON_CLOSE, 1, nullptr);
}

const std::string* Checkpointer::failure() const {
  return shared_->outcome.loss();
}

void Checkpointer::after_commit() {
  if (pages_ < copy_from_ || failure() != nullptr) return;
  Turn turn = shared_->turn;
  if (turn == Turn::PoolCopies) return;  // However long the log gets: the copy comes to its end.
  if (turn == Turn::WriterRest) {
    shared_->turn = Turn::Writer;
    copy_rest();
    return;
  }
  if (pages_ < again_at_) return;
  if (pages_ >= kTooLong * copy_from_) {
    // Takes the turn back from a copy that has not begun.
    if (turn == Turn::PoolMay && !shared_->turn.compare_exchange_strong(turn, Turn::Writer)) return;
    copy_rest();
    return;
  }
  if (turn == Turn::PoolMay) return;
  shared_->turn = Turn::PoolMay;
  const auto submitted = executor_.submit([shared = shared_, log = &log_] { shared->run(*log); });
  if (!submitted) shared_->turn = Turn::Writer;  // Tried again at the next commit.
}

void Checkpointer::copy_rest() {
  const Copied done = copy(writer_, shared_->outcome, log_);
  again_at_ = done.copied == done.pages ? 0 : pages_ + copy_from_;
}

}  // namespace kubernel::storage_sqlite
