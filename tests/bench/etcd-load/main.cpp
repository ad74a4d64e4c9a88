// SPDX-License-Identifier: Apache-2.0
//
// etcd-load: drives an etcd v3 server as kube-apiserver writes, at the least cost to the machine they share. Each
// client updates keys of its own by compare-and-swap on their mod revision, while a watch on another connection is to
// see every one of these writes, once and in order. Prints one line of JSON.
//
//   etcd-load --endpoint HOST:PORT [--prefix P] [--clients N] [--connections N] [--keys N] [--value-size N] [--seconds
//   N]

#include <sys/epoll.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <chrono>
#include <cstdio>
#include <cstdlib>
#include <memory>
#include <string>
#include <unordered_map>
#include <vector>

#include <CLI/CLI.hpp>
#include <nlohmann/json.hpp>

#include "channel.h"
#include "rpc.pb.h"

namespace {

using kubernel::bench::Channel;
using Clock = std::chrono::steady_clock;

// What is on its way gets this long without news.
constexpr std::chrono::seconds kPatience{10};

struct Options {
  std::string endpoint = "127.0.0.1:2379";
  std::string prefix = "/registry/load/";
  int clients = 64, connections = 8, keys = 200;
  std::size_t value_size = 256;
  int seconds = 8;
};

struct Write {
  std::int64_t revision = 0;
  Clock::time_point began, done;
};

double milliseconds(Clock::duration time) {
  return std::chrono::duration<double, std::milli>(time).count();
}

// What all clients did.
struct Record {
  std::vector<Write> writes;
  int errors = 0;
  int conflicts = 0;
  int busy = 0;  // Clients with a request on its way.
  std::string first_error;
};

class Client final : public Channel::Receiver {
 public:
  Client(const Options& options, int number, Channel& channel, Clock::time_point until, Record& record)
      : channel_(channel), until_(until), record_(record), value_(options.value_size, 'v') {
    for (int i = 0; i < options.keys; ++i)
      keys_.emplace_back(options.prefix + std::to_string(number) + "/" + std::to_string(i), 0);
  }

  void begin() {
    ++record_.busy;
    next();
  }

  void message(std::string_view bytes) override { answer_ = bytes; }

  void end(const std::string& error) override {
    take(error);
    at_ = (at_ + 1) % keys_.size();
    if (Clock::now() < until_) {
      next();
    } else {
      --record_.busy;
    }
  }

 private:
  void next() {
    const auto& [key, revision] = keys_[at_];
    etcdserverpb::TxnRequest request;
    auto& compare = *request.add_compare();
    compare.set_key(key);
    compare.set_target(etcdserverpb::Compare::MOD);
    compare.set_result(etcdserverpb::Compare::EQUAL);
    compare.set_mod_revision(revision);
    auto& put = *request.add_success()->mutable_request_put();
    put.set_key(key);
    put.set_value(value_);
    request.add_failure()->mutable_request_range()->set_key(key);
    began_ = Clock::now();
    channel_.call("/etcdserverpb.KV/Txn", request.SerializeAsString(), *this);
  }

  void take(const std::string& error) {
    auto& revision = keys_[at_].second;
    etcdserverpb::TxnResponse reply;
    if (!error.empty() || !reply.ParseFromArray(answer_.data(), static_cast<int>(answer_.size()))) {
      ++record_.errors;
      if (record_.first_error.empty()) record_.first_error = error.empty() ? "not a TxnResponse" : error;
    } else if (reply.succeeded()) {
      revision = reply.header().revision();
      record_.writes.push_back({revision, began_, Clock::now()});
    } else {
      ++record_.conflicts;
      const auto& found = reply.responses(0).response_range();
      revision = found.kvs_size() == 1 ? found.kvs(0).mod_revision() : 0;
    }
  }

  Channel& channel_;
  const Clock::time_point until_;
  Record& record_;
  const std::string value_;
  std::vector<std::pair<std::string, std::int64_t>> keys_;  // Each with the revision it is known to have.
  std::size_t at_ = 0;
  Clock::time_point began_;
  std::string answer_;
};

class Sight final : public Channel::Receiver {
 public:
  Sight(Channel& channel, const Options& options) {
    etcdserverpb::WatchRequest request;
    auto& create = *request.mutable_create_request();
    create.set_key(options.prefix);
    create.set_range_end(options.prefix.substr(0, options.prefix.size() - 1) + '0');  // '0' follows '/'.
    channel.call("/etcdserverpb.Watch/Watch", request.SerializeAsString(), *this, true);
  }

  void message(std::string_view bytes) override {
    const auto now = Clock::now();
    etcdserverpb::WatchResponse reply;
    if (!reply.ParseFromArray(bytes.data(), static_cast<int>(bytes.size()))) failure = "not a WatchResponse";
    created |= reply.created();
    if (reply.canceled()) failure = "cancelled: " + reply.cancel_reason();
    for (const auto& event : reply.events()) {
      const std::int64_t revision = event.kv().mod_revision();
      if (revision <= last_) ++disorder;
      last_ = revision;
      seen.emplace(revision, now);
    }
  }
  void end(const std::string& error) override { failure = "the watch ended: " + error; }

