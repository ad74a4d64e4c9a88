// SPDX-License-Identifier: Apache-2.0
//
// kubernel up, down, status, kubeconfig, image, logs and scheduler: a development cluster whose nodes are sandboxes on
// this machine.
//
// One program under several names; `kubernel VERB` runs it as kubernel-VERB. Its first argument may also be one of the
// roles of sandbox.h, when it runs inside a cluster's namespaces.
#include <unistd.h>

#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <filesystem>
#include <iostream>
#include <optional>

#include <CLI/CLI.hpp>
#include <nlohmann/json.hpp>

#include "api_access.h"
#include "files.h"
#include "images.h"
#include "sandbox.h"
#include "scheduler.h"
#include "up.h"

namespace kubernel::cluster {
namespace {

constexpr int kExitFailure = 1;
constexpr int kExitUsage = 2;

// The exit code when there is nothing to do: after --help, or for words that are not understood.
std::optional<int> parse(CLI::App& app, int argc, char** argv) {
  try {
    app.parse(argc, argv);
    return std::nullopt;
  } catch (const CLI::ParseError& e) {
    if (e.get_exit_code() == static_cast<int>(CLI::ExitCodes::Success)) return app.exit(e);
    std::fprintf(stderr, "%s: %s; see --help\n", app.get_name().c_str(), e.what());
    return kExitUsage;
  }
}

int report(const std::string& verb, const Error& error) {
  std::fprintf(stderr, "kubernel %s: %s\n", verb.c_str(), error.message().c_str());
  return kExitFailure;
}

// What every verb takes.
struct Common {
  std::string name = "kubernel";
  std::string state_directory = "/var/lib/kubernel/clusters";
  bool json = false;

