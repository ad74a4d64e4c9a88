// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <cstdint>
#include <string_view>

#include <kubernel/storage/backend.h>

#include "database.h"

namespace kubernel::storage_common {

/// What is stored beside a row so that a flipped bit in any of its columns is found when it is read (CRC-32). The
/// numbers are hashed in a fixed byte order: a store may move between machines.
std::uint32_t row_checksum(const Row& row);

/// The error for a row whose checksum does not fit, or that is missing. Names the key (printable form) and revision.
Error damaged(std::string_view key, storage::Revision revision, std::string_view what);

}  // namespace kubernel::storage_common
