// SPDX-License-Identifier: Apache-2.0
#include <kubernel/api/view.h>

#include <kubernel/api/object.h>

namespace kubernel::api {

View::View(const Object& object) : value_(object.body()) {}

}  // namespace kubernel::api
