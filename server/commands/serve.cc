#include <CLI/CLI.hpp>
#include <iostream>
#include <map>
#include <memory>
#include <string>

#include "absl/strings/str_cat.h"
#include "config/server_config.h"
#include "engine/base/log.h"
#include "engine/base/status_macros.h"
#include "engine/cpu/budget.h"
#include "engine/engine.h"
#include "server/commands/commands.h"
#include "server/daemon.h"
#include "server/daemon_signals.h"

namespace hachi::server {
namespace {

struct Arguments {
  std::string config;
  bool check = false;
  LogFormat log_format = LogFormat::kText;
  bool access_log = false;
};

// Counts workers and loads every model as serving would, one after the other, and reports all that fail.
absl::Status Check(const ServerConfig& config) {
  ASSIGN_OR_RETURN(const WorkerCounts counts, CountWorkers(config, CpuBudget()));
  Metrics metrics;
  ModelRegistry registry({.models = config.models,
                          .loader = LoadModel,
                          .threads = counts.threads_per_worker,
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

absl::Status Run(const Arguments& arguments) {
  ASSIGN_OR_RETURN(ServerConfig config, ReadServerConfig(arguments.config));
  if (arguments.check) return Check(config);

  return RunUntilSignalled({.config = std::move(config),
                            .loader = LoadModel,
                            .new_context = NewRunContext,
                            .log_format = arguments.log_format,
                            .access_log = arguments.access_log},
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
  app.add_flag("--check", arguments->check, "Validates configuration, models and tables, then exits");
  return [arguments] { return Run(*arguments); };
}

}  // namespace

const Command kServeCommand = {"serve", "Serves models over gRPC until SIGTERM or SIGINT", &Add};

}  // namespace hachi::server
