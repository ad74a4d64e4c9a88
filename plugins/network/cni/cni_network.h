// SPDX-License-Identifier: Apache-2.0
//
// CniNetwork: pods' networks by CNI plugins. It makes the network namespace, runs the plugins of one configuration list
// on it and keeps their result, which it needs to undo their work, also after a restart.
#pragma once

#include <memory>
#include <mutex>
#include <string>
#include <string_view>
#include <vector>

#include <kubernel/network/pod_network.h>

namespace kubernel::network::cni {

struct CniOptions {
  std::string bin_dir, conf_dir, data_dir, netns_dir;
  std::string bridge;
  int mtu = 0;
  bool masquerade = true;
  std::vector<std::string> cluster_cidrs;
  bool host_network_allowed = false;
};

class CniNetwork final : public PodNetwork {
 public:
  CniNetwork(CniOptions options, Logger& log) : options_(std::move(options)), log_(log) {}

  Result<void> configure(const CallContext& ctx, const NodeNetwork& node) override;
  Result<PodAddresses> attach(const CallContext& ctx, const PodAttachment& pod) override;
  Result<void> detach(const CallContext& ctx, const PodAttachment& pod) override;
  std::string problem() const override;

 private:
  struct Attached;  // What is kept about a sandbox.

  Result<void> check_allowed() const;
  Result<std::string> network_conflist() const;
  Result<void> make_namespace(const CallContext& ctx, const std::string& path) const;
  Result<void> remove_namespace(const std::string& path) const;
  Result<std::string> add(const CallContext& ctx, const PodAttachment& pod, const std::string& device,
                          const std::string& conflist) const;
  Result<void> del(const CallContext& ctx, const PodAttachment& pod, const std::string& device,
                   const Attached& attached) const;
  Result<std::string> run_plugin(const CallContext& ctx, const std::string& command, const std::string& type,
                                 const PodAttachment& pod, const std::string& device, const std::string& input) const;
  std::string namespace_path(const std::string& sandbox) const { return options_.netns_dir + "/" + sandbox; }
  std::string record_path(const std::string& sandbox) const {
    return options_.data_dir + "/results/" + sandbox + ".json";
  }
  Result<Attached> read_record(const std::string& sandbox) const;

  CniOptions options_;
  Logger& log_;
  mutable std::mutex mutex_;
  std::vector<std::string> pod_cidrs_;  // Guarded by mutex_.
};

/// NetworkSpec::open. Errors: Invalid for a configuration that cannot work.
Result<std::unique_ptr<PodNetwork>> open_network(const NetworkContext& context);

}  // namespace kubernel::network::cni
