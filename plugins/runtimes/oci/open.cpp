// SPDX-License-Identifier: Apache-2.0
#include "open.h"

#include <dlfcn.h>
#include <unistd.h>

#include <filesystem>
#include <sstream>

#include <nlohmann/json.hpp>

#include "oci_runtime.h"
#include "paths.h"
#include "registry.h"

namespace kubernel::runtime::oci {
namespace {

using nlohmann::json;

constexpr const char* kSystemSeccomp = "/usr/share/containers/seccomp.json";

bool runnable(const std::string& path) {
  return access(path.c_str(), X_OK) == 0 && !std::filesystem::is_directory(path);
}

// In our PATH, then where distributions put system programs.
std::string find_program(const std::string& name) {
  if (name.find('/') != std::string::npos)
    return runnable(name) ? std::filesystem::absolute(name).string() : std::string();
  const char* variable = getenv("PATH");
  std::istringstream directories(std::string(variable == nullptr ? "" : variable) +
                                 ":/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin");
  for (std::string directory; std::getline(directories, directory, ':');) {
    if (directory.starts_with('/') && runnable(directory + "/" + name)) return directory + "/" + name;
  }
  return {};
}

Result<std::string> need_program(const std::string& name, std::string_view what) {
  std::string path = find_program(name);
  if (path.empty()) return Error(Reason::NotFound, std::string(what) + " \"" + name + "\" is not installed");
  return path;
}

// crun is smaller and faster, but refuses machines whose controllers are spread over both versions of cgroups.
Result<std::string> choose_runtime(const std::string& wanted, const Cgroups& cgroups) {
  if (wanted != "auto") return need_program(wanted, "OCI runtime");
  if (!cgroups.hybrid_with_controllers()) {
    if (std::string crun = find_program("crun"); !crun.empty()) return crun;
  }
  if (std::string runc = find_program("runc"); !runc.empty()) return runc;
  if (!find_program("crun").empty()) {
    return Error(Reason::NotFound,
                 "runc is not installed, and crun cannot work here: controllers are in both versions of cgroups");
  }
  return Error(Reason::NotFound, "no OCI runtime is installed: install runc or crun");
}

Result<std::string> find_pause(const std::string& configured) {
  if (!configured.empty()) return need_program(configured, "pause program");
  if (runnable(KUBERNEL_OCI_LIBEXEC_DIR "/kubernel-pause"))
    return std::string(KUBERNEL_OCI_LIBEXEC_DIR "/kubernel-pause");
  // Beside this code: in a build tree, or installed somewhere else than configured.
  Dl_info info{};
  if (dladdr(reinterpret_cast<const void*>(&open_runtime), &info) != 0 && info.dli_fname != nullptr) {
    const std::filesystem::path here = std::filesystem::absolute(info.dli_fname).parent_path();
    for (const std::filesystem::path& candidate : {here / KUBERNEL_OCI_BUILD_PAUSE, here / "kubernel-pause"}) {
      if (runnable(candidate.string())) return candidate.string();
    }
  }
  return Error(Reason::NotFound, "the pause program " KUBERNEL_OCI_LIBEXEC_DIR "/kubernel-pause is not installed");
}

std::map<std::string, RegistrySettings> read_registries(const json& config) {
  std::map<std::string, RegistrySettings> out;
  const auto registries = config.find("registries");
  if (registries == config.end()) return out;
  for (const auto& [host, settings] : registries->items()) {
    out[host] = {settings.value("plainHttp", false), settings.value("caFile", "")};
  }
  return out;
}

Registry::ClientMaker client_maker(const RuntimeContext& context) {
  return [context = net::NetContext{context.log, context.metrics, context.clock, context.blocking}](
             const RegistrySettings& settings) -> Result<std::unique_ptr<net::HttpClient>> {
    net::ClientOptions options;
    if (!settings.ca_file.empty()) {
      options.tls = std::make_unique<net::ClientTls>();
      KUBERNEL_TRY(options.tls->ca_pem, read_file(settings.ca_file));
    }
    return net::make_http_client(context, std::move(options));
  };
}

// "runc version 1.1.5+ds1" -> "1.1.5+ds1".
std::string version_of(const std::string& runtime) {
  ChildOptions child;
  child.argv = {runtime, "--version"};
  const auto output = run_child({}, child);
  if (!output) return "unknown";
  std::istringstream words(output->standard_output);
  std::string name;
  std::string version;
  words >> name >> version >> version;
  return version.empty() ? "unknown" : version;
}

}  // namespace

Result<OpenedRuntime> open_runtime(const RuntimeContext& context) {
  if (geteuid() != 0) return Error(Reason::Forbidden, "containers need root");
  const json config = json::parse(context.config_json, nullptr, false);
  if (!config.is_object()) return Error(Reason::Invalid, "the configuration of plugin oci is not an object");
  const auto text = [&](const char* key, const char* fallback) { return config.value(key, std::string(fallback)); };
  return catch_as_error("plugin oci", [&]() -> Result<OpenedRuntime> {
    KUBERNEL_TRY(Cgroups cgroups, Cgroups::detect());
    OciRuntimeOptions options;
    options.root = text("root", "/var/lib/kubernel/oci");
    options.state_dir = text("stateDir", "/run/kubernel/oci");
    KUBERNEL_TRY(options.runtime, choose_runtime(text("runtime", "auto"), cgroups));
    KUBERNEL_TRY(options.conmon, need_program(text("conmon", "conmon"), "container monitor"));
    KUBERNEL_TRY(options.pause, find_pause(text("pause", "")));
    options.seccomp_profile = text("seccompProfile", "");
    if (options.seccomp_profile.empty() && exists(kSystemSeccomp)) options.seccomp_profile = kSystemSeccomp;
    StoreOptions store_options;
    store_options.root = options.root;
    store_options.limits.max_bytes = config.value("maxLayerBytes", store_options.limits.max_bytes);
    store_options.durable = config.value("durable", true) ? Durable::Yes : Durable::No;
    const Surroundings surroundings{context.log, context.clock, context.random, context.blocking, context.poller};
    OpenedRuntime out;
    out.name = std::filesystem::path(options.runtime).filename().string();
    out.version = version_of(options.runtime);
    log_info(context.log, "container runtime",
             {{"runtime", options.runtime}, {"version", out.version}, {"cgroups", cgroups.v2() ? "v2" : "v1"}});
    const auto registry = std::make_shared<Registry>(read_registries(config), client_maker(context));
    KUBERNEL_TRY(
        std::unique_ptr<Store> store,
        Store::open(store_options, context.log,
                    [registry](const CallContext& ctx, Store& into, const Reference& reference,
                               const auto& credentials) { return registry->pull(ctx, into, reference, credentials); }));
    KUBERNEL_TRY(out.containers, OciRuntime::open({}, std::move(options), std::move(cgroups), surroundings, *store));
    out.images = std::move(store);
    return out;
  });
}

}  // namespace kubernel::runtime::oci
