// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <string>

#include <kubernel/base/result.h>

#include "api_access.h"

namespace kubernel::cluster {

// What the cluster's scheduler says of a pending pod, node by node: each filter's verdict and each score with its
// weight. JSON when asked for. Errors: NotFound; BadRequest for a pod that is bound already.
Result<std::string> explain_pod(ApiAccess& api, const std::string& ns, const std::string& pod, bool as_json);

// The text for people, from the scheduler's answer. Errors: Internal when it is none.
Result<std::string> explanation_text(const std::string& answer);

}  // namespace kubernel::cluster
