#pragma once

#include <grpcpp/grpcpp.h>
#include <gtest/gtest.h>

#include <filesystem>
#include <map>
#include <memory>
#include <optional>
#include <string>
#include <utility>
#include <vector>

#include "inference.grpc.pb.h"
#include "server/batching/batch_scheduler.h"
#include "server/executor/executor.h"
#include "server/metrics/metrics.h"
#include "server/models/model_registry.h"
#include "server/rpc/server.h"
#include "tests/support/fake_model.h"

namespace hachi::server {

// A model that a TestServer serves, version 1 unless `versions` says otherwise. One without a signature fails
// to load.
struct TestModel {
  std::string name;
  std::optional<Signature> signature;
  BatchingConfig batching = {.max_batch_rows = 4, .max_delay = absl::ZeroDuration(), .max_queue_rows = 8};
  std::vector<int64_t> versions = {1};
  std::map<std::string, OutputConfig> outputs = {};
  std::filesystem::path dir = {};
};

// A whole server around FakeModels: registry, scheduler, one worker and the gRPC front on a free port.
class TestServer {
 public:
  explicit TestServer(std::vector<TestModel> models, RpcServer::Options options = {})
      : registry_(RegistryOptions(std::move(models))),
        scheduler_({.inflight_bytes = options.inflight_bytes, .metrics = &metrics_.server()}),
        executor_(
            std::make_unique<Executor>(Executor::Options{.scheduler = &scheduler_, .new_context = [](Team) {
                                                           return std::make_unique<FakeRunContext>();
                                                         }})) {
    registry_.LoadAll();
    options.address = "127.0.0.1:0";
    options.registry = &registry_;
    options.scheduler = &scheduler_;
    options.metrics = &metrics_.server();
    auto server = RpcServer::Create(options);
    EXPECT_TRUE(server.ok()) << server.status();
    server_ = *std::move(server);
    channel_ = grpc::CreateChannel(server_->address(), grpc::InsecureChannelCredentials());
    stub_ = inference::GRPCInferenceService::NewStub(channel_);
  }

  ~TestServer() {
    for (auto& [name, model] : models_)
      if (registry_.Find(name, {}).ok()) model->Unblock();
    server_.reset();
    scheduler_.Stop();
    executor_.reset();
  }

  RpcServer& server() { return *server_; }
  FakeModel& model(const std::string& name) { return *models_.at(name); }
  ModelRegistry& registry() { return registry_; }
  const std::shared_ptr<grpc::Channel>& channel() { return channel_; }
  inference::GRPCInferenceService::Stub& stub() { return *stub_; }
  std::string metrics_text() const { return metrics_.Text(); }

  grpc::Status Infer(const inference::ModelInferRequest& request, inference::ModelInferResponse* response) {
    grpc::ClientContext context;
    return stub_->ModelInfer(&context, request, response);
  }

 private:
  ModelRegistry::Options RegistryOptions(std::vector<TestModel> models) {
    ModelRegistry::Options options;
    std::map<std::string, Signature> signatures;
    for (const TestModel& model : models) {
      ModelConfig config;
      config.name = model.name;
      config.batching = model.batching;
      config.outputs = model.outputs;
      config.dir = model.dir;
      for (const int64_t version : model.versions) config.versions.push_back({version, "model.onnx", ""});
      options.models.push_back(std::move(config));
      if (model.signature) signatures[model.name] = *model.signature;
    }
    options.loader = [this, signatures](const LoadOptions& load) -> absl::StatusOr<std::unique_ptr<Model>> {
      const auto signature = signatures.find(load.name);
      if (signature == signatures.end()) return absl::DataLossError("model.onnx: is damaged");
      auto model = std::make_unique<FakeModel>();
      model->set_signature(signature->second);
      models_[load.name] = model.get();
      return model;
    };
    options.metrics = &metrics_;
    return options;
  }

  Metrics metrics_;
  std::map<std::string, FakeModel*>
      models_;  // the newest of each name; the registry owns those that it serves
  ModelRegistry registry_;
  BatchScheduler scheduler_;
  std::unique_ptr<Executor> executor_;
  std::unique_ptr<RpcServer> server_;
  std::shared_ptr<grpc::Channel> channel_;
  std::unique_ptr<inference::GRPCInferenceService::Stub> stub_;
};

}  // namespace hachi::server
