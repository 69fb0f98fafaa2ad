#include <malloc.h>
#include <unistd.h>

#include <CLI/CLI.hpp>
#include <algorithm>
#include <barrier>
#include <chrono>
#include <fstream>
#include <iostream>
#include <map>
#include <memory>
#include <nlohmann/json.hpp>
#include <optional>
#include <string>
#include <thread>
#include <vector>

#include "absl/strings/str_cat.h"
#include "absl/strings/str_format.h"
#include "engine/base/mutex.h"
#include "engine/base/status_macros.h"
#include "engine/cpu/budget.h"
#include "engine/cpu/peak.h"
#include "engine/cpu/team.h"
#include "engine/decide/decisions.h"
#include "server/commands/bench_request.h"
#include "server/commands/commands.h"
#include "server/commands/model_argument.h"

namespace hachi::server {
namespace {

using Clock = std::chrono::steady_clock;
using Seconds = std::chrono::duration<double>;

constexpr int kRounds = 5;         // precisions take turns so often: noise of the machine meets them all
constexpr int kProfiledRuns = 50;  // at most; fewer where they would take longer than --seconds

struct Arguments {
  std::string model;
  std::vector<std::string> precisions = {"auto"}, shapes, values;
  int64_t batch = 1;
  int instances = 0;  // 0: as many as the CPU budget has room for
  int threads = 1;
  double seconds = 5;
  bool profile = false, kernels = false, json = false;
};

int64_t ResidentBytes() {
  int64_t pages = 0;
  std::ifstream statm("/proc/self/statm");
  statm >> pages >> pages;
  return pages * sysconf(_SC_PAGESIZE);
}

// Runs `fn` on a thread of its own. The OpenMP team that it leads ends with it: threads of other teams count
// as busy, and with more of them than CPUs every team waits asleep instead of awake, which costs small steps
// two thirds of their speed.
template <typename Fn>
auto OnThreadOfItsOwn(const Fn& fn) {
  std::optional<decltype(fn())> result;
  std::thread([&] { result.emplace(fn()); }).join();
  return *std::move(result);
}

double Median(std::vector<double> values) {
  std::ranges::sort(values);
  return values[values.size() / 2];
}

// One model in one precision, and what its rounds have shown.
struct Candidate {
  std::unique_ptr<Model> model;
  std::shared_ptr<const RowShapes> shapes;
  double load_seconds = 0;
  int64_t resident_bytes = 0;      // of the process, but for other candidates
  std::vector<double> latencies;   // seconds a run
  std::vector<double> throughput;  // rows a second, of each round

