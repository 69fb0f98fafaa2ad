#include "server/daemon.h"

#include <arpa/inet.h>
#include <gmock/gmock.h>
#include <grpcpp/grpcpp.h>
#include <grpcpp/impl/codegen/client_unary_call.h>
#include <gtest/gtest.h>
#include <netinet/in.h>
#include <sys/socket.h>
#include <unistd.h>

#include <cstring>
#include <string>
#include <thread>

#include "absl/strings/str_cat.h"
#include "config/server_config.h"
#include "engine/cpu/budget.h"
#include "health.pb.h"
#include "inference.grpc.pb.h"
#include "tests/support/fake_model.h"
#include "tests/support/status_matchers.h"
#include "tests/support/temp_dir.h"

namespace hachi::server {
namespace {

using absl::StatusCode;
using testing::HasSubstr;

// What waits until another thread opens it.
class Gate {
 public:
  void Open() {
    MutexLock lock(mutex_);
    open_ = true;
    changed_.NotifyAll();
  }
  void Wait() {
    MutexLock lock(mutex_);
    while (!open_) changed_.Wait(mutex_);
  }

 private:
  Mutex mutex_;
  CondVar changed_;
  bool open_ ABSL_GUARDED_BY(mutex_) = false;
};

// A daemon on free ports around FakeModels; those whose name is "broken" fail to load.
class DaemonTest : public testing::Test {
 protected:
  static ServerConfig ConfigOf(const std::vector<std::string>& models) {
    ServerConfig config;
    config.grpc_address = config.metrics_address = "127.0.0.1:0";
    config.workers = 1;
    for (const std::string& name : models) {
      ModelConfig model;
      model.name = name;
      model.versions.push_back({1, "model.onnx", ""});
      config.models.push_back(std::move(model));
    }
    return config;
  }

  absl::Status Serve(const std::vector<std::string>& models) { return Start(ConfigOf(models)); }

  absl::Status Start(ServerConfig config) {
    Daemon::Options options;
    options.config = std::move(config);
    options.loader = [this](const LoadOptions& load) -> absl::StatusOr<std::unique_ptr<Model>> {
      if (before_load_) before_load_();
      if (load.name == "broken") return absl::DataLossError("model.onnx: is damaged");
      auto model = std::make_unique<FakeModel>();
      model->set_info({.precision = load.precision == Precision::kFp32 ? Precision::kFp32 : Precision::kInt8,
                       .isa = "fake"});
      if (model_ == nullptr) model_ = model.get();
      return model;
    };
    options.new_context = [this](Team team) {
      if (on_worker_) on_worker_(team);
      return std::make_unique<FakeRunContext>();
    };
    auto daemon = Daemon::Start(std::move(options));
    if (!daemon.ok()) return daemon.status();
    daemon_ = *std::move(daemon);
    channel_ = grpc::CreateChannel(daemon_->grpc_address(), grpc::InsecureChannelCredentials());
    stub_ = inference::GRPCInferenceService::NewStub(channel_);
    return absl::OkStatus();
  }

  bool Ready() {
    grpc::ClientContext context;
    inference::ServerReadyResponse response;
    EXPECT_TRUE(stub_->ServerReady(&context, {}, &response).ok());
    return response.ready();
  }

  grpc::Status Infer(const std::string& model) {
    inference::ModelInferRequest request;
    request.set_model_name(model);
    auto* input = request.add_inputs();
    input->set_name("x");
    input->set_datatype("FP32");
    input->add_shape(1);
    input->add_shape(4);
    request.add_raw_input_contents(std::string(16, '\1'));
    grpc::ClientContext context;
    inference::ModelInferResponse response;
    return stub_->ModelInfer(&context, request, &response);
  }

  // The metrics page over plain HTTP.
  std::string Page() {
    const std::string address = daemon_->metrics_address();
    const int socket = ::socket(AF_INET, SOCK_STREAM, 0);
    sockaddr_in to{
        .sin_family = AF_INET,
        .sin_port = htons(static_cast<uint16_t>(std::stoi(address.substr(address.rfind(':') + 1)))),
        .sin_addr = {htonl(INADDR_LOOPBACK)},
        .sin_zero = {}};
    EXPECT_EQ(::connect(socket, reinterpret_cast<sockaddr*>(&to), sizeof to), 0);
    const std::string request = "GET /metrics HTTP/1.0\r\n\r\n";
    EXPECT_EQ(::write(socket, request.data(), request.size()), static_cast<ssize_t>(request.size()));
    std::string page;
    char buffer[4096];
    for (ssize_t n; (n = ::read(socket, buffer, sizeof buffer)) > 0;)
      page.append(buffer, static_cast<size_t>(n));
    ::close(socket);
    return page;
  }

