// SPDX-License-Identifier: Apache-2.0
//
// Resources that are served in a version other than the one they are stored in.

#pragma once

#include <kubernel/api/object.h>
#include <kubernel/base/result.h>
#include <kubernel/schema/schema.h>

#include "registry/json_util.h"

namespace kubernel::apiserver {

struct Conversion {
  const schema::ResourceInfo* stored;
  void (*to_stored)(json& document);  ///< Also sets apiVersion.
  void (*from_stored)(json& document);
};

/// Null when the resource is served as it is stored.
const Conversion* find_conversion(const schema::ResourceInfo& served);

/// `object`, as stored, in the version of `served`.
Result<api::Object> convert_out(const schema::ResourceInfo& served, const api::Object& object);

}  // namespace kubernel::apiserver
