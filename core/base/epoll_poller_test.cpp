// SPDX-License-Identifier: Apache-2.0
#include "core/base/epoll_poller.h"

#include <array>
#include <atomic>
#include <future>
#include <memory>

#include <fcntl.h>
#include <sys/socket.h>
#include <unistd.h>

#include <gtest/gtest.h>

namespace kubernel::core {
namespace {

class Pipe {
 public:
  Pipe() { EXPECT_EQ(pipe2(ends_.data(), O_CLOEXEC | O_NONBLOCK), 0); }
  ~Pipe() {
    close(ends_[0]);
    close_writer();
  }
  Pipe(const Pipe&) = delete;
  Pipe& operator=(const Pipe&) = delete;

  int reader() const { return ends_[0]; }
  void send(char c) const { EXPECT_EQ(::write(ends_[1], &c, 1), 1); }
  char take() const {
    char c = 0;
    return ::read(ends_[0], &c, 1) == 1 ? c : '\0';
  }
  void close_writer() {
    if (ends_[1] >= 0) close(ends_[1]);
    ends_[1] = -1;
  }

 private:
  std::array<int, 2> ends_{-1, -1};
};

TEST(EpollPoller, CallsBackEachTimeThereIsSomethingToRead) {
  EpollPoller poller;
  const Pipe pipe;
  std::array<std::promise<char>, 2> seen;
  std::size_t next = 0;
  const auto subscription = poller.when_readable(pipe.reader(), [&] { seen.at(next++).set_value(pipe.take()); });
  ASSERT_TRUE(subscription);
  pipe.send('a');
  EXPECT_EQ(seen[0].get_future().get(), 'a');
  pipe.send('b');
  EXPECT_EQ(seen[1].get_future().get(), 'b');
}

TEST(EpollPoller, CallsAgainForWhatACallbackLeftUnread) {
  EpollPoller poller;
  const Pipe pipe;
  pipe.send('a');
  pipe.send('b');
  std::promise<void> both;
  int calls = 0;
  const auto subscription = poller.when_readable(pipe.reader(), [&] {
    pipe.take();
    if (++calls == 2) both.set_value();
  });
  ASSERT_TRUE(subscription);
  both.get_future().get();
}

TEST(EpollPoller, ServesOneDescriptorWhileOthersAreSilent) {
  EpollPoller poller;
  const Pipe silent;
  const Pipe talking;
  const auto first = poller.when_readable(silent.reader(), [] { FAIL(); });
  std::promise<char> seen;
  const auto second = poller.when_readable(talking.reader(), [&] { seen.set_value(talking.take()); });
  talking.send('x');
  EXPECT_EQ(seen.get_future().get(), 'x');
}

TEST(EpollPoller, TheEndOfAPipeIsReadable) {
  Pipe pipe;
  std::promise<char> seen;
  std::unique_ptr<Subscription> subscription;
  std::promise<void> made;
  EpollPoller poller;  // Last: its end waits for the callback.
  auto result = poller.when_readable(pipe.reader(), [&] {
    made.get_future().get();
    subscription.reset();
    seen.set_value(pipe.take());
  });
  ASSERT_TRUE(result);
  subscription = *std::move(result);
  made.set_value();
  pipe.close_writer();
  EXPECT_EQ(seen.get_future().get(), '\0');
}

TEST(EpollPoller, DestroyingASubscriptionWaitsForItsCallback) {
  EpollPoller poller;
  const Pipe pipe;
  std::promise<void> started;
  std::atomic<bool> returned = false;
  auto result = poller.when_readable(pipe.reader(), [&] {
    pipe.take();
    started.set_value();
    std::promise<void>().get_future().wait_for(std::chrono::milliseconds(20));
    returned = true;
  });
  ASSERT_TRUE(result);
  auto subscription = *std::move(result);
  pipe.send('x');
  started.get_future().get();
  subscription.reset();
  EXPECT_TRUE(returned);
}

TEST(EpollPoller, ADescriptorCanBeSubscribedAgainAfterwards) {
  EpollPoller poller;
  const Pipe pipe;
  {
    const auto first = poller.when_readable(pipe.reader(), [] {});
  }
  std::promise<char> seen;
  const auto second = poller.when_readable(pipe.reader(), [&] { seen.set_value(pipe.take()); });
  ASSERT_TRUE(second);
  pipe.send('x');
  EXPECT_EQ(seen.get_future().get(), 'x');
}

TEST(EpollPoller, RefusesWhatCannotBePolled) {
  EpollPoller poller;
  const int file = open("/proc/self/exe", O_RDONLY | O_CLOEXEC);
  ASSERT_GE(file, 0);
  const auto regular = poller.when_readable(file, [] {});
  close(file);
  ASSERT_FALSE(regular);
  EXPECT_EQ(regular.error().reason(), Reason::BadRequest);
  EXPECT_FALSE(poller.when_readable(-1, [] {}));
}

TEST(EpollPoller, ASubscriptionMayOutliveThePoller) {
  const Pipe pipe;
  auto poller = std::make_unique<EpollPoller>();
  auto subscription = poller->when_readable(pipe.reader(), [] { FAIL(); });
  ASSERT_TRUE(subscription);
  poller.reset();
}

}  // namespace
}  // namespace kubernel::core
