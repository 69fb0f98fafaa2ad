#include "engine/calibrate/calibrate.h"

#include <unistd.h>

#include <CLI/CLI.hpp>
#include <iostream>
#include <memory>
#include <string>

#include "absl/strings/str_cat.h"
#include "absl/strings/str_format.h"
#include "engine/base/status_macros.h"
#include "engine/cpu/budget.h"
#include "engine/cpu/team.h"
#include "server/commands/commands.h"
#include "server/commands/model_argument.h"

namespace hachi::server {
namespace {

struct Arguments {
  std::string model, data, output, tag;
};

absl::Status Run(const Arguments& arguments) {
  ASSIGN_OR_RETURN(LoadOptions load, ReadModelArgument(arguments.model));
  CalibrateOptions options{.model = std::move(load.model),
                           .data = arguments.data,
                           .inputs = std::move(load.inputs),
                           .data_tag = arguments.tag,
                           .tool_version = absl::StrCat("hachi ", HACHI_VERSION)};
  if (isatty(STDERR_FILENO) == 1)
    options.progress = [](size_t done, size_t all) {
      absl::FPrintF(stderr, "\r%d of %d samples", done, all);
    };
  SetTeam(CpuBudget());
  auto table = Calibrate(options);
  if (options.progress) absl::FPrintF(stderr, "\r%40s\r", "");
  if (!table.ok()) return WithContext(table.status(), absl::StrCat("model '", options.model.string(), "'"));
  RETURN_IF_ERROR(table->Write(arguments.output));
  std::cout << arguments.output << ": " << table->tensors().size() << " tensors over "
            << table->header().samples << " rows\n";
  return absl::OkStatus();
}

std::function<absl::Status()> Add(CLI::App& app) {
  const auto arguments = std::make_shared<Arguments>();
  app.add_option("model", arguments->model, "Model directory or .onnx file")->required();
  app.add_option(
         "--data", arguments->data,
         "Samples: a file or a folder of .npz (one array an input), .npy or images (models of one input), "
         ".pb as in ONNX test data")
      ->required();
  app.add_option("--output", arguments->output, "The calibration table to write")->required();
  app.add_option("--tag", arguments->tag, "What the data is, for the table's header");
  return [arguments] { return Run(*arguments); };
}

}  // namespace

const Command kCalibrateCommand = {"calibrate",
                                   "Runs the FP32 model over samples and writes a calibration table", &Add};

}  // namespace hachi::server
