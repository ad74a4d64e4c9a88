// SPDX-License-Identifier: Apache-2.0
#include "http/extra_paths.h"

#include <mutex>
#include <utility>

namespace kubernel::apiserver {

class ExtraPaths::Served final : public Subscription {
 public:
  Served(std::shared_ptr<Table> table, std::string path, std::shared_ptr<Entry> entry)
      : table_(std::move(table)), path_(std::move(path)), entry_(std::move(entry)) {}
  Served(const Served&) = delete;
  Served& operator=(const Served&) = delete;

  ~Served() override {
    {
      const std::lock_guard lock(table_->mutex);
      const auto found = table_->entries.find(path_);
      if (found != table_->entries.end() && found->second == entry_) table_->entries.erase(found);
    }
    const std::lock_guard lock(entry_->busy);  // Waits for requests being answered.
    entry_->handler = nullptr;
  }

 private:
  const std::shared_ptr<Table> table_;
  const std::string path_;
  const std::shared_ptr<Entry> entry_;
};

std::unique_ptr<Subscription> ExtraPaths::serve(std::string path, Handler handler) {
  auto entry = std::make_shared<Entry>(std::move(handler));
  {
    const std::lock_guard lock(table_->mutex);
    table_->entries.insert_or_assign(path, entry);
  }
  return std::make_unique<Served>(table_, std::move(path), std::move(entry));
}

std::optional<net::Response> ExtraPaths::answer(const CallContext& ctx, const net::Request& request) const {
  std::shared_ptr<Entry> entry;
  {
    const std::lock_guard lock(table_->mutex);
    const auto found = table_->entries.find(request.path);
    if (found == table_->entries.end()) return std::nullopt;
    entry = found->second;
  }
  const std::shared_lock lock(entry->busy);
  if (!entry->handler) return std::nullopt;
  return entry->handler(ctx, request);
}

}  // namespace kubernel::apiserver
