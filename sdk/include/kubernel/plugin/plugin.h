// SPDX-License-Identifier: Apache-2.0
//
// How a shared object becomes a plugin.
//
// A plugin exports one function, kubernel_plugin_register, and carries one block of
// text in the ELF section ".kubernel.plugin" (NUL-separated key=value lines). The
// loader reads the text from the file before it calls dlopen, so a plugin built
// against another SDK is refused with the fields that differ instead of an
// undefined symbol, and no code of it has run. `readelf -p .kubernel.plugin x.so`
// shows the same text to a person.

#pragma once

#include <memory>
#include <string>
#include <string_view>
#include <typeinfo>
#include <utility>

#include <kubernel/base/export.h>
#include <kubernel/base/result.h>
#include <kubernel/plugin/abi.h>

namespace kubernel::plugin {

/// Collects what a plugin provides. Valid only during kubernel_plugin_register().
///
/// The core knows no extension point by name: it stores what is provided under "point/name" and
/// hands it to whoever asks for that point. Use provide() below, not this class.
///
/// Each "point/name" must appear in the plugin's `provides` line and nowhere else; the loader
/// rejects a plugin that adds more, or less, than it declared.
class Registrar {
 public:
  virtual void store(std::string_view point, std::string_view name, const std::type_info& type,
                     std::shared_ptr<const void> spec) = 0;

 protected:
  ~Registrar() = default;  // Owned by the loader, never deleted through this type.
};

/// Provides `spec` under `name` at the extension point Spec::kPoint ("controller", "filter",
/// "storage", "component", …). A Spec is plain data with a `make` function.
template <class Spec>
void provide(Registrar& registrar, std::string_view name, Spec spec) {
  registrar.store(Spec::kPoint, name, typeid(Spec), std::make_shared<const Spec>(std::move(spec)));
}

}  // namespace kubernel::plugin

/// Declares this shared object a plugin and opens the body of its registration
/// function, which may use `registrar` and must `return {};` or an Error. The four
/// arguments are string literals; `provides` lists extension points by
/// "point/name", separated by spaces. A plugin that takes configuration has a
/// config.schema.json, which the build makes into KUBERNEL_PLUGIN_SCHEMA; without
/// one, any `config:` in the manifest is refused.
///
///   KUBERNEL_PLUGIN("replicaset", "1.2.0", "Keeps the asked-for number of pods alive.",
///               "controller/replicaset") {
///     kubernel::plugin::provide(registrar, "replicaset", controller::Spec{...});
///     return {};
///   }
///
/// Registration only stores function pointers: it opens nothing, starts nothing
/// and reads no configuration. The instance factories do, later.
#ifdef KUBERNEL_PLUGIN_SCHEMA
#define KUBERNEL_PLUGIN_SCHEMA_TEXT "\0schema=" KUBERNEL_PLUGIN_SCHEMA
#else
#define KUBERNEL_PLUGIN_SCHEMA_TEXT ""
#endif

#define KUBERNEL_PLUGIN(name, version, summary, provides)                                                \
  static kubernel::Result<void> kubernel_plugin_body_(kubernel::plugin::Registrar& registrar);           \
  [[gnu::section(".kubernel.plugin"), gnu::used]] static const char kubernel_plugin_text_[] =            \
      "magic=kubernel-plugin\0" KUBERNEL_ABI_TEXT "name=" name "\0version=" version "\0summary=" summary \
      "\0provides=" provides KUBERNEL_PLUGIN_SCHEMA_TEXT;                                                \
  extern "C" KUBERNEL_EXPORT void kubernel_plugin_register(kubernel::plugin::Registrar& registrar,       \
                                                           kubernel::Result<void>& result) {             \
    result = kubernel::catch_as_error("register", [&] { return kubernel_plugin_body_(registrar); });     \
  }                                                                                                      \
  static kubernel::Result<void> kubernel_plugin_body_([[maybe_unused]] kubernel::plugin::Registrar& registrar)
