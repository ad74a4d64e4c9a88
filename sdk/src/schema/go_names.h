// SPDX-License-Identifier: Apache-2.0
//
// How Go spells the types of the schema; API users know these names from upstream's error messages.

#pragma once

#include <string>
#include <string_view>

#include <kubernel/schema/schema.h>

namespace kubernel::schema {

/// "k8s.io.api.core.v1.PodSpec" -> "v1.PodSpec".
std::string_view go_type_name(std::string_view id);
/// One element of the field, "int32", "v1.Protocol", "resource.Quantity".
std::string go_element_name(const Field& field);
/// The whole field, "[]v1.Container", "map[string]string".
std::string go_field_name(const Field& field);

}  // namespace kubernel::schema
