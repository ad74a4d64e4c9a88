// SPDX-License-Identifier: Apache-2.0
#include "records.h"

#include <nlohmann/json.hpp>

namespace kubernel::runtime::oci {
namespace {

using nlohmann::json;
using Map = std::map<std::string, std::string>;

json process_json(const ProcessId& process) {
  json out = json::object();
  out["pid"] = process.pid;
  out["startTime"] = process.start_time;
  return out;
}

ProcessId read_process(const json& value) {
  return {value.at("pid").get<pid_t>(), value.at("startTime").get<std::uint64_t>()};
}

json resources_json(const Resources& r) {
  json out = json::object();
  out["cpuShares"] = r.cpu_shares;
  out["cpuQuota"] = r.cpu_quota_us;
  out["cpuPeriod"] = r.cpu_period_us;
  out["memory"] = r.memory_limit;
  out["pids"] = r.pids_limit;
  return out;
}

Resources read_resources(const json& value) {
  Resources out;
  out.cpu_shares = value.at("cpuShares").get<std::int64_t>();
  out.cpu_quota_us = value.at("cpuQuota").get<std::int64_t>();
  out.cpu_period_us = value.at("cpuPeriod").get<std::int64_t>();
  out.memory_limit = value.at("memory").get<std::int64_t>();
  out.pids_limit = value.at("pids").get<std::int64_t>();
  return out;
}

NamespaceMode read_mode(const json& value) {
  return static_cast<NamespaceMode>(value.get<int>());
}

}  // namespace

std::string to_json(const SandboxRecord& record) {
  const SandboxConfig& c = record.config;
  json out = json::object();
  out["id"] = record.id;
  out["podName"] = c.pod_name;
  out["podNamespace"] = c.pod_namespace;
  out["podUid"] = c.pod_uid;
  out["attempt"] = c.attempt;
  out["hostname"] = c.hostname;
  out["logDirectory"] = c.log_directory;
  out["cgroupParent"] = c.cgroup_parent;
  out["networkNamespace"] = c.network_namespace_path;
  out["network"] = static_cast<int>(c.network);
  out["pid"] = static_cast<int>(c.pid);
  out["ipc"] = static_cast<int>(c.ipc);
  out["sysctls"] = c.sysctls;
  out["labels"] = c.labels;
  out["annotations"] = c.annotations;
  out["resources"] = resources_json(c.resources);
  out["created"] = record.created_ns;
  out["pause"] = process_json(record.pause);
  return out.dump();
}

Result<SandboxRecord> parse_sandbox(std::string_view text) {
  return catch_as_error("sandbox state", [&]() -> Result<SandboxRecord> {
    const json v = json::parse(text);
    SandboxRecord out;
    SandboxConfig& c = out.config;
    out.id = v.at("id").get<std::string>();
    c.pod_name = v.at("podName").get<std::string>();
    c.pod_namespace = v.at("podNamespace").get<std::string>();
    c.pod_uid = v.at("podUid").get<std::string>();
    c.attempt = v.at("attempt").get<std::uint32_t>();
    c.hostname = v.at("hostname").get<std::string>();
    c.log_directory = v.at("logDirectory").get<std::string>();
    c.cgroup_parent = v.at("cgroupParent").get<std::string>();
    c.network_namespace_path = v.at("networkNamespace").get<std::string>();
    c.network = read_mode(v.at("network"));
    c.pid = read_mode(v.at("pid"));
    c.ipc = read_mode(v.at("ipc"));
    c.sysctls = v.at("sysctls").get<Map>();
    c.labels = v.at("labels").get<Map>();
    c.annotations = v.at("annotations").get<Map>();
    c.resources = read_resources(v.at("resources"));
    out.created_ns = v.at("created").get<std::int64_t>();
    out.pause = read_process(v.at("pause"));
    return out;
  });
}

std::string to_json(const ContainerRecord& r) {
  json out = json::object();
  out["id"] = r.id;
  out["sandbox"] = r.sandbox_id;
  out["name"] = r.name;
  out["attempt"] = r.attempt;
  out["image"] = r.image_id;
  out["imageRef"] = r.image_ref;
  out["layers"] = r.chain_ids;
  out["log"] = r.log_path;
  out["cgroup"] = r.cgroup_path;
  out["labels"] = r.labels;
  out["annotations"] = r.annotations;
  out["tty"] = r.tty;
  out["stdin"] = r.stdin_open;
  out["stdinOnce"] = r.stdin_once;
  out["ownPidNamespace"] = r.own_pid_namespace;
  out["stopSignal"] = r.stop_signal;
  out["state"] = static_cast<int>(r.state);
  out["created"] = r.created_ns;
  out["started"] = r.started_ns;
  out["finished"] = r.finished_ns;
  out["monitor"] = process_json(r.monitor);
  out["process"] = process_json(r.process);
  out["exitCode"] = r.exit_code;
  out["reason"] = r.reason;
  out["message"] = r.message;
  // A message may quote what a program printed.
  return out.dump(-1, ' ', false, json::error_handler_t::replace);
}

Result<ContainerRecord> parse_container(std::string_view text) {
  return catch_as_error("container state", [&]() -> Result<ContainerRecord> {
    const json v = json::parse(text);
    ContainerRecord r;
    r.id = v.at("id").get<std::string>();
    r.sandbox_id = v.at("sandbox").get<std::string>();
    r.name = v.at("name").get<std::string>();
    r.attempt = v.at("attempt").get<std::uint32_t>();
    r.image_id = v.at("image").get<std::string>();
    r.image_ref = v.at("imageRef").get<std::string>();
    r.chain_ids = v.at("layers").get<std::vector<std::string>>();
    r.log_path = v.at("log").get<std::string>();
    r.cgroup_path = v.at("cgroup").get<std::string>();
    r.labels = v.at("labels").get<Map>();
    r.annotations = v.at("annotations").get<Map>();
    r.tty = v.at("tty").get<bool>();
    r.stdin_open = v.at("stdin").get<bool>();
    r.stdin_once = v.at("stdinOnce").get<bool>();
    r.own_pid_namespace = v.at("ownPidNamespace").get<bool>();
    r.stop_signal = v.at("stopSignal").get<int>();
    r.state = static_cast<State>(v.at("state").get<int>());
    r.created_ns = v.at("created").get<std::int64_t>();
    r.started_ns = v.at("started").get<std::int64_t>();
    r.finished_ns = v.at("finished").get<std::int64_t>();
    r.monitor = read_process(v.at("monitor"));
    r.process = read_process(v.at("process"));
    r.exit_code = v.at("exitCode").get<int>();
    r.reason = v.at("reason").get<std::string>();
    r.message = v.at("message").get<std::string>();
    return r;
  });
}

}  // namespace kubernel::runtime::oci
