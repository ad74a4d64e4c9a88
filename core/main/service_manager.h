// SPDX-License-Identifier: Apache-2.0
//
// notify_service_manager: tells whoever started the process (systemd's protocol) how it is.

#pragma once

#include <string>
#include <string_view>

#include <kubernel/base/result.h>

namespace kubernel::core {

// Sends `state` ("READY=1") to the datagram socket `address` (the value of NOTIFY_SOCKET: a path, or "@name" for an
// abstract one). Does nothing when the address is empty.
//
// Errors: Internal, naming the address.
Result<void> notify_service_manager(const std::string& address, std::string_view state);

}  // namespace kubernel::core
