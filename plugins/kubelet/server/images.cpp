// SPDX-License-Identifier: Apache-2.0
//
// Images on the node, for whoever prepares it: air-gapped sites load archives instead of pulling. Allowed to those who
// may reach nodes/proxy.
#include <nlohmann/json.hpp>

#include "server/kubelet_server.h"

namespace kubernel::kubelet {

namespace {

nlohmann::json to_json(const std::vector<runtime::Image>& images) {
  auto out = nlohmann::json::array();
  for (const runtime::Image& image : images) {
    out.push_back(
        {{"id", image.id}, {"tags", image.tags}, {"digests", image.digests}, {"sizeBytes", image.size_bytes}});
  }
  return out;
}

}  // namespace

void KubeletServer::serve_images(net::Exchange& exchange) {
  const net::Request& request = exchange.request();
  const auto answer = [&]() -> Result<std::vector<runtime::Image>> {
    if (request.method == "GET") return parts_.images.list(exchange.context());
    const auto path = request.param("path");
    if (!path || path->empty()) return Error(Reason::BadRequest, "path: name the archive or directory to load");
    return parts_.images.load(exchange.context(), std::string(*path));
  }();
  net::Response response;
  response.status = answer ? 200 : answer.error().http_status();
  response.headers.set("content-type", answer ? "application/json" : "text/plain; charset=utf-8");
  response.body = answer ? to_json(*answer).dump() : answer.error().message();
  exchange.respond(std::move(response));
}

}  // namespace kubernel::kubelet
