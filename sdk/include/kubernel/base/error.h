// SPDX-License-Identifier: Apache-2.0
//
// Error: the one error type that crosses a module boundary.
//
// Every failure in this project ends as a metav1.Status in some HTTP response or
// as a retry decision in some work queue. `Reason` is therefore the closed set of
// reasons the Kubernetes API defines, plus `Cancelled`, which never leaves the
// process. Libraries that throw (libpqxx, MySQL Connector, nlohmann/json) are
// converted at the first function of ours that calls them; see catch_as_error().

#pragma once

#include <cstdint>
#include <memory>
#include <string>
#include <string_view>
#include <vector>

#include <kubernel/base/export.h>

namespace kubernel {

enum class Reason : std::uint8_t {
  Unauthorized,
  Forbidden,
  NotFound,
  AlreadyExists,
  Conflict,
  Gone,
  Expired,  ///< HTTP 410: the revision asked for has been compacted.
  Invalid,  ///< HTTP 422: the object breaks a rule; causes name the fields.
  BadRequest,
  MethodNotAllowed,
  NotAcceptable,
  RequestEntityTooLarge,
  UnsupportedMediaType,
  Timeout,        ///< HTTP 504: it may or may not have happened.
  ServerTimeout,  ///< HTTP 500 with a hint to retry: it did not happen.
  TooManyRequests,
  ServiceUnavailable,
  Cancelled,
  Internal,
};

/// One wrong field (metav1.StatusCause).
struct Cause {
  std::string reason;  ///< metav1.CauseType: FieldValueRequired, FieldValueInvalid, FieldValueNotSupported, …
  std::string message;
  std::string field;  ///< "spec.containers[0].name".
};

/// What a Status carries beside reason and message (metav1.StatusDetails).
struct ErrorDetails {
  std::string name;
  std::string group;
  std::string kind;  ///< Upstream puts the resource ("pods") here, the kind ("Pod") for Invalid.
  std::string uid;
  std::vector<Cause> causes;
  int retry_after_seconds = 0;
};

/// A failed operation: why (for programs) and what happened (for people).
///
/// Messages are lower case, carry no trailing period, and name the object they
/// are about: `pods "web-0" not found`. An Error is a value; copying it is cheap
/// enough for a failure path and it holds no reference to anything.
class KUBERNEL_EXPORT Error {
 public:
  Error(Reason reason, std::string message);
  Error(Reason reason, std::string message, ErrorDetails details);

  Reason reason() const noexcept { return reason_; }
  const std::string& message() const noexcept { return message_; }
  /// Null when there are none.
  const ErrorDetails* details() const noexcept { return details_.get(); }

  /// True when doing the same thing again later may succeed without anybody
  /// changing the request. Work queues retry these with back-off and park the
  /// rest until the object changes.
  bool retriable() const noexcept;

  /// The HTTP status code the API server answers with.
  int http_status() const noexcept;

  /// Returns this error with `context` put in front: "context: message".
  Error wrap(std::string_view context) &&;

 private:
  std::string message_;
  std::shared_ptr<const ErrorDetails> details_;
  Reason reason_;
};

/// The reason's wire spelling, e.g. "AlreadyExists".
KUBERNEL_EXPORT std::string_view to_string(Reason reason) noexcept;

/// The reason with that wire spelling; Internal when there is none.
KUBERNEL_EXPORT Reason parse_reason(std::string_view text) noexcept;

}  // namespace kubernel
