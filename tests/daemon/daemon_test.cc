#include "server/daemon.h"

#include <arpa/inet.h>
#include <gmock/gmock.h>
#include <grpcpp/grpcpp.h>
#include <gtest/gtest.h>
#include <netinet/in.h>
#include <sys/socket.h>
#include <unistd.h>

#include <cstring>
#include <string>
#include <thread>

#include "absl/strings/str_cat.h"
#include "inference.grpc.pb.h"
#include "tests/support/fake_model.h"
#include "tests/support/status_matchers.h"

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
  absl::Status Start(const std::vector<std::string>& models) {
    Daemon::Options options;
    options.config.grpc_address = options.config.metrics_address = "127.0.0.1:0";
    options.config.workers = 1;
    for (const std::string& name : models) {
      ModelConfig model;
      model.name = name;
      model.versions.push_back({1, "model.onnx", ""});
      options.config.models.push_back(std::move(model));
    }
    options.loader = [this](const LoadOptions& load) -> absl::StatusOr<std::unique_ptr<Model>> {
      if (before_load_) before_load_();
      if (load.name == "broken") return absl::DataLossError("model.onnx: is damaged");
      auto model = std::make_unique<FakeModel>();
      if (model_ == nullptr) model_ = model.get();
      return model;
    };
    options.new_context = [] { return std::make_unique<FakeRunContext>(); };
    auto daemon = Daemon::Start(std::move(options));
    if (!daemon.ok()) return daemon.status();
    daemon_ = *std::move(daemon);
    stub_ = inference::GRPCInferenceService::NewStub(
        grpc::CreateChannel(daemon_->grpc_address(), grpc::InsecureChannelCredentials()));
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

  void WaitUntilCallsAreRefused() {
    grpc::Status status;
    while (status.ok()) {
      grpc::ClientContext context;
      inference::ServerLiveResponse response;
      status = stub_->ServerLive(&context, {}, &response);
    }
  }

  std::function<void()> before_load_;
  FakeModel* model_ = nullptr;  // the first to load
  std::unique_ptr<Daemon> daemon_;
  std::unique_ptr<inference::GRPCInferenceService::Stub> stub_;
};

TEST_F(DaemonTest, IsReadyAndAnswersOnceEveryModelIsLoaded) {
  ASSERT_OK(Start({"one", "two"}));
  EXPECT_TRUE(daemon_->WaitForModels());
  EXPECT_TRUE(Ready());
  EXPECT_TRUE(Infer("one").ok());
  EXPECT_TRUE(Infer("two").ok());
  EXPECT_THAT(Page(), testing::AllOf(HasSubstr("200 OK"), HasSubstr("hachi_cpu_budget"),
                                     HasSubstr("hachi_requests_total{code=\"OK\",model=\"two\"")));
}

TEST_F(DaemonTest, ModelThatFailsLeavesTheOthersServedAndTheServerNotReady) {
  ASSERT_OK(Start({"broken", "fine"}));
  EXPECT_FALSE(daemon_->WaitForModels());
  EXPECT_FALSE(Ready());
  EXPECT_TRUE(Infer("fine").ok());
  const grpc::Status status = Infer("broken");
  EXPECT_EQ(status.error_code(), grpc::StatusCode::UNAVAILABLE);
  EXPECT_THAT(status.error_message(), HasSubstr("model.onnx: is damaged"));
}

TEST_F(DaemonTest, DrainTurnsReadinessOffServesMeanwhileAndFinishesWhatIsInFlight) {
  ASSERT_OK(Start({"one"}));
  ASSERT_TRUE(daemon_->WaitForModels());
  daemon_->BeginDrain();
  EXPECT_FALSE(Ready());
  EXPECT_TRUE(Infer("one").ok());

  model_->Block();
  std::thread client([&] { EXPECT_TRUE(Infer("one").ok()); });
  model_->WaitForRuns(2);
  std::thread release([&] { model_->Unblock(); });
  daemon_->Shutdown();
  client.join();
  release.join();
  EXPECT_EQ(Infer("one").error_code(), grpc::StatusCode::UNAVAILABLE);
}

TEST_F(DaemonTest, EndsWhileAModelStillLoads) {
  Gate load;
  before_load_ = [&] { load.Wait(); };
  ASSERT_OK(Start({"one", "two"}));
  std::thread finish([&] {
    WaitUntilCallsAreRefused();
    load.Open();
  });
  daemon_.reset();
  finish.join();
}

TEST_F(DaemonTest, AddressInUseIsAnError) {
  ASSERT_OK(Start({"one"}));
  Daemon::Options options;
  options.config.metrics_address = "127.0.0.1:0";
  options.config.grpc_address = daemon_->grpc_address();
  options.loader = [](const LoadOptions&) { return absl::InternalError("never called"); };
  options.new_context = [] { return std::make_unique<FakeRunContext>(); };
  EXPECT_THAT(Daemon::Start(options), StatusIs(StatusCode::kUnavailable, HasSubstr(daemon_->grpc_address())));
  options.config.grpc_address = "127.0.0.1:0";
  options.config.metrics_address = daemon_->metrics_address();
  EXPECT_THAT(Daemon::Start(options),
              StatusIs(StatusCode::kUnavailable, HasSubstr(daemon_->metrics_address())));
}

TEST(CountWorkersTest, AutoFillsTheBudgetWithWorkersOfOneThread) {
  const auto count = [](std::optional<int> workers, std::optional<int> threads, int budget) {
    ServerConfig config;
    config.workers = workers;
    config.threads_per_worker = threads;
    const auto counts = CountWorkers(config, budget);
    return counts.ok() ? absl::StrCat(counts->workers, "x", counts->threads_per_worker)
                       : counts.status().ToString();
  };
  EXPECT_EQ(count({}, {}, 24), "24x1");
  EXPECT_EQ(count({}, 4, 24), "6x4");
  EXPECT_EQ(count({}, 5, 24), "4x5");
  EXPECT_EQ(count(2, {}, 24), "2x12");
  EXPECT_EQ(count(3, 8, 24), "3x8");
  EXPECT_THAT(count(4, 8, 24), HasSubstr("4 workers of 8 threads, expected at most 24"));
  EXPECT_THAT(count(4, {}, 2), HasSubstr("expected at most 2"));
}

}  // namespace
}  // namespace hachi::server
