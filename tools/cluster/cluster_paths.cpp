// SPDX-License-Identifier: Apache-2.0
#include "cluster_paths.h"

#include <cstdint>
#include <filesystem>
#include <sstream>

#include <nlohmann/json.hpp>

#include <kubernel/api/names.h>
#include <kubernel/crypto/cluster_pki.h>

#include "files.h"

namespace kubernel::cluster {
namespace {

using nlohmann::json;

}  // namespace

std::string ClusterPaths::cgroup() const {
  return "kubernel-" + std::filesystem::path(directory).filename().string();
}

Result<ClusterPaths> cluster_paths(const std::string& base_directory, const std::string& name) {
  if (const std::string problem = api::dns_label_problem(name); !problem.empty()) {
    return Error(Reason::BadRequest, "cluster name \"" + name + "\": " + problem);
  }
  // The processes of a cluster do not run in the caller's working directory.
  return ClusterPaths{std::filesystem::absolute(base_directory).lexically_normal().string() + "/" + name};
}

Result<void> save_record(const ClusterPaths& paths, const ClusterRecord& record) {
  const json document = {{"name", record.name},
                         {"nodes", record.nodes},
                         {"apiPort", record.api_port},
                         {"pid", record.pid},
                         {"started", record.started}};
  return crypto::write_private_file(paths.record(), document.dump(2) + "\n");
}

Result<ClusterRecord> load_record(const ClusterPaths& paths) {
  if (!std::filesystem::exists(paths.record())) {
    return Error(Reason::NotFound, "no cluster at " + paths.directory + "; `kubernel up` makes one");
  }
  return catch_as_error(paths.record(), [&]() -> Result<ClusterRecord> {
    const json document = json::parse(read_text(paths.record()));
    return ClusterRecord{document.at("name").get<std::string>(), document.at("nodes").get<int>(),
                         document.at("apiPort").get<int>(), document.at("pid").get<int>(),
                         document.at("started").get<std::uint64_t>()};
  });
}

bool is_running(const ClusterRecord& record) {
  return record.pid > 0 && record.started != 0 && process_start_time(record.pid) == record.started;
}

std::uint64_t process_start_time(int pid) {
  const std::string stat = read_text("/proc/" + std::to_string(pid) + "/stat");
  // The command name, field 2, is in parentheses and may hold spaces; field 22 is the 20th after it.
  const auto after_name = stat.rfind(')');
  if (after_name == std::string::npos) return 0;
  std::istringstream fields(stat.substr(after_name + 1));
  std::string field;
  for (int i = 0; i < 20 && fields >> field; ++i) {
    if (i == 0 && field == "Z") return 0;  // Dead, only not collected.
  }
  return fields ? std::stoull(field) : 0;
}

int first_child(int pid) {
  const std::string id = std::to_string(pid);
  std::istringstream children(read_text("/proc/" + id + "/task/" + id + "/children"));
  int child = 0;
  return children >> child ? child : 0;
}

std::string node_name(int number) {
  return "node-" + std::to_string(number);
}
std::string node_ip(int number) {
  return "172.30.0." + std::to_string(10 + number);
}
std::string pod_cidr(int number) {
  return "10.244." + std::to_string(number) + ".0/24";
}

}  // namespace kubernel::cluster
