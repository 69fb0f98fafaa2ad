#include <CLI/CLI.hpp>
#include <algorithm>
#include <iostream>
#include <memory>
#include <nlohmann/json.hpp>
#include <string>
#include <vector>

#include "absl/strings/str_cat.h"
#include "absl/strings/str_format.h"
#include "engine/base/file.h"
#include "engine/base/status_macros.h"
#include "engine/cpu/budget.h"
#include "engine/cpu/isa.h"
#include "engine/cpu/peak.h"
#include "server/commands/commands.h"
#include "server/commands/model_argument.h"

namespace hachi::server {
namespace {

struct Arguments {
  std::string model, precision, why, use_decisions;
  std::vector<std::string> skip_passes, shapes, values;
  int64_t batch = 1;
  int threads = 1;
  bool cpu = false, json = false, plan = false, passes = false, decisions = false;
};

void PrintCpu(bool json) {
  const int threads = CpuBudget();
  const double int8 = PeakInt8OpsPerSecond(threads), fp32 = PeakFp32FlopsPerSecond(threads);
  if (json) {
    std::cout << nlohmann::json{{"isa", std::string(NameOf(DetectIsa()))},
                                {"cpu_budget", threads},
                                {"peak_int8_ops_per_s", int8},
                                {"peak_fp32_flops_per_s", fp32}}
                     .dump()
              << "\n";
    return;
  }
  std::cout << CpuText()
            << absl::StrFormat("ceiling of %d threads: %.0f GOP/s INT8, %.0f GFLOP/s FP32\n", threads,
                               int8 / 1e9, fp32 / 1e9);
}

// What stands in `width` columns: the end of a longer text, which tells names of one network apart.
std::string Fit(const std::string& text, size_t width) {
  return text.size() <= width ? text : absl::StrCat("..", text.substr(text.size() - (width - 2)));
}

// "1234", "12.3K", "117.6M".
std::string Short(int64_t count) {
  if (count < 10000) return absl::StrCat(count);
  auto value = static_cast<double>(count);
  size_t unit = 0;
  for (value /= 1000; value >= 1000; value /= 1000) ++unit;
  return absl::StrFormat("%.1f%c", value, "KMGTPE"[unit]);
}

void PrintTable(const std::vector<StepFacts>& steps) {
  const auto print = [](const auto&... cells) {
    std::cout << absl::StrFormat("%4s %-28s %-18s %-17s %-5s %-29s %6s %6s\n", cells...);
  };
  print("", "step", "operator", "shape", "", "kernel", "macs", "bytes");
  for (size_t i = 0; i < steps.size(); ++i) {
    const StepFacts& step = steps[i];
    print(absl::StrCat(i + 1), Fit(step.name, 28), Fit(step.op, 18), Fit(ShapeText(step.shape), 17),
          step.precision, Fit(step.kernel, 29), Short(step.macs), Short(step.bytes));
  }
}

nlohmann::json ToJson(const std::vector<StepFacts>& steps) {
  nlohmann::json rows = nlohmann::json::array();
  for (const StepFacts& step : steps)
    rows.push_back({{"step", step.name},
                    {"operator", step.op},
                    {"shape", step.shape},
                    {"precision", step.precision},
                    {"kernel", step.kernel},
                    {"macs", step.macs},
                    {"bytes", step.bytes}});
  return rows;
}

// What every kernel said of one step.
absl::Status PrintAnswers(const std::vector<StepFacts>& steps, const std::string& name, bool json) {
  const auto step = std::ranges::find(steps, name, &StepFacts::name);
  if (step == steps.end())
    return absl::InvalidArgumentError(
        absl::StrCat("--why: '", name,
                     "' is no step of the plan, expected a name from the table; nodes that are fused into "
                     "others or folded have none"));
  nlohmann::json offers = nlohmann::json::array();
  for (const KernelAnswer& answer : step->answers)
    offers.push_back(
        {{"kernel", answer.kernel}, {"takes", answer.refusal.empty()}, {"reason", answer.refusal}});
  if (json) {
    std::cout << nlohmann::json{{"step", name},
                                {"operator", step->op},
                                {"kernel", step->kernel},
                                {"offers", offers}}
                     .dump()
              << "\n";
    return absl::OkStatus();
  }
  std::cout << absl::StrFormat("%s (%s) runs on %s\n", name, step->op, step->kernel);
  for (const KernelAnswer& answer : step->answers)
    std::cout << absl::StrFormat("  %-24s %s\n", answer.kernel,
                                 answer.refusal.empty() ? "takes it" : answer.refusal);
  return absl::OkStatus();
}

// Each pass, its time, and the lines of the graph that it took away and put there.
void PrintPasses(const std::vector<PassReport>& passes, bool json) {
  nlohmann::json rows = nlohmann::json::array();
  for (const PassReport& pass : passes) {
    const double seconds = absl::ToDoubleSeconds(pass.time);
    rows.push_back({{"pass", pass.pass}, {"seconds", seconds}, {"changes", pass.changes}});
    if (json) continue;
    std::cout << absl::StrFormat("%s: %.3f ms, %d changes\n", pass.pass, seconds * 1e3, pass.changes.size());
    for (const std::string& change : pass.changes) std::cout << "  " << change << "\n";
  }
  if (json) std::cout << rows.dump() << "\n";
}

void PrintModel(const std::string& name, const ModelInfo& info) {
  std::cout << absl::StrFormat(
      "model: %s precision=%s isa=%s weights_bytes=%d weights_copies=%d\n"
      "int8_mac_ratio=%.4f vnni_mac_ratio=%.4f reference_steps=%d\n",
      name, NameOf(info.precision), info.isa, info.weights_bytes, info.weights_copies, info.int8_mac_ratio,
      info.vnni_mac_ratio, info.reference_steps.size());
  if (!info.table.tool.empty()) {
    std::cout << absl::StrFormat(
        "table: of %s, which can't say what model it is for: %d matched, %d unmatched, %d of the model "
        "missing\n",
        info.table.tool, info.table.matched.size(), info.table.unmatched.size(), info.table.missing.size());
    for (const std::string& tensor : info.table.unmatched) std::cout << "unmatched: " << tensor << "\n";
    for (const std::string& tensor : info.table.missing) std::cout << "missing: " << tensor << "\n";
  }
  if (!info.why_not_bf16.empty()) std::cout << info.why_not_bf16 << "\n";
  for (const RepairReport& repair : info.repairs)
    std::cout << absl::StrFormat("%s: %s: %.1f dB less noise\n", repair.repair, repair.name, repair.gain);
  for (const auto& [step, why] : info.reference_steps)
    std::cout << absl::StrFormat("reference: %s: %s\n", step, why);
}

nlohmann::json RepairsJson(const std::vector<RepairReport>& repairs) {
  nlohmann::json rows = nlohmann::json::array();
  for (const RepairReport& repair : repairs)
    rows.push_back({{"repair", repair.repair}, {"name", repair.name}, {"gain_db", repair.gain}});
  return rows;
}

// null: the table is our own, or there is none.
nlohmann::json TableJson(const TableReport& table) {
  if (table.tool.empty()) return nullptr;
  return {{"tool", table.tool},
          {"matched", table.matched},
          {"unmatched", table.unmatched},
          {"missing", table.missing}};
}

void PrintJson(const std::string& name, const ModelInfo& info, const std::vector<StepFacts>& steps,
               const std::string& plan) {
  std::cout << nlohmann::json{{"model", name},
                              {"precision", std::string(NameOf(info.precision))},
                              {"isa", info.isa},
                              {"weights_bytes", info.weights_bytes},
                              {"weights_copies", info.weights_copies},
                              {"arena_bytes", info.arena_bytes},
                              {"macs_per_row", info.macs_per_row},
                              {"layers_by_precision", info.layers_by_precision},
                              {"int8_mac_ratio", info.int8_mac_ratio},
                              {"vnni_mac_ratio", info.vnni_mac_ratio},
                              {"reference_steps", info.reference_steps},
                              {"table", TableJson(info.table)},
                              {"repairs", RepairsJson(info.repairs)},
                              {"steps", ToJson(steps)},
                              {"plan", plan}}
                   .dump()
            << "\n";
}

absl::Status Run(const Arguments& arguments) {
  if (arguments.cpu) {
    PrintCpu(arguments.json);
    return absl::OkStatus();
  }
  if (arguments.model.empty())
    return absl::InvalidArgumentError(
        "inspect: no model, expected a model directory, an .onnx file or --cpu");
  ASSIGN_OR_RETURN(LoadOptions options, ReadModelArgument(arguments.model));
  if (!arguments.precision.empty()) options.precision = *ParsePrecision(arguments.precision);
  options.threads = arguments.threads;
  options.max_batch_rows = arguments.batch;
  options.explain = !arguments.why.empty() || arguments.passes;
  if (!arguments.use_decisions.empty()) {
    ASSIGN_OR_RETURN(options.decisions, ReadFile(arguments.use_decisions));
  }
  options.skip_passes.insert(arguments.skip_passes.begin(), arguments.skip_passes.end());
  std::vector<PassReport> passes;
  if (arguments.passes) options.on_pass = [&](const PassReport& report) { passes.push_back(report); };
  auto loaded = LoadModel(options);
  if (!loaded.ok()) return WithContext(loaded.status(), absl::StrCat("model '", options.name, "'"));
  if (arguments.decisions) {
    std::cout << (*loaded)->info().decisions;
    return absl::OkStatus();
  }
  if (arguments.passes) {
    PrintPasses(passes, arguments.json);
    return absl::OkStatus();
  }
  const Model& model = **loaded;
  const int64_t rows = model.signature().batched ? arguments.batch : 1;
  ASSIGN_OR_RETURN(const auto shapes, ShapesOf(model, arguments.shapes, arguments.values));
  RETURN_IF_ERROR(model.MakePlans(*shapes->plans, rows));
  ASSIGN_OR_RETURN(const std::vector<StepFacts> steps, model.Steps(shapes.get(), rows));
  ASSIGN_OR_RETURN(const std::string plan, model.PlanText(shapes.get(), rows));
  if (!arguments.why.empty()) return PrintAnswers(steps, arguments.why, arguments.json);
  if (arguments.json) {
    PrintJson(options.name, model.info(), steps, plan);
    return absl::OkStatus();
  }
  PrintModel(options.name, model.info());
  if (!model.signature().batched)
    std::cout << "requests run by themselves: " << model.signature().why_not_batched << "\n";
  if (arguments.plan) {
    std::cout << plan;
  } else {
    PrintTable(steps);
  }
  return absl::OkStatus();
}

std::function<absl::Status()> Add(CLI::App& app) {
  const auto arguments = std::make_shared<Arguments>();
  app.add_option("model", arguments->model, "Model directory or .onnx file");
  app.add_option("--precision", arguments->precision, "Instead of the configured one")
      ->check(CLI::IsMember(PrecisionWords()));
  app.add_option("--batch", arguments->batch, "Rows of the batch whose plan is shown")
      ->check(CLI::Range(1, 65536))
      ->capture_default_str();
  app.add_option("--shape", arguments->shapes,
                 "NAME=1,3,640,480: the shape of an input with free dimensions; may be repeated");
  app.add_option(
      "--value", arguments->values,
      "NAME=16000: the elements of an input that decides what the model computes; may be repeated");
  app.add_option("--threads", arguments->threads, "Of the team that the plan is for")
      ->check(CLI::Range(1, 1024))
      ->capture_default_str();
  app.add_flag("--plan", arguments->plan,
               "Prints everything of the plan: a line a step, with scales and layouts");
  app.add_option("--why", arguments->why, "Prints what every kernel says of this step instead");
  app.add_flag("--passes", arguments->passes, "Prints what each pass changed instead, and its time");
  app.add_option("--skip-pass", arguments->skip_passes, "A pass that does not run; may be repeated");
  app.add_flag("--decisions", arguments->decisions, "Prints what was decided of each node instead");
  app.add_option("--use-decisions", arguments->use_decisions,
                 "File of such lines, which overrule pins, table and rules");
  app.add_flag("--cpu", arguments->cpu, "Describes the CPU instead, and measures its ceilings");
  app.add_flag("--json", arguments->json, "Prints one JSON object");
  return [arguments] { return Run(*arguments); };
}

}  // namespace

const Command kInspectCommand = {"inspect", "Prints a model's plan: each step's precision, kernel, bytes",
                                 &Add};

}  // namespace hachi::server
