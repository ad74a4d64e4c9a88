// SPDX-License-Identifier: Apache-2.0
#pragma once

#include "schema/table/layout.h"

namespace kubernel::schema::table {

nlohmann::json pod_ready(const Row& row);
nlohmann::json pod_status(const Row& row);
nlohmann::json pod_restarts(const Row& row);
nlohmann::json pod_readiness_gates(const Row& row);

}  // namespace kubernel::schema::table
