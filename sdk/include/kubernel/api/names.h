// SPDX-License-Identifier: Apache-2.0
//
// What may be a name, a label key, a label value (apimachinery util/validation; RFC 1035, RFC 1123).
//
// Each function returns "" for a legal text, or upstream's message about what is wrong with it, ready to follow
// `Invalid value: "x": `.

#pragma once

#include <string>
#include <string_view>

#include <kubernel/base/export.h>

namespace kubernel::api {

/// RFC 1123 label: at most 63 characters of [a-z0-9-], alphanumeric at both ends.
KUBERNEL_EXPORT std::string dns_label_problem(std::string_view text);
/// RFC 1123 subdomain: labels joined by dots, at most 253 characters.
KUBERNEL_EXPORT std::string dns_subdomain_problem(std::string_view text);
/// RFC 1035 label: as an RFC 1123 label, but beginning with a letter (service names).
KUBERNEL_EXPORT std::string dns_1035_label_problem(std::string_view text);
/// A name that is one path segment: not ".", "..", without "/" and "%" (RBAC objects).
KUBERNEL_EXPORT std::string path_segment_problem(std::string_view text);
/// "[prefix/]name" of label and annotation keys.
KUBERNEL_EXPORT std::string qualified_name_problem(std::string_view text);
/// At most 63 characters of [A-Za-z0-9_.-], alphanumeric at both ends, or empty.
KUBERNEL_EXPORT std::string label_value_problem(std::string_view text);

}  // namespace kubernel::api
