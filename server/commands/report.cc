#include <CLI/CLI.hpp>
#include <iostream>
#include <memory>
#include <string>
#include <utility>

#include "absl/strings/str_cat.h"
#include "engine/base/file.h"
#include "engine/base/status_macros.h"
#include "server/commands/commands.h"
#include "server/commands/model_argument.h"
#include "server/commands/report_facts.h"
#include "server/commands/report_json.h"
#include "server/commands/report_page.h"

namespace hachi::server {
namespace {

struct Arguments {
  std::string model, output;
  bool json = false;
  ReportOptions report;
};

absl::Status Run(Arguments arguments) {
  ASSIGN_OR_RETURN(arguments.report.load, ReadModelArgument(arguments.model));
  ASSIGN_OR_RETURN(const ReportFacts facts, GatherReport(arguments.report));
  ASSIGN_OR_RETURN(const std::string json, ReportJson(facts));
  if (arguments.json) {
    std::cout << json << "\n";
    return absl::OkStatus();
  }
  const std::string file = !arguments.output.empty()
                               ? arguments.output
                               : (arguments.report.load.model.parent_path() / "report.html").string();
  RETURN_IF_ERROR(WriteFile(file, ReportPage(json)));
  std::cout << file << ": " << facts.steps.size() << " steps, " << facts.tensors.size() << " tensors\n";
  return absl::OkStatus();
}

std::function<absl::Status()> Add(CLI::App& app) {
  const auto arguments = std::make_shared<Arguments>();
  app.add_option("model", arguments->model, "Model directory or .onnx file")->required();
  app.add_option("--output", arguments->output,
                 "File to write (default: report.html beside the model, which the status page links to)");
  app.add_option("--data", arguments->report.data,
                 "Samples, as calibrate reads them, on which answers are compared with FP32's");
  app.add_option("--batch", arguments->report.batch, "Rows a run")
      ->check(CLI::Range(1, 65536))
      ->capture_default_str();
  app.add_option("--seconds", arguments->report.seconds, "Of measuring")
      ->check(CLI::Range(0.01, 86400.0))
      ->capture_default_str();
  app.add_flag("--json", arguments->json, "Prints the same facts as one JSON object instead");
  return [arguments] { return Run(*arguments); };
}

}  // namespace

const Command kReportCommand = {
    "report", "Writes a page about a model: speed, accuracy, graph, ranges, kernels and time of each step",
    &Add};

}  // namespace hachi::server
