// SPDX-License-Identifier: Apache-2.0
//
// The hand-written rules of each kind (upstream's pkg/apis/*/validation), beside what the schema's markers say
// (schema::validate).

#pragma once

#include <string_view>

#include <kubernel/schema/schema.h>

#include "validation/field.h"

namespace kubernel::apiserver::validation {

/// Members may be null: there is nothing to check.
struct Rules {
  void (*always)(const Field& object) = nullptr;                   ///< On create and on update.
  void (*update)(const Field& object, const json& old) = nullptr;  ///< Beside `always`.
  void (*create)(const Field& object) = nullptr;                   ///< Beside `always`.
};

/// The rules of a resource; all null for one that has none. Threads: any.
const Rules& find_rules(std::string_view group, std::string_view plural);

/// Sorts the causes into the order of the type's fields and drops what is said twice: the markers and the hand-written
/// rules overlap.
void arrange(const schema::Type& type, Causes& causes);

// One function for each kind and occasion, grouped by the file they are in.
void check_pod(const Field& pod);
void check_pod_create(const Field& pod);
void check_pod_update(const Field& pod, const json& old);
void check_pod_template_object(const Field& object);

void check_service(const Field& service);
void check_service_update(const Field& service, const json& old);

void check_deployment(const Field& deployment);
void check_replica_set(const Field& set);
void check_daemon_set(const Field& set);
void check_stateful_set(const Field& set);
void check_stateful_set_update(const Field& set, const json& old);
void check_replication_controller(const Field& controller);
void check_selector_update(const Field& workload, const json& old);
void check_controller_revision_update(const Field& revision, const json& old);

void check_job(const Field& job);
void check_job_update(const Field& job, const json& old);
void check_cron_job(const Field& job);
void check_cron_job_create(const Field& job);

}  // namespace kubernel::apiserver::validation
