// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <cstddef>
#include <functional>

#include <kubernel/base/executor.h>

namespace kubernel::plugins {

// Calls `work(first, last)` for pieces of [0, count) on the caller's thread and on up to `helpers` threads of
// `compute`; returns when all pieces are done. `work` must not throw. When `stop()` turns true, pieces not yet begun
// are skipped.
void parallel_for(Executor& compute, std::size_t helpers, std::size_t count,
                  const std::function<void(std::size_t first, std::size_t last)>& work,
                  const std::function<bool()>& stop);

}  // namespace kubernel::plugins
