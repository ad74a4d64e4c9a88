// SPDX-License-Identifier: Apache-2.0
//
// The formats of the declarative markers ("k8s-short-name", …).

#pragma once

#include <string>
#include <string_view>

namespace kubernel::schema {

/// "" when the text has the format, or upstream's message. A format that is not known has no rule.
std::string format_problem(std::string_view format, std::string_view text);

}  // namespace kubernel::schema
