// SPDX-License-Identifier: Apache-2.0
#include "discovery/openapi_v2.h"

#include <malloc.h>

#include <kubernel/crypto/pki.h>

#include "http/encoder.h"
#include "http/gzip.h"
#include "http/negotiation.h"

namespace kubernel::apiserver {

namespace {

// With '@' is the older spelling, which kubectl still uses.
constexpr std::string_view kOffered[] = {"application/json",
                                         "application/com.github.proto-openapi.spec.v2.v1.0+protobuf",
                                         "application/com.github.proto-openapi.spec.v2@v1.0+protobuf"};

}  // namespace

const OpenApiV2::Kept& OpenApiV2::kept(schema::OpenApiForm form) {
  const std::lock_guard lock(mutex_);
  Kept& out = kept_[static_cast<std::size_t>(form)];
  if (!out.gzipped.empty()) return out;
  {
    const std::string text = schema::openapi_v2(api_.served(), form);
    out.tag = "\"" + crypto::sha256_hex(text) + "\"";
    out.gzipped = gzip(text);
  }
  malloc_trim(0);  // The megabytes it was made of are not needed again.
  return out;
}

net::Response OpenApiV2::serve(const net::Request& request) {
  auto type = choose_type(request, kOffered);
  if (!type) return status_response(type.error());
  const Kept& found = kept(*type == kOffered[0] ? schema::OpenApiForm::Json : schema::OpenApiForm::Protobuf);
  net::Response out;
  out.headers.set("content-type", *type == kOffered[0] ? kOffered[0] : kOffered[1]);
  out.headers.set("etag", found.tag);
  out.headers.add("vary", "Accept");
  out.headers.add("vary", "Accept-Encoding");
  if (request.headers.get("if-none-match") == found.tag) {
    out.status = 304;
  } else if (accepts_gzip(request)) {
    out.headers.set("content-encoding", "gzip");
    out.body = found.gzipped;
  } else {
    auto text = gunzip(found.gzipped);
    if (!text) return status_response(text.error());
    out.body = *std::move(text);
  }
  return out;
}

}  // namespace kubernel::apiserver
