#include <CLI/CLI.hpp>
#include <cstdlib>
#include <filesystem>
#include <iostream>
#include <map>
#include <memory>
#include <string>
#include <string_view>
#include <system_error>
#include <utility>
#include <vector>

#include "absl/cleanup/cleanup.h"
#include "absl/strings/str_cat.h"
#include "config/server_config.h"
#include "engine/base/log.h"
#include "engine/base/status_macros.h"
#include "engine/cpu/budget.h"
#include "engine/engine.h"
#include "engine/tune/guard.h"
#include "server/commands/commands.h"
#include "server/daemon.h"
#include "server/daemon_observers.h"
#include "server/daemon_signals.h"

namespace hachi::server {
namespace {

struct Arguments {
  std::string config;
  bool check = false;
  std::string only;         // NAME/VERSION; empty: every one
  std::string guard_cache;  // overrules the configuration; empty: does not
  LogFormat log_format = LogFormat::kText;
  bool access_log = false;
};

// Loads with the accuracy guard, which remembers where it is configured to.
ModelRegistry::Loader LoaderOf(const ServerConfig& config) {
  return [cache = config.guard_cache](LoadOptions options) {
    options.guard.cache = cache;
    return LoadGuarded(options);
  };
}

// Counts workers and loads every model as serving would, one after the other, and reports all that fail.
absl::Status Check(const ServerConfig& config) {
  ASSIGN_OR_RETURN(const WorkerCounts counts, CountWorkers(config, CpuBudget()));
  Metrics metrics;
  ModelRegistry registry({.models = config.models,
                          .loader = LoaderOf(config),
                          .threads = counts.threads_per_worker,
                          .observers = [&](const ModelVersion& version, const Model& model)
                              -> absl::StatusOr<std::vector<std::unique_ptr<RowsObserver>>> {
                            RETURN_IF_ERROR(ShadowOf(version, model, metrics).status());
                            return std::vector<std::unique_ptr<RowsObserver>>();
                          },
                          .metrics = &metrics});
  registry.LoadAll();
  int failed = 0;
  for (const auto& version : registry.AllVersions()) {
    const absl::Status status = version->ReadyStatus();
    failed += !status.ok();
    if (status.ok())
      std::cout << "model '" << version->name() << "' version " << version->version() << ": "
                << NameOf(version->model().info().precision) << "\n";
    else
      std::cout << status.message() << "\n";
  }
  if (failed > 0)
    return absl::InvalidArgumentError(
        absl::StrCat("check: ", failed, " models failed to load, expected none"));
  return absl::OkStatus();
}

// Leaves one version of one model, named NAME/VERSION.
absl::Status KeepOnly(std::string_view name_and_version, ServerConfig& config) {
  for (ModelConfig& model : config.models)
    std::erase_if(model.versions, [&](const VersionFiles& files) {
      return absl::StrCat(model.name, "/", files.version) != name_and_version;
    });
  std::erase_if(config.models, [](const ModelConfig& model) { return model.versions.empty(); });
  if (!config.models.empty()) return absl::OkStatus();
  return absl::NotFoundError(absl::StrCat("--only: '", std::string(name_and_version),
                                          "', expected NAME/VERSION of a configured model"));
}

// How the daemon has a model's files tried: this program, in a process of its own.
std::vector<std::string> TrialCommand(const std::string& config, const std::filesystem::path& guard_cache) {
  return {"/proc/self/exe", "serve", "--config", config, "--guard-cache", guard_cache, "--check", "--only"};
}

// A folder for what guards of trials find, where none is configured: the same model is loaded behind its
// trial, and need not be judged twice. Empty where the system has none to give.
std::filesystem::path TemporaryGuardCache() {
  std::error_code error;
  std::string name = std::filesystem::temp_directory_path(error) / "hachi-guard-XXXXXX";
  return error || mkdtemp(name.data()) == nullptr ? "" : name;
}

absl::Status Run(const Arguments& arguments) {
  ASSIGN_OR_RETURN(ServerConfig config, ReadServerConfig(arguments.config));
  if (!arguments.only.empty()) RETURN_IF_ERROR(KeepOnly(arguments.only, config));
  if (!arguments.guard_cache.empty()) config.guard_cache = arguments.guard_cache;
  if (arguments.check) return Check(config);

  std::filesystem::path temporary;
  if (config.trial.enabled && config.guard_cache.empty())
    config.guard_cache = temporary = TemporaryGuardCache();
  const absl::Cleanup remove_it = [&] {
    std::error_code ignored;
    if (!temporary.empty()) std::filesystem::remove_all(temporary, ignored);
  };
  const std::vector<std::string> trial_command = TrialCommand(arguments.config, config.guard_cache);
  ModelRegistry::Loader loader = LoaderOf(config);
  return RunUntilSignalled({.config = std::move(config),
                            .loader = std::move(loader),
                            .new_context = NewRunContext,
                            .log_format = arguments.log_format,
                            .access_log = arguments.access_log,
                            .trial_command = trial_command},
                           [](const Daemon& daemon) {
                             std::cout << "grpc: " << daemon.grpc_address()
                                       << "\nmetrics: " << daemon.metrics_address() << std::endl;
                           });
}

std::function<absl::Status()> Add(CLI::App& app) {
  const auto arguments = std::make_shared<Arguments>();
  app.add_option("--config", arguments->config, "Server configuration, YAML")->required();
  app.add_option("--log-format", arguments->log_format, "text or json: an object a line")
      ->transform(CLI::CheckedTransformer(
          std::map<std::string, LogFormat>{{"text", LogFormat::kText}, {"json", LogFormat::kJson}}));
  app.add_flag("--access-log", arguments->access_log, "Logs a line for each inference request");
  CLI::Option* const check =
      app.add_flag("--check", arguments->check, "Validates configuration, models and tables, then exits");
  app.add_option("--only", arguments->only, "Loads one version of one model, NAME/VERSION")->needs(check);
  app.add_option("--guard-cache", arguments->guard_cache,
                 "Folder that remembers what guards found, in the place of server.guard.cache")
      ->needs(check);
  return [arguments] { return Run(*arguments); };
}

}  // namespace

const Command kServeCommand = {"serve", "Serves models over gRPC until SIGTERM or SIGINT", &Add};

}  // namespace hachi::server
