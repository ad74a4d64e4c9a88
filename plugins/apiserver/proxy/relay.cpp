// SPDX-License-Identifier: Apache-2.0
#include "proxy/relay.h"

#include <mutex>
#include <set>
#include <utility>

namespace kubernel::apiserver {

namespace {

constexpr std::size_t kMaxBacklog = 256 * 1024;

}  // namespace

bool of_one_connection(std::string_view name) {
  return name == "host" || name == "authorization" || name == "content-length" || name == "transfer-encoding" ||
         name.starts_with("impersonate-");
}

// What is open, so that it can be broken when the server stops. Shared with the callbacks, which may outlive the proxy.
struct Relay::Open {
  std::mutex mutex;
  bool closed = false;
  std::set<std::shared_ptr<void>> all;

  bool add(const std::shared_ptr<void>& one) {
    const std::lock_guard lock(mutex);
    if (closed) return false;
    all.insert(one);
    return true;
  }
  void drop(const std::shared_ptr<void>& one) {
    const std::lock_guard lock(mutex);
    all.erase(one);
  }
};

// An answer on its way to the client. A client that does not read stops the other side from sending.
class Relay::BodyCopy : public std::enable_shared_from_this<BodyCopy> {
 public:
  BodyCopy(std::shared_ptr<Open> open, std::unique_ptr<net::ClientStream> from, std::shared_ptr<net::ResponseStream> to)
      : open_(std::move(open)), from_(std::move(from)), to_(std::move(to)) {}

  void start() {
    if (!open_->add(shared_from_this())) {
      to_->abort();
      return;
    }
    const std::weak_ptr<BodyCopy> weak = weak_from_this();
    to_->on_drained([weak] {
      if (const auto self = weak.lock()) self->from_->pause(false);
    });
    to_->on_closed([weak] {
      if (const auto self = weak.lock()) self->open_->drop(self);
    });
    from_->on_data([weak](std::string_view data, const Error* error) {
      if (const auto self = weak.lock()) self->arrived(data, error);
    });
  }

 private:
  void arrived(std::string_view data, const Error* error) {
    if (error != nullptr) {
      to_->abort();
    } else if (data.empty()) {
      to_->finish();
    } else {
      to_->write(std::make_shared<const std::string>(data));
      if (to_->backlog() > kMaxBacklog) from_->pause(true);
      return;
    }
    open_->drop(shared_from_this());
  }

  std::shared_ptr<Open> open_;
  std::unique_ptr<net::ClientStream> from_;
  std::shared_ptr<net::ResponseStream> to_;
};

// Two upgraded connections joined: bytes go both ways as they are.
class Relay::Tunnel : public std::enable_shared_from_this<Tunnel> {
 public:
  Tunnel(std::shared_ptr<Open> open, std::shared_ptr<net::ByteStream> client, std::shared_ptr<net::ByteStream> server)
      : open_(std::move(open)), client_(std::move(client)), server_(std::move(server)) {}

  void start() {
    if (!open_->add(shared_from_this())) {
      close();
      return;
    }
    join(client_, server_);
    join(server_, client_);
  }

 private:
  void join(const std::shared_ptr<net::ByteStream>& from, const std::shared_ptr<net::ByteStream>& to) {
    const std::weak_ptr<Tunnel> weak = weak_from_this();
    net::ByteStream* source = from.get();
    net::ByteStream* sink = to.get();
    to->on_drained([weak, source] {
      if (const auto self = weak.lock()) source->pause(false);
    });
    from->on_closed([weak] {
      if (const auto self = weak.lock()) self->close();
    });
    from->on_data([weak, source, sink](std::string_view data) {
      const auto self = weak.lock();
      if (!self) return;
      if (data.empty()) {
        self->close();
        return;
      }
      sink->write(std::make_shared<const std::string>(data));
      if (sink->backlog() > kMaxBacklog) source->pause(true);
    });
  }

  void close() {
    client_->close();
    server_->close();
    open_->drop(shared_from_this());
  }

  std::shared_ptr<Open> open_;
  std::shared_ptr<net::ByteStream> client_;
  std::shared_ptr<net::ByteStream> server_;
};

Relay::Relay() : open_(std::make_shared<Open>()) {}
Relay::~Relay() {
  close_all();
}

void Relay::copy(std::unique_ptr<net::ClientStream> from, std::shared_ptr<net::ResponseStream> to) {
  std::make_shared<BodyCopy>(open_, std::move(from), std::move(to))->start();
}

void Relay::join(std::shared_ptr<net::ByteStream> client, std::shared_ptr<net::ByteStream> server) {
  std::make_shared<Tunnel>(open_, std::move(client), std::move(server))->start();
}

void Relay::close_all() {
  std::set<std::shared_ptr<void>> all;
  {
    const std::lock_guard lock(open_->mutex);
    open_->closed = true;
    all.swap(open_->all);
  }
}

}  // namespace kubernel::apiserver
