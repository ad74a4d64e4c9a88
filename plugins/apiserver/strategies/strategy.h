// SPDX-License-Identifier: Apache-2.0
//
// Strategy: what is special about one resource. Everything else is the generic store's (registry/store.h).

#pragma once

#include <functional>
#include <memory>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include <kubernel/api/object.h>
#include <kubernel/base/clock.h>
#include <kubernel/base/context.h>
#include <kubernel/base/random.h>
#include <kubernel/base/result.h>
#include <kubernel/client/client.h>
#include <kubernel/schema/schema.h>
#include <kubernel/storage/backend.h>

#include "registry/errors.h"
#include "registry/json_util.h"
#include "registry/names.h"
#include "validation/rules.h"
#include "watch_cache/resource_cache.h"

namespace kubernel::apiserver {

struct Traits {
  NameRule name_rule = NameRule::Subdomain;
  std::vector<std::string> generation_of;  ///< Members whose change raises metadata.generation; empty: it is not kept.
  bool create_on_update = false;
  bool unconditional_update = true;  ///< An update without resourceVersion overwrites.
  bool keeps_status = false;         ///< A create or update of the object itself may write status.
  /// Members of metadata that a write of the status may change too, as upstream's status strategies do.
  std::vector<const char*> status_metadata = {"labels", "annotations", "finalizers", "ownerReferences"};
  bool returns_deleted = false;  ///< A delete answers with the object, not with a Status.
  client::Propagation default_propagation = client::Propagation::Background;
  std::vector<std::string> field_labels;  ///< Selectable beside metadata.name and metadata.namespace.
  FieldReader read_fields = nullptr;
  std::string indexed_field;
  bool expires = false;  ///< Objects go by themselves some time after their last write.
};

/// Takes back what reserve() took; empty: nothing was.
using Undo = std::function<void()>;

/// Threads: all const; may be called concurrently.
class Strategy {
 public:
  explicit Strategy(const schema::ResourceInfo& info, Traits traits)
      : info_(info), traits_(std::move(traits)), rules_(validation::find_rules(info.group, info.plural)) {}
  virtual ~Strategy() = default;

  const schema::ResourceInfo& info() const noexcept { return info_; }
  const Traits& traits() const noexcept { return traits_; }

  /// Clears and sets what clients may not (status, generation).
  virtual void prepare_create(json& document) const;
  virtual void prepare_update(json& document, const json& old) const;
  /// Keeps of `document` only what the status subresource may write.
  virtual void prepare_status(json& document, const json& old) const;

  /// The hand-written rules (validation/rules.h), unless a kind has its own way.
  virtual void validate(const json& document, Causes& causes) const;
  virtual void validate_create(const json& document, Causes& causes) const;
  virtual void validate_update(const json& document, const json& old, Causes& causes) const;
  virtual void validate_status(const json& document, const json& old, Causes& causes) const;

  /// Seconds of grace a deletion gives; 0: it takes effect at once. `asked`: what the client wants.
  virtual std::int64_t grace_seconds(const json& document, std::optional<std::int64_t> asked) const;

  /// True when something beside metadata.finalizers keeps a deleting object (a namespace's spec.finalizers).
  virtual bool held(const json& document) const;
  /// Edits the document when its deletion begins.
  virtual void mark_deleting(json& document) const;

  /// Takes what must be unique in the cluster (addresses, ports) and writes it into `document`; `old` null: a create.
  /// Runs after mutation and before validation.
  virtual Result<Undo> reserve(const CallContext& ctx, json& document, const json* old, bool dry_run) const;
  /// After the write: gives back what `old` had and `now` (null: deleted) has no more.
  virtual void release(const CallContext& ctx, const json& old, const json* now) const;

 protected:
  bool has_status() const;
  void count_generation(json& document, const json& old) const;

 private:
  const schema::ResourceInfo& info_;
  Traits traits_;
  const validation::Rules& rules_;
};

struct StrategyContext {
  storage::Backend& backend;
  Clock& clock;
  Random& random;
  std::string service_cidr;
  int node_port_first = 30'000;
  int node_port_last = 32'767;
};

std::unique_ptr<Strategy> make_strategy(const schema::ResourceInfo& info, const StrategyContext& context);

// The makers of the special ones, a file each.
std::unique_ptr<Strategy> make_pod_strategy(const schema::ResourceInfo& info);
std::unique_ptr<Strategy> make_namespace_strategy(const schema::ResourceInfo& info);
std::unique_ptr<Strategy> make_service_strategy(const schema::ResourceInfo& info, const StrategyContext& context);
std::unique_ptr<Strategy> make_workload_strategy(const schema::ResourceInfo& info, Traits traits);
std::unique_ptr<Strategy> make_secret_strategy(const schema::ResourceInfo& info, Traits traits);

/// "Guaranteed", "Burstable" or "BestEffort" (component-helpers qos).
std::string qos_class(const json& pod);

}  // namespace kubernel::apiserver
