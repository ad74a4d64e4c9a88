// SPDX-License-Identifier: Apache-2.0
#include "core/base/log_sink.h"

#include <array>
#include <functional>
#include <string>

#include <fcntl.h>
#include <unistd.h>

#include <gtest/gtest.h>
#include <nlohmann/json.hpp>

#include <kubernel/testing/fake_clock.h>

namespace kubernel::core {
namespace {

// What `use` wrote through a logger named "part".
std::string logged(LogLevel level, LogFormat format, const std::function<void(Logger&)>& use) {
  std::array<int, 2> ends{};
  EXPECT_EQ(pipe2(ends.data(), O_CLOEXEC), 0);
  const testing::FakeClock clock;
  {
    LogSink sink(ends[1], level, format, clock);
    use(*sink.logger("part"));
  }
  close(ends[1]);
  std::string text;
  std::array<char, 4096> piece{};
  for (ssize_t got = 0; (got = read(ends[0], piece.data(), piece.size())) > 0;) {
    text.append(piece.data(), static_cast<std::size_t>(got));
  }
  close(ends[0]);
  return text;
}

TEST(LogSink, WritesATextLine) {
  EXPECT_EQ(logged(LogLevel::Info, LogFormat::Text,
                   [](Logger& log) {
                     log_info(log, "started", {{"port", 6443}, {"why", "two words"}, {"none", ""}});
                   }),
            "2026-01-01T00:00:00.000000Z info part: started port=6443 why=\"two words\" none=\"\"\n");
}

TEST(LogSink, WritesAJsonLine) {
  EXPECT_EQ(logged(LogLevel::Info, LogFormat::Json,
                   [](Logger& log) {
                     log_warning(log, "slow \"disk\"", {{"ms", 12}, {"level", "x"}});
                   }),
            "{\"time\":\"2026-01-01T00:00:00.000000Z\",\"level\":\"warning\",\"logger\":\"part\","
            "\"message\":\"slow \\\"disk\\\"\",\"ms\":\"12\",\"level_\":\"x\"}\n");
}

TEST(LogSink, LeavesOutWhatIsBelowItsLevel) {
  EXPECT_EQ(logged(LogLevel::Warning, LogFormat::Text,
                   [](Logger& log) {
                     EXPECT_FALSE(log.enabled(LogLevel::Info));
                     log_debug(log, "no");
                     log_info(log, "no");
                   }),
            "");
}

TEST(LogSink, NobodyCanForgeALine) {
  const std::string text = logged(LogLevel::Info, LogFormat::Text, [](Logger& log) {
    log_info(log, "a \"q\"\nb", {{"k", "x\n2026 error forged"}});
  });
  EXPECT_EQ(std::count(text.begin(), text.end(), '\n'), 1);
  EXPECT_NE(text.find("a \"q\"\\nb k=\"x\\n2026 error forged\""), std::string::npos) << text;
}

TEST(LogSink, JsonStaysJsonWhateverBytesComeIn) {
  std::string bytes;
  for (int c = 0; c < 256; ++c) bytes += static_cast<char>(c);
  bytes += "caf\xC3\xA9 \xE2\x82\xAC \xF0\x9F\x98\x80 \xED\xA0\x80 \xC0\xAF";
  const std::string line = logged(LogLevel::Info, LogFormat::Json, [&](Logger& log) {
    log_info(log, bytes, {{"k", bytes}});
  });
  const auto parsed = nlohmann::json::parse(line);
  EXPECT_NE(parsed.at("k").get<std::string>().find("caf\xC3\xA9 \xE2\x82\xAC \xF0\x9F\x98\x80"), std::string::npos);
}

}  // namespace
}  // namespace kubernel::core
