// SPDX-License-Identifier: Apache-2.0
//
// The API's errors in upstream's words (apimachinery pkg/api/errors, util/validation/field).

#pragma once

#include <string>
#include <string_view>
#include <vector>

#include <kubernel/base/error.h>
#include <kubernel/schema/schema.h>

namespace kubernel::apiserver {

Error not_found(const schema::ResourceInfo& info, std::string_view name);
Error already_exists(const schema::ResourceInfo& info, std::string_view name);
/// `Operation cannot be fulfilled on pods "x": why`.
Error conflict(const schema::ResourceInfo& info, std::string_view name, std::string_view why);
/// `pods "x" is forbidden: why`.
Error forbidden(const schema::ResourceInfo& info, std::string_view name, std::string_view why);
/// `Pod "x" is invalid: [spec.a: Required value, …]`. Precondition: causes is not empty.
Error invalid(const schema::ResourceInfo& info, std::string_view name, std::vector<Cause> causes);
Error bad_request(std::string message);
Error method_not_supported(const schema::ResourceInfo& info, std::string_view verb);

inline constexpr std::string_view kModified =
    "the object has been modified; please apply your changes to the latest version and try again";

using Causes = std::vector<Cause>;

/// Field errors. `value` is the offending value as Go prints it: quote("x") for a string.
Cause required(std::string field, std::string_view detail);
Cause invalid_value(std::string field, std::string_view value, std::string_view detail);
Cause not_supported(std::string field, std::string_view value, const std::vector<std::string>& supported);
Cause forbidden_field(std::string field, std::string_view detail);
Cause duplicate(std::string field, std::string_view value);
Cause field_not_found(std::string field, std::string_view value);
/// Go's %q.
std::string quote(std::string_view text);

}  // namespace kubernel::apiserver
