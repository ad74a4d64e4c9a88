// SPDX-License-Identifier: Apache-2.0
//
// did_you_mean: what a person probably meant by a word nobody knows.

#pragma once

#include <span>
#include <string>
#include <string_view>

#include <kubernel/base/export.h>

namespace kubernel {

/// `; did you mean "replicas"?` for the nearest candidate, or nothing when none is near.
KUBERNEL_EXPORT std::string did_you_mean(std::string_view word, std::span<const std::string> candidates);

}  // namespace kubernel
