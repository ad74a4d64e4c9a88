// SPDX-License-Identifier: Apache-2.0
//
// The kubernel program: its verbs, its flags and its help.

#include <algorithm>
#include <cstdio>
#include <filesystem>
#include <functional>
#include <map>
#include <string>
#include <vector>

#include <CLI/CLI.hpp>

#include "core/base/suggestion.h"
#include "core/main/external_commands.h"
#include "core/main/plugin_commands.h"
#include "core/main/run.h"

namespace kubernel::core {
namespace {

// What the flags say; filled in by the parser.
struct Options {
  std::string manifest;
  std::string output = "text";
  std::vector<std::filesystem::path> files;
  bool no_load = false;
};

using Action = std::function<int()>;
using Actions = std::map<const CLI::App*, Action>;

void add_output(CLI::App& command, Options& options) {
  command.add_option("-o,--output", options.output, "Output format: text or json")
      ->check(CLI::IsMember({"text", "json"}));
}

CLI::Option* add_manifest(CLI::App& command, Options& options) {
  return command.add_option("-m,--manifest", options.manifest, "The plugin manifest, a YAML file")->required();
}

void add_run(CLI::App& app, Options& options, Actions& actions) {
  CLI::App* const run_command = app.add_subcommand("run", "Run the components of a manifest until SIGTERM or SIGINT");
  add_manifest(*run_command, options);
  run_command->footer(
      "environment:\n"
      "  KUBERNEL_PLUGIN_PATH  directories searched for plugins before the manifest's (a:b:c)\n"
      "  NOTIFY_SOCKET         told READY=1 when every component is ready\n\n"
      "exit codes: 0 after a clean stop, 1 after a failure, 2 for wrong usage; a second signal ends it at once\n\n"
      "examples:\n"
      "  kubernel run --manifest /usr/local/share/kubernel/config/all-in-one.yaml");
  actions[run_command] = [&options] { return run(options.manifest); };
}

void add_plugin(CLI::App& app, Options& options, Actions& actions) {
  CLI::App* const plugin = app.add_subcommand("plugin", "Look at plugins");
  plugin->require_subcommand(1);
  plugin->footer(
      "examples:\n"
      "  kubernel plugin list --manifest kernel.yaml\n"
      "  kubernel plugin inspect ./my-plugin.so");

  CLI::App* const list = plugin->add_subcommand("list", "Show what a manifest loads, skips and refuses, and why");
  add_manifest(*list, options);
  add_output(*list, options);
  list->footer(
      "Loads the plugins and starts nothing. Exits with 1 when a required plugin is refused.\n\n"
      "examples:\n"
      "  kubernel plugin list --manifest kernel.yaml\n"
      "  kubernel plugin list --manifest kernel.yaml -o json");
  actions[list] = [&options] { return list_plugins(options.manifest, options.output == "json"); };

  CLI::App* const inspect =
      plugin->add_subcommand("inspect", "Show what plugin files offer and whether they load here");
  inspect->add_option("FILE", options.files, "Plugin files")->required();
  inspect->add_flag("--no-load", options.no_load, "Only read the files; run nothing of them");
  add_output(*inspect, options);
  inspect->footer(
      "A file built for this core is also loaded, to compare what it registers with what it declares.\n"
      "Exits with 1 when a file does not load here.\n\n"
      "examples:\n"
      "  kubernel plugin inspect ./my-plugin.so\n"
      "  kubernel plugin inspect --no-load -o json *.so");
  actions[inspect] = [&options] { return inspect_plugins(options.files, !options.no_load, options.output == "json"); };
}

void add_version(CLI::App& app, Options& options, Actions& actions) {
  CLI::App* const version = app.add_subcommand("version", "Show the version and what plugins must be built for");
  add_output(*version, options);
  version->footer("examples:\n  kubernel version -o json");
  actions[version] = [&options] { return print_version(options.output == "json"); };
}

std::string more_commands(const std::vector<std::string>& verbs) {
  std::string out;
  for (const std::string& verb : verbs) out += "  " + verb + "\n";
  return out.empty() ? "" : "more commands (kubernel COMMAND --help tells about each):\n" + out + "\n";
}

std::string path_of(const CLI::App* command) {
  const CLI::App* const parent = command->get_parent();
  return parent == nullptr ? "kubernel" : path_of(parent) + " " + command->get_name();
}

// The command the arguments led to, as deep as they did.
const CLI::App* deepest(const CLI::App* command) {
  const auto chosen = command->get_subcommands();
  return chosen.empty() ? command : deepest(chosen.front());
}

std::vector<std::string> words_of(const CLI::App& command) {
  std::vector<std::string> words;
  for (const CLI::Option* option : command.get_options()) {
    for (const std::string& name : option->get_lnames()) words.push_back("--" + name);
  }
  for (const CLI::App* sub : command.get_subcommands({})) words.push_back(sub->get_name());
  return words;
}

int usage_error(const CLI::App& app, const CLI::ParseError& error) {
  const CLI::App* const command = deepest(&app);
  std::string why = error.what();
  if (const auto left = app.remaining(true); !left.empty()) {
    const std::string& word = left.front();
    why = (word.starts_with("-") ? "unknown flag \"" : "unknown argument \"") + word + "\"" +
          did_you_mean(word, words_of(*command));
  }
  for (char& c : why) c = c == '\n' ? ' ' : c;
  std::fprintf(stderr, "%s: %s (%s --help tells more)\n", path_of(command).c_str(), why.c_str(),
               path_of(command).c_str());
  return kExitUsage;
}

int unknown_verb(const std::string& verb, const CLI::App& app, const std::vector<std::string>& external) {
  std::vector<std::string> words = external;
  for (const CLI::App* sub : app.get_subcommands({})) words.push_back(sub->get_name());
  std::fprintf(stderr, "kubernel: unknown command \"%s\"%s (kubernel help lists them)\n", verb.c_str(),
               did_you_mean(verb, words).c_str());
  return kExitUsage;
}

int parse_and_act(CLI::App& app, std::vector<std::string> arguments, const Actions& actions) {
  std::reverse(arguments.begin(), arguments.end());  // As CLI11 wants them.
  try {
    app.parse(arguments);
    if (const auto action = actions.find(deepest(&app)); action != actions.end()) return action->second();
    std::fputs(app.help().c_str(), stdout);
    return kExitOk;
  } catch (const CLI::CallForHelp&) {
    std::fputs(app.help().c_str(), stdout);
    return kExitOk;
  } catch (const CLI::ParseError& error) {
    return usage_error(app, error);
  }
}

int dispatch(std::vector<std::string> arguments) {
  Options options;
  Actions actions;
  CLI::App app("A microkernel that runs plugins", "kubernel");
  add_run(app, options, actions);
  add_plugin(app, options, actions);
  add_version(app, options, actions);
  const auto directories = command_directories();

  // `help VERB` is `VERB --help`; `help` alone is `--help`.
  if (!arguments.empty() && arguments.front() == "help") {
    arguments.erase(arguments.begin());
    arguments.emplace_back("--help");
  }
  const std::string verb = arguments.empty() ? "--help" : arguments.front();
  if (verb == "--help" || verb == "-h") {
    app.footer(more_commands(external_verbs(directories)) +
               "examples:\n"
               "  kubernel run --manifest kernel.yaml\n"
               "  kubernel plugin list --manifest kernel.yaml\n"
               "  kubernel help plugin inspect");
    std::fputs(app.help().c_str(), stdout);
    return kExitOk;
  }
  if (verb == "--version") return print_version(false);
  const auto own = app.get_subcommands({});
  const bool is_own = std::any_of(own.begin(), own.end(), [&](const CLI::App* sub) { return sub->check_name(verb); });
  if (!verb.starts_with("-") && !is_own) {
    if (const auto program = find_external(directories, verb)) {
      return become(*program, {arguments.begin() + 1, arguments.end()});
    }
    return unknown_verb(verb, app, external_verbs(directories));
  }
  return parse_and_act(app, std::move(arguments), actions);
}

}  // namespace
}  // namespace kubernel::core

int main(int argc, char** argv) {
  return kubernel::core::dispatch({argv + 1, argv + argc});
}
