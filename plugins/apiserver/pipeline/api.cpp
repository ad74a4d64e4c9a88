// SPDX-License-Identifier: Apache-2.0
#include "pipeline/api.h"

#include <algorithm>
#include <utility>

#include "pipeline/conversion.h"
#include "registry/errors.h"
#include "strategies/strategy.h"

namespace kubernel::apiserver {

namespace {

bool contains(std::span<const std::string_view> list, std::string_view what) {
  return std::find(list.begin(), list.end(), what) != list.end();
}

const schema::Subresource* find_subresource(const Target& target) {
  for (const schema::Subresource& sub : target.info->subresources) {
    if (sub.name == target.subresource) return &sub;
  }
  return nullptr;
}

std::string resource_text(const auth::Attributes& a) {
  return a.subresource.empty() ? a.resource : a.resource + "/" + a.subresource;
}

}  // namespace

WireType wire_type(const Target& target) {
  const schema::ResourceInfo& info = *target.info;
  const api::GroupVersionKind own{std::string(info.group), std::string(info.version), std::string(info.kind)};
  const schema::Subresource* sub = target.subresource.empty() ? nullptr : find_subresource(target);
  if (sub == nullptr || sub->kind == info.kind) return {info.type, own};
  api::GroupVersionKind gvk;
  if (const std::size_t space = sub->kind.find(' '); space != std::string_view::npos) {
    gvk = api::make_gvk(sub->kind.substr(0, space), sub->kind.substr(space + 1));
  } else {
    gvk = {own.group, own.version, std::string(sub->kind)};
  }
  return {schema::find_kind(gvk.group, gvk.version, gvk.kind), gvk};
}

Api::Api(const ApiContext& context)
    : context_(context),
      caches_(context.backend, context.clock, context.blocking, context.log),
      expiry_(context.backend, context.clock, context.event_ttl) {
  const StrategyContext strategies{context.backend, context.clock, context.random, context.service_cidr};
  const StoreContext stores{context.backend, caches_, context.clock, context.random, context.log, expiry_};
  for (const schema::ResourceInfo& info : schema::resources()) {
    if (!info.ga) continue;
    served_.push_back(&info);
    if (info.etcd_prefix.empty() || find_conversion(info) != nullptr) continue;
    auto strategy = make_strategy(info, strategies);
    const Traits& traits = strategy->traits();
    ResourceCache& cache =
        caches_.add(std::string(info.etcd_prefix),
                    CacheOptions{{std::string(info.group), std::string(info.version), std::string(info.kind)},
                                 info.namespaced,
                                 traits.read_fields,
                                 traits.indexed_field});
    stores_.emplace(&info, std::make_unique<Store>(stores, info, std::move(strategy), cache));
  }
}

Api::~Api() {
  stop();
}

Result<void> Api::start(const CallContext& ctx) {
  return caches_.start(ctx);
}
void Api::stop() {
  caches_.stop();
}

void Api::serve_virtual(std::string group, std::string plural, std::string subresource,
                        std::shared_ptr<VirtualResource> resource) {
  virtual_[{std::move(group), std::move(plural), std::move(subresource)}] = std::move(resource);
}

const schema::ResourceInfo* Api::find(std::string_view group, std::string_view version, std::string_view plural) const {
  const schema::ResourceInfo* info = schema::find_resource(group, version, plural);
  return std::find(served_.begin(), served_.end(), info) == served_.end() ? nullptr : info;
}

bool Api::offers(const schema::ResourceInfo& info, std::string_view subresource) const {
  const Target target{&info, std::string(subresource), {}};
  if (find_virtual(target) != nullptr) return true;
  if (subresource.empty()) return store(info) != nullptr || (info.group.empty() && info.plural == "bindings");
  constexpr std::string_view kOwn[] = {
      "status", "scale", "binding", "eviction", "finalize", "approval", "ephemeralcontainers", "resize"};
  return std::find(std::begin(kOwn), std::end(kOwn), subresource) != std::end(kOwn) ||
         (info.group.empty() && connects_.contains({std::string(info.plural), std::string(subresource)}));
}

const Store* Api::store(const schema::ResourceInfo& info) const {
  const Conversion* conversion = find_conversion(info);
  const auto place = stores_.find(conversion != nullptr ? conversion->stored : &info);
  return place == stores_.end() ? nullptr : place->second.get();
}

VirtualResource* Api::find_virtual(const Target& target) const {
  const auto place =
      virtual_.find({std::string(target.info->group), std::string(target.info->plural), target.subresource});
  return place == virtual_.end() ? nullptr : place->second.get();
}

Result<json> VirtualResource::create(const Caller&, const Target& target, json) {
  return method_not_supported(*target.info, "create");
}
Result<std::vector<api::Object>> VirtualResource::list(const Caller&, const Target& target) {
  return method_not_supported(*target.info, "list");
}

Result<const Store*> Api::store_for(const Target& target, std::string_view verb) const {
  const schema::Subresource* sub = target.subresource.empty() ? nullptr : find_subresource(target);
  if (!target.subresource.empty() && sub == nullptr) {
    return Error(Reason::NotFound, "the server could not find the requested resource");
  }
  const Store* found = store(*target.info);
  if (found == nullptr || !contains(sub != nullptr ? sub->verbs : target.info->verbs, verb)) {
    return method_not_supported(*target.info, verb);
  }
  return found;
}

Result<void> Api::ask(const Caller& caller, const auth::Attributes& attributes,
                      const std::function<Error(std::string)>& refuse) const {
  if (authorizer_ == nullptr) return refuse("no authorizer is configured");
  KUBERNEL_TRY(const auth::Decision decision, authorizer_->authorize(caller.ctx, attributes));
  if (decision.allowed) return {};
  return refuse(decision.reason);
}

Result<void> Api::authorize(const Caller& caller, std::string_view verb, const Target& target,
                            const Selectors& selectors) const {
  auth::Attributes a;
  a.user = caller.user;
  a.verb = verb;
  a.group = target.info->group;
  a.version = target.info->version;
  a.resource = target.info->plural;
  a.subresource = target.subresource;
  a.ns = target.key.ns;
  a.name = target.key.name;
  // A namespace's own requests count as made in it, so that a role there can speak of it.
  if (a.group.empty() && a.resource == "namespaces") a.ns = a.name;
  // A selector that does not parse is refused later, with its own message.
  if (auto labels = api::LabelSelector::parse(selectors.labels)) a.label_selector = *std::move(labels);
  if (auto fields = api::FieldSelector::parse(selectors.fields)) a.field_selector = *std::move(fields);
  return ask(caller, a, [&](const std::string& reason) {
    std::string why = "User " + quote(a.user.name) + " cannot " + a.verb + " resource " + quote(resource_text(a)) +
                      " in API group " + quote(a.group) +
                      (a.ns.empty() ? " at the cluster scope" : " in the namespace " + quote(a.ns));
    if (!reason.empty()) why += ": " + reason;
    return forbidden(*target.info, a.name, why);
  });
}

Result<void> Api::authorize_path(const Caller& caller, std::string_view verb, std::string_view path) const {
  auth::Attributes a;
  a.user = caller.user;
  a.verb = verb;
  a.is_resource_request = false;
  a.path = path;
  return ask(caller, a, [&](const std::string& reason) {
    std::string why = "forbidden: User " + quote(a.user.name) + " cannot " + a.verb + " path " + quote(a.path);
    if (!reason.empty()) why += ": " + reason;
    return Error(Reason::Forbidden, std::move(why));
  });
}

Result<Filter> Api::make_filter(const Target& target, const std::vector<std::string>& fields,
                                const Selectors& selectors) const {
  Filter out;
  out.ns = target.key.ns;
  KUBERNEL_TRY(out.labels, api::LabelSelector::parse(selectors.labels));
  KUBERNEL_TRY(out.fields, api::FieldSelector::parse(selectors.fields));
  for (const api::FieldSelector::Term& term : out.fields.terms()) {
    if (term.field == "metadata.name" || (term.field == "metadata.namespace" && target.info->namespaced) ||
        std::find(fields.begin(), fields.end(), term.field) != fields.end()) {
      continue;
    }
    const std::string gv = target.info->group.empty()
                               ? "/" + std::string(target.info->version)
                               : std::string(target.info->group) + "/" + std::string(target.info->version);
    return bad_request("Unable to find " + quote(gv + ", Resource=" + std::string(target.info->plural)) +
                       " that match label selector " + quote(selectors.labels) + ", field selector " +
                       quote(selectors.fields) + ": field label not supported: " + term.field);
  }
  return out;
}

namespace {

// What could not be decoded was meant to be a `gvk`; of text that is no JSON nobody knows.
Error undecodable(const api::GroupVersionKind& gvk, const Body& body, const Error& error) {
  if (error.reason() != Reason::BadRequest) return error;
  if (body.form == Body::Form::Json && !json::accept(body.bytes)) {
    return bad_request("the object provided is unrecognized (must be of type " + gvk.kind +
                       "): couldn't get version/kind; json parse error: " + error.message());
  }
  return bad_request(gvk.kind + " in version " + quote(gvk.version) + " cannot be handled as a " + gvk.kind + ": " +
                     error.message());
}

}  // namespace

Result<json> Api::decode(const Caller& caller, const schema::Type& type, const api::GroupVersionKind& gvk,
                         const Body& body) const {
  schema::Decoded decoded;
  if (body.form == Body::Form::Protobuf) {
    KUBERNEL_TRY(decoded, schema::decode_protobuf(body.bytes));
  } else {
    const std::string own_text = body.document != nullptr ? body.document->dump() : std::string();
    const std::string_view bytes = body.document != nullptr ? std::string_view(own_text) : body.bytes;
    auto read = schema::decode_json(type, bytes, caller.strictness);
    if (!read) return body.patched ? std::move(read).error() : undecodable(gvk, body, read.error());
    decoded = *std::move(read);
  }
  if (caller.warnings != nullptr && caller.strictness == schema::Strictness::Warn) {
    caller.warnings->insert(caller.warnings->end(), decoded.warnings.begin(), decoded.warnings.end());
  }
  json& document = decoded.document;
  if (!document.is_object()) return bad_request("the body of the request is no object");
  const std::string kind = text(document, {"kind"});
  const std::string api_version = text(document, {"apiVersion"});
  if (!api_version.empty() && api_version != gvk.api_version()) {
    return bad_request("the API version in the data (" + api_version + ") does not match the expected API version (" +
                       gvk.api_version() + ")");
  }
  if (!kind.empty() && kind != gvk.kind) {
    return bad_request(kind + " in version " + quote(gvk.version) + " cannot be handled as a " + gvk.kind);
  }
  document["kind"] = gvk.kind;
  document["apiVersion"] = gvk.api_version();
  schema::apply_defaults(type, document);
  return std::move(document);
}

// The name and namespace in the object and in the request must agree; either may leave the namespace out.
Result<void> Api::check_names(const Target& target, json& document) const {
  json& meta = make_member(document, {"metadata"});
  if (!meta.is_object()) meta = json::object();
  const std::string ns = text(meta, {"namespace"});
  if (!ns.empty() && ns != target.key.ns) {
    return bad_request("the namespace of the provided object does not match the namespace sent on the request");
  }
  if (target.info->namespaced) meta["namespace"] = target.key.ns;
  const std::string name = text(meta, {"name"});
  if (target.key.name.empty()) return {};
  if (name.empty()) {
    meta["name"] = target.key.name;
  } else if (name != target.key.name) {
    return bad_request("the name of the object (" + name + ") does not match the name on the URL (" + target.key.name +
                       ")");
  }
  return {};
}

WriteHooks Api::hooks(const Caller& caller, const Target& target, admission::Operation operation, bool dry_run) const {
  const auto make = [&caller, target, operation, dry_run](json* document, const api::Object* old) {
    const WireType wire = wire_type({target.info, "", target.key});
    admission::Request request{operation,          caller.user, target.info->resource(),
                               target.subresource, wire.gvk,    target.key,
                               document,           old,         dry_run};
    if (request.key.name.empty() && document != nullptr) request.key.name = text(*document, {"metadata", "name"});
    if (operation == admission::Operation::Update && old == nullptr) request.operation = admission::Operation::Create;
    return request;
  };
  WriteHooks out;
  out.mutate = [this, make, &caller](json& document, const api::Object* old) -> Result<void> {
    admission::Request request = make(&document, old);
    for (const auto& plugin : admission_) {
      if (!plugin->handles(request.operation, request.resource, request.subresource)) continue;
      KUBERNEL_CHECK_OK(catch_as_error("admission", [&] { return plugin->mutate(caller.ctx, request); }));
    }
    return {};
  };
  out.validate = [this, make, &caller](const json& document, const api::Object* old) -> Result<void> {
    // validate() promises to leave the object alone.
    const admission::Request request = make(const_cast<json*>(&document), old);
    for (const auto& plugin : admission_) {
      if (!plugin->handles(request.operation, request.resource, request.subresource)) continue;
      KUBERNEL_CHECK_OK(catch_as_error("admission", [&] { return plugin->validate(caller.ctx, request); }));
    }
    return {};
  };
  return out;
}

std::function<Result<void>(const api::Object&)> Api::deletion_hook(const Caller& caller, const Target& target,
                                                                   bool dry_run) const {
  return [this, &caller, target, dry_run](const api::Object& current) -> Result<void> {
    const WireType wire = wire_type(target);
    const admission::Request request{admission::Operation::Delete,
                                     caller.user,
                                     target.info->resource(),
                                     target.subresource,
                                     wire.gvk,
                                     current.key(),
                                     nullptr,
                                     &current,
                                     dry_run};
    for (const auto& plugin : admission_) {
      if (!plugin->handles(request.operation, request.resource, request.subresource)) continue;
      KUBERNEL_CHECK_OK(catch_as_error("admission", [&] { return plugin->validate(caller.ctx, request); }));
    }
    return {};
  };
}

}  // namespace kubernel::apiserver
