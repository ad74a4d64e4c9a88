// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <memory>

#include <kubernel/scheduler/framework.h>

namespace kubernel::plugins {

// Score: bytes of the pod's images the node has, weighted by how many nodes have them.
Result<std::unique_ptr<scheduler::Plugin>> make_image_locality(const scheduler::PluginContext& context);

}  // namespace kubernel::plugins
