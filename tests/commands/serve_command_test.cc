#include <gmock/gmock.h>
#include <grpcpp/grpcpp.h>
#include <gtest/gtest.h>
#include <pthread.h>

#include <csignal>
#include <filesystem>
#include <string>
#include <thread>

#include "absl/strings/str_cat.h"
#include "inference.grpc.pb.h"
#include "tests/commands/run_hachi.h"
#include "tests/support/temp_dir.h"

// `hachi serve` with the engine and the demo model.
namespace hachi::server {
namespace {

using ::testing::AllOf;
using ::testing::HasSubstr;
using ::testing::Not;

const std::string kDigits = std::filesystem::path(HACHI_SOURCE_DIR) / "deploy/models/digits";

Outcome Serve(const std::filesystem::path& config, const std::vector<std::string>& more = {}) {
  std::vector<std::string> arguments = {"serve", "--config", config};
  arguments.insert(arguments.end(), more.begin(), more.end());
  return RunHachi({kServeCommand}, arguments);
}

TEST(ServeCommandTest, CheckLoadsEveryModelAndServesNothing) {
  const TempDir dir;
  const auto config = dir.Write(
      "server.yaml", absl::StrCat("server: {grpc: '192.0.2.1:1', metrics: '192.0.2.1:2'}\n"
                                  "models: [{dir: ",
                                  kDigits, "}, {dir: ", kDigits, ", name: plain, precision: fp32}]\n"));
  const Outcome outcome = Serve(config, {"--check"});
  EXPECT_EQ(outcome.exit_code, 0) << outcome.error;
  EXPECT_EQ(outcome.out, "model 'digits' version 1: int8\nmodel 'plain' version 1: fp32\n");
}

TEST(ServeCommandTest, CheckReportsEveryModelThatFails) {
  const TempDir dir;
  std::filesystem::copy(kDigits, dir.path() / "labelled", std::filesystem::copy_options::recursive);
  dir.Write("labelled/labels.txt", "zero\none\n");
  dir.Write("damaged/model.onnx", "not a model");
  const auto config = dir.Write("server.yaml", absl::StrCat("models: [{dir: damaged}, {dir: ", kDigits,
                                                            "}, {dir: labelled, name: labelled}]\n"));
  const Outcome outcome = Serve(config, {"--check"});
  EXPECT_EQ(outcome.exit_code, 1);
  EXPECT_THAT(outcome.out,
              AllOf(HasSubstr("model 'damaged' version 1: failed to load: "),
                    HasSubstr("model 'digits' version 1: int8\n"),
                    HasSubstr("model 'labelled' version 1: failed to load: output 'probabilities': ")));
  EXPECT_THAT(outcome.error, HasSubstr("hachi: check: 2 models failed to load, expected none"));
}

TEST(ServeCommandTest, CheckOfOneVersionLoadsNoOther) {
  const TempDir dir;
  dir.Write("damaged/model.onnx", "not a model");
  const auto config =
      dir.Write("server.yaml", absl::StrCat("models: [{dir: damaged}, {dir: ", kDigits, "}]\n"));
  const Outcome digits = Serve(config, {"--check", "--only", "digits/1"});
  EXPECT_EQ(digits.exit_code, 0) << digits.error;
  EXPECT_EQ(digits.out, "model 'digits' version 1: int8\n");
  EXPECT_EQ(Serve(config, {"--check", "--only", "damaged/1"}).exit_code, 1);
  const Outcome unknown = Serve(config, {"--check", "--only", "digits/2"});
  EXPECT_EQ(unknown.exit_code, 1);
  EXPECT_THAT(unknown.error, HasSubstr("hachi: --only: 'digits/2', expected NAME/VERSION of a configured"));
  EXPECT_EQ(Serve(config, {"--only", "digits/1"}).exit_code, 2);
}

TEST(ServeCommandTest, CheckRefusesWhatThisMachineCannotFollow) {
  const TempDir dir;
  const auto config = dir.Write(
      "server.yaml",
      absl::StrCat("cpu: {workers: 1024, threads_per_worker: 1024}\nmodels: [{dir: ", kDigits, "}]\n"));
  const Outcome outcome = Serve(config, {"--check"});
  EXPECT_EQ(outcome.exit_code, 1);
  EXPECT_THAT(outcome.error, HasSubstr("hachi: cpu: 1024 workers of 1024 threads, expected at most"));
}

TEST(ServeCommandTest, BadConfigurationIsAnError) {
  const TempDir dir;
  const Outcome outcome = Serve(dir.Write("server.yaml", "modles: []\n"));
  EXPECT_EQ(outcome.exit_code, 1);
  EXPECT_THAT(outcome.error, AllOf(HasSubstr("server.yaml:1"), HasSubstr("modles")));
  EXPECT_EQ(outcome.out, "");
}

TEST(ServeCommandTest, SecondSignalCutsTheDrainsDelayShort) {
  const TempDir dir;
  const std::string address = absl::StrCat("unix:", (dir.path() / "socket").string());
  const auto config = dir.Write("server.yaml", absl::StrCat("server: {grpc: '", address,
                                                            "', metrics: '127.0.0.1:0', drain: {delay: 24h}, "
                                                            // The program is this test.
                                                            "trial: {enabled: false}}\n"
                                                            "cpu: {workers: 1}\nmodels: [{dir: ",
                                                            kDigits, "}]\n"));
  Outcome outcome;
  std::thread daemon([&] { outcome = Serve(config); });
  const auto channel = grpc::CreateChannel(address, grpc::InsecureChannelCredentials());
  const auto stub = inference::GRPCInferenceService::NewStub(channel);
  const auto wait_until_ready_is = [&](bool ready) {
    inference::ServerReadyResponse response;
    grpc::Status status;
    do {
      grpc::ClientContext context;
      context.set_wait_for_ready(true);
      status = stub->ServerReady(&context, {}, &response);
      std::this_thread::yield();
    } while (!status.ok() || response.ready() != ready);
  };
  wait_until_ready_is(true);
  // The command waits for signals on its own thread, which has them blocked.
  pthread_kill(daemon.native_handle(), SIGTERM);
  wait_until_ready_is(false);
  pthread_kill(daemon.native_handle(), SIGINT);
  daemon.join();
  EXPECT_EQ(outcome.exit_code, 0) << outcome.error;
  EXPECT_THAT(outcome.out, AllOf(HasSubstr(absl::StrCat("grpc: ", address, "\n")),
                                 HasSubstr("metrics: 127.0.0.1:"), Not(HasSubstr("127.0.0.1:0\n"))));
}

}  // namespace
}  // namespace hachi::server
