// SPDX-License-Identifier: Apache-2.0
//
// One function per verb: reads the request's parameters and body, calls the pipeline, encodes the answer.
#include <chrono>
#include <utility>

#include "http/front.h"
#include "registry/errors.h"

namespace kubernel::apiserver {

namespace {

constexpr std::size_t kMaxBody = 3 * 1024 * 1024;  // Upstream's limit for a request's body.

Selectors selectors_of(const net::Request& request) {
  return {text_param(request, "labelSelector"), text_param(request, "fieldSelector")};
}

Result<bool> dry_run_of(const net::Request& request) {
  for (const std::string_view value : request.params("dryRun")) {
    if (value == "All") return true;
    if (!value.empty())
      return bad_request("Invalid value: " + quote(value) + ": dryRun: Unsupported value: supported values: \"All\"");
  }
  return false;
}

Result<schema::Strictness> strictness_of(const net::Request& request) {
  const std::string value = text_param(request, "fieldValidation");
  if (value.empty() || value == "Warn") return schema::Strictness::Warn;
  if (value == "Strict") return schema::Strictness::Strict;
  if (value == "Ignore") return schema::Strictness::Ignore;
  return bad_request("fieldValidation: Unsupported value: " + quote(value) +
                     ": supported values: \"Ignore\", \"Strict\", \"Warn\"");
}

Error unsupported_body(const std::string& type, const char* accepted) {
  return Error(Reason::UnsupportedMediaType,
               "the body of the request was in an unknown format - accepted media types include: " +
                   std::string(accepted) + (type.empty() ? "" : " (got " + quote(type) + ")"));
}

Result<std::string> read_body(net::Exchange& exchange) {
  auto body = exchange.read_body(kMaxBody);
  if (!body && body.error().reason() == Reason::RequestEntityTooLarge) {
    return Error(Reason::RequestEntityTooLarge, "Request entity too large: limit is 3145728");
  }
  return body;
}

Result<Body::Form> form_of_body(const net::Request& request) {
  const std::string type = body_type(request);
  if (type == "application/json") return Body::Form::Json;
  if (type == "application/vnd.kubernetes.protobuf") return Body::Form::Protobuf;
  return unsupported_body(type, "application/json, application/vnd.kubernetes.protobuf");
}

Result<ListQuery> list_query(const net::Request& request) {
  ListQuery query;
  KUBERNEL_TRY(query.limit, number_param(request, "limit", 0));
  query.continue_token = text_param(request, "continue");
  query.resource_version = text_param(request, "resourceVersion");
  query.resource_version_match = text_param(request, "resourceVersionMatch");
  const std::string& match = query.resource_version_match;
  if (!match.empty() && match != "Exact" && match != "NotOlderThan") {
    return bad_request("resourceVersionMatch: Unsupported value: " + quote(match) +
                       ": supported values: \"Exact\", \"NotOlderThan\"");
  }
  if (!match.empty() && query.resource_version.empty()) {
    return bad_request(
        "resourceVersionMatch: Forbidden: resourceVersionMatch is forbidden unless resourceVersion is provided");
  }
  if (match == "Exact" && query.resource_version == "0") {
    return bad_request(
        "resourceVersionMatch: Forbidden: resourceVersionMatch \"Exact\" is forbidden for resourceVersion \"0\"");
  }
  return query;
}

Result<client::Propagation> propagation_of(const std::string& text_in) {
  if (text_in.empty()) return client::Propagation::Default;
  if (text_in == "Background") return client::Propagation::Background;
  if (text_in == "Foreground") return client::Propagation::Foreground;
  if (text_in == "Orphan") return client::Propagation::Orphan;
  return bad_request("invalid DeleteOptions: propagationPolicy: Unsupported value: " + quote(text_in) +
                     ": supported values: \"Foreground\", \"Background\", \"Orphan\", \"nil\"");
}

Result<client::DeleteOptions> read_delete_options(const json& body, bool dry_run) {
  client::DeleteOptions out;
  const json& grace = member(body, {"gracePeriodSeconds"});
  if (grace.is_number_integer()) out.grace_period_seconds = grace.get<std::int64_t>();
  out.precondition_uid = text(body, {"preconditions", "uid"});
  out.precondition_resource_version = text(body, {"preconditions", "resourceVersion"});
  KUBERNEL_TRY(out.propagation, propagation_of(text(body, {"propagationPolicy"})));
  if (const json& orphan = member(body, {"orphanDependents"}); orphan.is_boolean()) {
    out.propagation = orphan.get<bool>() ? client::Propagation::Orphan : client::Propagation::Background;
  }
  out.dry_run = dry_run;
  for (const json& one : member(body, {"dryRun"})) out.dry_run = out.dry_run || one == "All";
  return out;
}

// The body's DeleteOptions, or else those in the query.
Result<client::DeleteOptions> delete_options(net::Exchange& exchange) {
  const net::Request& request = exchange.request();
  KUBERNEL_TRY(const std::string bytes, read_body(exchange));
  KUBERNEL_TRY(const bool dry_run, dry_run_of(request));
  if (!bytes.empty()) {
    KUBERNEL_TRY(const Body::Form form, form_of_body(request));
    const schema::Type* type = schema::find_type("k8s.io.apimachinery.pkg.apis.meta.v1.DeleteOptions");
    if (form == Body::Form::Protobuf) {
      // Clients name a group version of their own in the envelope; the message is always the same.
      KUBERNEL_TRY(const std::string_view message, schema::protobuf_message(bytes));
      KUBERNEL_TRY(const json options, schema::decode_message(*type, message));
      return read_delete_options(options, dry_run);
    }
    KUBERNEL_TRY(const schema::Decoded decoded, schema::decode_json(*type, bytes, schema::Strictness::Ignore));
    return read_delete_options(decoded.document, dry_run);
  }
  json query = json::object();
  if (request.param("gracePeriodSeconds")) {
    KUBERNEL_TRY(query["gracePeriodSeconds"], number_param(request, "gracePeriodSeconds", 0));
  }
  if (request.param("propagationPolicy")) query["propagationPolicy"] = text_param(request, "propagationPolicy");
  if (request.param("orphanDependents")) query["orphanDependents"] = flag_param(request, "orphanDependents");
  return read_delete_options(query, dry_run);
}

Choices choices() {
  return {};
}

// What is computed rather than stored (reviews, tokens) has no table form, as upstream.
Choices choices_for(const Api& api, const Target& target) {
  Choices out;
  out.table = api.store(*target.info) != nullptr && target.subresource != "token";
  return out;
}

}  // namespace

Result<net::Response> Front::answer(const net::Request& request, const Target& target, int status,
                                    const api::Object& object) const {
  KUBERNEL_TRY(Accepted accepted, negotiate(request, choices_for(options_.api, target)));
  const Encoder encoder(*target.info, std::move(accepted), text_param(request, "includeObject"),
                        options_.api.context().clock.wall_now());
  KUBERNEL_TRY(std::string body, encoder.object(object));
  net::Response out;
  out.status = status;
  out.headers.set("content-type", encoder.content_type());
  out.body = std::move(body);
  return out;
}

Result<net::Response> Front::get(net::Exchange& exchange, const Caller& caller, const Target& target) const {
  const net::Request& request = exchange.request();
  KUBERNEL_CHECK_OK(negotiate(request, choices()));
  KUBERNEL_TRY(const api::Object object, options_.api.get(caller, target, text_param(request, "resourceVersion")));
  return answer(request, target, 200, object);
}

Result<net::Response> Front::list(net::Exchange& exchange, const Caller& caller, const Target& target) const {
  const net::Request& request = exchange.request();
  KUBERNEL_TRY(Accepted accepted, negotiate(request, choices()));
  KUBERNEL_TRY(ListQuery query, list_query(request));
  KUBERNEL_TRY(const ListResult found, options_.api.list(caller, target, selectors_of(request), std::move(query)));
  const Encoder encoder(*target.info, std::move(accepted), text_param(request, "includeObject"),
                        options_.api.context().clock.wall_now());
  KUBERNEL_TRY(std::string body, encoder.list(found));
  net::Response out;
  out.headers.set("content-type", encoder.content_type());
  out.body = std::move(body);
  return out;
}

Result<void> Front::watch(net::Exchange& exchange, const Caller& caller, const Target& target) {
  const net::Request& request = exchange.request();
  KUBERNEL_TRY(Accepted accepted, negotiate(request, choices()));
  KUBERNEL_TRY(const std::int64_t asked, number_param(request, "timeoutSeconds", 0));
  Selectors selectors = selectors_of(request);
  Target collection = target;
  if (!target.key.name.empty()) {
    // The deprecated watch of one object is one with a selector.
    selectors.fields += (selectors.fields.empty() ? "metadata.name=" : ",metadata.name=") + target.key.name;
  }
  WatchQuery query;
  query.resource_version = text_param(request, "resourceVersion");
  query.bookmarks = flag_param(request, "allowWatchBookmarks");
  query.send_initial_events = flag_param(request, "sendInitialEvents");
  const std::string match = text_param(request, "resourceVersionMatch");
  if (query.send_initial_events && match != "NotOlderThan") {
    return invalid(*target.info, "",
                   {forbidden_field("resourceVersionMatch",
                                    "sendInitialEvents requires setting resourceVersionMatch to NotOlderThan")});
  }
  if (!query.send_initial_events && !match.empty()) {
    return bad_request(
        "resourceVersionMatch: Forbidden: resourceVersionMatch is forbidden for watch unless sendInitialEvents is "
        "provided");
  }
  KUBERNEL_TRY(auto watcher, options_.api.watch(caller, collection, selectors, std::move(query)));
  Encoder encoder(*target.info, std::move(accepted), text_param(request, "includeObject"),
                  options_.api.context().clock.wall_now());
  // Clients that name no end get one at random between half an hour and an hour, so that they do not all return at
  // once.
  const auto timeout = asked > 0 ? std::chrono::seconds(asked)
                                 : std::chrono::seconds(1800 + random_below(options_.api.context().random, 1800));
  net::Headers headers;
  headers.set("content-type",
              encoder.content_type() + (encoder.accepted().encoding == Encoding::Protobuf ? ";stream=watch" : ""));
  headers.set("cache-control", "no-cache, private");
  streams_.open(exchange.start_stream(200, std::move(headers)), std::move(watcher), std::move(encoder), timeout);
  return {};
}

Result<net::Response> Front::create(net::Exchange& exchange, const Caller& caller, const Target& target) const {
  const net::Request& request = exchange.request();
  KUBERNEL_CHECK_OK(negotiate(request, choices_for(options_.api, target)));
  KUBERNEL_TRY(const Body::Form form, form_of_body(request));
  KUBERNEL_TRY(const bool dry_run, dry_run_of(request));
  KUBERNEL_TRY(const schema::Strictness strictness, strictness_of(request));
  KUBERNEL_TRY(const std::string bytes, read_body(exchange));
  const Caller strict{caller.ctx, caller.user, strictness, caller.warnings};
  KUBERNEL_TRY(const api::Object object, options_.api.create(strict, target, Body{form, nullptr, bytes}, dry_run));
  return answer(request, target, 201, object);
}

Result<net::Response> Front::update(net::Exchange& exchange, const Caller& caller, const Target& target) const {
  const net::Request& request = exchange.request();
  KUBERNEL_CHECK_OK(negotiate(request, choices()));
  KUBERNEL_TRY(const Body::Form form, form_of_body(request));
  KUBERNEL_TRY(const bool dry_run, dry_run_of(request));
  KUBERNEL_TRY(const schema::Strictness strictness, strictness_of(request));
  KUBERNEL_TRY(const std::string bytes, read_body(exchange));
  const Caller strict{caller.ctx, caller.user, strictness, caller.warnings};
  KUBERNEL_TRY(const Updated updated, options_.api.update(strict, target, Body{form, nullptr, bytes}, dry_run));
  return answer(request, target, updated.created ? 201 : 200, updated.object);
}

Result<net::Response> Front::patch(net::Exchange& exchange, const Caller& caller, const Target& target) const {
  const net::Request& request = exchange.request();
  KUBERNEL_CHECK_OK(negotiate(request, choices()));
  const std::string type = body_type(request);
  client::PatchType patch_type = client::PatchType::Json;
  if (type == "application/merge-patch+json") {
    patch_type = client::PatchType::Merge;
  } else if (type == "application/strategic-merge-patch+json") {
    patch_type = client::PatchType::StrategicMerge;
  } else if (type == "application/apply-patch+yaml" || type == "application/apply-patch+cbor") {
    return Error(Reason::UnsupportedMediaType,
                 "server-side apply is not supported by this server; use client-side apply");
  } else if (type != "application/json-patch+json") {
    return unsupported_body(
        type, "application/json-patch+json, application/merge-patch+json, application/strategic-merge-patch+json");
  }
  KUBERNEL_TRY(const bool dry_run, dry_run_of(request));
  KUBERNEL_TRY(const schema::Strictness strictness, strictness_of(request));
  KUBERNEL_TRY(const std::string bytes, read_body(exchange));
  const json document = json::parse(bytes, nullptr, false);
  if (document.is_discarded()) return bad_request("error decoding patch: the body is no JSON");
  const Caller strict{caller.ctx, caller.user, strictness, caller.warnings};
  KUBERNEL_TRY(const Updated updated, options_.api.patch(strict, target, patch_type, document, dry_run));
  return answer(request, target, updated.created ? 201 : 200, updated.object);
}

Result<net::Response> Front::remove(net::Exchange& exchange, const Caller& caller, const Target& target) const {
  const net::Request& request = exchange.request();
  KUBERNEL_TRY(Accepted accepted, negotiate(request, choices()));
  KUBERNEL_TRY(const client::DeleteOptions options, delete_options(exchange));
  if (target.key.name.empty()) {
    KUBERNEL_TRY(ListQuery query, list_query(request));
    KUBERNEL_TRY(const ListResult removed,
                 options_.api.remove_all(caller, target, selectors_of(request), std::move(query), options));
    const Encoder encoder(*target.info, std::move(accepted), text_param(request, "includeObject"),
                          options_.api.context().clock.wall_now());
    KUBERNEL_TRY(std::string body, encoder.list(removed));
    net::Response out;
    out.headers.set("content-type", encoder.content_type());
    out.body = std::move(body);
    return out;
  }
  KUBERNEL_TRY(const Removed removed, options_.api.remove(caller, target, options));
  const Store* store = options_.api.store(*target.info);
  if (!removed.gone || store->strategy().traits().returns_deleted) {
    const bool accepted_only = !removed.gone && (options.propagation == client::Propagation::Foreground);
    return answer(request, target, accepted_only ? 202 : 200, removed.object);
  }
  json details = {{"name", target.key.name}, {"kind", target.info->plural}, {"uid", removed.object.uid()}};
  if (!target.info->group.empty()) details["group"] = target.info->group;
  const json status = {{"kind", "Status"},
                       {"apiVersion", "v1"},
                       {"metadata", json::object()},
                       {"status", "Success"},
                       {"details", details}};
  KUBERNEL_TRY(const api::Object object, api::Object::from_json(status));
  return answer(request, target, 200, object);
}

}  // namespace kubernel::apiserver
