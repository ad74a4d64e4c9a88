// SPDX-License-Identifier: Apache-2.0
#include "contents.h"

#include <memory>

#include <openssl/evp.h>

namespace kubernel::storage_tool {
namespace {

constexpr std::size_t kPage = 200;

class Sha256 {
 public:
  Sha256() : context_(EVP_MD_CTX_new(), EVP_MD_CTX_free) { EVP_DigestInit_ex(context_.get(), EVP_sha256(), nullptr); }

  void add(std::string_view bytes) { EVP_DigestUpdate(context_.get(), bytes.data(), bytes.size()); }
  void add(std::int64_t number) { add(std::to_string(number) + ";"); }

  std::string hex() {
    unsigned char sum[EVP_MAX_MD_SIZE];
    unsigned int size = 0;
    EVP_DigestFinal_ex(context_.get(), sum, &size);
    static constexpr char kHex[] = "0123456789abcdef";
    std::string out;
    for (unsigned int i = 0; i < size; ++i) out += {kHex[sum[i] >> 4U], kHex[sum[i] & 15U]};
    return out;
  }

 private:
  std::unique_ptr<EVP_MD_CTX, void (*)(EVP_MD_CTX*)> context_;
};

}  // namespace

bool is_ours(std::string_view key) {
  return key.starts_with(kOurKeys);
}

Result<const storage::KeyValue*> Contents::peek() {
  while (at_ == page_.items.size()) {
    if (!page_.more) return nullptr;
    storage::RangeOptions options{.limit = kPage, .at = revision_};
    if (!page_.items.empty()) options.start = page_.items.back().key + '\0';
    KUBERNEL_TRY(page_, store_.range({}, options));
    revision_ = page_.revision;
    at_ = 0;
  }
  return &page_.items[at_];
}

Result<Digest> digest(storage::Backend& store, const std::function<void(std::int64_t)>& at_key) {
  Contents contents(store);
  Sha256 sum;
  Digest out;
  for (;; contents.take()) {
    KUBERNEL_TRY(const storage::KeyValue* const kv, contents.peek());
    if (kv == nullptr) break;
    if (is_ours(kv->key)) continue;
    ++out.keys;
    out.bytes += static_cast<std::int64_t>(kv->key.size() + kv->value.size());
    sum.add(static_cast<std::int64_t>(kv->key.size()));
    sum.add(kv->key);
    sum.add(static_cast<std::int64_t>(kv->value.size()));
    sum.add(kv->value);
    sum.add(kv->lease);
    at_key(out.keys);
  }
  out.sha256 = sum.hex();
  out.revision = contents.revision();
  return out;
}

}  // namespace kubernel::storage_tool