  std::size_t missing(const std::vector<Write>& writes) const {
    return static_cast<std::size_t>(
        std::ranges::count_if(writes, [&](const Write& write) { return !seen.contains(write.revision); }));
  }

  bool created = false;
  int disorder = 0;
  std::string failure;
  std::unordered_map<std::int64_t, Clock::time_point> seen;

 private:
  std::int64_t last_ = 0;
};

class Loop {
 public:
  Loop() : epoll_(::epoll_create1(EPOLL_CLOEXEC)) {}
  ~Loop() { ::close(epoll_); }
  Loop(const Loop&) = delete;
  Loop& operator=(const Loop&) = delete;

  Channel& connect(const std::string& endpoint) {
    Channel& channel = *channels_.emplace_back(std::make_unique<Channel>(endpoint));
    epoll_event event{};
    event.events = EPOLLIN;
    event.data.ptr = &channel;
    ::epoll_ctl(epoll_, EPOLL_CTL_ADD, channel.fd(), &event);
    return channel;
  }

  // Waits for something to come and deals with all that has.
  void turn() {
    std::array<epoll_event, 16> events{};
    const int count = ::epoll_wait(epoll_, events.data(), events.size(), 1000);
    for (int i = 0; i < count; ++i) static_cast<Channel*>(events[static_cast<std::size_t>(i)].data.ptr)->read();
    flush();
  }
  void flush() {
    for (const auto& channel : channels_) channel->flush();
  }

 private:
  const int epoll_;
  std::vector<std::unique_ptr<Channel>> channels_;
};

double quantile(std::vector<double>& values, double share) {
  if (values.empty()) return 0;
  std::ranges::sort(values);
  return values[std::min(values.size() - 1, static_cast<std::size_t>(share * static_cast<double>(values.size())))];
}

void print(const Record& record, const Sight& sight, double seconds, std::size_t missing) {
  std::vector<double> latencies, lags;
  for (const Write& write : record.writes) {
    latencies.push_back(milliseconds(write.done - write.began));
    if (const auto seen = sight.seen.find(write.revision); seen != sight.seen.end())
      lags.push_back(std::max(0.0, milliseconds(seen->second - write.done)));
  }
  const nlohmann::json out = {{"writes", record.writes.size()},
                              {"seconds", seconds},
                              {"errors", record.errors},
                              {"conflicts", record.conflicts},
                              {"firstError", record.first_error},
                              {"watchError", sight.failure},
                              {"p50Ms", quantile(latencies, 0.5)},
                              {"p99Ms", quantile(latencies, 0.99)},
                              {"missing", missing},
                              {"disorder", sight.disorder},
                              {"lagP50Ms", quantile(lags, 0.5)},
                              {"lagP99Ms", quantile(lags, 0.99)},
                              {"lagMaxMs", quantile(lags, 1)}};
  std::printf("%s\n", out.dump().c_str());
}

void play(const Options& options) {
  Loop loop;
  Sight sight(loop.connect(options.endpoint), options);
  for (loop.flush(); !sight.created && sight.failure.empty();) loop.turn();

  Record record;
  const auto began = Clock::now();
  const auto until = began + std::chrono::seconds(options.seconds);
  std::vector<Channel*> channels;
  for (int i = 0; i < options.connections; ++i) channels.push_back(&loop.connect(options.endpoint));
  std::vector<std::unique_ptr<Client>> clients;
  for (int i = 0; i < options.clients; ++i) {
    Channel& channel = *channels[static_cast<std::size_t>(i % options.connections)];
    clients.push_back(std::make_unique<Client>(options, i, channel, until, record));
    clients.back()->begin();
  }
  for (loop.flush(); record.busy > 0;) loop.turn();
  const double seconds = std::chrono::duration<double>(Clock::now() - began).count();

  std::size_t missing = sight.missing(record.writes);
  for (auto since = Clock::now(); missing > 0 && Clock::now() - since < kPatience && sight.failure.empty();) {
    loop.turn();
    if (const auto now = sight.missing(record.writes); now != missing) {
      missing = now;
      since = Clock::now();
    }
  }
  print(record, sight, seconds, missing);
}

}  // namespace

int main(int argc, char** argv) {
  Options options;
  CLI::App app{"Writes to an etcd v3 server as kube-apiserver does, and watches; prints one line of JSON."};
  app.add_option("--endpoint", options.endpoint, "HOST:PORT, IPv4, without TLS")->capture_default_str();
  app.add_option("--prefix", options.prefix, "of all keys; ends with /")->capture_default_str();
  app.add_option("--clients", options.clients, "that write at once")->capture_default_str();
  app.add_option("--connections", options.connections, "they share")->capture_default_str();
  app.add_option("--keys", options.keys, "of each client")->capture_default_str();
  app.add_option("--value-size", options.value_size, "in bytes")->capture_default_str();
  app.add_option("--seconds", options.seconds, "of the load")->capture_default_str();
  CLI11_PARSE(app, argc, argv);
  if (!options.prefix.ends_with('/')) {
    std::fprintf(stderr, "etcd-load: --prefix must end with /\n");
    return 2;
  }
  play(options);
  return 0;
}
