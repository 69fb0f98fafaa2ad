#include <CLI/CLI.hpp>
#include <algorithm>
#include <cstdio>
#include <cstring>
#include <iostream>
#include <memory>
#include <nlohmann/json.hpp>
#include <numeric>
#include <utility>

#include "absl/strings/str_cat.h"
#include "absl/strings/str_format.h"
#include "engine/base/status_macros.h"
#include "engine/samples/tensor_file.h"
#include "server/client/client.h"
#include "server/commands/commands.h"
#include "server/commands/rows.h"
#include "server/commands/server_address.h"

namespace hachi::server {
namespace {

constexpr size_t kBestLabels = 3;    // named for each row
constexpr size_t kShownValues = 16;  // of each row
constexpr size_t kShownRows = 10;

struct Arguments {
  ServerAddress server;
  std::string model, version;
  std::vector<std::string> inputs, outputs, save, labels;
  int64_t batch = 0;
  double timeout_seconds = 60;
  bool json = false;
};

// One output over all rows, as the requests' answers add up.
struct Answer {
  TensorDescription description;
  std::string bytes;

  Tensor ToTensor(int64_t rows, bool batched) const {
    Shape shape = description.shape;
    if (batched) shape[0] = rows;
    Tensor tensor(description.dtype, std::move(shape));
    std::memcpy(tensor.bytes().data(), bytes.data(), bytes.size());
    return tensor;
  }
};

// Sends all rows, at most `batch` a request, and strings the answers together.
absl::StatusOr<std::vector<Answer>> InferAll(Client& client, const Arguments& arguments,
                                             const std::vector<TensorRows>& inputs, int64_t batch) {
  std::vector<Answer> answers;
  const int64_t rows = inputs.empty() ? 1 : inputs.front().rows();
  for (int64_t first = 0; first < rows; first += batch) {
    const int64_t count = std::min(batch, rows - first);
    InferCall call = {.model = arguments.model, .version = arguments.version, .outputs = arguments.outputs};
    std::vector<std::string> bytes;
    for (const TensorRows& input : inputs) bytes.push_back(input.Bytes(first, count));
    for (size_t i = 0; i < inputs.size(); ++i) call.inputs.push_back(inputs[i].Input(bytes[i], count));
    ASSIGN_OR_RETURN(InferAnswer answer,
                     client.Infer(Encode(call), absl::Seconds(arguments.timeout_seconds)));
    answers.resize(answer.outputs.size());
    for (size_t i = 0; i < answers.size(); ++i) {
      InferOutput& output = answer.outputs[i];
      answers[i].description = {output.name, output.dtype, output.shape};
      answers[i].bytes += output.bytes;
    }
  }
  return answers;
}

// Elements as numbers to print. Empty for types without a C++ type.
std::vector<double> Values(const Tensor& tensor) {
  std::vector<double> values;
  VisitDType(tensor.dtype(), [&](auto zero) {
    using T = decltype(zero);
    for (const T value : tensor.As<T>()) values.push_back(static_cast<double>(value));
  });
  return values;
}

// Indices of the largest values, largest first; the lower index where they are equal.
std::vector<size_t> Best(std::span<const double> values, size_t count) {
  std::vector<size_t> order(values.size());
  std::iota(order.begin(), order.end(), size_t{0});
  std::stable_sort(order.begin(), order.end(), [&](size_t a, size_t b) { return values[a] > values[b]; });
  order.resize(std::min(count, order.size()));
  return order;
}

void Print(const std::string& name, const Tensor& tensor, int64_t rows,
           const std::vector<std::string>& labels) {
  std::cout << name << " " << NameOf(tensor.dtype()) << ShapeText(tensor.shape()) << "\n";
  const std::vector<double> values = Values(tensor);
  const size_t row_values = values.size() / static_cast<size_t>(rows);
  for (size_t row = 0; row < static_cast<size_t>(rows); ++row) {
    if (row == kShownRows) {
      std::cout << "  ... " << static_cast<size_t>(rows) - row << " rows more\n";
      break;
    }
    const auto of_row = std::span(values).subspan(row * row_values, row_values);
    std::cout << "  " << row << ":";
    if (labels.size() == row_values) {
      for (const size_t best : Best(of_row, kBestLabels))
        std::cout << absl::StrFormat("  %s %.4g", labels[best], of_row[best]);
    } else {
      for (const double value : of_row.first(std::min(kShownValues, row_values)))
        std::cout << absl::StrFormat(" %.6g", value);
      if (row_values > kShownValues) std::cout << " ...";
    }
    std::cout << "\n";
  }
}

// Rows whose largest value stands at the index that the file says.
absl::StatusOr<int64_t> CountCorrect(const std::string& name, const Tensor& tensor, int64_t rows,
                                     const std::filesystem::path& file) {
  ASSIGN_OR_RETURN(const Tensor labels, ReadTensorFile(file));
  const std::vector<double> expected = Values(labels), values = Values(tensor);
  if (expected.size() != static_cast<size_t>(rows) || values.empty())
    return absl::InvalidArgumentError(absl::StrCat(
        file.string(), ": has ", expected.size(), " labels, expected ", rows, ", one a row of '", name, "'"));
  const size_t row_values = values.size() / static_cast<size_t>(rows);
  int64_t correct = 0;
  for (size_t row = 0; row < expected.size(); ++row) {
    const size_t best = Best(std::span(values).subspan(row * row_values, row_values), 1).front();
    if (static_cast<double>(best) == expected[row]) ++correct;
  }
  return correct;
}

absl::Status Run(const Arguments& arguments) {
  ASSIGN_OR_RETURN(Client::Options client_options, ClientOptionsOf(arguments.server));
  ASSIGN_OR_RETURN(const auto client, Client::Create(std::move(client_options)));
  ASSIGN_OR_RETURN(const ModelDescription model, client->Describe(arguments.model, arguments.version,
                                                                  absl::Seconds(arguments.timeout_seconds)));
  ASSIGN_OR_RETURN(const auto input_files, ParseNamedFiles(arguments.inputs));
  ASSIGN_OR_RETURN(const auto save_files, ParseNamedFiles(arguments.save));
  ASSIGN_OR_RETURN(const auto label_files, ParseNamedFiles(arguments.labels));
  ASSIGN_OR_RETURN(const auto inputs, ReadInputs(input_files, model));
  const bool batched = model.max_batch_rows > 0;
  const int64_t rows = inputs.empty() ? 1 : inputs.front().rows();
  int64_t batch = batched ? model.max_batch_rows : 1;
  if (arguments.batch > 0) batch = std::min(batch, arguments.batch);
  ASSIGN_OR_RETURN(const auto answers, InferAll(*client, arguments, inputs, batch));

  nlohmann::json json = {{"model", arguments.model}, {"version", model.version}, {"rows", rows}};
  for (const auto& files : {save_files, label_files}) {
    for (const auto& [name, file] : files) {
      const auto is_it = [&, &wanted = name](const Answer& answer) {
        return answer.description.name == wanted;
      };
      if (std::none_of(answers.begin(), answers.end(), is_it))
        return absl::InvalidArgumentError(
            absl::StrCat("output '", name, "': is not in the answer, expected the name of an output"));
    }
  }
  for (const Answer& answer : answers) {
    const std::string& name = answer.description.name;
    const Tensor tensor = answer.ToTensor(rows, batched);
    const auto labels = model.labels.find(name);
    const std::vector<std::string> names =
        labels == model.labels.end() ? std::vector<std::string>() : labels->second;
    nlohmann::json of_output = {{"name", name},
                                {"datatype", std::string(NameOf(tensor.dtype()))},
                                {"shape", tensor.shape()},
                                {"data", Values(tensor)}};
    if (!names.empty()) of_output["labels"] = names;
    if (!arguments.json) Print(name, tensor, rows, names);
    if (const auto file = save_files.find(name); file != save_files.end())
      RETURN_IF_ERROR(WriteNpy(file->second, tensor.view()));
    if (const auto file = label_files.find(name); file != label_files.end()) {
      ASSIGN_OR_RETURN(const int64_t correct, CountCorrect(name, tensor, rows, file->second));
      const double accuracy = static_cast<double>(correct) / static_cast<double>(rows);
      of_output["correct"] = correct;
      of_output["accuracy"] = accuracy;
      if (!arguments.json)
        std::cout << absl::StrFormat("  accuracy %.2f %% (%d of %d)\n", 100 * accuracy, correct, rows);
    }
    json["outputs"].push_back(std::move(of_output));
  }
  if (arguments.json) std::cout << json.dump() << "\n";
  return absl::OkStatus();
}

std::function<absl::Status()> Add(CLI::App& app) {
  const auto arguments = std::make_shared<Arguments>();
  AddServerAddress(app, arguments->server);
  app.add_option("--model", arguments->model, "Name of the model")->required();
  app.add_option("--version", arguments->version, "Version of the model (default: the server's choice)");
  app.add_option("--input", arguments->inputs,
                 "NAME=FILE for each input: .npy, .pb, .png or .jpg; one row or rows in the first dimension")
      ->required();
  app.add_option("--output", arguments->outputs, "Name of an output to ask for (default: all)");
  app.add_option("--batch", arguments->batch, "Rows a request at most (default: as many as the model takes)")
      ->check(CLI::PositiveNumber);
  app.add_option("--save", arguments->save, "NAME=FILE: writes an output over all rows as .npy");
  app.add_option(
      "--labels", arguments->labels,
      "NAME=FILE: the right index of each row; prints how often the output's largest value is there");
  app.add_option("--timeout", arguments->timeout_seconds, "Seconds to wait for an answer")
      ->check(CLI::PositiveNumber)
      ->capture_default_str();
  app.add_flag("--json", arguments->json, "Prints one JSON object with all values");
  return [arguments] { return Run(*arguments); };
}

}  // namespace

const Command kInferCommand = {"infer", "Sends rows to a server and prints the answers", &Add};

}  // namespace hachi::server
