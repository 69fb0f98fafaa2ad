#include <CLI/CLI.hpp>
#include <iostream>
#include <memory>
#include <nlohmann/json.hpp>
#include <string>

#include "absl/strings/str_cat.h"
#include "absl/strings/str_format.h"
#include "engine/base/status_macros.h"
#include "engine/cpu/budget.h"
#include "engine/cpu/isa.h"
#include "engine/cpu/peak.h"
#include "server/commands/commands.h"
#include "server/commands/model_argument.h"

namespace hachi::server {
namespace {

struct Arguments {
  std::string model, precision;
  int64_t batch = 1;
  int threads = 1;
  bool cpu = false, json = false;
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

absl::Status Run(const Arguments& arguments) {
  if (arguments.cpu) {
    PrintCpu(arguments.json);
    return absl::OkStatus();
  }
  if (arguments.model.empty())
    return absl::InvalidArgumentError(
        "inspect: no model, expected a model directory, an .onnx file or --cpu");
  ASSIGN_OR_RETURN(LoadOptions options, ReadModelArgument(arguments.model));
  if (!arguments.precision.empty()) options.precision = PrecisionOf(arguments.precision);
  options.threads = arguments.threads;
  options.max_batch_rows = arguments.batch;
  auto loaded = LoadModel(options);
  if (!loaded.ok()) return WithContext(loaded.status(), absl::StrCat("model '", options.name, "'"));
  const Model& model = **loaded;
  ASSIGN_OR_RETURN(const std::string plan, model.PlanText(model.signature().batched ? arguments.batch : 1));
  const ModelInfo& info = model.info();
  if (arguments.json) {
    std::cout << nlohmann::json{{"model", options.name},
                                {"precision", info.precision},
                                {"isa", info.isa},
                                {"weights_bytes", info.weights_bytes},
                                {"weights_copies", info.weights_copies},
                                {"arena_bytes", info.arena_bytes},
                                {"macs_per_row", info.macs_per_row},
                                {"layers_by_precision", info.layers_by_precision},
                                {"int8_mac_ratio", info.int8_mac_ratio},
                                {"vnni_mac_ratio", info.vnni_mac_ratio},
                                {"plan", plan}}
                     .dump()
              << "\n";
    return absl::OkStatus();
  }
  std::cout << absl::StrFormat(
      "model: %s precision=%s isa=%s weights_bytes=%d weights_copies=%d int8_mac_ratio=%.4f "
      "vnni_mac_ratio=%.4f\n",
      options.name, info.precision, info.isa, info.weights_bytes, info.weights_copies, info.int8_mac_ratio,
      info.vnni_mac_ratio);
  std::cout << plan;
  return absl::OkStatus();
}

std::function<absl::Status()> Add(CLI::App& app) {
  const auto arguments = std::make_shared<Arguments>();
  app.add_option("model", arguments->model, "Model directory or .onnx file");
  app.add_option("--precision", arguments->precision, "Instead of the configured one")
      ->check(CLI::IsMember(kPrecisionNames));
  app.add_option("--batch", arguments->batch, "Rows of the batch whose plan is shown")
      ->check(CLI::Range(1, 65536))
      ->capture_default_str();
  app.add_option("--threads", arguments->threads, "Of the team that the plan is for")
      ->check(CLI::Range(1, 1024))
      ->capture_default_str();
  app.add_flag("--cpu", arguments->cpu, "Describes the CPU instead, and measures its ceilings");
  app.add_flag("--json", arguments->json, "Prints one JSON object");
  return [arguments] { return Run(*arguments); };
}

}  // namespace

const Command kInspectCommand = {"inspect", "Prints a model's plan: precision, kernel, ISA, scales, bytes",
                                 &Add};

}  // namespace hachi::server
