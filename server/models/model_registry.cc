#include "server/models/model_registry.h"

#include <algorithm>
#include <utility>

#include "absl/strings/str_cat.h"
#include "absl/strings/str_format.h"
#include "absl/strings/str_join.h"
#include "engine/base/log.h"
#include "engine/base/status_macros.h"
#include "server/models/labels.h"
#include "server/models/load_options.h"

namespace hachi::server {
namespace {

// "none", "a, b", "a, b, c and 40 more": `inspect` has all of them.
std::string Listed(const std::vector<std::string>& names) {
  constexpr size_t kShown = 3;
  if (names.empty()) return "none";
  const std::string shown = absl::StrJoin(
      names.begin(), names.begin() + static_cast<int64_t>(std::min(names.size(), kShown)), ", ");
  return names.size() <= kShown ? shown : absl::StrCat(shown, " and ", names.size() - kShown, " more");
}

void LogLoaded(const std::string& what, const Model& model, absl::Duration load_time) {
  const ModelInfo& info = model.info();
  LogInfo(absl::StrFormat("%s: loaded, precision %s, isa %s, %.3f s", what, NameOf(info.precision), info.isa,
                          absl::ToDoubleSeconds(load_time)));
  if (!info.why_not_bf16.empty()) LogWarning(absl::StrFormat("%s: %s", what, info.why_not_bf16));
  if (const Signature& signature = model.signature(); !signature.batched)
    LogInfo(absl::StrFormat("%s: requests run by themselves: %s", what, signature.why_not_batched));
  if (!info.table.tool.empty()) {
    const TableReport& table = info.table;
    LogInfo(absl::StrFormat(
        "%s: ranges from a table of %s, which can't say what model it is for: %d tensors matched; not in the "
        "model: %s; without a range, so FP32: %s",
        what, table.tool, table.matched.size(), Listed(table.unmatched), Listed(table.missing)));
  }
  if (!info.reference_steps.empty()) {
    const auto& [step, why] = *info.reference_steps.begin();
    LogWarning(absl::StrFormat("%s: %d steps run on their slow reference, '%s' for one: %s", what,
                               info.reference_steps.size(), step, why));
  }
}

// A guard that found nothing wrong is news too: it says how much INT8 loses.
void ReportGuard(ModelVersion& version, const GuardReport& report) {
  version.ReportGuard(report);
  const std::string text =
      absl::StrFormat("%s: guard: %s%s: %s; served: %.2f %%", version.what(), NameOf(report.result),
                      report.from_cache ? " (remembered)" : "",
                      ToText(report, version.config().guard.max_drop), 100 * report.served_drop);
  if (report.result == GuardResult::kPassed)
    LogInfo(text);
  else
    LogWarning(text);
}

}  // namespace

ModelRegistry::ModelRegistry(Options options) : options_(std::move(options)) {
  for (const ModelConfig& model : options_.models) {
    const auto config = std::make_shared<const ModelConfig>(model);
    Versions& versions = models_[model.name];
    for (const VersionFiles& files : model.versions) {
      versions.push_back(std::make_shared<ModelVersion>(
          config, files, options_.metrics->ForModel(model.name, files.version)));
    }
  }
}

ModelRegistry::~ModelRegistry() {
  stopping_ = true;
  if (options_.trial != nullptr) options_.trial->Stop();
  if (loader_thread_.joinable()) loader_thread_.join();
}

void ModelRegistry::Start() {
  loader_thread_ = std::thread([this] { LoadAll(); });
}

void ModelRegistry::LoadAll() {
  for (const auto& [name, versions] : models_) {
    for (const auto& version : versions) {
      if (stopping_) return;
      Load(version);
    }
  }
}

absl::StatusOr<ModelRegistry::Loaded> ModelRegistry::LoadFiles(const ModelVersion& version,
                                                               const LoadOptions& options) {
  if (options_.trial != nullptr) RETURN_IF_ERROR(options_.trial->Run(version.config(), version.files()));
  Loaded loaded;
  ASSIGN_OR_RETURN(loaded.model, options_.loader(options));
  ASSIGN_OR_RETURN(loaded.labels, ReadLabels(version.config(), loaded.model->signature()));
  if (options_.observers) {
    ASSIGN_OR_RETURN(loaded.observers, options_.observers(version, *loaded.model));
  }
  return loaded;
}

void ModelRegistry::Load(const std::shared_ptr<ModelVersion>& loading) {
  ModelVersion& version = *loading;
  const auto changed = [&] {
    if (options_.on_change) options_.on_change(loading);
  };
  version.StartLoading();
  changed();

  const std::string what = version.what();
  std::string passes;
  LoadOptions load_options = LoadOptionsOf(version.config(), version.files(), options_.threads);
  // Who may not have all workers has no use for plans that take them.
  if (!version.config().instances.has_value()) load_options.wide_threads = options_.wide_threads;
  load_options.on_pass = [&](const PassReport& report) {
    absl::StrAppendFormat(&passes, " %s %.3f s", report.pass, absl::ToDoubleSeconds(report.time));
  };
  load_options.on_guard = [&](const GuardReport& report) { ReportGuard(version, report); };
  const absl::Time start = options_.clock->Now();
  absl::StatusOr<Loaded> loaded = LoadFiles(version, load_options);
  const absl::Duration load_time = options_.clock->Now() - start;
  if (loaded.ok()) {
    version.FinishLoading(std::move(loaded->model), load_time, std::move(loaded->labels),
                          std::move(loaded->observers));
    LogInfo(absl::StrFormat("%s: passes:%s", what, passes));
    LogLoaded(what, version.model(), load_time);
  } else {
    LogError(WithContext(loaded.status(), what).ToString());
    version.FailLoading(loaded.status(), load_time);
  }
  changed();
}

absl::StatusOr<const ModelRegistry::Versions*> ModelRegistry::FindModel(std::string_view name) const {
  const auto found = models_.find(name);
  if (found == models_.end()) {
    return absl::NotFoundError(absl::StrFormat("model: '%s', expected the name of a configured model", name));
  }
  return &found->second;
}

absl::StatusOr<ModelHandle> ModelRegistry::Find(std::string_view name, std::optional<int64_t> version) const {
  ASSIGN_OR_RETURN(const Versions* versions, FindModel(name));
  for (auto it = versions->rbegin(); it != versions->rend(); ++it) {
    const ModelVersion& candidate = **it;
    if (version.has_value() && candidate.version() != *version) continue;
    if (candidate.state() == ModelState::kReady) return *it;
    if (version.has_value()) return candidate.ReadyStatus();
  }
  if (version.has_value()) {
    return absl::NotFoundError(
        absl::StrFormat("model '%s': version %d, expected a configured one", name, *version));
  }
  // None was READY when looked at. Report on the newest; should it have become READY since, take it.
  RETURN_IF_ERROR(versions->back()->ReadyStatus());
  return versions->back();
}

absl::StatusOr<std::vector<std::shared_ptr<const ModelVersion>>> ModelRegistry::VersionsOf(
    std::string_view name) const {
  ASSIGN_OR_RETURN(const Versions* versions, FindModel(name));
  return std::vector<std::shared_ptr<const ModelVersion>>(versions->begin(), versions->end());
}

std::vector<std::shared_ptr<const ModelVersion>> ModelRegistry::AllVersions() const {
  std::vector<std::shared_ptr<const ModelVersion>> all;
  for (const auto& [name, versions] : models_) all.insert(all.end(), versions.begin(), versions.end());
  return all;
}

bool ModelRegistry::AllReady() const {
  for (const auto& version : AllVersions()) {
    if (version->state() != ModelState::kReady) return false;
  }
  return true;
}

}  // namespace hachi::server
