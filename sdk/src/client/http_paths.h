// SPDX-License-Identifier: Apache-2.0
//
// How the API's calls are spelled in HTTP.

#pragma once

#include <string>
#include <string_view>
#include <vector>

#include <nlohmann/json_fwd.hpp>

#include <kubernel/client/client.h>

namespace kubernel::client::http {

/// "/apis/apps/v1/namespaces/shop/deployments/web/status"; empty parts are left out.
std::string path(const api::Resource& resource, std::string_view ns, std::string_view name,
                 std::string_view subresource);

std::string percent_encode(std::string_view text);

/// Collects "?a=b&c=d", leaving out what is empty.
class Query {
 public:
  Query& add(std::string_view name, std::string_view value);
  const std::string& text() const { return text_; }

 private:
  std::string text_;
};

nlohmann::json delete_options(const DeleteOptions& options);

/// Objects of a list, each with the apiVersion and kind that lists leave out. Errors: BadRequest when it is no list.
Result<ObjectList> read_list(std::string body);

/// One line of a watch. Errors: what an ERROR event says; BadRequest for anything else that is no event.
Result<WatchEvent> read_event(std::string_view line);

/// From the aggregated discovery documents of /api and /apis.
Result<std::vector<ApiClient::DiscoveredResource>> read_discovery(const std::vector<std::string>& documents);

}  // namespace kubernel::client::http
