// SPDX-License-Identifier: Apache-2.0
#include "memory_backend.h"

#include <kubernel/testing/storage_conformance.h>

namespace kubernel::storage_memory {
namespace {

class MemoryInstance final : public testing::StorageInstance {
 public:
  Result<std::unique_ptr<storage::Backend>> open(storage::BackendContext context) override {
    return open_memory(context);
  }
};

}  // namespace
}  // namespace kubernel::storage_memory

KUBERNEL_STORAGE_CONFORMANCE(Memory, [] { return std::make_unique<kubernel::storage_memory::MemoryInstance>(); });
