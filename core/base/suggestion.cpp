// SPDX-License-Identifier: Apache-2.0
#include "core/base/suggestion.h"

#include <kubernel/base/suggestion.h>

namespace kubernel::core {

std::string did_you_mean(std::string_view word, std::span<const std::string> candidates) {
  return kubernel::did_you_mean(word, candidates);
}

}  // namespace kubernel::core
