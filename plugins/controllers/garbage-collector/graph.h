// SPDX-License-Identifier: Apache-2.0
//
// Graph: who owns whom, as the watches have shown it. It may lag behind; it says where to look, never what to do.

#pragma once

#include <map>
#include <mutex>
#include <optional>
#include <set>
#include <string>
#include <vector>

#include <kubernel/api/object.h>

namespace kubernel::plugins::garbage_collector {

inline constexpr std::string_view kForeground = "foregroundDeletion";
inline constexpr std::string_view kOrphan = "orphan";

struct Owner {
  std::string uid, api_version, kind, name;
  bool blocks = false;  // blockOwnerDeletion
};
std::vector<Owner> owners_of(const api::Object& object);
bool has_finalizer(const api::Object& object, std::string_view finalizer);

struct Node {
  std::string uid;
  api::GroupVersionKind gvk;
  api::Resource resource;  // Empty until observed.
  api::ObjectKey key;      // Until observed: the name the reference gives, in the dependent's namespace.
  bool observed = false;   // Seen by a watch; else known from a reference only.
  bool deleting = false;
  bool foreground = false;  // Being deleted, and waits for its dependents.
  bool orphan = false;      // Being deleted, and its dependents are to stay.
  std::vector<Owner> owners;
  std::set<std::string> dependents;  // uids
};

// Threads: all members may be called concurrently. Changes return the uids of the nodes to look at because of them.
class Graph {
 public:
  std::vector<std::string> put(const api::Object& object, const api::Resource& resource);
  std::vector<std::string> remove(const std::string& uid);

  std::optional<Node> find(const std::string& uid) const;
  std::vector<Node> dependents(const std::string& uid) const;

 private:
  void link(const Node& node, std::vector<std::string>& look_at);
  void unlink(const std::string& uid, const Owner& owner, std::vector<std::string>& look_at);

  mutable std::mutex mutex_;
  std::map<std::string, Node> nodes_;
};

}  // namespace kubernel::plugins::garbage_collector
