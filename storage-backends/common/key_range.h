// SPDX-License-Identifier: Apache-2.0
//
// The half-open key range all read operations use: the SDK's.

#pragma once

#include <kubernel/storage/key_range.h>

namespace kubernel::storage_common {

using storage::KeyRange;

}  // namespace kubernel::storage_common
