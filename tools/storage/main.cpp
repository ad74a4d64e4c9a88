// SPDX-License-Identifier: Apache-2.0
//
// `kubernel storage`: looks after stores of cluster state, whatever backend keeps them.

#include <cstdint>
#include <cstdio>
#include <functional>
#include <map>
#include <optional>
#include <string>

#include <CLI/CLI.hpp>

#include "commands.h"
#include "core/base/suggestion.h"

namespace kubernel::storage_tool {
namespace {

constexpr int kExitFailure = 1;
constexpr int kExitUsage = 2;

struct Options {
  std::string store;
  std::string from;
  std::string to;
  std::string file;
  std::string output = "text";
  std::int64_t revision = 0;
  std::int64_t skip = 100'000;
};

using Command = std::function<Result<Answer>(const Tools&)>;
using Commands = std::map<const CLI::App*, Command>;

constexpr char kStores[] =
    "stores:\n"
    "  sqlite:/var/lib/kubernel/state.db\n"
    "  postgres://USER@HOST:5432/DATABASE?passwordFile=FILE     or passwordEnvironment=NAME\n"
    "  mysql://USER@HOST:3306/DATABASE?passwordFile=FILE        tls= caFile= certFile= keyFile= socket=\n"
    "  etcd://HOST:2379,HOST:2379?caFile=FILE                   certFile= keyFile= username= passwordFile= keyPrefix=\n"
    "\n";

CLI::App* add(CLI::App& app, Options& options, const char* name, const char* summary, const std::string& footer) {
  CLI::App* const command = app.add_subcommand(name, summary);
  command->add_option("-o,--output", options.output, "Output format: text or json")
      ->check(CLI::IsMember({"text", "json"}));
  command->footer(footer);
  return command;
}

void add_looking(CLI::App& app, Options& options, Commands& commands) {
  CLI::App* const stats_command = add(app, options, "stats", "Show a store's revision, number of keys and size",
                                      "Works on a store that is in use, too.\n\nexamples:\n"
                                      "  kubernel storage stats sqlite:/var/lib/kubernel/state.db");
  stats_command->add_option("STORE", options.store, "The store")->required();
  commands[stats_command] = [&](const Tools& tools) -> Result<Answer> {
    KUBERNEL_TRY(const StoreUrl url, parse_store_url(options.store));
    return stats(tools, url);
  };

  CLI::App* const check_command =
      add(app, options, "check", "Verify every checksum, and that history and the present agree",
          "Works on a store that is in use, too. Names key and revision of what is damaged, and then exits with 1.\n\n"
          "examples:\n"
          "  kubernel storage check sqlite:/var/lib/kubernel/state.db\n"
          "  kubernel storage check 'postgres://kubernel@db/kubernel?passwordFile=/etc/kubernel/password' -o json");
  check_command->add_option("STORE", options.store, "The store")->required();
  commands[check_command] = [&](const Tools& tools) -> Result<Answer> {
    KUBERNEL_TRY(const StoreUrl url, parse_store_url(options.store));
    return check(tools, url);
  };

  CLI::App* const compact_command = add(app, options, "compact", "Forget history that is not needed any more",
                                        "A running API server does this by itself. Current values stay.\n\nexamples:\n"
                                        "  kubernel storage compact sqlite:/var/lib/kubernel/state.db\n"
                                        "  kubernel storage compact etcd://127.0.0.1:2379 --revision 120000");
  compact_command->add_option("STORE", options.store, "The store")->required();
  compact_command->add_option("--revision", options.revision, "Forget what was before this one; default: the present");
  commands[compact_command] = [&](const Tools& tools) -> Result<Answer> {
    KUBERNEL_TRY(const StoreUrl url, parse_store_url(options.store));
    return compact(tools, url, options.revision == 0 ? std::nullopt : std::optional(options.revision));
  };
}

void add_moving(CLI::App& app, Options& options, Commands& commands) {
  CLI::App* const backup_command = add(
      app, options, "backup", "Write all of a store into one file, also while it is in use",
      "The file is a SQLite store: `restore` makes any store from it, and `kubernel run` starts from a copy of it.\n\n"
      "examples:\n"
      "  kubernel storage backup --from sqlite:/var/lib/kubernel/state.db /backup/state-monday.db");
  backup_command->add_option("--from", options.from, "The store")->required();
  backup_command->add_option("FILE", options.file, "The file to write; it must not exist")->required();
  commands[backup_command] = [&](const Tools& tools) -> Result<Answer> {
    KUBERNEL_TRY(const StoreUrl from, parse_store_url(options.from));
    return backup(tools, from, options.file);
  };

  CLI::App* const restore_command = add(
      app, options, "restore", "Make a new store from a backup",
      "The backup is checked first and stays as it is. Nothing is overwritten: the store must not exist, or be empty.\n"
      "Clients may know of revisions that were given after the backup was made; --skip leaves out that many, so that\n"
      "none is given again, and what those clients know is too old.\n\n"
      "examples:\n"
      "  kubernel storage restore /backup/state-monday.db --to sqlite:/var/lib/kubernel/state.db");
  restore_command->add_option("FILE", options.file, "The backup")->required();
  restore_command->add_option("--to", options.to, "The new store")->required();
  restore_command->add_option("--skip", options.skip, "How many revisions to leave out")
      ->check(CLI::Range(std::int64_t{0}, std::int64_t{1} << 40U))
      ->capture_default_str();
  commands[restore_command] = [&](const Tools& tools) -> Result<Answer> {
    KUBERNEL_TRY(const StoreUrl to, parse_store_url(options.to));
    return restore(tools, options.file, to, options.skip);
  };

  CLI::App* const migrate_command = add(
      app, options, "migrate", "Copy all of a store into an empty one, of whatever kind",
      "Stop what uses the two stores first. Run again after an interruption: it goes on where it was. In the end both\n"
      "stores are read and compared. Keys, values and leases are kept; revisions go on above the source's.\n\n"
      "examples:\n"
      "  kubernel storage migrate --from sqlite:/var/lib/kubernel/state.db \\\n"
      "      --to 'postgres://kubernel@db/kubernel?passwordFile=/etc/kubernel/password'");
  migrate_command->add_option("--from", options.from, "The store to read")->required();
  migrate_command->add_option("--to", options.to, "The empty store to write")->required();
  commands[migrate_command] = [&](const Tools& tools) -> Result<Answer> {
    KUBERNEL_TRY(const StoreUrl from, parse_store_url(options.from));
    KUBERNEL_TRY(const StoreUrl to, parse_store_url(options.to));
    return migrate(tools, from, to);
  };
}

int usage_error(const CLI::App& app, const CLI::ParseError& error) {
  std::vector<std::string> words;
  const auto chosen = app.get_subcommands();
  const CLI::App& command = chosen.empty() ? app : *chosen.front();
  for (const CLI::Option* option : command.get_options()) {
    for (const std::string& name : option->get_lnames()) words.push_back("--" + name);
  }
  for (const CLI::App* sub : command.get_subcommands({})) words.push_back(sub->get_name());
  std::string why = error.what();
  if (const auto left = app.remaining(true); !left.empty()) {
    why = "unknown word \"" + left.front() + "\"" + core::did_you_mean(left.front(), words);
  }
  for (char& c : why) c = c == '\n' ? ' ' : c;
  const std::string name = chosen.empty() ? "kubernel storage" : "kubernel storage " + command.get_name();
  std::fprintf(stderr, "%s: %s (%s --help tells more)\n", name.c_str(), why.c_str(), name.c_str());
  return kExitUsage;
}

int act(const CLI::App& chosen, const Command& command, const Options& options) {
  Workbench bench(plugin_path());
  Result<Answer> answer = Answer{};
  {
    Progress progress(bench.clock(), stderr);
    answer = command({bench, progress});
  }
  if (!answer) {
    std::fprintf(stderr, "kubernel storage %s: %s\n", chosen.get_name().c_str(), answer.error().message().c_str());
    return answer.error().reason() == Reason::BadRequest ? kExitUsage : kExitFailure;
  }
  std::fputs((options.output == "json" ? answer->json : answer->text).c_str(), stdout);
  return answer->good ? 0 : kExitFailure;
}

int run(int argc, char** argv) {
  Options options;
  Commands commands;
  CLI::App app("Looks after the stores that keep a cluster's state", "kubernel storage");
  app.footer(std::string(kStores) +
             "environment:\n"
             "  KUBERNEL_PLUGIN_PATH  directories searched for the stores' plugins (a:b:c)\n\n"
             "exit codes: 0 when all is well, 1 after a failure or when a store is damaged, 2 for wrong usage\n\n"
             "examples:\n"
             "  kubernel storage check sqlite:/var/lib/kubernel/state.db\n"
             "  kubernel storage backup --from sqlite:/var/lib/kubernel/state.db /backup/state.db");
  add_looking(app, options, commands);
  add_moving(app, options, commands);
  try {
    app.parse(argc, argv);
  } catch (const CLI::CallForHelp&) {
    std::fputs(app.help().c_str(), stdout);
    return 0;
  } catch (const CLI::ParseError& error) {
    return usage_error(app, error);
  }
  const auto chosen = app.get_subcommands();
  if (chosen.empty()) {
    std::fputs(app.help().c_str(), stdout);
    return 0;
  }
  return act(*chosen.front(), commands.at(chosen.front()), options);
}

}  // namespace
}  // namespace kubernel::storage_tool

int main(int argc, char** argv) {
  return kubernel::storage_tool::run(argc, argv);
}
