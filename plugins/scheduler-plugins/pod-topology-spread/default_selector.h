// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <memory>

#include <kubernel/api/selector.h>
#include <kubernel/client/informer.h>

namespace kubernel::plugins {

// Which pods belong together with a pod that names no constraints: those its Services and its owner
// (ReplicationController, ReplicaSet, StatefulSet) select.
//
// Threads: any.
class DefaultSelector {
 public:
  explicit DefaultSelector(client::InformerFactory& informers);

  // Matches everything when nothing selects the pod.
  api::LabelSelector of(const api::Object& pod) const;

 private:
  std::shared_ptr<client::Informer> services_, replication_controllers_, replica_sets_, stateful_sets_;
};

}  // namespace kubernel::plugins
