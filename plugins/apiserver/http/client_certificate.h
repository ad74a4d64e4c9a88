// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <memory>

#include <kubernel/auth/authenticator.h>

namespace kubernel::apiserver {

/// The user a verified client certificate names: common name is the user, organizations are the groups.
std::unique_ptr<auth::Authenticator> make_certificate_authenticator();

}  // namespace kubernel::apiserver