  double Latency(double quantile) const {
    const auto index = static_cast<size_t>(quantile * static_cast<double>(latencies.size() - 1) + 0.5);
    return latencies[index];
  }
  double Throughput() const { return Median(throughput); }  // the median round's
  bool is_int8() const { return model->info().precision == Precision::kInt8; }
};

absl::StatusOr<Candidate> Load(const Arguments& arguments, LoadOptions options, const std::string& precision,
                               int64_t resident_without_models) {
  // "auto" is what is configured.
  if (precision != "auto") options.precision = *ParsePrecision(precision);
  options.threads = arguments.threads;
  options.max_batch_rows = arguments.batch;
  Candidate candidate;
  const int64_t resident_before = ResidentBytes();
  const auto start = Clock::now();
  auto model = LoadModel(options);
  if (!model.ok()) return WithContext(model.status(), absl::StrCat("model '", options.name, "'"));
  candidate.load_seconds = Seconds(Clock::now() - start).count();
  malloc_trim(/*pad=*/0);  // as the daemon does behind a load
  candidate.resident_bytes = resident_without_models + ResidentBytes() - resident_before;
  candidate.model = *std::move(model);
  ASSIGN_OR_RETURN(candidate.shapes, ShapesOf(*candidate.model, arguments.shapes, arguments.values));
  RETURN_IF_ERROR(candidate.model->MakePlans(*candidate.shapes->plans, arguments.batch));
  return candidate;
}

// Room for the latencies of so many seconds, so that the measured loop does not allocate.
size_t RunsIn(double seconds, double seconds_a_run) {
  constexpr double kMost = 1 << 24;
  return static_cast<size_t>(std::min(kMost, 2 * seconds / std::max(seconds_a_run, 1e-6))) + 1;
}

// All instances run for `seconds`, each on threads of its own, and on CPUs of its own where a worker would
// be.
absl::Status RunRound(const Arguments& arguments, int64_t rows, double seconds, Candidate& candidate) {
  const std::vector<int> cpus = OwnCpus();
  std::barrier start(arguments.instances);
  Mutex mutex;
  absl::Status failure;
  double throughput = 0;
  std::vector<std::thread> threads;
  for (int instance = 0; instance < arguments.instances; ++instance)
    threads.emplace_back([&, instance] {
      SetTeam(arguments.threads);
      absl::Status status = PinTeam(CpusOfWorker(cpus, instance, arguments.threads));
      const auto context = NewRunContext();
      const BenchRequest request(candidate.model->signature(), candidate.shapes, rows);
      if (status.ok()) status = candidate.model->Run(*context, request.rows()).status();  // binds
      const auto warm_up = Clock::now();
      if (status.ok()) status = candidate.model->Run(*context, request.rows()).status();
      std::vector<double> latencies;
      latencies.reserve(RunsIn(seconds, Seconds(Clock::now() - warm_up).count()));
      start.arrive_and_wait();
      const auto begin = Clock::now();
      Clock::time_point last = begin;
      while (status.ok() && Seconds(last - begin).count() < seconds) {
        status = candidate.model->Run(*context, request.rows()).status();
        const auto now = Clock::now();
        latencies.push_back(Seconds(now - last).count());
        last = now;
      }
      MutexLock lock(mutex);
      if (!status.ok()) failure = status;
      throughput +=
          static_cast<double>(latencies.size()) * static_cast<double>(rows) / Seconds(last - begin).count();
      candidate.latencies.insert(candidate.latencies.end(), latencies.begin(), latencies.end());
    });
  for (std::thread& thread : threads) thread.join();
  candidate.throughput.push_back(throughput);
  return failure;
}

// Operations a second that this machine can do at most in the candidate's precision.
double Ceiling(const Candidate& candidate, int threads) {
  return candidate.is_int8() ? PeakInt8OpsPerSecond(threads) : PeakFp32FlopsPerSecond(threads);
}

nlohmann::json ToJson(const Arguments& arguments, const std::string& name, int64_t rows,
                      const Candidate& candidate, double ceiling) {
  const ModelInfo& info = candidate.model->info();
  const double ops = candidate.Throughput() * 2 * static_cast<double>(info.macs_per_row);
  return {{"model", name},
          {"precision", std::string(NameOf(info.precision))},
          {"isa", info.isa},
          {"instances", arguments.instances},
          {"threads", arguments.threads},
          {"batch", rows},
          {"throughput_per_s", candidate.Throughput()},
          {"latency_ms",
           {{"p50", candidate.Latency(0.5) * 1e3},
            {"p90", candidate.Latency(0.9) * 1e3},
            {"p99", candidate.Latency(0.99) * 1e3}}},
          {"ceiling_ratio", ceiling > 0 ? ops / ceiling : 0},
          {"int8_mac_ratio", info.int8_mac_ratio},
          {"load_seconds", candidate.load_seconds},
          {"resident_bytes", candidate.resident_bytes}};
}

void PrintText(const nlohmann::json& result) {
  std::cout << absl::StrFormat(
      "%s %s: %.1f rows/s, latency p50 %.3f p90 %.3f p99 %.3f ms, %.0f %% of the ceiling, loaded in %.2f s, "
      "%d MiB resident\n",
      result["model"].get<std::string>(), result["precision"].get<std::string>(),
      result["throughput_per_s"].get<double>(), result["latency_ms"]["p50"].get<double>(),
      result["latency_ms"]["p90"].get<double>(), result["latency_ms"]["p99"].get<double>(),
      100 * result["ceiling_ratio"].get<double>(), result["load_seconds"].get<double>(),
      result["resident_bytes"].get<int64_t>() >> 20);
}

// Each step's time, speed, share of its own ceiling (for steps with multiply-adds) and bytes moved.
absl::StatusOr<nlohmann::json> Profile(const Arguments& arguments, int64_t rows, const Candidate& candidate) {
  SetTeam(arguments.threads);
  const auto context = NewRunContext();
  const BenchRequest request(candidate.model->signature(), candidate.shapes, rows);
  const auto start = Clock::now();
  RETURN_IF_ERROR(candidate.model->Run(*context, request.rows()).status());
  const int runs = std::clamp(static_cast<int>(arguments.seconds / Seconds(Clock::now() - start).count()), 1,
                              kProfiledRuns);
  ASSIGN_OR_RETURN(const auto steps, candidate.model->Profile(*context, candidate.shapes.get(), rows, runs));
  const double int8 = PeakInt8OpsPerSecond(arguments.threads),
               fp32 = PeakFp32FlopsPerSecond(arguments.threads);
  nlohmann::json profile = nlohmann::json::array();
  for (const StepProfile& step : steps) {
    const double seconds = std::max(absl::ToDoubleSeconds(step.time), 1e-9);
    const double ops_per_s = 2 * static_cast<double>(step.macs) / seconds;
    const double ceiling = step.precision == "int8" ? int8 : fp32;
    profile.push_back({{"name", step.name},
                       {"op", step.op},
                       {"precision", step.precision},
                       {"kernel", step.kernel},
                       {"us", seconds * 1e6},
                       {"gops", ops_per_s / 1e9},
                       {"ceiling_ratio", ceiling > 0 ? ops_per_s / ceiling : 0},
                       {"bytes", step.bytes},
                       {"gb_per_s", static_cast<double>(step.bytes) / seconds / 1e9}});
  }
  return profile;
}

void PrintProfile(const nlohmann::json& profile) {
  double total = 0;
  for (const auto& step : profile) total += step["us"].get<double>();
  std::cout << absl::StrFormat("%9s %6s %8s %6s %9s %7s  %-4s %-32s %s\n", "us", "share", "GOP/s", "ceil",
                               "bytes", "GB/s", "", "step", "kernel");
  for (const auto& step : profile)
    std::cout << absl::StrFormat("%9.1f %5.1f%% %8.1f %5.0f%% %9d %7.1f  %-4s %-32s %s\n",
                                 step["us"].get<double>(), 100 * step["us"].get<double>() / total,
                                 step["gops"].get<double>(), 100 * step["ceiling_ratio"].get<double>(),
                                 step["bytes"].get<int64_t>(), step["gb_per_s"].get<double>(),
                                 step["precision"].get<std::string>(), step["name"].get<std::string>(),
                                 step["kernel"].get<std::string>());
  std::cout << absl::StrFormat("%9.1f us in all steps\n", total);
}

// A step that several kernels take, and what each takes for it.
struct Choice {
  std::string step;
  std::vector<std::string> kernels;          // as offers are called, the one that is used first
  std::vector<std::vector<double>> us = {};  // of each, of each round
};

// The steps of which something was decided, so that a kernel can be asked for, and that have a choice.
absl::StatusOr<std::vector<Choice>> ChoicesOf(const Candidate& candidate, const Decisions& decisions,
                                              int64_t rows) {
  ASSIGN_OR_RETURN(const auto steps, candidate.model->Steps(candidate.shapes.get(), rows));
  std::vector<Choice> choices;
  for (const StepFacts& step : steps) {
    if (decisions.Find(step.name) == nullptr) continue;
    Choice choice{step.name, {}};
    for (const KernelAnswer& answer : step.answers)
      if (answer.refusal.empty()) choice.kernels.push_back(answer.kernel);
    choice.us.resize(choice.kernels.size());
    if (choice.kernels.size() > 1) choices.push_back(std::move(choice));
  }
  return choices;
}

// The model once more for each kernel, which then runs all steps that it takes. `own` was loaded with
// explanations.
absl::StatusOr<std::vector<Choice>> TimeKernels(const Arguments& arguments, LoadOptions options,
                                                const Candidate& own, int64_t rows) {
  ASSIGN_OR_RETURN(const Decisions decisions, Decisions::Parse(own.model->info().decisions));
  ASSIGN_OR_RETURN(std::vector<Choice> choices, ChoicesOf(own, decisions, rows));
  options.explain = false;
  std::map<std::string, Candidate> candidates;
  for (const Choice& choice : choices)
    for (const std::string& kernel : choice.kernels) {
      if (candidates.contains(kernel)) continue;
      Decisions with = decisions;
      for (const Choice& other : choices)
        if (std::ranges::count(other.kernels, kernel) > 0) {
          Decision decision = *decisions.Find(other.step);
          decision.kernel = kernel;
          with.Set(other.step, std::move(decision));
        }
      options.decisions = with.ToText();
      ASSIGN_OR_RETURN(Candidate candidate, Load(arguments, options, arguments.precisions.front(), 0));
      candidates.emplace(kernel, std::move(candidate));
    }
  Arguments part = arguments;
  part.seconds /= kRounds * static_cast<double>(std::max<size_t>(candidates.size(), 1));
  for (int round = 0; round < kRounds; ++round)
    for (const auto& [kernel, candidate] : candidates) {
      ASSIGN_OR_RETURN(const nlohmann::json profile, Profile(part, rows, candidate));
      std::map<std::string, double> us;
      for (const auto& step : profile) us[step["name"]] = step["us"];
      for (Choice& choice : choices) {
        const auto found = std::ranges::find(choice.kernels, kernel);
        if (found != choice.kernels.end())
          choice.us[static_cast<size_t>(found - choice.kernels.begin())].push_back(us[choice.step]);
      }
    }
  return choices;
}

// Each choice, the time of the used kernel first, and what the fastest ones would save.
void PrintKernels(const std::vector<Choice>& choices, nlohmann::json& json, bool as_text) {
  constexpr double kAlike = 1.05;  // times that noise tells apart
  double used = 0, fastest = 0;
  int right = 0;
  json = nlohmann::json::array();
  for (const Choice& choice : choices) {
    std::vector<double> us;
    for (const auto& rounds : choice.us) us.push_back(Median(rounds));
    const double least = *std::ranges::min_element(us);
    const bool is_right = us.front() <= kAlike * least;
    used += us.front();
    fastest += is_right ? us.front() : least;
    right += is_right;
    json.push_back({{"step", choice.step}, {"kernels", choice.kernels}, {"us", us}});
    if (!as_text) continue;
    std::cout << absl::StrFormat("%-32s", choice.step);
    for (size_t i = 0; i < us.size(); ++i)
      std::cout << absl::StrFormat("  %s %.1f us", choice.kernels[i], us[i]);
    std::cout << (is_right ? "\n" : absl::StrFormat("  %.2f times the fastest\n", us.front() / least));
  }
  if (as_text)
    std::cout << absl::StrFormat(
        "%d of %d steps with a choice run on the fastest kernel, within %.0f %%; the fastest everywhere "
        "would take %.3f of "
        "their time\n",
        right, choices.size(), 100 * (kAlike - 1), used > 0 ? fastest / used : 1.0);
}

absl::Status Run(Arguments arguments) {
  const int budget = CpuBudget();
  if (arguments.instances == 0) arguments.instances = std::max(1, budget / arguments.threads);
  if (arguments.instances * arguments.threads > budget)
    return absl::InvalidArgumentError(absl::StrCat("bench: ", arguments.instances, " instances of ",
                                                   arguments.threads, " threads, expected at most ", budget,
                                                   " threads in all, the CPU budget"));
  ASSIGN_OR_RETURN(LoadOptions options, ReadModelArgument(arguments.model));
  options.explain = arguments.kernels;
  const int64_t resident_without_models = ResidentBytes();
  std::vector<Candidate> candidates;
  for (const std::string& precision : arguments.precisions) {
    ASSIGN_OR_RETURN(Candidate candidate, OnThreadOfItsOwn([&] {
                       return Load(arguments, options, precision, resident_without_models);
                     }));
    candidates.push_back(std::move(candidate));
  }
  const int64_t rows = candidates.front().model->signature().batched ? arguments.batch : 1;
  for (int round = 0; round < kRounds; ++round)
    for (Candidate& candidate : candidates)
      RETURN_IF_ERROR(RunRound(arguments, rows, arguments.seconds / kRounds, candidate));

  nlohmann::json results = nlohmann::json::array();
  for (Candidate& candidate : candidates) {
    std::ranges::sort(candidate.latencies);
    const double ceiling = Ceiling(candidate, arguments.instances * arguments.threads);
    results.push_back(ToJson(arguments, options.name, rows, candidate, ceiling));
    if (!arguments.json) PrintText(results.back());
    if (!arguments.profile) continue;
    ASSIGN_OR_RETURN(results.back()["profile"],
                     OnThreadOfItsOwn([&] { return Profile(arguments, rows, candidate); }));
    if (!arguments.json) PrintProfile(results.back()["profile"]);
  }
  if (arguments.kernels) {
    ASSIGN_OR_RETURN(const auto choices, OnThreadOfItsOwn([&] {
                       return TimeKernels(arguments, options, candidates.front(), rows);
                     }));
    PrintKernels(choices, results.front()["kernels"], !arguments.json);
  }
  if (arguments.json) {
    std::cout << (results.size() == 1 ? results.front() : results).dump() << "\n";
  } else if (results.size() > 1) {
    for (size_t i = 1; i < results.size(); ++i)
      std::cout << absl::StrFormat("%s over %s: %.2f times the throughput\n",
                                   results[0]["precision"].get<std::string>(),
                                   results[i]["precision"].get<std::string>(),
                                   candidates[0].Throughput() / candidates[i].Throughput());
  }
  return absl::OkStatus();
}

std::function<absl::Status()> Add(CLI::App& app) {
  const auto arguments = std::make_shared<Arguments>();
  app.add_option("model", arguments->model, "Model directory or .onnx file")->required();
  app.add_option(
         "--precision", arguments->precisions,
         "Give it once or more often: several take turns and are compared (default: what is configured)")
      ->allow_extra_args(false)  // what follows a value may be the model
      ->check(CLI::IsMember(PrecisionWords()));
  app.add_option("--shape", arguments->shapes,
                 "NAME=1,3,640,480: the shape of an input with free dimensions; may be repeated");
  app.add_option(
      "--value", arguments->values,
      "NAME=16000: the elements of an input that decides what the model computes; may be repeated");
  app.add_option("--batch", arguments->batch, "Rows a run")
      ->check(CLI::Range(1, 65536))
      ->capture_default_str();
  app.add_option("--instances", arguments->instances,
                 "That run at the same time (default: what the CPU budget holds)")
      ->check(CLI::Range(1, 1024));
  app.add_option("--threads", arguments->threads, "Of each instance")
      ->check(CLI::Range(1, 1024))
      ->capture_default_str();
  app.add_option("--seconds", arguments->seconds, "For each precision")
      ->check(CLI::Range(0.01, 86400.0))
      ->capture_default_str();
  app.add_flag("--profile", arguments->profile,
               "Lists each step's time, speed, share of its ceiling, bytes moved");
  app.add_flag("--kernels", arguments->kernels,
               "Times every kernel that takes a step, for steps of which something was decided (of the first "
               "precision)");
  app.add_flag("--json", arguments->json,
               "Prints one JSON object, or a list where there are several precisions");
  return [arguments] { return Run(*arguments); };
}

}  // namespace

const Command kBenchCommand = {
    "bench", "Measures a model in this process: throughput, latency, share of the ceiling", &Add};

}  // namespace hachi::server
