// SPDX-License-Identifier: Apache-2.0
#include <netinet/in.h>
#include <poll.h>
#include <signal.h>
#include <sys/socket.h>
#include <unistd.h>

#include <gtest/gtest.h>

#include <kubernel/api/time.h>

#include "server/container_log.h"
#include "server/kubelet_server.h"
#include "server/port_forward.h"
#include "server/spdy_transport.h"
#include "testing.h"

namespace kubernel::kubelet {
namespace {

using namespace std::chrono_literals;
using nlohmann::json;
using testing::Bench;
using testing::TemporaryDirectory;

// Calls back when the test says so: run() looks at each descriptor once.
class ManualPoller final : public Poller {
 public:
  Result<std::unique_ptr<Subscription>> when_readable(int fd, std::function<void()> callback) override {
    const int id = next_++;
    entries_[id] = {fd, std::move(callback)};
    return std::unique_ptr<Subscription>(std::make_unique<Entry>(*this, id));
  }
  bool run() {
    bool any = false;
    const auto entries = entries_;
    for (const auto& [id, entry] : entries) {
      pollfd one{entry.first, POLLIN, 0};
      if (!entries_.contains(id) || ::poll(&one, 1, 0) <= 0) continue;
      any = true;
      entry.second();
    }
    return any;
  }

 private:
  class Entry final : public Subscription {
   public:
    Entry(ManualPoller& owner, int id) : owner_(owner), id_(id) {}
    ~Entry() override { owner_.entries_.erase(id_); }

   private:
    ManualPoller& owner_;
    int id_;
  };
  int next_ = 0;
  std::map<int, std::pair<int, std::function<void()>>> entries_;
};

class FakeStream final : public net::ResponseStream {
 public:
  bool write(net::Bytes bytes) override {
    text += *bytes;
    return !gone;
  }
  std::size_t backlog() const override { return held; }
  void on_drained(std::function<void()> callback) override { drained = std::move(callback); }
  void on_closed(std::function<void()> callback) override { closed = std::move(callback); }
  void finish() override {
    finished = true;
    if (closed) std::exchange(closed, nullptr)();
  }
  void abort() override { gone = true; }
  std::string text;
  std::size_t held = 0;
  bool finished = false, gone = false;
  std::function<void()> drained, closed;
};

class FakeSocket final : public net::WebSocket {
 public:
  explicit FakeSocket(std::string protocol) : protocol_(std::move(protocol)) {}
  const std::string& subprotocol() const override { return protocol_; }
  bool send(net::MessageKind, std::string_view payload) override {
    messages.emplace_back(payload);
    return true;
  }
  std::size_t backlog() const override { return 0; }
  void on_drained(std::function<void()>) override {}
  void on_message(std::function<void(net::MessageKind, std::string_view)> callback) override {
    message = std::move(callback);
  }
  void pause(bool) override {}
  void on_closed(std::function<void(int, std::string_view)> callback) override { closed = std::move(callback); }
  void close(int code, std::string_view) override { close_code = code; }
  void receive(std::string_view payload) { message(net::MessageKind::Binary, payload); }
  // Everything sent on a channel.
  std::string on(int channel) const {
    std::string out;
    for (const auto& one : messages) {
      if (one[0] == channel) out += one.substr(1);
    }
    return out;
  }
  std::vector<std::string> messages;
  std::function<void(net::MessageKind, std::string_view)> message;
  std::function<void(int, std::string_view)> closed;
  int close_code = 0;

