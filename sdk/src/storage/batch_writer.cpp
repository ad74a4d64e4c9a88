// SPDX-License-Identifier: Apache-2.0
//
// The destructor anchors the interface's type information in the SDK, so that dynamic_cast agrees across plugins.
#include <kubernel/storage/batch_writer.h>

namespace kubernel::storage {

BatchWriter::~BatchWriter() = default;

}  // namespace kubernel::storage
