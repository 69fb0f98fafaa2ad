#pragma once

#include <functional>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "absl/status/statusor.h"
#include "config/server_config.h"
#include "engine/base/log.h"
#include "engine/engine.h"
#include "server/batching/batch_scheduler.h"
#include "server/daemon_memory.h"
#include "server/executor/executor.h"
#include "server/metrics/metrics.h"
#include "server/models/model_registry.h"
#include "server/models/plan_maker.h"
#include "server/models/trial.h"
#include "server/net/certificates.h"
#include "server/net/exposer.h"
#include "server/net/tls_contexts.h"
#include "server/rpc/access.h"
#include "server/rpc/server.h"
#include "server/status/status_pages.h"

namespace hachi::server {

// How many batches run at once, and on how many threads each; and on how many a lone request, 0: as any
// other.
struct WorkerCounts {
  int workers, threads_per_worker, wide_threads;
};

// From the configuration and the CPU budget; README.md says why. INVALID_ARGUMENT when workers × threads
// would exceed the budget.
absl::StatusOr<WorkerCounts> CountWorkers(const ServerConfig& config, int cpu_budget);

// The whole server: metrics page, models, scheduler, workers and the gRPC front, started in that order and
// stopped in the reverse.
//
// Serves as soon as it exists; it is ready once every model is. A model that fails to load leaves it up and
// not ready; the others are served. Call BeginDrain, then Shutdown; the destructor does what is left at once.
//
// Thread-compatible.
class Daemon {
 public:
  struct Options {
    ServerConfig config;
    ModelRegistry::Loader loader;                                  // hachi::LoadModel; tests have their own
    std::function<std::unique_ptr<RunContext>(Team)> new_context;  // hachi::NewRunContext, likewise
    std::optional<LogFormat> log_format;                           // of a LogQueue; nullopt: there is none
    bool access_log = false;                                       // a line in the log for each inference
    std::vector<std::string> trial_command = {};                   // see Trial; empty: there are no trials
  };

  // UNAVAILABLE when an address can't be bound; INVALID_ARGUMENT for a configuration that this machine can't
  // follow. Models load after it has returned.
  static absl::StatusOr<std::unique_ptr<Daemon>> Start(Options options);
  ~Daemon();

  // As bound, with real ports.
  const std::string& grpc_address() const { return rpc_->address(); }
  const std::string& metrics_address() const { return exposer_->address(); }
  WorkerCounts workers() const { return workers_; }

  // Waits until every model has been loaded or has failed, and health checks say so; false in the latter
  // case.
  bool WaitForModels() const;

  // Not ready from now on, whatever models do: load balancers look away. Requests are still served.
  void BeginDrain();

  // Refuses new requests (UNAVAILABLE) and waits for those in flight, for config.drain_deadline at most. What
  // is queued runs without waiting for company.
  void Shutdown();

  // Calls that are still in flight after so long are cancelled, in the Shutdown that runs or comes.
  // Thread-safe.
  void Hurry(absl::Duration at_most) { rpc_->CancelCallsIn(at_most); }

 private:
  explicit Daemon(Options options);
  absl::Status Open();

  // What the metrics page's TLS needs; null: it is in the clear.
  absl::StatusOr<std::unique_ptr<TlsContexts>> PageTls();
  void OnModelChange(const std::shared_ptr<const ModelVersion>& version);

  const Options options_;
  WorkerCounts workers_{};
  mutable Mutex mutex_;
  mutable CondVar changed_;
  bool draining_ ABSL_GUARDED_BY(mutex_) = false;
  size_t settled_ ABSL_GUARDED_BY(mutex_) = 0;  // versions that are ready or failed, as everybody was told

  // In the order of their starts: each uses those before it.
  Metrics metrics_;
  std::unique_ptr<LogQueue> log_;
  MemoryReturner memory_returner_;
  StatusPages status_pages_{metrics_.server()};
  std::unique_ptr<Exposer> exposer_;
  std::unique_ptr<BatchScheduler> scheduler_;
  std::unique_ptr<PlanMaker> plan_maker_;
  std::unique_ptr<Trial> trial_;
  std::unique_ptr<ModelRegistry> registry_;
  std::unique_ptr<Executor> executor_;
  std::shared_ptr<Certificates> certificates_;
  std::unique_ptr<Access> access_;
  std::unique_ptr<RpcServer> rpc_;
};

}  // namespace hachi::server