 private:
  std::string protocol_;
};

class FakeExchange final : public net::Exchange {
 public:
  FakeExchange(std::string method, std::string path, std::vector<std::pair<std::string, std::string>> query = {}) {
    request_.method = std::move(method);
    request_.path = std::move(path);
    request_.query = std::move(query);
    request_.peer_certificate = net::PeerCertificate{"kube-apiserver-kubelet-client", {"system:masters"}, {}};
  }
  const net::Request& request() const override { return request_; }
  const CallContext& context() const override { return context_; }
  Result<std::string> read_body(std::size_t) override { return std::string(); }
  void respond(net::Response answer) override { response = std::move(answer); }
  std::shared_ptr<net::ResponseStream> start_stream(int status, net::Headers) override {
    response.status = status;
    stream = std::make_shared<FakeStream>();
    return stream;
  }
  Result<std::shared_ptr<net::WebSocket>> accept_websocket(const std::vector<std::string>& protocols) override {
    if (std::find(protocols.begin(), protocols.end(), protocol) == protocols.end())
      return Error(Reason::BadRequest, "no common protocol");
    socket = std::make_shared<FakeSocket>(protocol);
    return std::shared_ptr<net::WebSocket>(socket);
  }
  Result<std::shared_ptr<net::ByteStream>> upgrade(net::Headers) override {
    return Error(Reason::BadRequest, "no upgrade here");
  }

  net::Request request_;
  net::Response response;
  std::shared_ptr<FakeStream> stream;
  std::shared_ptr<FakeSocket> socket;
  std::string protocol = "v5.channel.k8s.io";

 private:
  CallContext context_;
};

// Answers token and access reviews; everything else is an error.
class ReviewClient final : public client::ApiClient {
 public:
  using R = Result<api::Object>;
  R create(const CallContext&, const api::Resource& resource, const api::ObjectKey&, const json& document,
           const client::WriteOptions&) override {
    ++reviews;
    last = document;
    json answer = document;
    if (resource.plural == "tokenreviews") {
      const bool known = document["spec"]["token"] == "good";
      answer["status"]["authenticated"] = known;
      if (known) answer["status"]["user"] = json::parse(R"({"username":"alice","groups":["dev"]})");
    } else {
      answer["status"]["allowed"] = allow(document["spec"]);
    }
    return api::Object::from_json(answer);
  }
  R get(const CallContext&, const api::Resource&, const api::ObjectKey&, std::string_view) override { return no(); }
  Result<client::ObjectList> list(const CallContext&, const api::Resource&, const client::ListOptions&) override {
    return no();
  }
  Result<std::unique_ptr<client::Watch>> watch(const CallContext&, const api::Resource&,
                                               const client::WatchOptions&) override {
    return no();
  }
  R update(const CallContext&, const api::Resource&, const api::ObjectKey&, const json&,
           const client::WriteOptions&) override {
    return no();
  }
  R patch(const CallContext&, const api::Resource&, const api::ObjectKey&, client::PatchType, const json&,
          const client::WriteOptions&) override {
    return no();
  }
  R remove(const CallContext&, const api::Resource&, const api::ObjectKey&, const client::DeleteOptions&) override {
    return no();
  }
  Result<void> remove_all(const CallContext&, const api::Resource&, const client::ListOptions&,
                          const client::DeleteOptions&) override {
    return no();
  }
  Result<std::vector<DiscoveredResource>> discover(const CallContext&) override { return no(); }

  std::function<bool(const json& spec)> allow = [](const json&) { return true; };
  int reviews = 0;
  json last;

 private:
  static Error no() { return Error(Reason::MethodNotAllowed, "not here"); }
};

class ServerBench : public Bench {
 public:
  ServerBench() : auth(reviews, clock, "n1") {
    auto opened = FileWatcher::open(poller);
    if (!opened) std::abort();
    watcher = *std::move(opened);
    server = std::make_unique<KubeletServer>(
        ServerParts{auth, *workers, *cache, runtime, runtime, "n1", watcher.get(), poller, *tasks, log, metrics});
  }
  void serve(FakeExchange& exchange) {
    server->handle(exchange);
    turn();
  }
  void turn() {
    for (int i = 0; i < 20; ++i) {
      const bool ready = poller.run();
      settle();
      if (!ready) return;
    }
  }
  std::string log_path(const std::string& pod, const std::string& container, int attempt = 0) {
    return config.log_directory + "/default_" + pod + "_" + this->pod(pod).uid() + "/" + container + "/" +
           std::to_string(attempt) + ".log";
  }

