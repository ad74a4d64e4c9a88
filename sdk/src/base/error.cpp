// SPDX-License-Identifier: Apache-2.0
#include <kubernel/base/error.h>

#include <array>
#include <utility>

namespace kubernel {
namespace {

struct ReasonInfo {
  std::string_view name;
  int http_status;
  bool retriable;
};

// Indexed by Reason; the static_assert below keeps the two in step.
constexpr std::array kReasons = {
    ReasonInfo{"Unauthorized", 401, false},
    ReasonInfo{"Forbidden", 403, false},
    ReasonInfo{"NotFound", 404, false},
    ReasonInfo{"AlreadyExists", 409, false},
    ReasonInfo{"Conflict", 409, true},
    ReasonInfo{"Gone", 410, false},
    ReasonInfo{"Expired", 410, true},
    ReasonInfo{"Invalid", 422, false},
    ReasonInfo{"BadRequest", 400, false},
    ReasonInfo{"MethodNotAllowed", 405, false},
    ReasonInfo{"NotAcceptable", 406, false},
    ReasonInfo{"RequestEntityTooLarge", 413, false},
    ReasonInfo{"UnsupportedMediaType", 415, false},
    ReasonInfo{"Timeout", 504, true},
    ReasonInfo{"ServerTimeout", 500, true},
    ReasonInfo{"TooManyRequests", 429, true},
    ReasonInfo{"ServiceUnavailable", 503, true},
    ReasonInfo{"Cancelled", 499, true},
    ReasonInfo{"InternalError", 500, true},
};
static_assert(kReasons.size() == static_cast<std::size_t>(Reason::Internal) + 1);

const ReasonInfo& info(Reason reason) noexcept {
  return kReasons[static_cast<std::size_t>(reason)];
}

}  // namespace

Error::Error(Reason reason, std::string message) : message_(std::move(message)), reason_(reason) {}
Error::Error(Reason reason, std::string message, ErrorDetails details)
    : message_(std::move(message)),
      details_(std::make_shared<const ErrorDetails>(std::move(details))),
      reason_(reason) {}

bool Error::retriable() const noexcept {
  return info(reason_).retriable;
}
int Error::http_status() const noexcept {
  return info(reason_).http_status;
}

Error Error::wrap(std::string_view context) && {
  message_.insert(0, std::string(context) + ": ");
  return std::move(*this);
}

std::string_view to_string(Reason reason) noexcept {
  return info(reason).name;
}

Reason parse_reason(std::string_view text) noexcept {
  for (std::size_t i = 0; i < kReasons.size(); ++i) {
    if (kReasons[i].name == text) return static_cast<Reason>(i);
  }
  return Reason::Internal;
}

}  // namespace kubernel
