// SPDX-License-Identifier: Apache-2.0
//
// Run once per plugin: the file loads as a manifest would load it, and everything it provides can be made.

#include "core/loader/plugin_loader.h"

#include <cstdlib>
#include <filesystem>

#include <gtest/gtest.h>

#include <kubernel/admission/admission.h>
#include <kubernel/controller/reconciler.h>
#include <kubernel/network/pod_network.h>
#include <kubernel/plugin/component.h>
#include <kubernel/runtime/container_runtime.h>
#include <kubernel/scheduler/framework.h>
#include <kubernel/storage/backend.h>

#include "core/config/config_schema.h"

namespace kubernel::loader {
namespace {

class PluginConformance : public ::testing::Test {
 protected:
  PluginConformance() {
    const char* const file = std::getenv("KUBERNEL_PLUGIN_FILE");
    EXPECT_NE(file, nullptr) << "KUBERNEL_PLUGIN_FILE names no plugin";
    if (file != nullptr) file_ = file;
  }
  std::filesystem::path file_;
};

template <class Spec>
bool can_be_made(const Spec& spec) {
  if constexpr (requires { spec.make; }) {
    return spec.make != nullptr;
  } else {
    return spec.open != nullptr;
  }
}

// Each point of the SDK has one Spec; a plugin that provides another type there would never be found.
template <class Spec>
void check_spec(const Provided& provided) {
  if (provided.point != Spec::kPoint) return;
  ASSERT_EQ(*provided.type, typeid(Spec)) << provided.point << "/" << provided.name;
  EXPECT_TRUE(can_be_made(*static_cast<const Spec*>(provided.spec.get()))) << provided.point << "/" << provided.name;
}

TEST_F(PluginConformance, LoadsAndProvidesWhatItDeclares) {
  const auto text = verify_plugin(file_, file_.stem().string());
  ASSERT_TRUE(text) << text.error().message();
  Taken taken;
  const auto loaded = load_plugin(file_, *text, taken);
  ASSERT_TRUE(loaded) << loaded.error().message();
  EXPECT_FALSE(loaded->empty()) << "a plugin that provides nothing";
  for (const Provided& provided : *loaded) {
    check_spec<plugin::ComponentSpec>(provided);
    check_spec<controller::Spec>(provided);
    check_spec<scheduler::PluginSpec>(provided);
    check_spec<storage::BackendSpec>(provided);
    check_spec<admission::AdmissionSpec>(provided);
    check_spec<runtime::RuntimeSpec>(provided);
    check_spec<network::NetworkSpec>(provided);
  }
}

TEST_F(PluginConformance, DescribesItself) {
  const auto text = read_plugin_text(file_);
  ASSERT_TRUE(text) << text.error().message();
  EXPECT_FALSE(text->at("summary").empty());
  EXPECT_FALSE(text->at("version").empty());
}

TEST_F(PluginConformance, ItsSchemaIsOneTheCoreEnforces) {
  const auto text = read_plugin_text(file_);
  ASSERT_TRUE(text) << text.error().message();
  const auto schema = text->find("schema");
  if (schema == text->end()) return;
  const auto parsed = config::ConfigSchema::parse(schema->second);
  EXPECT_TRUE(parsed) << parsed.error().message();
}

}  // namespace
}  // namespace kubernel::loader
