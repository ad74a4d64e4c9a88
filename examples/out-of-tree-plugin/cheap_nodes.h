// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <memory>

#include <kubernel/scheduler/framework.h>

// Keeps pods off nodes that cost more than a limit, and prefers those that cost less.
kubernel::Result<std::unique_ptr<kubernel::scheduler::Plugin>> make_cheap_nodes(
    const kubernel::scheduler::PluginContext& context);
