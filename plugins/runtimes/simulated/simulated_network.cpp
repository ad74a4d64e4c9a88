// SPDX-License-Identifier: Apache-2.0
#include "simulated_network.h"

#include <arpa/inet.h>

#include <algorithm>
#include <charconv>

#include <nlohmann/json.hpp>

namespace kubernel::runtime::simulated {
namespace {

constexpr const char* kFile = "addresses";
constexpr std::uint64_t kMostAddresses = 1U << 20;

}  // namespace

Result<std::unique_ptr<SimulatedNetwork>> SimulatedNetwork::open(StateFiles files) {
  KUBERNEL_TRY(const auto saved, files.read_all());
  auto out = std::unique_ptr<SimulatedNetwork>(new SimulatedNetwork(std::move(files)));
  for (const auto& file : saved) {
    if (file.name != kFile) continue;
    auto read = catch_as_error("simulated addresses", [&]() -> Result<void> {
      out->attached_ = nlohmann::json::parse(file.content).get<decltype(out->attached_)>();
      return {};
    });
    if (!read) return Error(Reason::Invalid, "the list of simulated addresses is damaged: remove addresses.json");
  }
  for (const auto& [sandbox, ips] : out->attached_) out->used_.insert(ips.begin(), ips.end());
  return out;
}

Result<SimulatedNetwork::Range> SimulatedNetwork::parse_range(const std::string& text) {
  const Error wrong(Reason::Invalid, "\"" + text + "\" is no range of addresses");
  const std::size_t slash = text.find('/');
  if (slash == std::string::npos) return wrong;
  Range out;
  out.text = text;
  out.family = text.find(':') == std::string::npos ? AF_INET : AF_INET6;
  const int bits = out.family == AF_INET ? 32 : 128;
  int prefix = -1;
  const auto [end, error] = std::from_chars(text.data() + slash + 1, text.data() + text.size(), prefix);
  if (error != std::errc() || end != text.data() + text.size() || prefix < 0 || prefix > bits) return wrong;
  if (inet_pton(out.family, text.substr(0, slash).c_str(), out.first.data()) != 1) return wrong;
  for (int bit = prefix; bit < bits; ++bit) {
    out.first[static_cast<std::size_t>(bit / 8)] &= static_cast<std::uint8_t>(~(0x80U >> (bit % 8)));
  }
  out.size = bits - prefix >= 20 ? kMostAddresses : std::uint64_t{1} << (bits - prefix);
  return out;
}

std::string SimulatedNetwork::address(const Range& range, std::uint64_t offset) {
  auto bytes = range.first;
  for (std::size_t at = range.family == AF_INET ? 4 : 16; at-- > 0 && offset > 0; offset >>= 8) {
    offset += bytes[at];
    bytes[at] = static_cast<std::uint8_t>(offset & 0xff);
  }
  char text[INET6_ADDRSTRLEN] = {};
  inet_ntop(range.family, bytes.data(), text, sizeof text);
  return text;
}

Result<void> SimulatedNetwork::configure(const CallContext&, const network::NodeNetwork& node) {
  std::vector<Range> ranges;
  for (const auto& text : node.pod_cidrs) {
    KUBERNEL_TRY(Range range, parse_range(text));
    ranges.push_back(std::move(range));
  }
  const std::lock_guard lock(mutex_);
  ranges_ = std::move(ranges);
  return {};
}

Result<network::PodAddresses> SimulatedNetwork::attach(const CallContext&, const network::PodAttachment& pod) {
  const std::lock_guard lock(mutex_);
  if (const auto at = attached_.find(pod.sandbox_id); at != attached_.end())
    return network::PodAddresses{{}, at->second};
  std::vector<std::string> ips;
  for (const Range& range : ranges_) {
    // The first is the network's own, the second its gateway's, the last everybody's.
    std::string free;
    for (std::uint64_t offset = 2; offset + 1 < range.size && free.empty(); ++offset) {
      std::string ip = address(range, offset);
      if (!used_.contains(ip)) free = std::move(ip);
    }
    if (free.empty()) return Error(Reason::ServiceUnavailable, "no address is free in " + range.text);
    ips.push_back(std::move(free));
  }
  if (ips.empty()) return Error(Reason::ServiceUnavailable, "the node has no range of pod addresses yet");
  used_.insert(ips.begin(), ips.end());
  attached_[pod.sandbox_id] = ips;
  KUBERNEL_CHECK_OK(save());
  return network::PodAddresses{{}, std::move(ips)};
}

Result<void> SimulatedNetwork::detach(const CallContext&, const network::PodAttachment& pod) {
  const std::lock_guard lock(mutex_);
  const auto at = attached_.find(pod.sandbox_id);
  if (at == attached_.end()) return {};
  for (const auto& ip : at->second) used_.erase(ip);
  attached_.erase(at);
  return save();
}

std::string SimulatedNetwork::problem() const {
  const std::lock_guard lock(mutex_);
  return ranges_.empty() ? "the node's pod ranges are not known yet" : "";
}

Result<void> SimulatedNetwork::save() const {
  return files_.write(kFile, nlohmann::json(attached_).dump());
}

Result<std::unique_ptr<network::PodNetwork>> open_network(const network::NetworkContext& context) {
  const auto config = nlohmann::json::parse(context.config_json, nullptr, false);
  if (!config.is_object()) return Error(Reason::Invalid, "the configuration of plugin simulated is not an object");
  return catch_as_error("plugin simulated", [&]() -> Result<std::unique_ptr<network::PodNetwork>> {
    const std::string root = config.value("root", "/var/lib/kubernel/simulated");
    KUBERNEL_TRY(auto files, StateFiles::open(root.empty() ? root : root + "/network"));
    KUBERNEL_TRY(std::unique_ptr<network::PodNetwork> out, SimulatedNetwork::open(std::move(files)));
    return out;
  });
}

}  // namespace kubernel::runtime::simulated
