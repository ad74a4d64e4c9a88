// SPDX-License-Identifier: Apache-2.0
//
// Capacity: what a request takes of a device's capacity (KEP-5075): as much as it asks for, in the steps the device
// gives it out in.
#pragma once

#include <optional>
#include <string>
#include <string_view>

#include "inventory.h"

namespace kubernel::plugins {

// The member "domain/name" of a device's attributes or capacity; the driver's own may be written without domain.
api::Value qualified_member(api::Value members, const Device& device, std::string_view name);

// What a request with these capacity.requests takes of each of the device's capacities: what it asks for, rounded up as
// the requestPolicy says; the policy's default, or else everything, of what it does not ask for. Absent when the device
// does not have what is asked for, or does not give it out in that amount.
std::optional<Amounts> consumption(const Device& device, api::Value requests);

// Whether `more` is left of each of the device's capacities beside what is taken.
bool has_room(const Device& device, const Amounts* taken, const Amounts* also_taken, const Amounts& more);

}  // namespace kubernel::plugins