  ReviewClient reviews;
  ManualPoller poller;
  kubernel::testing::RecordingMetrics metrics;
  NodeAuth auth;
  std::unique_ptr<FileWatcher> watcher;
  std::unique_ptr<KubeletServer> server;
};

constexpr const char* kOne = R"({"containers":[{"name":"app","image":"busybox:1"}]})";
constexpr const char* kLog =
    "2026-01-01T00:00:01.000000001Z stdout F one\n"
    "2026-01-01T00:00:02.000000001Z stderr F two\n"
    "2026-01-01T00:00:03.000000001Z stdout P thr\n"
    "2026-01-01T00:00:03.000000002Z stdout F ee\n";

std::string read_all(const std::string& path, const LogOptions& options) {
  auto log = ContainerLog::open(path, options);
  std::string out;
  if (!log) return log.error().message();
  for (;;) {
    const auto text = (*log)->read();
    if (!text || text->empty()) return out;
    out += *text;
  }
}

class LogFile {
 public:
  explicit LogFile(std::string_view text) { std::ofstream(path()) << text; }
  std::string path() const { return directory_.path() + "/0.log"; }

 private:
  TemporaryDirectory directory_;
};

TEST(ContainerLog, JoinsPartialLinesAndDropsTheFormatsFields) {
  EXPECT_EQ(read_all(LogFile(kLog).path(), {}), "one\ntwo\nthree\n");
}

TEST(ContainerLog, PutsTheTimeBeforeWholeLinesOnly) {
  LogOptions options;
  options.timestamps = true;
  EXPECT_EQ(
      read_all(LogFile(kLog).path(), options),
      "2026-01-01T00:00:01.000000001Z one\n2026-01-01T00:00:02.000000001Z two\n2026-01-01T00:00:03.000000001Z three\n");
}

TEST(ContainerLog, TailGivesTheLastLines) {
  const LogFile file(
      "2026-01-01T00:00:01Z stdout F one\n2026-01-01T00:00:02Z stdout F two\n2026-01-01T00:00:03Z stdout F three\n");
  LogOptions options;
  options.tail_lines = 2;
  EXPECT_EQ(read_all(file.path(), options), "two\nthree\n");
  options.tail_lines = 0;
  EXPECT_EQ(read_all(file.path(), options), "");
  options.tail_lines = 99;
  EXPECT_EQ(read_all(file.path(), options), "one\ntwo\nthree\n");
}

TEST(ContainerLog, TailWorksAcrossBlocksOfTheFile) {
  std::string text;
  for (int i = 0; i < 20'000; ++i) text += "2026-01-01T00:00:01Z stdout F line " + std::to_string(i) + "\n";
  const LogFile file(text);
  LogOptions options;
  options.tail_lines = 5000;
  const auto tail = read_all(file.path(), options);
  EXPECT_TRUE(tail.starts_with("line 15000\n"));
  EXPECT_TRUE(tail.ends_with("line 19999\n"));
}

TEST(ContainerLog, SinceAndLimitAndStreamCut) {
  const LogFile file(kLog);
  LogOptions options;
  options.since = *api::parse_time("2026-01-01T00:00:02Z");
  EXPECT_EQ(read_all(file.path(), options), "two\nthree\n");
  options.limit_bytes = 6;
  EXPECT_EQ(read_all(file.path(), options), "two\nth");
  LogOptions errors;
  errors.stream = "Stderr";
  EXPECT_EQ(read_all(file.path(), errors), "two\n");
}

TEST(ContainerLog, AnUnfinishedLineIsGivenWhenItsEndIsWritten) {
  const LogFile file("2026-01-01T00:00:01Z stdout F hal");
  auto log = ContainerLog::open(file.path(), {});
  ASSERT_TRUE(log);
  EXPECT_EQ(*(*log)->read(), "");
  std::ofstream(file.path(), std::ios::app) << "f\n";
  EXPECT_EQ(*(*log)->read(), "half\n");
}

TEST(KubeletServer, GivesAContainersLog) {
  ServerBench bench;
  bench.put_pod("web", kOne);
  bench.settle();
  std::ofstream(bench.log_path("web", "app")) << kLog;
  FakeExchange exchange("GET", "/containerLogs/default/web/app", {{"tailLines", "1"}});
  bench.serve(exchange);
  EXPECT_EQ(exchange.response.status, 200);
  EXPECT_EQ(exchange.stream->text, "ee\n");
  EXPECT_TRUE(exchange.stream->finished);
}

TEST(KubeletServer, AFollowedLogGrowsUntilTheContainerExits) {
  ServerBench bench;
  bench.put_pod("web", R"({"restartPolicy":"Never","containers":[{"name":"app","image":"busybox:1"}]})");
  bench.settle();
  const auto path = bench.log_path("web", "app");
  std::ofstream(path) << "2026-01-01T00:00:01Z stdout F one\n";
  FakeExchange exchange("GET", "/containerLogs/default/web/app", {{"follow", "true"}});
  bench.serve(exchange);
  EXPECT_EQ(exchange.stream->text, "one\n");
  EXPECT_FALSE(exchange.stream->finished);
  std::ofstream(path, std::ios::app) << "2026-01-01T00:00:02Z stdout F two\n";
  bench.turn();
  EXPECT_EQ(exchange.stream->text, "one\ntwo\n");
  std::ofstream(path, std::ios::app) << "2026-01-01T00:00:03Z stdout F three\n";
  bench.runtime.exit_container("app", 0);
  bench.turn();
  EXPECT_EQ(exchange.stream->text, "one\ntwo\nthree\n");
  EXPECT_TRUE(exchange.stream->finished);
}

TEST(KubeletServer, PreviousIsTheContainerBeforeTheRestart) {
  ServerBench bench;
  bench.put_pod("web", kOne);
  bench.settle();
  FakeExchange none("GET", "/containerLogs/default/web/app", {{"previous", "true"}});
  bench.serve(none);
  EXPECT_EQ(none.response.status, 400);
  EXPECT_EQ(none.response.body, "previous terminated container \"app\" in pod \"web\" not found");
  std::ofstream(bench.log_path("web", "app", 0)) << "2026-01-01T00:00:01Z stdout F old\n";
  bench.runtime.exit_container("app", 1);
  bench.settle();
  std::ofstream(bench.log_path("web", "app", 1)) << "2026-01-01T00:00:01Z stdout F new\n";
  FakeExchange previous("GET", "/containerLogs/default/web/app", {{"previous", "true"}});
  bench.serve(previous);
  EXPECT_EQ(previous.stream->text, "old\n");
  FakeExchange current("GET", "/containerLogs/default/web/app");
  bench.serve(current);
  EXPECT_EQ(current.stream->text, "new\n");
}

TEST(KubeletServer, AContainerThatWaitsHasNoLogYet) {
  ServerBench bench;
  bench.put_pod("web", R"({"containers":[{"name":"app","image":"gone:1"}]})");
  bench.settle();
  FakeExchange exchange("GET", "/containerLogs/default/web/app");
  bench.serve(exchange);
  EXPECT_EQ(exchange.response.status, 400);
  EXPECT_EQ(exchange.response.body, "container \"app\" in pod \"web\" is waiting to start: image can't be pulled");
}

using Query = std::vector<std::pair<std::string, std::string>>;

struct ExecBench : ServerBench {
  ExecBench() {
    runtime.set_session([this](auto made, const auto& words) {
      process = std::move(made);
      command = words;
    });
    put_pod("web", kOne);
    settle();
  }
  FakeExchange exec(const Query& query, std::string protocol = "v5.channel.k8s.io") {
    FakeExchange exchange("GET", "/exec/default/web/app", query);
    exchange.request_.headers.set("upgrade", "websocket");
    exchange.protocol = std::move(protocol);
    serve(exchange);
    return exchange;
  }
  std::shared_ptr<kubernel::testing::FakeSession::Process> process;
  std::vector<std::string> command;
};

TEST(KubeletServer, ExecSendsOutputThenTheStatusThenCloses) {
  ExecBench bench;
  auto exchange = bench.exec({{"command", "sh"}, {"command", "-c"}, {"output", "1"}, {"error", "1"}});
  ASSERT_TRUE(exchange.socket);
  EXPECT_EQ(bench.command, (std::vector<std::string>{"sh", "-c"}));
  bench.process->write_out("hello");
  bench.process->write_err("oops");
  bench.turn();
  EXPECT_EQ(exchange.socket->on(1), "hello");
  EXPECT_EQ(exchange.socket->on(2), "oops");
  bench.process->write_out(" and bye");
  bench.process->exit(0);
  bench.turn();
  EXPECT_EQ(exchange.socket->on(1), "hello and bye");
  EXPECT_EQ(exchange.socket->messages.back(), std::string("\x03") + R"({"metadata":{},"status":"Success"})");
  EXPECT_EQ(exchange.socket->close_code, 1000);
}

TEST(KubeletServer, AnExitCodeIsUpstreamsStatus) {
  ExecBench bench;
  auto exchange = bench.exec({{"command", "false"}, {"output", "1"}});
  bench.process->exit(3);
  bench.turn();
  EXPECT_EQ(
      exchange.socket->on(3),
      R"({"metadata":{},"status":"Failure","message":"command terminated with non-zero exit code: command terminated with exit code 3","reason":"NonZeroExitCode","details":{"causes":[{"reason":"ExitCode","message":"3"}]}})");
}

TEST(KubeletServer, ExecCarriesInputItsEndAndTheTerminalsSize) {
  ExecBench bench;
  auto exchange = bench.exec({{"command", "cat"}, {"input", "1"}, {"output", "1"}, {"tty", "1"}});
  exchange.socket->receive(std::string_view("\0abc", 4));
  exchange.socket->receive(std::string_view("\0def", 4));
  exchange.socket->receive(std::string("\x04") + R"({"Width":80,"Height":24})");
  bench.turn();
  EXPECT_EQ(bench.process->read_in(), "abcdef");
  EXPECT_EQ(bench.process->sizes, (std::vector<std::pair<int, int>>{{80, 24}}));
  exchange.socket->receive(std::string_view("\xff\0", 2));
  bench.turn();
  char byte = 0;
  EXPECT_EQ(::read(bench.process->in, &byte, 1), 0);
  bench.process->exit(0);
  bench.turn();
}

TEST(KubeletServer, ACommandWhoseClientHasGoneIsEnded) {
  ExecBench bench;
  auto exchange = bench.exec({{"command", "cat"}, {"input", "1"}, {"output", "1"}});
  exchange.socket->closed(1006, "");
  bench.turn();
  // Its session is gone: nobody holds the other side of the process's output any more.
  signal(SIGPIPE, SIG_IGN);
  EXPECT_EQ(::write(bench.process->out, "x", 1), -1);
  EXPECT_EQ(errno, EPIPE);
}

// What a client's SPDY connection looks like from here.
class FakeSpdyStream final : public net::SpdyStream {
 public:
  FakeSpdyStream(std::uint32_t id, std::vector<std::pair<std::string, std::string>> headers) : id_(id) {
    for (const auto& [name, value] : headers) headers_.add(name, value);
  }
  std::uint32_t id() const override { return id_; }
  const net::Headers& headers() const override { return headers_; }
  bool write(std::string_view bytes) override {
    text += bytes;
    return !ended;
  }
  void close_half() override { ended = true; }
  void on_data(std::function<void(std::string_view)> callback) override { data = std::move(callback); }
  void on_closed(std::function<void()> callback) override { closed = std::move(callback); }
  void reset() override { was_reset = true; }
  std::string text;
  bool ended = false, was_reset = false;
  std::function<void(std::string_view)> data;
  std::function<void()> closed;

 private:
  std::uint32_t id_;
  net::Headers headers_;
};

class FakeSpdy final : public net::SpdyConnection {
 public:
  void on_stream(std::function<void(std::shared_ptr<net::SpdyStream>)> callback) override {
    stream = std::move(callback);
  }
  void on_closed(std::function<void()> callback) override { closed = std::move(callback); }
  std::size_t backlog() const override { return 0; }
  void on_drained(std::function<void()>) override {}
  void pause(bool) override {}
  void close() override { was_closed = true; }
  std::shared_ptr<FakeSpdyStream> open(std::vector<std::pair<std::string, std::string>> headers) {
    auto out = std::make_shared<FakeSpdyStream>(next_ += 2, std::move(headers));
    stream(out);
    return out;
  }
  std::function<void(std::shared_ptr<net::SpdyStream>)> stream;
  std::function<void()> closed;
  bool was_closed = false;

 private:
  std::uint32_t next_ = 1;
};

TEST(SpdyCommand, BeginsWhenAllItsStreamsHaveCome) {
  ServerBench bench;
  const auto connection = std::make_shared<FakeSpdy>();
  std::unique_ptr<CommandTransport> transport;
  collect_command_streams(connection, "v4.channel.k8s.io", {.in = true, .out = true, .err = false}, true, *bench.tasks,
                          [&](std::unique_ptr<CommandTransport> made) { transport = std::move(made); });
  const auto error = connection->open({{"streamtype", "error"}});
  const auto in = connection->open({{"streamtype", "stdin"}});
  const auto out = connection->open({{"streamtype", "stdout"}});
  EXPECT_TRUE(connection->open({{"streamtype", "nonsense"}})->was_reset);
  bench.turn();
  ASSERT_FALSE(transport);
  const auto resize = connection->open({{"streamtype", "resize"}});
  bench.turn();
  ASSERT_TRUE(transport);
  std::vector<std::string> received;
  transport->on_receive([&](Channel channel, std::optional<std::string_view> data) {
    received.push_back(std::to_string(static_cast<int>(channel)) + ":" + std::string(data.value_or("<end>")));
  });
  in->data("abc");
  in->data("");
  resize->data(R"({"Width":8)");
  resize->data(R"(0,"Height":24}
{"Width":1,"Height":2})");
  EXPECT_EQ(received, (std::vector<std::string>{"0:abc", "0:<end>", R"(4:{"Width":80,"Height":24})",
                                                "4:\n{\"Width\":1,\"Height\":2}"}));
  transport->send(Channel::Stdout, "hello");
  transport->send(Channel::Error, "status");
  transport->close();
  EXPECT_EQ(out->text, "hello");
  EXPECT_EQ(error->text, "status");
  EXPECT_TRUE(out->ended && connection->was_closed);
}

TEST(SpdyCommand, IsGivenUpWhenTheStreamsDoNotCome) {
  ServerBench bench;
  const auto connection = std::make_shared<FakeSpdy>();
  collect_command_streams(connection, "v4.channel.k8s.io", {.in = false, .out = true, .err = true}, false, *bench.tasks,
                          [](std::unique_ptr<CommandTransport>) { FAIL(); });
  connection->open({{"streamtype", "error"}});
  bench.advance(31s);
  EXPECT_TRUE(connection->was_closed);
}

TEST(SpdyCommand, TheBestProtocolBothKnowIsTaken) {
  net::Request request;
  const std::vector<std::string> ours{"v4", "v3"};
  EXPECT_EQ(negotiate(request, ours, "old"), "old");
  request.headers.add("x-stream-protocol-version", "v3, v4");
  EXPECT_EQ(negotiate(request, ours, "old"), "v4");
  request.headers.set("x-stream-protocol-version", "v9");
  EXPECT_EQ(negotiate(request, ours, "old"), std::nullopt);
}

// A TCP port on the loopback where somebody listens.
struct Listener {
  Listener() : fd(::socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0)) {
    sockaddr_in address{};
    address.sin_family = AF_INET;
    address.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
    socklen_t size = sizeof address;
    if (::bind(fd, reinterpret_cast<sockaddr*>(&address), size) != 0 || ::listen(fd, 4) != 0) std::abort();
    ::getsockname(fd, reinterpret_cast<sockaddr*>(&address), &size);
    port = ntohs(address.sin_port);
  }
  ~Listener() { ::close(fd); }
  const int fd;
  int port = 0;
};

struct ForwardBench : ServerBench {
  ForwardBench() {
    if (::socketpair(AF_UNIX, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0, pair) != 0) std::abort();
    const auto dial = [this](int port) -> Result<int> {
      dialed = port;
      if (refuse) return Error(Reason::ServiceUnavailable, "connect: Connection refused");
      return pair[0];
    };
    std::make_shared<PortForward>(connection, dial, poller, *tasks, log)->start();
    error = connection->open({{"streamtype", "error"}, {"port", "8080"}, {"requestid", "0"}});
    data = connection->open({{"streamtype", "data"}, {"port", "8080"}, {"requestid", "0"}});
  }
  ~ForwardBench() {
    if (connection->closed) connection->closed();
    turn();
    ::close(pair[1]);
  }
  int pair[2] = {-1, -1}, dialed = 0;
  bool refuse = false;
  std::shared_ptr<FakeSpdy> connection = std::make_shared<FakeSpdy>();
  std::shared_ptr<FakeSpdyStream> error, data;
};

TEST(PortForward, CarriesBytesBothWaysAndTheEndOfEach) {
  ForwardBench bench;
  bench.turn();
  EXPECT_EQ(bench.dialed, 8080);
  bench.data->data("request");
  bench.turn();
  char buffer[64];
  EXPECT_EQ(::recv(bench.pair[1], buffer, sizeof buffer, 0), 7);
  EXPECT_EQ(::send(bench.pair[1], "answer", 6, 0), 6);
  bench.turn();
  EXPECT_EQ(bench.data->text, "answer");
  bench.data->data("");
  bench.turn();
  EXPECT_EQ(::recv(bench.pair[1], buffer, sizeof buffer, 0), 0);
  EXPECT_FALSE(bench.data->ended);
  ::shutdown(bench.pair[1], SHUT_WR);
  bench.turn();
  EXPECT_TRUE(bench.data->ended);
  EXPECT_TRUE(bench.error->ended);
  EXPECT_EQ(bench.error->text, "");
}

TEST(PortForward, AFailedDialIsToldOnTheErrorStream) {
  ForwardBench bench;
  bench.refuse = true;
  bench.turn();
  EXPECT_EQ(bench.error->text, "error forwarding port 8080 to pod: connect: Connection refused");
  EXPECT_TRUE(bench.data->ended);
  ::close(bench.pair[0]);
}

TEST(PortForward, DialsTheLoopbackOfANamespace) {
  const Listener listener;
  const auto fd = dial_in_namespace({}, listener.port, testing::FakeClock(), 5s);
  ASSERT_TRUE(fd) << fd.error().message();
  ::close(*fd);
}

TEST(KubeletServer, TheFirstProtocolHasNoStatusChannel) {
  ExecBench bench;
  auto exchange = bench.exec({{"command", "true"}, {"output", "1"}}, "channel.k8s.io");
  bench.process->exit(0);
  bench.turn();
  EXPECT_EQ(exchange.socket->on(3), "");
  EXPECT_EQ(exchange.socket->close_code, 1000);
}

TEST(KubeletServer, ExecInAContainerThatIsNotThereIsRefused) {
  ExecBench bench;
  FakeExchange exchange("POST", "/exec/default/web/nope", {{"command", "x"}, {"output", "1"}});
  exchange.request_.headers.set("upgrade", "websocket");
  bench.serve(exchange);
  EXPECT_EQ(exchange.response.status, 404);
  EXPECT_EQ(exchange.response.body, "container not found (\"nope\")");
  FakeExchange nothing("POST", "/exec/default/web/app", {{"command", "x"}});
  bench.serve(nothing);
  EXPECT_EQ(nothing.response.body, "you must specify at least 1 of stdin, stdout, stderr");
}

TEST(KubeletServer, WithoutAnIdentityNothingIsServed) {
  ServerBench bench;
  FakeExchange exchange("GET", "/pods");
  exchange.request_.peer_certificate.reset();
  bench.serve(exchange);
  EXPECT_EQ(exchange.response.status, 401);
  EXPECT_EQ(exchange.response.body, "Unauthorized");
  exchange.request_.headers.set("authorization", "Bearer bad");
  bench.serve(exchange);
  EXPECT_EQ(exchange.response.status, 401);
  exchange.request_.headers.set("authorization", "Bearer good");
  bench.serve(exchange);
  EXPECT_EQ(exchange.response.status, 200);
  EXPECT_EQ(bench.reviews.last["spec"]["user"], "alice");
}

TEST(KubeletServer, RightsAreAskedPerSubresourceAndKeptForAWhile) {
  ServerBench bench;
  bench.reviews.allow = [](const json& spec) { return spec["resourceAttributes"]["subresource"] == "metrics"; };
  FakeExchange metrics("GET", "/metrics");
  bench.serve(metrics);
  EXPECT_EQ(metrics.response.status, 200);
  EXPECT_EQ(bench.reviews.last["spec"]["resourceAttributes"]["name"], "n1");
  const int asked = bench.reviews.reviews;
  bench.serve(metrics);
  EXPECT_EQ(bench.reviews.reviews, asked);
  FakeExchange run("POST", "/run/default/web/app");
  bench.serve(run);
  EXPECT_EQ(run.response.status, 403);
  EXPECT_EQ(run.response.body,
            "Forbidden (user=kube-apiserver-kubelet-client, verb=create, resource=nodes, subresource(s)=[proxy])");
  bench.advance(31s);
  bench.reviews.allow = [](const json&) { return true; };
  bench.serve(run);
  EXPECT_EQ(run.response.status, 404);
}

TEST(KubeletServer, ListsThePodsWithTheirStatus) {
  ServerBench bench;
  bench.put_pod("web", kOne);
  bench.settle();
  FakeExchange exchange("GET", "/pods");
  bench.serve(exchange);
  const json list = json::parse(exchange.response.body);
  EXPECT_EQ(list["kind"], "PodList");
  EXPECT_EQ(list["items"][0]["status"]["phase"], "Running");
}

TEST(KubeletServer, GivesTheFiguresOfRunningContainers) {
  ServerBench bench;
  bench.put_pod("web", kOne);
  bench.settle();
  FakeExchange exchange("GET", "/metrics/resource");
  bench.serve(exchange);
  EXPECT_NE(exchange.response.body.find(
                "container_memory_working_set_bytes{container=\"app\",namespace=\"default\",pod=\"web\"} 4096\n"),
            std::string::npos);
  EXPECT_NE(exchange.response.body.find("pod_cpu_usage_seconds_total{namespace=\"default\",pod=\"web\"} 0.001\n"),
            std::string::npos);
}

TEST(KubeletImages, AreListedAndLoadingNeedsAPath) {
  ServerBench bench;
  FakeExchange list("GET", "/images");
  bench.serve(list);
  EXPECT_EQ(list.response.status, 200);
  EXPECT_TRUE(json::parse(list.response.body).is_array());
  FakeExchange load("POST", "/images");
  bench.serve(load);
  EXPECT_EQ(load.response.status, 400);
}

}  // namespace
}  // namespace kubernel::kubelet
