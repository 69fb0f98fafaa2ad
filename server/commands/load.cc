#include <unistd.h>

#include <CLI/CLI.hpp>
#include <cstdio>
#include <iostream>
#include <memory>
#include <nlohmann/json.hpp>
#include <numeric>
#include <utility>

#include "absl/strings/str_cat.h"
#include "absl/strings/str_format.h"
#include "engine/base/status_macros.h"
#include "server/client/client.h"
#include "server/client/load_loop.h"
#include "server/commands/commands.h"
#include "server/commands/rows.h"
#include "server/commands/server_address.h"
#include "server/commands/shapes.h"

namespace hachi::server {
namespace {

constexpr int64_t kCallsPerConnection = 128;  // half of what a server allows by default
constexpr int64_t kMaxConnections = 16;
constexpr int64_t kRandomRows = 16;  // when no input is given
constexpr std::pair<const char*, double> kPercentiles[] = {
    {"p50", 0.5}, {"p90", 0.9}, {"p99", 0.99}, {"p99.9", 0.999}, {"max", 1}};

struct Arguments {
  ServerAddress server;
  std::string model, version;
  std::vector<std::string> inputs, expected, shapes;
  int64_t concurrency = 0;
  double rate = 0;
  bool poisson = false;
  int64_t requests = 0;
  double seconds = 0;
  int64_t batch = 1;
  double timeout_seconds = 60;
  bool json = false;
};

// Requests that are sent over and over, and what their answers must be.
struct Work {
  struct Expected {
    std::string output, bytes;
  };
  std::vector<std::shared_ptr<const EncodedCall>> calls;
  std::vector<std::vector<Expected>> expected;  // by call
};

absl::StatusOr<Work> Prepare(const Arguments& arguments, const ModelDescription& model) {
  ASSIGN_OR_RETURN(const auto input_files, ParseNamedFiles(arguments.inputs));
  ASSIGN_OR_RETURN(const auto expected_files, ParseNamedFiles(arguments.expected));
  const bool batched = model.max_batch_rows > 0;
  if (arguments.batch > std::max<int64_t>(1, model.max_batch_rows))
    return absl::InvalidArgumentError(absl::StrCat("--batch: is ", arguments.batch, ", expected at most ",
                                                   std::max<int64_t>(1, model.max_batch_rows),
                                                   ", the model's largest"));
  std::vector<TensorRows> inputs;
  if (input_files.empty()) {
    RETURN_IF_ERROR(CheckShapesAreSet(model));
    for (const TensorDescription& input : model.inputs)
      inputs.push_back(TensorRows::Random(input, batched, kRandomRows));
  } else {
    ASSIGN_OR_RETURN(inputs, ReadInputs(input_files, model));
  }
  const int64_t rows = inputs.empty() ? 1 : inputs.front().rows();
  ASSIGN_OR_RETURN(const auto expected, ReadOutputs(expected_files, model, rows));

  Work work;
  // After these many the rows come around to the first again.
  const int64_t distinct = rows / std::gcd(rows, arguments.batch);
  for (int64_t i = 0; i < distinct; ++i) {
    const int64_t first = i * arguments.batch;
    InferCall call = {.model = arguments.model, .version = arguments.version};
    std::vector<std::string> bytes;
    for (const TensorRows& input : inputs) bytes.push_back(input.Bytes(first, arguments.batch));
    for (size_t k = 0; k < inputs.size(); ++k)
      call.inputs.push_back(inputs[k].Input(bytes[k], arguments.batch));
    work.calls.push_back(Encode(call));
    auto& answers = work.expected.emplace_back();
    for (const TensorRows& output : expected)
      answers.push_back({output.name(), output.Bytes(first, arguments.batch)});
  }
  return work;
}

Verdict Compare(const InferAnswer& answer, const std::vector<Work::Expected>& expected) {
  for (const Work::Expected& right : expected) {
    const auto found = std::find_if(answer.outputs.begin(), answer.outputs.end(),
                                    [&](const InferOutput& output) { return output.name == right.output; });
    if (found == answer.outputs.end() || found->bytes != right.bytes) return Verdict::kDifferent;
  }
  return Verdict::kSame;
}

double Milliseconds(absl::Duration duration) { return absl::ToDoubleMilliseconds(duration); }

void PrintText(const Arguments& arguments, const LoadReport& report) {
  const std::string how = arguments.rate > 0 ? absl::StrFormat("%g a second", arguments.rate)
                                             : absl::StrFormat("%d in flight", arguments.concurrency);
  std::cout << absl::StrFormat("%s: %d requests of %d rows in %.1f s, %s\n", arguments.model, report.sent,
                               arguments.batch, absl::ToDoubleSeconds(report.elapsed), how);
  std::cout << absl::StrFormat("throughput  %.1f rows/s\n",
                               report.throughput_per_second() * static_cast<double>(arguments.batch));
  std::cout << "latency    ";
  for (const auto& [name, p] : kPercentiles)
    std::cout << absl::StrFormat(" %s %.3f ms ", name, Milliseconds(report.Percentile(p)));
  std::cout << absl::StrFormat("\nanswers     %d right, %d different", report.succeeded - report.different,
                               report.different);
  for (const auto& [code, count] : report.errors)
    std::cout << absl::StrFormat(", %d %s", count, absl::StatusCodeToString(code));
  std::cout << "\n";
  for (const auto& [code, message] : report.first_message)
    std::cout << absl::StatusCodeToString(code) << ": " << message << "\n";
}

void PrintJson(const Arguments& arguments, const ModelDescription& model, const LoadReport& report) {
  nlohmann::json json = {
      {"model", arguments.model},
      {"version", model.version},
      {"batch", arguments.batch},
      {"sent", report.sent},
      {"succeeded", report.succeeded},
      {"different", report.different},
      {"errors", nlohmann::json::object()},
      {"seconds", absl::ToDoubleSeconds(report.elapsed)},
      {"requests_per_s", report.throughput_per_second()},
      {"throughput_per_s", report.throughput_per_second() * static_cast<double>(arguments.batch)}};
  if (arguments.rate > 0)
    json["rate"] = arguments.rate;
  else
    json["concurrency"] = arguments.concurrency;
  for (const auto& [name, p] : kPercentiles) json["latency_ms"][name] = Milliseconds(report.Percentile(p));
  for (const auto& [code, count] : report.errors) json["errors"][absl::StatusCodeToString(code)] = count;
  std::cout << json.dump() << "\n";
}

absl::Status Run(Arguments arguments) {
  if (arguments.concurrency == 0 && arguments.rate == 0) arguments.concurrency = 1;
  if (arguments.requests == 0 && arguments.seconds == 0) arguments.seconds = 10;
  const int64_t connections =
      arguments.rate > 0
          ? 4
          : std::clamp<int64_t>((arguments.concurrency - 1) / kCallsPerConnection + 1, 1, kMaxConnections);
  ASSIGN_OR_RETURN(Client::Options client_options, ClientOptionsOf(arguments.server));
  client_options.connections = static_cast<int>(connections);
  ASSIGN_OR_RETURN(const auto client, Client::Create(std::move(client_options)));
  const absl::Duration timeout = absl::Seconds(arguments.timeout_seconds);
  ASSIGN_OR_RETURN(ModelDescription model, client->Describe(arguments.model, arguments.version, timeout));
  RETURN_IF_ERROR(SetShapes(arguments.shapes, model));
  ASSIGN_OR_RETURN(const Work work, Prepare(arguments, model));

  LoadLoopOptions options = {
      .concurrency = arguments.concurrency, .rate_per_second = arguments.rate, .poisson = arguments.poisson};
  if (arguments.requests > 0) options.requests = arguments.requests;
  if (arguments.seconds > 0) options.duration = absl::Seconds(arguments.seconds);
  const auto send = [&](int64_t index, LoadDone done) {
    const size_t turn = static_cast<size_t>(index) % work.calls.size();
    client->InferAsync(
        work.calls[turn], timeout,
        [done = std::move(done), &expected = work.expected[turn]](const absl::StatusOr<InferAnswer>& answer) {
          done(answer.status(), answer.ok() ? Compare(*answer, expected) : Verdict::kSame);
        });
  };
  std::function<void(int64_t)> progress;
  if (isatty(STDERR_FILENO) == 1)
    progress = [](int64_t answered) { absl::FPrintF(stderr, "\r%d answered", answered); };
  const LoadReport report = RunLoadLoop(options, send, progress);
  if (progress) absl::FPrintF(stderr, "\r%30s\r", "");

  if (arguments.json)
    PrintJson(arguments, model, report);
  else
    PrintText(arguments, report);
  const int64_t failed = report.sent - report.succeeded;
  if (failed > 0 || report.different > 0)
    return absl::UnknownError(absl::StrCat("load: ", failed, " of ", report.sent, " requests failed and ",
                                           report.different, " answers differ, expected none"));
  return absl::OkStatus();
}

std::function<absl::Status()> Add(CLI::App& app) {
  const auto arguments = std::make_shared<Arguments>();
  AddServerAddress(app, arguments->server);
  app.add_option("--model", arguments->model, "Name of the model")->required();
  app.add_option("--version", arguments->version, "Version of the model (default: the server's choice)");
  const auto concurrency =
      app.add_option("--concurrency", arguments->concurrency,
                     "Closed loop: requests in flight, the next one when one is answered (default: 1)")
          ->check(CLI::Range(int64_t{1}, int64_t{100'000}));
  const auto rate =
      app.add_option("--rate", arguments->rate, "Open loop: requests a second, whether answered or not")
          ->check(CLI::Range(0.001, 1e6))
          ->excludes(concurrency);
  app.add_flag("--poisson", arguments->poisson, "Open loop: at random moments instead of even ones")
      ->needs(rate);
  app.add_option("--requests", arguments->requests, "Stop after so many requests")
      ->check(CLI::PositiveNumber);
  app.add_option("--seconds", arguments->seconds, "Stop after so many seconds (default: 10)")
      ->check(CLI::PositiveNumber);
  app.add_option("--batch", arguments->batch, "Rows a request")
      ->check(CLI::PositiveNumber)
      ->capture_default_str();
  app.add_option("--shape", arguments->shapes,
                 "NAME=1,3,640,480: the shape of an input with free dimensions; may be repeated");
  app.add_option(
      "--input", arguments->inputs,
      "NAME=FILE for each input: .npy, .pb, .png or .jpg, whose rows are sent in turn (default: made up)");
  app.add_option("--expect", arguments->expected,
                 "NAME=FILE: .npy with the answer to each row of the input, to the byte");
  app.add_option("--timeout", arguments->timeout_seconds, "Seconds that an answer may take")
      ->check(CLI::PositiveNumber)
      ->capture_default_str();
  app.add_flag("--json", arguments->json, "Prints one JSON object");
  return [arguments] { return Run(*arguments); };
}

}  // namespace

const Command kLoadCommand = {"load", "Sends requests to a server, measures latencies, checks answers", &Add};

}  // namespace hachi::server
