// SPDX-License-Identifier: Apache-2.0
//
// SimulatedNetwork: addresses for pods from the node's ranges. No interface is made and no packet moves.
#pragma once

#include <array>
#include <cstdint>
#include <map>
#include <mutex>
#include <set>
#include <string>
#include <vector>

#include <kubernel/network/pod_network.h>

#include "state_file.h"

namespace kubernel::runtime::simulated {

class SimulatedNetwork final : public network::PodNetwork {
 public:
  /// Errors: Invalid, Internal: what is on disk cannot be read.
  static Result<std::unique_ptr<SimulatedNetwork>> open(StateFiles files);

  /// Errors: Invalid, naming the range.
  Result<void> configure(const CallContext& ctx, const network::NodeNetwork& node) override;
  /// Errors: ServiceUnavailable when a range is used up.
  Result<network::PodAddresses> attach(const CallContext& ctx, const network::PodAttachment& pod) override;
  Result<void> detach(const CallContext& ctx, const network::PodAttachment& pod) override;
  std::string problem() const override;

 private:
  struct Range {
    std::string text;
    int family = 0;
    std::array<std::uint8_t, 16> first{};  // IPv4 has 4 of them.
    std::uint64_t size = 0;
  };
  static Result<Range> parse_range(const std::string& text);
  static std::string address(const Range& range, std::uint64_t offset);

  explicit SimulatedNetwork(StateFiles files) : files_(std::move(files)) {}
  Result<void> save() const;  // With the mutex held.

  const StateFiles files_;
  mutable std::mutex mutex_;
  std::vector<Range> ranges_;
  std::map<std::string, std::vector<std::string>> attached_;  // Addresses by sandbox.
  std::set<std::string> used_;
};

Result<std::unique_ptr<network::PodNetwork>> open_network(const network::NetworkContext& context);

}  // namespace kubernel::runtime::simulated