  // Until the daemon has begun to shut down, whatever it waits for then.
  void WaitUntilCallsAreRefused() {
    grpc::Status status;
    while (status.ok()) {
      grpc::ClientContext context;
      inference::ServerLiveResponse response;
      status = stub_->ServerLive(&context, {}, &response);
    }
  }

  // What the health service says of a model, or of the server ("").
  bool Healthy(const std::string& service) {
    const grpc::internal::RpcMethod check("/grpc.health.v1.Health/Check",
                                          grpc::internal::RpcMethod::NORMAL_RPC);
    grpc::ClientContext context;
    grpc::health::v1::HealthCheckRequest request;
    request.set_service(service);
    grpc::health::v1::HealthCheckResponse response;
    EXPECT_TRUE(grpc::internal::BlockingUnaryCall(channel_.get(), check, &context, request, &response).ok());
    return response.status() == grpc::health::v1::HealthCheckResponse::SERVING;
  }

  std::string PrecisionOf(const std::string& model) {
    grpc::ClientContext context;
    inference::ModelConfigRequest request;
    request.set_name(model);
    inference::ModelConfigResponse response;
    EXPECT_TRUE(stub_->ModelConfig(&context, request, &response).ok());
    return response.config().parameters().at("precision").string_value();
  }

  std::function<void()> before_load_;    // empty: nothing
  std::function<void(Team)> on_worker_;  // likewise
  FakeModel* model_ = nullptr;           // the first to load
  std::unique_ptr<Daemon> daemon_;
  std::shared_ptr<grpc::Channel> channel_;
  std::unique_ptr<inference::GRPCInferenceService::Stub> stub_;
};

TEST_F(DaemonTest, IsReadyAndAnswersOnceEveryModelIsLoaded) {
  ASSERT_OK(Serve({"one", "two"}));
  EXPECT_TRUE(daemon_->WaitForModels());
  EXPECT_TRUE(Ready());
  EXPECT_TRUE(Healthy(""));
  EXPECT_TRUE(Infer("one").ok());
  EXPECT_TRUE(Infer("two").ok());
  EXPECT_THAT(Page(), testing::AllOf(HasSubstr("200 OK"), HasSubstr("hachi_cpu_budget"),
                                     HasSubstr("hachi_requests_total{code=\"OK\",model=\"two\"")));
}

TEST_F(DaemonTest, IsAliveAndNotReadyWhileModelsLoad) {
  Gate load;
  before_load_ = [&] { load.Wait(); };
  ASSERT_OK(Serve({"one"}));
  EXPECT_FALSE(Ready());
  EXPECT_FALSE(Healthy("one"));
  EXPECT_TRUE(Healthy("liveness"));
  EXPECT_EQ(Infer("one").error_code(), grpc::StatusCode::UNAVAILABLE);
  const auto loads = [&] {
    return Page().find("hachi_model_state{model=\"one\",state=\"loading\",version=\"1\"} 1") !=
           std::string::npos;
  };
  for (int i = 0; i < 500 && !loads(); ++i) absl::SleepFor(absl::Milliseconds(10));
  EXPECT_TRUE(loads());
  load.Open();
  EXPECT_TRUE(daemon_->WaitForModels());
  EXPECT_TRUE(Ready());
  EXPECT_TRUE(Healthy("one"));
}

TEST_F(DaemonTest, ServesOneDirectoryUnderTwoNamesAndPrecisions) {
  const TempDir dir;
  dir.Write("m/model.onnx", "");
  const auto file = dir.Write("server.yaml",
                              "server: {grpc: '127.0.0.1:0', metrics: '127.0.0.1:0'}\n"
                              "cpu: {workers: 1}\n"
                              "models: [{dir: m}, {dir: m, name: m-fp32, precision: fp32}]\n");
  auto config = ReadServerConfig(file);
  ASSERT_OK(config);
  ASSERT_OK(Start(*std::move(config)));
  EXPECT_TRUE(daemon_->WaitForModels());
  EXPECT_TRUE(Infer("m").ok());
  EXPECT_TRUE(Infer("m-fp32").ok());
  EXPECT_EQ(PrecisionOf("m"), "int8");
  EXPECT_EQ(PrecisionOf("m-fp32"), "fp32");
}

TEST_F(DaemonTest, ModelThatFailsLeavesTheOthersServedAndTheServerNotReady) {
  ASSERT_OK(Serve({"broken", "fine"}));
  EXPECT_FALSE(daemon_->WaitForModels());
  EXPECT_FALSE(Ready());
  EXPECT_FALSE(Healthy(""));
  EXPECT_FALSE(Healthy("broken"));
  EXPECT_TRUE(Healthy("fine"));
  EXPECT_TRUE(Infer("fine").ok());
  const grpc::Status status = Infer("broken");
  EXPECT_EQ(status.error_code(), grpc::StatusCode::UNAVAILABLE);
  EXPECT_THAT(status.error_message(), HasSubstr("model.onnx: is damaged"));
  EXPECT_THAT(Page(), HasSubstr("hachi_model_state{model=\"broken\",state=\"failed\",version=\"1\"} 1"));
}

TEST_F(DaemonTest, DrainTurnsReadinessOffServesMeanwhileAndFinishesWhatIsInFlight) {
  ASSERT_OK(Serve({"one"}));
  ASSERT_TRUE(daemon_->WaitForModels());
  daemon_->BeginDrain();
  EXPECT_FALSE(Ready());
  EXPECT_TRUE(Infer("one").ok());

  model_->Block();
  std::thread client([&] { EXPECT_TRUE(Infer("one").ok()); });
  model_->WaitForRuns(2);
  std::thread release([&] {
    WaitUntilCallsAreRefused();
    model_->Unblock();
  });
  daemon_->Shutdown();
  client.join();
  release.join();
  EXPECT_EQ(Infer("one").error_code(), grpc::StatusCode::UNAVAILABLE);
  EXPECT_THAT(Page(), HasSubstr("hachi_requests_total{code=\"OK\",model=\"one\",version=\"1\"} 2"));
}

TEST_F(DaemonTest, EndsWhileAModelStillLoads) {
  Gate load;
  before_load_ = [&] { load.Wait(); };
  ASSERT_OK(Serve({"one", "two"}));
  std::thread finish([&] {
    WaitUntilCallsAreRefused();
    load.Open();
  });
  daemon_.reset();
  finish.join();
}

TEST_F(DaemonTest, AddressInUseIsAnError) {
  ASSERT_OK(Serve({"one"}));
  Daemon::Options options;
  options.config.metrics_address = "127.0.0.1:0";
  options.config.grpc_address = daemon_->grpc_address();
  options.loader = [](const LoadOptions&) { return absl::InternalError("never called"); };
  options.new_context = [](Team) { return std::make_unique<FakeRunContext>(); };
  EXPECT_THAT(Daemon::Start(options), StatusIs(StatusCode::kUnavailable, HasSubstr(daemon_->grpc_address())));
  options.config.grpc_address = "127.0.0.1:0";
  options.config.metrics_address = daemon_->metrics_address();
  EXPECT_THAT(Daemon::Start(options),
              StatusIs(StatusCode::kUnavailable, HasSubstr(daemon_->metrics_address())));
}

TEST_F(DaemonTest, MoreWorkersThanTheCpuBudgetAreRefused) {
  ServerConfig config = ConfigOf({"one"});
  config.workers = CpuBudget();
  config.threads_per_worker = 2;
  EXPECT_THAT(Start(std::move(config)), StatusIs(StatusCode::kInvalidArgument, HasSubstr("the CPU budget")));
}

TEST_F(DaemonTest, WorkersKeepToCpusOfTheirOwn) {
  const std::vector<int> cpus = OwnCpus();
  if (cpus.empty()) GTEST_SKIP() << "a quota: workers are not pinned";
  Mutex mutex;
  std::vector<int> of_workers;
  on_worker_ = [&](Team team) {
    MutexLock lock(mutex);
    if (team == Team::kWide) return;
    for (const int cpu : AllowedCpus()) of_workers.push_back(cpu);
  };
  ServerConfig config = ConfigOf({"one"});
  config.workers.reset();
  ASSERT_OK(Start(std::move(config)));
  daemon_.reset();  // and every worker with it
  EXPECT_THAT(of_workers, testing::UnorderedElementsAreArray(cpus));
}

TEST(CountWorkersTest, AutoFillsTheBudgetWithWorkersOfOneThread) {
  const auto count = [](std::optional<int> workers, std::optional<int> threads, int budget) {
    ServerConfig config;
    config.workers = workers;
    config.threads_per_worker = threads;
    const auto counts = CountWorkers(config, budget);
    return counts.ok() ? absl::StrCat(counts->workers, "x", counts->threads_per_worker,
                                      counts->wide_threads > 0 ? "+" : "",
                                      counts->wide_threads > 0 ? absl::StrCat(counts->wide_threads) : "")
                       : counts.status().ToString();
  };
  EXPECT_EQ(count({}, {}, 24), "24x1+24");
  EXPECT_EQ(count({}, {}, 1), "1x1");
  EXPECT_EQ(count({}, 4, 24), "6x4");
  EXPECT_EQ(count({}, 5, 24), "4x5");
  EXPECT_EQ(count(2, {}, 24), "2x12");
  EXPECT_EQ(count(3, 8, 24), "3x8");
  EXPECT_THAT(count(4, 8, 24), HasSubstr("4 workers of 8 threads, expected at most 24"));
  EXPECT_THAT(count(4, {}, 2), HasSubstr("expected at most 2"));
}

}  // namespace
}  // namespace hachi::server
