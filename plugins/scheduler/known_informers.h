// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <functional>
#include <memory>
#include <utility>
#include <vector>

#include <kubernel/client/informer.h>

namespace kubernel::plugins {

// A factory that remembers which informers plugins asked for: whichever syncs last is what the first decision waits
// for.
//
// Threads: informer() while plugins are made, on one thread; on_synced() after that.
class KnownInformers final : public client::InformerFactory {
 public:
  explicit KnownInformers(client::InformerFactory& inner) : inner_(inner) {}

  std::shared_ptr<client::Informer> informer(const api::Resource& resource,
                                             const client::InformerOptions& options) override {
    known_.push_back(inner_.informer(resource, options));
    return known_.back();
  }
  void start() override { inner_.start(); }
  bool has_synced() const override { return inner_.has_synced(); }
  void stop() override { inner_.stop(); }

  // Calls `synced` for each of them, when it has synced.
  void on_synced(const std::function<void()>& synced) const {
    for (const auto& informer : known_) informer->on_synced(synced);
  }

 private:
  client::InformerFactory& inner_;
  std::vector<std::shared_ptr<client::Informer>> known_;
};

}  // namespace kubernel::plugins