  void add_to(CLI::App& app) {
    app.add_option("--name", name, "Name of the cluster")->capture_default_str();
    app.add_option("--state-dir", state_directory, "Directory of all clusters' files")
        ->envname("KUBERNEL_STATE_DIR")
        ->capture_default_str();
    app.add_option_function<std::string>(
           "-o,--output", [this](const std::string& format) { json = format == "json"; }, "Output format: text or json")
        ->check(CLI::IsMember({"text", "json"}));
  }
};

int up_verb(CLI::App& app, int argc, char** argv) {
  Common common;
  UpOptions options;
  int seconds = 60;
  app.description("Starts a cluster of sandboxed nodes on this machine and waits until its nodes are Ready.");
  app.footer(
      "Examples:\n  kubernel up\n  kubernel up --nodes 3 --name test\n  kubernel up --manifest my.yaml --image "
      "app.tar");
  common.add_to(app);
  app.add_option("--nodes", options.nodes, "Number of nodes; the first has the control plane")
      ->check(CLI::Range(1, 200))
      ->capture_default_str();
  app.add_option("--port", options.port, "Port of the API on 127.0.0.1; 0: the last one, or any")
      ->check(CLI::Range(0, 65535));
  app.add_option("--manifest", options.manifest,
                 "Plugin manifest of the first node instead of the shipped all-in-one.yaml")
      ->check(CLI::ExistingFile);
  app.add_option("--node-manifest", options.node_manifest, "Plugin manifest of the other nodes")
      ->check(CLI::ExistingFile);
  app.add_option("--image", options.images, "Image archive or OCI layout to load on every node")
      ->check(CLI::ExistingPath);
  app.add_option("--timeout", seconds, "Seconds until giving up")->check(CLI::Range(1, 3600))->capture_default_str();
  if (const auto code = parse(app, argc, argv)) return *code;
  options.name = common.name;
  options.timeout = std::chrono::seconds(seconds);

  const auto paths = cluster_paths(common.state_directory, common.name);
  if (!paths) return report("up", paths.error());
  std::fprintf(stderr, "cluster \"%s\", %d node%s\n", options.name.c_str(), options.nodes,
               options.nodes == 1 ? "" : "s");
  const auto record = up(*paths, options);
  if (!record) return report("up", record.error());
  const std::string url = "https://127.0.0.1:" + std::to_string(record->api_port);
  if (common.json) {
    std::cout << nlohmann::json{{"name", record->name}, {"server", url}, {"kubeconfig", paths->kubeconfig()}}.dump(2)
              << "\n";
  } else {
    std::cout << "ready: " << url << "\nexport KUBECONFIG=" << paths->kubeconfig() << "\n";
  }
  return 0;
}

int down_verb(CLI::App& app, int argc, char** argv) {
  Common common;
  bool keep_data = false;
  app.description("Stops a cluster and removes everything it made.");
  app.footer(
      "Examples:\n  kubernel down\n  kubernel down --keep-data   # the next `up` finds its objects and images again");
  common.add_to(app);
  app.add_flag("--keep-data", keep_data, "Keep the store and the images");
  if (const auto code = parse(app, argc, argv)) return *code;
  const auto paths = cluster_paths(common.state_directory, common.name);
  if (!paths) return report("down", paths.error());
  const auto ended = down(*paths, keep_data);
  return ended ? 0 : report("down", ended.error());
}

int status_verb(CLI::App& app, int argc, char** argv) {
  Common common;
  app.description("Says whether a cluster runs and where its API is. Exit code 1: it does not run.");
  app.footer("Examples:\n  kubernel status\n  kubernel status -o json");
  common.add_to(app);
  if (const auto code = parse(app, argc, argv)) return *code;
  const auto paths = cluster_paths(common.state_directory, common.name);
  if (!paths) return report("status", paths.error());
  const auto record = load_record(*paths);
  if (!record) return report("status", record.error());
  const bool running = is_running(*record);
  const std::string url = "https://127.0.0.1:" + std::to_string(record->api_port);
  if (common.json) {
    std::cout << nlohmann::json{{"name", record->name},
                                {"running", running},
                                {"nodes", record->nodes},
                                {"server", url},
                                {"kubeconfig", paths->kubeconfig()},
                                {"pid", record->pid}}
                     .dump(2)
              << "\n";
  } else {
    std::cout << record->name << ": " << (running ? "running, " + url : "not running") << ", " << record->nodes
              << " node" << (record->nodes == 1 ? "" : "s") << "\n";
  }
  return running ? 0 : kExitFailure;
}

int kubeconfig_verb(CLI::App& app, int argc, char** argv) {
  Common common;
  app.description("Prints the path of a cluster's kubeconfig.");
  app.footer("Example:\n  export KUBECONFIG=$(kubernel kubeconfig)");
  common.add_to(app);
  if (const auto code = parse(app, argc, argv)) return *code;
  const auto paths = cluster_paths(common.state_directory, common.name);
  if (!paths) return report("kubeconfig", paths.error());
  if (const auto record = load_record(*paths); !record) return report("kubeconfig", record.error());
  std::cout << paths->kubeconfig() << "\n";
  return 0;
}

int image_verb(CLI::App& app, int argc, char** argv) {
  Common common;
  std::string path;
  app.description("Loads images into a cluster's nodes, and lists them.");
  app.footer(
      "Examples:\n  kubernel image load app.tar\n  kubernel image load ./oci-layout-directory\n  kubernel image list");
  app.require_subcommand(1);
  CLI::App* load = app.add_subcommand("load", "Load an OCI layout or docker archive, a file or a directory");
  load->add_option("path", path, "The archive or directory")->required()->check(CLI::ExistingPath);
  CLI::App* list = app.add_subcommand("list", "List the images of every node");
  common.add_to(*load);
  common.add_to(*list);
  if (const auto code = parse(app, argc, argv)) return *code;
  const auto run = [&]() -> Result<void> {
    KUBERNEL_TRY(const ClusterPaths paths, cluster_paths(common.state_directory, common.name));
    KUBERNEL_TRY(const ClusterRecord record, load_record(paths));
    KUBERNEL_TRY(const auto api, ApiAccess::open(paths, record.api_port));
    if (load->parsed()) return load_image(*api, record, path);
    KUBERNEL_TRY(const std::string text, list_images(*api, record, common.json));
    std::cout << text;
    return {};
  };
  const auto done = run();
  return done ? 0 : report("image", done.error());
}

int scheduler_verb(CLI::App& app, int argc, char** argv) {
  Common common;
  std::string ns = "default";
  std::string pod;
  app.description("Says what the cluster's scheduler thinks.");
  app.footer("Examples:\n  kubernel scheduler explain web-0\n  kubernel scheduler explain web-0 -n shop -o json");
  app.require_subcommand(1);
  CLI::App* explain =
      app.add_subcommand("explain", "Print, node by node, what each filter and each score says of a pending pod");
  explain->add_option("pod", pod, "Name of the pod")->required();
  explain->add_option("-n,--namespace", ns, "Its namespace")->capture_default_str();
  common.add_to(*explain);
  if (const auto code = parse(app, argc, argv)) return *code;
  const auto run = [&]() -> Result<void> {
    KUBERNEL_TRY(const ClusterPaths paths, cluster_paths(common.state_directory, common.name));
    KUBERNEL_TRY(const ClusterRecord record, load_record(paths));
    KUBERNEL_TRY(const auto api, ApiAccess::open(paths, record.api_port));
    KUBERNEL_TRY(const std::string text, explain_pod(*api, ns, pod, common.json));
    std::cout << text;
    return {};
  };
  const auto done = run();
  return done ? 0 : report("scheduler", done.error());
}

int logs_verb(CLI::App& app, int argc, char** argv) {
  Common common;
  int node = 1;
  bool follow = false;
  app.description("Prints the log of a node's kubernel process.");
  app.footer("Examples:\n  kubernel logs\n  kubernel logs --node 2 -f");
  common.add_to(app);
  app.add_option("--node", node, "Number of the node")->check(CLI::Range(1, 200))->capture_default_str();
  app.add_flag("-f,--follow", follow, "Go on printing what is added");
  if (const auto code = parse(app, argc, argv)) return *code;
  const auto paths = cluster_paths(common.state_directory, common.name);
  if (!paths) return report("logs", paths.error());
  const std::string file = paths->node_log(node);
  if (!std::filesystem::exists(file)) return report("logs", Error(Reason::NotFound, file + " does not exist"));
  if (follow) {
    execlp("tail", "tail", "-n", "+1", "-F", file.c_str(), nullptr);
    return report("logs", system_error("run", "tail"));
  }
  std::cout << read_text(file);
  return 0;
}

using Role = int (*)(const ClusterPaths&, const SandboxOptions&, int);

// switch|enter-node|node DIRECTORY OPTIONS NODE
int run_role(const std::string& role, char** argv) {
  const auto options = parse_sandbox_options(argv[3]);
  if (!options) return report(role, options.error());
  const ClusterPaths paths{argv[2]};
  const int node = std::atoi(argv[4]);
  if (role == "switch") return switch_main(paths, *options);
  return role == "node" ? node_main(paths, *options, node) : enter_node_main(paths, *options, node);
}

int run(int argc, char** argv) {
  constexpr int kRoleArguments = 5;
  const std::string first = argc > 1 ? argv[1] : "";
  if (argc == kRoleArguments && (first == "switch" || first == "enter-node" || first == "node"))
    return run_role(first, argv);

  std::string verb = std::filesystem::path(argv[0]).filename();
  if (verb.starts_with("kubernel-")) verb.erase(0, std::strlen("kubernel-"));
  static constexpr std::pair<const char*, int (*)(CLI::App&, int, char**)> kVerbs[] = {
      {"up", up_verb},       {"down", down_verb}, {"status", status_verb},      {"kubeconfig", kubeconfig_verb},
      {"image", image_verb}, {"logs", logs_verb}, {"scheduler", scheduler_verb}};
  for (const auto& [name, function] : kVerbs) {
    if (verb != name) continue;
    CLI::App app("", "kubernel " + verb);
    return function(app, argc, argv);
  }
  std::fprintf(stderr,
               "%s: run this program as kubernel-up, -down, -status, -kubeconfig, -image, -logs or -scheduler\n",
               argv[0]);
  return kExitUsage;
}

}  // namespace
}  // namespace kubernel::cluster

int main(int argc, char** argv) {
  return kubernel::cluster::run(argc, argv);
}
