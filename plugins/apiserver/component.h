// SPDX-License-Identifier: Apache-2.0
//
// The API server as a component: opens the loaded store, starts the pipeline, serves it.

#pragma once

#include <memory>

#include <kubernel/base/result.h>
#include <kubernel/plugin/component.h>

namespace kubernel::apiserver {

Result<std::unique_ptr<plugin::Component>> make_component(const plugin::ComponentContext& context);

}  // namespace kubernel::apiserver
