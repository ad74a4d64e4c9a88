// SPDX-License-Identifier: Apache-2.0
//
// Encoder: how one resource's objects are written for one client: JSON or protobuf; whole, as table rows, or metadata
// only.

#pragma once

#include <string>
#include <string_view>

#include <kubernel/api/object.h>
#include <kubernel/api/time.h>
#include <kubernel/base/error.h>
#include <kubernel/client/client.h>
#include <kubernel/net/http.h>
#include <kubernel/schema/schema.h>

#include "http/negotiation.h"
#include "registry/json_util.h"
#include "registry/store.h"

namespace kubernel::apiserver {

/// The metav1.Status of an error.
json make_status(const Error& error);
net::Response status_response(const Error& error);
net::Response json_response(int status, const json& document, bool pretty);
net::Response text_response(int status, std::string text);

class Encoder {
 public:
  /// `include_object`: of a table's rows: "None", "Metadata" (also ""), "Object".
  Encoder(const schema::ResourceInfo& info, Accepted accepted, std::string include_object, api::WallTime now)
      : info_(info), accepted_(std::move(accepted)), include_object_(std::move(include_object)), now_(now) {}

  std::string content_type() const;
  /// Errors: NotAcceptable when the kind has no protobuf form.
  Result<std::string> object(const api::Object& object) const;
  Result<std::string> list(const ListResult& list) const;
  /// One watch frame, with its delimiter, of an event as the cache has it. `first`: a table's columns are only in the
  /// first event.
  Result<std::string> event(const client::WatchEvent& stored, bool first) const;
  std::string error_event(const Error& error) const;
  const Accepted& accepted() const noexcept { return accepted_; }

 private:
  std::string table_head(bool columns) const;
  std::string row(const api::Object& object) const;
  std::string partial(const api::Object& object) const;
  std::string finish(std::string json_text) const;

  const schema::ResourceInfo& info_;
  Accepted accepted_;
  std::string include_object_;
  api::WallTime now_;
};

}  // namespace kubernel::apiserver
