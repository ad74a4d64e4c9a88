// SPDX-License-Identifier: Apache-2.0
#include "records.h"

#include <nlohmann/json.hpp>

namespace kubernel::runtime::simulated {
namespace {

using nlohmann::json;
using Map = std::map<std::string, std::string>;

std::int64_t nanoseconds(WallTime time) {
  return std::chrono::duration_cast<std::chrono::nanoseconds>(time.time_since_epoch()).count();
}

WallTime wall_time(std::int64_t ns) {
  return WallTime(std::chrono::duration_cast<WallTime::duration>(std::chrono::nanoseconds(ns)));
}

void put_time(json& to, const char* key, const std::optional<WallTime>& time) {
  if (time) to[key] = nanoseconds(*time);
}

std::optional<WallTime> read_time(const json& from, const char* key) {
  const auto at = from.find(key);
  if (at == from.end()) return std::nullopt;
  return wall_time(at->get<std::int64_t>());
}

json container_json(const Container& c) {
  json out = json::object();
  const ContainerStatus& s = c.status;
  out["id"] = s.id;
  out["name"] = s.name;
  out["attempt"] = s.attempt;
  out["state"] = static_cast<int>(s.state);
  out["starting"] = s.starting;
  put_time(out, "created", s.created_at);
  put_time(out, "started", s.started_at);
  put_time(out, "finished", s.finished_at);
  out["exitCode"] = s.exit_code;
  out["signal"] = s.signal;
  out["reason"] = s.reason;
  out["image"] = s.image_id;
  out["imageRef"] = s.image_ref;
  out["log"] = s.log_path;
  out["labels"] = s.labels;
  out["annotations"] = s.annotations;
  out["startAfter"] = c.behaviour.start_after.count();
  if (c.behaviour.run_for) out["runFor"] = c.behaviour.run_for->count();
  out["exitCodes"] = c.behaviour.exit_codes;
  out["stopAfter"] = c.behaviour.stop_after.count();
  put_time(out, "startsAt", c.starts_at);
  put_time(out, "endsAt", c.ends_at);
  out["endCode"] = c.end_code;
  out["endSignal"] = c.end_signal;
  return out;
}

Container read_container(const json& v, const std::string& sandbox) {
  Container out;
  ContainerStatus& s = out.status;
  s.id = v.at("id").get<std::string>();
  s.sandbox_id = sandbox;
  s.name = v.at("name").get<std::string>();
  s.attempt = v.at("attempt").get<std::uint32_t>();
  s.state = static_cast<State>(v.at("state").get<int>());
  s.starting = v.at("starting").get<bool>();
  s.created_at = read_time(v, "created");
  s.started_at = read_time(v, "started");
  s.finished_at = read_time(v, "finished");
  s.exit_code = v.at("exitCode").get<int>();
  s.signal = v.at("signal").get<int>();
  s.reason = v.at("reason").get<std::string>();
  s.image_id = v.at("image").get<std::string>();
  s.image_ref = v.at("imageRef").get<std::string>();
  s.log_path = v.at("log").get<std::string>();
  s.labels = v.at("labels").get<Map>();
  s.annotations = v.at("annotations").get<Map>();
  out.behaviour.start_after = std::chrono::nanoseconds(v.at("startAfter").get<std::int64_t>());
  if (const auto at = v.find("runFor"); at != v.end()) {
    out.behaviour.run_for = std::chrono::nanoseconds(at->get<std::int64_t>());
  }
  out.behaviour.exit_codes = v.at("exitCodes").get<std::vector<int>>();
  if (out.behaviour.exit_codes.empty()) out.behaviour.exit_codes = {0};
  out.behaviour.stop_after = std::chrono::nanoseconds(v.at("stopAfter").get<std::int64_t>());
  out.starts_at = read_time(v, "startsAt");
  out.ends_at = read_time(v, "endsAt");
  out.end_code = v.at("endCode").get<int>();
  out.end_signal = v.at("endSignal").get<int>();
  return out;
}

}  // namespace

std::optional<WallTime> Container::next_step() const {
  if (status.state == State::Created && status.starting) return starts_at;
  if (status.state == State::Running) return ends_at;
  return std::nullopt;
}

bool Container::step(WallTime now) {
  const auto due = next_step();
  if (!due || *due > now) return false;
  if (status.state == State::Created) {
    status.state = State::Running;
    status.starting = false;
    status.started_at = *due;
    starts_at.reset();
    if (behaviour.run_for) ends_at = *due + std::chrono::duration_cast<WallTime::duration>(*behaviour.run_for);
    end_code = behaviour.exit_code(status.attempt);
    return true;
  }
  status.state = State::Exited;
  status.finished_at = *due;
  status.exit_code = end_code;
  status.signal = end_signal;
  status.reason = end_code == 0 ? "Completed" : "Error";
  ends_at.reset();
  return true;
}

void Container::end_by(WallTime when, int code, int signal) {
  if (ends_at && *ends_at <= when) return;
  ends_at = when;
  end_code = code;
  end_signal = signal;
}

std::string to_json(const Sandbox& sandbox) {
  json out = json::object();
  const SandboxStatus& s = sandbox.status;
  out["id"] = s.id;
  out["podName"] = s.pod_name;
  out["podNamespace"] = s.pod_namespace;
  out["podUid"] = s.pod_uid;
  out["attempt"] = s.attempt;
  out["ready"] = s.ready;
  out["created"] = nanoseconds(s.created_at);
  out["networkNamespace"] = s.network_namespace_path;
  out["labels"] = s.labels;
  out["annotations"] = s.annotations;
  out["logDirectory"] = sandbox.log_directory;
  json containers = json::array();
  for (const auto& [id, container] : sandbox.containers) containers.push_back(container_json(container));
  out["containers"] = std::move(containers);
  return out.dump(-1, ' ', false, json::error_handler_t::replace);
}

Result<std::unique_ptr<Sandbox>> parse_sandbox(std::string_view text) {
  return catch_as_error("sandbox state", [&]() -> Result<std::unique_ptr<Sandbox>> {
    const json v = json::parse(text);
    auto out = std::make_unique<Sandbox>();
    SandboxStatus& s = out->status;
    s.id = v.at("id").get<std::string>();
    s.pod_name = v.at("podName").get<std::string>();
    s.pod_namespace = v.at("podNamespace").get<std::string>();
    s.pod_uid = v.at("podUid").get<std::string>();
    s.attempt = v.at("attempt").get<std::uint32_t>();
    s.ready = v.at("ready").get<bool>();
    s.created_at = wall_time(v.at("created").get<std::int64_t>());
    s.network_namespace_path = v.at("networkNamespace").get<std::string>();
    s.labels = v.at("labels").get<Map>();
    s.annotations = v.at("annotations").get<Map>();
    out->log_directory = v.at("logDirectory").get<std::string>();
    for (const json& one : v.at("containers")) {
      Container container = read_container(one, s.id);
      std::string id = container.status.id;
      out->containers.emplace(std::move(id), std::move(container));
    }
    return out;
  });
}

}  // namespace kubernel::runtime::simulated
