// SPDX-License-Identifier: Apache-2.0
#include <kubernel/net/grpc.h>

#include <array>
#include <utility>

namespace kubernel::net {

std::string_view to_string(GrpcCode code) noexcept {
  static constexpr std::array<std::string_view, 17> kNames = {
      "OK",       "Canceled",       "Unknown",          "InvalidArgument",   "DeadlineExceeded",
      "NotFound", "AlreadyExists",  "PermissionDenied", "ResourceExhausted", "FailedPrecondition",
      "Aborted",  "OutOfRange",     "Unimplemented",    "Internal",          "Unavailable",
      "DataLoss", "Unauthenticated"};
  return kNames.at(static_cast<std::size_t>(code));
}

void GrpcMethods::add(std::string path, OneMessage method) {
  methods_.insert_or_assign(std::move(path), std::move(method));
}

void GrpcMethods::add_streaming(std::string path, Streaming method) {
  methods_.insert_or_assign(std::move(path), std::move(method));
}

const GrpcMethods::Method* GrpcMethods::find(std::string_view path) const noexcept {
  const auto found = methods_.find(path);
  return found == methods_.end() ? nullptr : &found->second;
}

GrpcStatus GrpcMethods::unknown(std::string_view path) const {
  const std::size_t slash = path.rfind('/');
  if (!path.starts_with('/') || slash == 0 || slash == std::string_view::npos) {
    return {GrpcCode::Unimplemented, "malformed method name: " + std::string(path)};
  }
  const std::string service(path.substr(1, slash - 1));
  const auto next = methods_.lower_bound("/" + service + "/");
  const bool known = next != methods_.end() && next->first.starts_with("/" + service + "/");
  if (!known) return {GrpcCode::Unimplemented, "unknown service " + service};
  return {GrpcCode::Unimplemented, "unknown method " + std::string(path.substr(slash + 1)) + " for service " + service};
}

}  // namespace kubernel::net
