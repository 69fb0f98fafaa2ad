#include "server/daemon.h"

#include <algorithm>
#include <utility>
#include <vector>

#include "absl/strings/str_cat.h"
#include "absl/time/clock.h"
#include "absl/time/time.h"
#include "engine/base/log.h"
#include "engine/base/status_macros.h"
#include "engine/cpu/budget.h"
#include "engine/cpu/isa.h"
#include "engine/cpu/team.h"
#include "server/daemon_observers.h"
#include "server/net/descriptors.h"

namespace hachi::server {
namespace {

// How long new requests are answered UNAVAILABLE before the connections close. A call that races with gRPC's
// own shutdown ends CANCELLED, which tells its client nothing and which no client tries again elsewhere. Long
// enough for clients near by to get the answer; a guess.
constexpr absl::Duration kRefusing = absl::Milliseconds(500);

}  // namespace

absl::StatusOr<WorkerCounts> CountWorkers(const ServerConfig& config, int cpu_budget) {
  WorkerCounts counts{};
  counts.threads_per_worker = config.threads_per_worker.value_or(
      config.workers.has_value() ? std::max(1, cpu_budget / *config.workers) : 1);
  counts.workers = config.workers.value_or(std::max(1, cpu_budget / counts.threads_per_worker));
  if (counts.workers * counts.threads_per_worker > cpu_budget)
    return absl::InvalidArgumentError(absl::StrCat("cpu: ", counts.workers, " workers of ",
                                                   counts.threads_per_worker, " threads, expected at most ",
                                                   cpu_budget, " threads in all, the CPU budget"));
  const bool chosen = config.workers.has_value() || config.threads_per_worker.has_value();
  counts.wide_threads = chosen || counts.workers == 1 ? 0 : counts.workers * counts.threads_per_worker;
  return counts;
}

absl::StatusOr<std::unique_ptr<Daemon>> Daemon::Start(Options options) {
  auto daemon = std::unique_ptr<Daemon>(new Daemon(std::move(options)));
  RETURN_IF_ERROR(daemon->Open());
  return daemon;
}

Daemon::Daemon(Options options) : options_(std::move(options)) {}

absl::Status Daemon::Open() {
  const ServerConfig& config = options_.config;
  if (options_.log_format.has_value())
    log_ =
        std::make_unique<LogQueue>(LogQueue::Options{.format = *options_.log_format, .on_drop = [this] {
                                                       metrics_.server().log_lines_dropped_total.Increment();
                                                     }});
  RaiseDescriptorLimit();
  const int budget = CpuBudget();
  ASSIGN_OR_RETURN(workers_, CountWorkers(config, budget));
  metrics_.server().cpu_budget.Set(budget);
  ASSIGN_OR_RETURN(auto page_tls, PageTls());
  ASSIGN_OR_RETURN(exposer_,
                   Exposer::Create(config.metrics_address, metrics_, std::move(page_tls),
                                   [this](std::string_view path) { return status_pages_.Find(path); }));
  scheduler_ = std::make_unique<BatchScheduler>(BatchScheduler::Options{
      .inflight_bytes = config.inflight_bytes,
      .workers = workers_.workers,
      .threads_per_worker = workers_.threads_per_worker,
      .has_wide_team = workers_.wide_threads > 0,
      .make_plans = [this](ModelHandle model, std::shared_ptr<const PlanSet> plans,
                           int64_t rows) { plan_maker_->Make(std::move(model), std::move(plans), rows); },
      .metrics = &metrics_.server()});
  plan_maker_ = std::make_unique<PlanMaker>(
      [this](const std::shared_ptr<const PlanSet>& plans, const absl::Status& status) {
        scheduler_->PlansMade(plans, status);
      },
      workers_.wide_threads == 0
          ? PlanMaker::OnWideTeam()
          : [this](std::function<void()> errand) {
              scheduler_->RunOnWideTeam([this, errand = std::move(errand)] {
                errand();
                memory_returner_.Return();
              });
            });
  if (config.trial.enabled && !options_.trial_command.empty())
    trial_ = std::make_unique<Trial>(Trial::Options{
        .command = options_.trial_command,
        .memory_bytes = config.trial.memory_bytes.value_or(MemoryBudget()),
        .time = config.trial.time,
        .cache = config.trial.cache,
        .circumstances = absl::StrCat(HACHI_VERSION, " ", std::string(NameOf(DetectIsa())), " ",
                                      workers_.threads_per_worker, " ", workers_.wide_threads)});
  registry_ = std::make_unique<ModelRegistry>(ModelRegistry::Options{
      .models = config.models,
      .loader = options_.loader,
      .trial = trial_.get(),
      .threads = workers_.threads_per_worker,
      .wide_threads = workers_.wide_threads,
      .observers = [this](const ModelVersion& version,
                          const Model& model) { return ObserversOf(version, model, metrics_); },
      .metrics = &metrics_,
      .on_change = [this](const auto& version) { OnModelChange(version); }});
  status_pages_.Show(registry_.get());

  Executor::Options executor{.workers = workers_.workers,
                             .threads_per_worker = workers_.threads_per_worker,
                             .wide_threads = workers_.wide_threads,
                             .scheduler = scheduler_.get(),
                             .new_context = options_.new_context};
  const std::vector<int> cpus = OwnCpus();
  executor.on_start = [cpus, counts = workers_](int worker) {
    const bool is_wide = worker == counts.workers;
    const absl::Status status =
        PinTeam(is_wide ? cpus : CpusOfWorker(cpus, worker, counts.threads_per_worker));
    if (!status.ok()) LogWarning(absl::StrCat("worker ", worker, ": ", status.message()));
  };
  executor_ = std::make_unique<Executor>(executor);
  if (config.tls) {
    ASSIGN_OR_RETURN(certificates_, Certificates::Read(*config.tls, &metrics_.server().grpc_certificate));
  }
  if (config.auth) {
    ASSIGN_OR_RETURN(access_, Access::Create(*config.auth));
    if (!config.auth->tokens.empty() && !config.tls)
      LogWarning("auth: tokens are sent in the clear, expected server.tls");
  }
  ASSIGN_OR_RETURN(rpc_, RpcServer::Create({.address = config.grpc_address,
                                            .registry = registry_.get(),
                                            .scheduler = scheduler_.get(),
                                            .metrics = &metrics_.server(),
                                            .inflight_bytes = config.inflight_bytes,
                                            .received_bytes = config.received_bytes,
                                            .answer_time = config.answer_time,
                                            .streams_per_connection = config.streams_per_connection,
                                            .connections = config.connections,
                                            .connections_per_address = config.connections_per_address,
                                            .connection_age = config.connection_age,
                                            .certificates = certificates_,
                                            .require_client_certificates =
                                                config.tls && config.tls->client_certificates ==
                                                                  TlsConfig::ClientCertificates::kRequire,
                                            .access = access_.get(),
                                            .reflection = config.reflection,
                                            .access_log = options_.access_log}));
  LogInfo(absl::StrCat("cpu budget ", budget, ", ", workers_.workers, " workers of ",
                       workers_.threads_per_worker, " threads, ",
                       workers_.wide_threads > 0 ? "all of them together for lone requests, " : "",
                       cpus.empty() ? "not pinned" : "pinned"));
  registry_->Start();
  return absl::OkStatus();
}

absl::StatusOr<std::unique_ptr<TlsContexts>> Daemon::PageTls() {
  const std::optional<TlsConfig>& config = options_.config.metrics_tls;
  if (!config) return nullptr;
  auto certificates = Certificates::Read(*config, &metrics_.server().page_certificate);
  RETURN_IF_ERROR(WithContext(certificates.status(), "metrics page"));
  return TlsContexts::Create(*std::move(certificates), config->client_certificates);
}

Daemon::~Daemon() {
  if (rpc_ != nullptr) BeginDrain();  // a load that still runs finds nobody to tell
  rpc_.reset();
  status_pages_.Show(nullptr);
  registry_.reset();
  if (scheduler_ != nullptr) scheduler_->Stop();
  executor_.reset();  // once it has drained, nobody asks for plans
  plan_maker_.reset();
}

void Daemon::OnModelChange(const std::shared_ptr<const ModelVersion>& version) {
  MutexLock lock(mutex_);
  const bool is_ready = version->state() == ModelState::kReady;
  const bool is_settled = is_ready || version->state() == ModelState::kFailed;
  settled_ += is_settled;
  changed_.NotifyAll();
  // Nobody is to be told any more, and the destructor may have taken gRPC and the registry away.
  if (draining_) return;
  const auto versions = registry_->VersionsOf(version->name());
  const bool serving = versions.ok() && std::ranges::any_of(*versions, [](const auto& v) {
                         return v->state() == ModelState::kReady;
                       });
  if (is_settled) memory_returner_.Return();
  if (is_ready) plan_maker_->MakeWide(version);
  rpc_->SetServing(version->name(), serving);
  const bool ready = registry_->AllReady();
  rpc_->SetServing(ready);
  if (ready) LogInfo("ready");
}

bool Daemon::WaitForModels() const {
  MutexLock lock(mutex_);
  while (settled_ < registry_->AllVersions().size()) changed_.Wait(mutex_);
  return registry_->AllReady();
}

void Daemon::BeginDrain() {
  MutexLock lock(mutex_);
  draining_ = true;
  rpc_->SetServing(false);
  for (const auto& version : registry_->AllVersions()) rpc_->SetServing(version->name(), false);
}

void Daemon::Shutdown() {
  const absl::Duration refusing = std::min(kRefusing, options_.config.drain_deadline);
  scheduler_->Stop();
  absl::SleepFor(refusing);
  rpc_->Shutdown(options_.config.drain_deadline - refusing);
}

}  // namespace hachi::server
