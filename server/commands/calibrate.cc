#include "engine/calibrate/calibrate.h"

#include <unistd.h>

#include <CLI/CLI.hpp>
#include <filesystem>
#include <iostream>
#include <memory>
#include <string>
#include <system_error>
#include <utility>
#include <vector>

#include "absl/strings/str_cat.h"
#include "absl/strings/str_format.h"
#include "engine/base/file.h"
#include "engine/base/status_macros.h"
#include "engine/cpu/budget.h"
#include "engine/cpu/team.h"
#include "engine/quant/foreign_table.h"
#include "server/commands/commands.h"
#include "server/commands/interruption.h"
#include "server/commands/model_argument.h"

namespace hachi::server {
namespace {

struct Arguments {
  std::string model, data, output, tag, format = "hachi";
  std::vector<std::string> merge;
  int64_t first = 0, count = 0;
};

// Whether a table can be written there: asked before hours of work are spent on it.
absl::Status CheckWritable(const std::filesystem::path& output) {
  std::error_code error;
  if (std::filesystem::is_directory(output, error))
    return absl::InvalidArgumentError(
        absl::StrCat("--output: '", output.string(), "' is a directory, expected a file"));
  const std::filesystem::path folder = output.has_parent_path() ? output.parent_path() : ".";
  if (!std::filesystem::is_directory(folder, error) || access(folder.c_str(), W_OK) != 0)
    return absl::InvalidArgumentError(
        absl::StrCat("--output: '", folder.string(), "' is no directory to write to, expected one"));
  return absl::OkStatus();
}

absl::Status WriteTable(const CalibrationTable& table, const Arguments& arguments) {
  const std::string& output = arguments.output;
  RETURN_IF_ERROR(WriteFile(output, arguments.format == "hachi" ? table.ToText() : OnnxRuntimeText(table)));
  std::cout << output << ": " << table.tensors().size() << " tensors over " << table.header().samples
            << " rows\n";
  return absl::OkStatus();
}

absl::Status Merge(const Arguments& arguments) {
  const std::vector<std::string>& files = arguments.merge;
  ASSIGN_OR_RETURN(CalibrationTable merged, CalibrationTable::Read(files.front()));
  for (size_t i = 1; i < files.size(); ++i) {
    ASSIGN_OR_RETURN(const CalibrationTable table, CalibrationTable::Read(files[i]));
    RETURN_IF_ERROR(
        WithContext(merged.Merge(table), absl::StrCat("'", files[i], "' beside '", files.front(), "'")));
  }
  return WriteTable(merged, arguments);
}

// Keeps what was seen before a run ended early, beside what an earlier run may have written; `status` says
// why it ended.
absl::Status KeepPart(const Calibration& calibration, const Arguments& arguments) {
  const int64_t rows = calibration.table.header().samples;
  if (rows == 0) return calibration.status;
  const std::string part = arguments.output + ".partial";
  RETURN_IF_ERROR(calibration.table.Write(part));
  return absl::Status(calibration.status.code(),
                      absl::StrCat(std::string(calibration.status.message()), "; '", part, "' holds what ",
                                   rows, " rows showed: calibrate the rest with --first ",
                                   arguments.first + rows, ", then --merge both"));
}

absl::Status Run(const Arguments& arguments) {
  RETURN_IF_ERROR(CheckWritable(arguments.output));
  if (!arguments.merge.empty()) return Merge(arguments);
  if (arguments.model.empty() || arguments.data.empty())
    return absl::InvalidArgumentError(
        "calibrate: no model or no --data, expected a model directory or an .onnx file, and samples; or "
        "--merge");
  ASSIGN_OR_RETURN(LoadOptions load, ReadModelArgument(arguments.model));
  CalibrateOptions options{.model = std::move(load.model),
                           .data = arguments.data,
                           .inputs = std::move(load.inputs),
                           .data_tag = arguments.tag,
                           .tool_version = absl::StrCat("hachi ", HACHI_VERSION),
                           .first_row = arguments.first,
                           .stop = [] { return Interruption::came(); }};
  if (arguments.count > 0) options.max_rows = arguments.count;
  const bool on_terminal = isatty(STDERR_FILENO) == 1;
  if (on_terminal)
    options.progress = [](const CalibrateOptions::Progress& progress) {
      absl::FPrintF(stderr, "\r%d of %d samples, %d rows", progress.sample, progress.samples, progress.rows);
    };
  SetTeam(CpuBudget());
  const Interruption interruption;
  auto calibration = CalibrateUntil(options);
  if (on_terminal) absl::FPrintF(stderr, "\r%60s\r", "");
  const std::string what = absl::StrCat("model '", options.model.string(), "'");
  if (!calibration.ok()) return WithContext(calibration.status(), what);
  if (!calibration->status.ok()) return WithContext(KeepPart(*calibration, arguments), what);
  return WriteTable(calibration->table, arguments);
}

std::function<absl::Status()> Add(CLI::App& app) {
  const auto arguments = std::make_shared<Arguments>();
  CLI::Option* model = app.add_option("model", arguments->model, "Model directory or .onnx file");
  CLI::Option* data = app.add_option(
      "--data", arguments->data,
      "Samples: a file or a folder of .npz (one array an input), .npy or images (models of one input), "
      ".pb as in ONNX test data");
  app.add_option("--output", arguments->output, "The calibration table to write")->required();
  app.add_option("--tag", arguments->tag, "What the data is, for the table's header");
  app.add_option("--format", arguments->format,
                 "hachi, or onnxruntime: the ranges alone, as JSON that its tools read")
      ->check(CLI::IsMember({"hachi", "onnxruntime"}))
      ->capture_default_str();
  app.add_option("--first", arguments->first, "Rows of the data to pass over: another run saw them")
      ->check(CLI::NonNegativeNumber);
  app.add_option("--count", arguments->count, "Rows to run over, instead of all")->check(CLI::PositiveNumber);
  app.add_option(
         "--merge", arguments->merge,
         "Instead of running a model: tables of one model over parts of the data, made the table of the "
         "whole")
      ->expected(1, 1 << 16)
      ->excludes(model)
      ->excludes(data);
  return [arguments] { return Run(*arguments); };
}

}  // namespace

const Command kCalibrateCommand = {
    "calibrate", "Runs the FP32 model over samples and writes a calibration table, or merges tables", &Add};

}  // namespace hachi::server
