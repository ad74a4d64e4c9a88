// SPDX-License-Identifier: Apache-2.0
//
// Secrets and config maps: stringData is folded into data.
#include <kubernel/crypto/pki.h>

#include "strategies/strategy.h"

namespace kubernel::apiserver {

namespace {

class SecretStrategy final : public Strategy {
 public:
  using Strategy::Strategy;

  void prepare_create(json& document) const override {
    Strategy::prepare_create(document);
    fold_string_data(document);
  }
  void prepare_update(json& document, const json& old) const override {
    Strategy::prepare_update(document, old);
    fold_string_data(document);
    if (secret() && text(document, {"type"}).empty()) copy_member(document, old, "type");
  }

 private:
  bool secret() const { return info().plural == "secrets"; }

  void fold_string_data(json& document) const;
};

// stringData is a way to write data, never stored.
void SecretStrategy::fold_string_data(json& document) const {
  if (!secret()) return;
  const json plain = member(document, {"stringData"});
  document.erase("stringData");
  if (!plain.is_object() || plain.empty()) return;
  json& data = make_member(document, {"data"});
  if (!data.is_object()) data = json::object();
  for (const auto& [key, value] : plain.items())
    data[key] = crypto::base64_encode(value.is_string() ? value.get<std::string>() : "");
}

}  // namespace

std::unique_ptr<Strategy> make_secret_strategy(const schema::ResourceInfo& info, Traits traits) {
  return std::make_unique<SecretStrategy>(info, std::move(traits));
}

}  // namespace kubernel::apiserver
