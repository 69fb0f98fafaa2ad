#include "server/rpc/server.h"

#include <gmock/gmock.h>
#include <grpcpp/generic/generic_stub.h>
#include <gtest/gtest.h>

#include <chrono>
#include <cstring>
#include <filesystem>
#include <future>
#include <string>
#include <thread>
#include <vector>

#include "absl/strings/str_cat.h"
#include "engine/tensor/tensor.h"
#include "proto/datatype.h"
#include "server/client/client.h"
#include "tests/net/sockets.h"
#include "tests/rpc/test_server.h"
#include "tests/support/status_matchers.h"
#include "tests/support/temp_dir.h"

namespace hachi::server {
namespace {

using ::testing::AllOf;
using ::testing::AnyOf;
using ::testing::ElementsAre;
using ::testing::HasSubstr;

// One f32 input "x" [2], outputs "y" f32 [1] and "z" u8 [3].
Signature Small() {
  return {.inputs = {{"x", DType::kF32, {2}}},
          .outputs = {{"y", DType::kF32, {1}}, {"z", DType::kU8, {3}}},
          .batched = true};
}

// `rows` rows of 8 bytes; the bytes of row i are i + 1, so those of its answer are 8 × (i + 1).
inference::ModelInferRequest SmallRequest(int rows = 1) {
  inference::ModelInferRequest request;
  request.set_model_name("small");
  request.set_id("id-1");
  auto* input = request.add_inputs();
  input->set_name("x");
  input->set_datatype("FP32");
  input->add_shape(rows);
  input->add_shape(2);
  std::string* raw = request.add_raw_input_contents();
  for (int i = 0; i < rows; ++i) raw->append(8, static_cast<char>(i + 1));
  return request;
}

// Waits until the metrics page has `line`; the test's time limit bounds it.
void WaitForMetric(const TestServer& server, const std::string& line) {
  while (server.metrics_text().find(line) == std::string::npos) std::this_thread::yield();
}

grpc::ByteBuffer BufferOf(const std::string& bytes) {
  const grpc::Slice slice(bytes);
  return grpc::ByteBuffer(&slice, 1);
}

std::string TextOf(const grpc::ByteBuffer& buffer) {
  grpc::Slice slice;
  EXPECT_TRUE(buffer.DumpToSingleSlice(&slice).ok());
  return std::string(reinterpret_cast<const char*>(slice.begin()), slice.size());
}

// A call of bytes and of a method by name, one operation at a time. Unary methods are streams of one message.
class RawCall {
 public:
  RawCall(const std::shared_ptr<grpc::Channel>& channel, const std::string& method)
      : stub_(channel), stream_(stub_.PrepareCall(&context_, method, &queue_)) {
    stream_->StartCall(this);
    Wait();
  }
  ~RawCall() {
    context_.TryCancel();
    queue_.Shutdown();
    void* tag;
    bool ok;
    while (queue_.Next(&tag, &ok)) {
    }
  }

  void Write(const std::string& bytes, bool last = true) {
    stream_->Write(BufferOf(bytes), grpc::WriteOptions(), this);
    Wait();
    if (!last) return;
    stream_->WritesDone(this);
    Wait();
  }
  // The next message; nothing at the end.
  std::optional<std::string> Read() {
    grpc::ByteBuffer buffer;
    stream_->Read(&buffer, this);
    if (!Wait()) return std::nullopt;
    return TextOf(buffer);
  }
  grpc::Status Finish() {
    grpc::Status status;
    stream_->Finish(&status, this);
    Wait();
    return status;
  }
  grpc::ClientContext& context() { return context_; }

 private:
  bool Wait() {
    void* tag;
    bool ok = false;
    queue_.Next(&tag, &ok);
    return ok;
  }

  grpc::ClientContext context_;
  grpc::CompletionQueue queue_;
  grpc::GenericStub stub_;
  std::unique_ptr<grpc::GenericClientAsyncReaderWriter> stream_;
};

grpc::Status CallRaw(TestServer& server, const std::string& method, const std::string& bytes) {
  RawCall call(server.channel(), "/inference.GRPCInferenceService/" + method);
  call.Write(bytes);
  call.Read();
  return call.Finish();
}

// ModelInfer in the background.
class AsyncInfer {
 public:
  AsyncInfer(TestServer& server, inference::ModelInferRequest request,
             absl::Duration deadline = absl::InfiniteDuration())
      : request_(std::move(request)) {
    if (deadline < absl::InfiniteDuration())
      context_.set_deadline(absl::ToChronoTime(absl::Now() + deadline));
    server.stub().async()->ModelInfer(&context_, &request_, &response_,
                                      [this](grpc::Status status) { status_.set_value(std::move(status)); });
  }
  grpc::Status Wait() { return status_.get_future().get(); }
  grpc::ClientContext& context() { return context_; }
  const inference::ModelInferResponse& response() const { return response_; }

 private:
  const inference::ModelInferRequest request_;
  grpc::ClientContext context_;
  inference::ModelInferResponse response_;
  std::promise<grpc::Status> status_;
};

TEST(RpcServerTest, LiveAtOnceReadyWhenToldSo) {
  TestServer server({{.name = "small", .signature = Small()}});
  grpc::ClientContext live_context, before_context, after_context;
  inference::ServerLiveResponse live;
  ASSERT_TRUE(server.stub().ServerLive(&live_context, {}, &live).ok());
  EXPECT_TRUE(live.live());
  inference::ServerReadyResponse ready;
  ASSERT_TRUE(server.stub().ServerReady(&before_context, {}, &ready).ok());
  EXPECT_FALSE(ready.ready());
  server.server().SetServing(true);
  ASSERT_TRUE(server.stub().ServerReady(&after_context, {}, &ready).ok());
  EXPECT_TRUE(ready.ready());
}

TEST(RpcServerTest, ModelReadyIsAnErrorThatSaysWhyNot) {
  TestServer server({{.name = "small", .signature = Small()}, {.name = "broken", .signature = {}}});
  const auto ask = [&](const std::string& name, const std::string& version) {
    grpc::ClientContext context;
    inference::ModelReadyRequest request;
    request.set_name(name);
    request.set_version(version);
    inference::ModelReadyResponse response;
    const grpc::Status status = server.stub().ModelReady(&context, request, &response);
    EXPECT_EQ(response.ready(), status.ok());
    return status;
  };
  EXPECT_TRUE(ask("small", "").ok());
  EXPECT_TRUE(ask("small", "1").ok());
  EXPECT_EQ(ask("small", "2").error_code(), grpc::NOT_FOUND);
  EXPECT_EQ(ask("small", "one").error_code(), grpc::INVALID_ARGUMENT);
  EXPECT_EQ(ask("none", "").error_code(), grpc::NOT_FOUND);
  EXPECT_EQ(ask("broken", "").error_code(), grpc::UNAVAILABLE);
  EXPECT_THAT(ask("broken", "").error_message(), HasSubstr("is damaged"));
}

TEST(RpcServerTest, ServerMetadataAdvertisesOnlyWhatIsOffered) {
  TestServer server({});
  grpc::ClientContext context;
  inference::ServerMetadataResponse metadata;
  ASSERT_TRUE(server.stub().ServerMetadata(&context, {}, &metadata).ok());
  EXPECT_EQ(metadata.name(), "hachi");
  EXPECT_THAT(metadata.extensions(),
              ElementsAre("binary_tensor_data", "model_configuration", "parameters", "statistics"));
}

TEST(RpcServerTest, MetadataAndConfigDescribeTheSameModel) {
  TestServer server({{.name = "small", .signature = Small(), .versions = {1, 3}}});
  grpc::ClientContext metadata_context, config_context;
  inference::ModelMetadataRequest metadata_request;
  metadata_request.set_name("small");
  inference::ModelMetadataResponse metadata;
  ASSERT_TRUE(server.stub().ModelMetadata(&metadata_context, metadata_request, &metadata).ok());
  EXPECT_EQ(metadata.name(), "small");
  EXPECT_EQ(metadata.platform(), "onnx_onnxv1");
  EXPECT_THAT(metadata.versions(), ElementsAre("1", "3"));
  ASSERT_EQ(metadata.inputs_size(), 1);
  EXPECT_EQ(metadata.inputs(0).datatype(), "FP32");
  EXPECT_THAT(metadata.inputs(0).shape(), ElementsAre(-1, 2));
  ASSERT_EQ(metadata.outputs_size(), 2);
  EXPECT_EQ(metadata.outputs(1).name(), "z");
  EXPECT_EQ(metadata.outputs(1).datatype(), "UINT8");
  EXPECT_THAT(metadata.outputs(1).shape(), ElementsAre(-1, 3));

  inference::ModelConfigRequest config_request;
  config_request.set_name("small");
  inference::ModelConfigResponse config;
  ASSERT_TRUE(server.stub().ModelConfig(&config_context, config_request, &config).ok());
  EXPECT_EQ(config.config().name(), "small");
  EXPECT_EQ(config.config().max_batch_size(), 4);
  EXPECT_EQ(config.config().input(0).data_type(), inference::TYPE_FP32);
  EXPECT_THAT(config.config().input(0).dims(), ElementsAre(2));
  EXPECT_EQ(config.config().output(1).data_type(), inference::TYPE_UINT8);
  EXPECT_EQ(config.config().dynamic_batching().default_queue_policy().max_queue_size(), 8u);
}

TEST(RpcServerTest, OneVersionIsDescribedWhenItIsNamed) {
  TestServer server({{.name = "small", .signature = Small(), .versions = {1, 3}}});
  grpc::ClientContext context;
  inference::ModelMetadataRequest request;
  request.set_name("small");
  request.set_version("1");
  inference::ModelMetadataResponse metadata;
  ASSERT_TRUE(server.stub().ModelMetadata(&context, request, &metadata).ok());
  EXPECT_THAT(metadata.versions(), ElementsAre("1"));
}

TEST(RpcServerTest, StatisticsCountRequestsRowsAndBatches) {
  TestServer server({{.name = "small", .signature = Small()}});
  inference::ModelInferResponse answer;
  ASSERT_TRUE(server.Infer(SmallRequest(1), &answer).ok());
  ASSERT_TRUE(server.Infer(SmallRequest(3), &answer).ok());
  inference::ModelInferRequest bad = SmallRequest();
  bad.mutable_inputs(0)->set_datatype("FP64");
  ASSERT_FALSE(server.Infer(bad, &answer).ok());

  for (const std::string name : {"", "small"}) {
    grpc::ClientContext context;
    inference::ModelStatisticsRequest request;
    request.set_name(name);
    inference::ModelStatisticsResponse response;
    ASSERT_TRUE(server.stub().ModelStatistics(&context, request, &response).ok());
    ASSERT_EQ(response.model_stats_size(), 1);
    const inference::ModelStatistics& statistics = response.model_stats(0);
    EXPECT_EQ(statistics.name(), "small");
    EXPECT_EQ(statistics.version(), "1");
    EXPECT_EQ(statistics.inference_count(), 4u);
    EXPECT_EQ(statistics.execution_count(), 2u);
    EXPECT_EQ(statistics.inference_stats().success().count(), 2u);
    EXPECT_EQ(statistics.inference_stats().fail().count(), 1u);
    EXPECT_EQ(statistics.inference_stats().queue().count(), 2u);
    EXPECT_EQ(statistics.inference_stats().compute_input().count(), 2u);
    EXPECT_EQ(statistics.inference_stats().compute_infer().count(), 2u);
    EXPECT_EQ(statistics.inference_stats().compute_output().count(), 2u);
    ASSERT_EQ(statistics.batch_stats_size(), 2);
    EXPECT_EQ(statistics.batch_stats(1).batch_size(), 3u);
    EXPECT_EQ(statistics.batch_stats(1).compute_infer().count(), 1u);
    EXPECT_GT(statistics.last_inference(), 0u);
  }
}

TEST(RpcServerTest, MethodsThatAreNotOfferedSaySo) {
  TestServer server({});
  for (const char* method :
       {"ModelStreamInfer", "RepositoryIndex", "RepositoryModelLoad", "RepositoryModelUnload",
        "SystemSharedMemoryStatus", "SystemSharedMemoryRegister", "SystemSharedMemoryUnregister",
        "CudaSharedMemoryStatus", "CudaSharedMemoryRegister", "CudaSharedMemoryUnregister", "TraceSetting",
        "LogSettings"}) {
    const grpc::Status status = CallRaw(server, method, "");
    EXPECT_EQ(status.error_code(), grpc::UNIMPLEMENTED) << method;
    EXPECT_THAT(status.error_message(), HasSubstr(";")) << method;
  }
}

TEST(RpcServerTest, MalformedBytesAreInvalidArguments) {
  TestServer server({});
  for (const char* method : {"ModelInfer", "ServerLive", "ServerReady", "ModelReady", "ServerMetadata",
                             "ModelMetadata", "ModelConfig", "ModelStatistics"}) {
    const grpc::Status status = CallRaw(server, method, "\x0A\x7F");
    EXPECT_EQ(status.error_code(), grpc::INVALID_ARGUMENT) << method;
    EXPECT_THAT(status.error_message(), HasSubstr("malformed")) << method;
  }
}

TEST(ModelInferTest, AnswerNamesModelVersionIdAndEveryOutput) {
  TestServer server({{.name = "small", .signature = Small(), .versions = {1, 3}}});
  inference::ModelInferResponse answer;
  ASSERT_TRUE(server.Infer(SmallRequest(2), &answer).ok());
  EXPECT_EQ(answer.model_name(), "small");
  EXPECT_EQ(answer.model_version(), "3");
  EXPECT_EQ(answer.id(), "id-1");
  ASSERT_EQ(answer.outputs_size(), 2);
  ASSERT_EQ(answer.raw_output_contents_size(), 2);
  EXPECT_EQ(answer.outputs(0).name(), "y");
  EXPECT_EQ(answer.outputs(0).datatype(), "FP32");
  EXPECT_THAT(answer.outputs(0).shape(), ElementsAre(2, 1));
  EXPECT_EQ(answer.raw_output_contents(0), std::string(4, 8) + std::string(4, 16));
  EXPECT_EQ(answer.outputs(1).name(), "z");
  EXPECT_THAT(answer.outputs(1).shape(), ElementsAre(2, 3));
  EXPECT_EQ(answer.raw_output_contents(1), std::string(3, 8) + std::string(3, 16));
}

TEST(ModelInferTest, VersionCanBeChosen) {
  TestServer server({{.name = "small", .signature = Small(), .versions = {1, 3}}});
  inference::ModelInferRequest request = SmallRequest();
  request.set_model_version("1");
  inference::ModelInferResponse answer;
  ASSERT_TRUE(server.Infer(request, &answer).ok());
  EXPECT_EQ(answer.model_version(), "1");
}

TEST(ModelInferTest, OutputsComeInTheRequestedOrder) {
  TestServer server({{.name = "small", .signature = Small()}});
  inference::ModelInferRequest request = SmallRequest();
  request.add_outputs()->set_name("z");
  request.add_outputs()->set_name("y");
  inference::ModelInferResponse answer;
  ASSERT_TRUE(server.Infer(request, &answer).ok());
  ASSERT_EQ(answer.outputs_size(), 2);
  EXPECT_EQ(answer.outputs(0).name(), "z");
  EXPECT_EQ(answer.raw_output_contents(0).size(), 3u);
  EXPECT_EQ(answer.outputs(1).name(), "y");
  EXPECT_EQ(answer.raw_output_contents(1).size(), 4u);

  request.mutable_outputs()->RemoveLast();
  ASSERT_TRUE(server.Infer(request, &answer).ok());
  ASSERT_EQ(answer.outputs_size(), 1);
  EXPECT_EQ(answer.outputs(0).name(), "z");
  ASSERT_EQ(answer.raw_output_contents_size(), 1);
}

TEST(ModelInferTest, ModelWithoutBatchTakesItsExactShape) {
  TestServer server(
      {{.name = "small",
        .signature = Signature{
            .inputs = {{"x", DType::kF32, {2}}}, .outputs = {{"y", DType::kF32, {1}}}, .batched = false}}});
  inference::ModelInferRequest request = SmallRequest();
  inference::ModelInferResponse answer;
  EXPECT_THAT(server.Infer(request, &answer).error_message(),
              HasSubstr("shape has 2 dimensions, expected 1: [2]"));
  request.mutable_inputs(0)->mutable_shape()->RemoveLast();
  request.mutable_inputs(0)->set_shape(0, 2);
  ASSERT_TRUE(server.Infer(request, &answer).ok());
  EXPECT_THAT(answer.outputs(0).shape(), ElementsAre(1));
}

// Typed elements of each datatype that has a field, all 1, and the same as raw bytes.
void AddTypedOne(DType dtype, inference::InferTensorContents& contents) {
  switch (dtype) {
    case DType::kBool:
      return contents.add_bool_contents(true);
    case DType::kS8:
    case DType::kS16:
    case DType::kS32:
      return contents.add_int_contents(1);
    case DType::kS64:
      return contents.add_int64_contents(1);
    case DType::kU8:
    case DType::kU16:
    case DType::kU32:
      return contents.add_uint_contents(1);
    case DType::kU64:
      return contents.add_uint64_contents(1);
    case DType::kF32:
      return contents.add_fp32_contents(1);
    case DType::kF64:
      return contents.add_fp64_contents(1);
    case DType::kF16:
    case DType::kBF16:
      return;
  }
}
std::string RawOnes(DType dtype, int count) {
  std::string raw;
  VisitDType(dtype, [&](auto zero) {
    std::array<decltype(zero), 1> one = {static_cast<decltype(zero)>(1)};
    for (int i = 0; i < count; ++i) raw.append(reinterpret_cast<const char*>(one.data()), sizeof(zero));
  });
  // 1.0 in the two that have no C++ type.
  if (dtype == DType::kF16)
    for (int i = 0; i < count; ++i) raw.append("\x00\x3C", 2);
  if (dtype == DType::kBF16)
    for (int i = 0; i < count; ++i) raw.append("\x80\x3F", 2);
  return raw;
}

TEST(ModelInferTest, EveryDatatypeGoesRawAndTyped) {
  std::vector<TestModel> models;
  for (const auto& [dtype, name] : kWireNames)
    models.push_back({.name = std::string(name),
                      .signature = Signature{.inputs = {{"x", dtype, {3}}}, .outputs = {{"y", dtype, {1}}}}});
  TestServer server(models);
  for (const auto& [dtype, name] : kWireNames) {
    inference::ModelInferRequest raw;
    raw.set_model_name(std::string(name));
    auto* input = raw.add_inputs();
    input->set_name("x");
    input->set_datatype(std::string(name));
    input->add_shape(2);
    input->add_shape(3);
    inference::ModelInferRequest typed = raw;
    const std::string bytes = RawOnes(dtype, 6);
    raw.add_raw_input_contents(bytes);
    inference::ModelInferResponse raw_answer, typed_answer;
    ASSERT_TRUE(server.Infer(raw, &raw_answer).ok()) << name;
    EXPECT_EQ(raw_answer.outputs(0).datatype(), name);
    char sum = 0;
    for (size_t i = 0; i < bytes.size() / 2; ++i) sum = static_cast<char>(sum + bytes[i]);
    EXPECT_EQ(raw_answer.raw_output_contents(0), std::string(2 * SizeOf(dtype), sum)) << name;

    for (int i = 0; i < 6; ++i) AddTypedOne(dtype, *typed.mutable_inputs(0)->mutable_contents());
    const grpc::Status status = server.Infer(typed, &typed_answer);
    if (dtype == DType::kF16 || dtype == DType::kBF16) {
      EXPECT_EQ(status.error_code(), grpc::INVALID_ARGUMENT) << name;
      continue;
    }
    ASSERT_TRUE(status.ok()) << name << ": " << status.error_message();
    EXPECT_EQ(typed_answer.raw_output_contents(0), raw_answer.raw_output_contents(0)) << name;
  }
}

TEST(ModelInferTest, ParametersThatClientsSendAreTaken) {
  TestServer server({{.name = "small", .signature = Small()}});
  inference::ModelInferRequest request = SmallRequest();
  auto& parameters = *request.mutable_parameters();
  parameters["priority"].set_uint64_param(1);
  parameters["timeout"].set_int64_param(60'000'000);
  parameters["triton_enable_empty_final_response"].set_bool_param(true);
  parameters["content_type"].set_string_param("np");
  inference::ModelInferResponse answer;
  EXPECT_TRUE(server.Infer(request, &answer).ok());
  parameters["priority"].set_int64_param(0);
  EXPECT_TRUE(server.Infer(request, &answer).ok());
}

TEST(ModelInferTest, ExpiredInTheQueueIsNeverComputed) {
  TestServer server({{.name = "small", .signature = Small()}});
  FakeModel& model = server.model("small");
  model.Block();
  AsyncInfer running(server, SmallRequest());
  model.WaitForRuns(1);
  // Long enough to arrive on a busy machine: one that expires on its way is never counted.
  AsyncInfer late(server, SmallRequest(), absl::Milliseconds(200));
  EXPECT_EQ(late.Wait().error_code(), grpc::DEADLINE_EXCEEDED);
  // The client's deadline is the earlier by what the request travelled, and its cancellation may come first.
  const auto refused = [&](const char* reason) {
    return server.metrics_text().find(absl::StrCat("reason=\"", reason, "\",version=\"1\"} 1")) !=
           std::string::npos;
  };
  while (!refused("deadline") && !refused("cancelled")) std::this_thread::yield();
  model.Unblock();
  EXPECT_TRUE(running.Wait().ok());
  EXPECT_EQ(model.rows_computed(), 1);
}

TEST(ModelInferTest, TimeoutParameterShortensTheDeadline) {
  TestServer server({{.name = "small", .signature = Small()}});
  FakeModel& model = server.model("small");
  model.Block();
  AsyncInfer running(server, SmallRequest());
  model.WaitForRuns(1);
  inference::ModelInferRequest request = SmallRequest();
  (*request.mutable_parameters())["timeout"].set_int64_param(1000);
  AsyncInfer late(server, request);
  WaitForMetric(server, "hachi_queue_rows{model=\"small\",version=\"1\"} 1");
  std::this_thread::sleep_for(std::chrono::milliseconds(2));  // longer than the timeout
  model.Unblock();
  const grpc::Status status = late.Wait();
  EXPECT_EQ(status.error_code(), grpc::DEADLINE_EXCEEDED);
  EXPECT_THAT(status.error_message(), HasSubstr("the deadline passed before the request ran"));
  EXPECT_TRUE(running.Wait().ok());
  EXPECT_EQ(model.rows_computed(), 1);
}

TEST(ModelInferTest, CancelledInTheQueueIsNeverComputed) {
  TestServer server({{.name = "small", .signature = Small()}});
  FakeModel& model = server.model("small");
  model.Block();
  AsyncInfer running(server, SmallRequest());
  model.WaitForRuns(1);
  AsyncInfer queued(server, SmallRequest());
  WaitForMetric(server, "hachi_queue_rows{model=\"small\",version=\"1\"} 1");
  queued.context().TryCancel();
  EXPECT_EQ(queued.Wait().error_code(), grpc::CANCELLED);
  WaitForMetric(server, R"(reason="cancelled",version="1"} 1)");
  model.Unblock();
  EXPECT_TRUE(running.Wait().ok());
  EXPECT_EQ(model.rows_computed(), 1);
}

// A frame of HTTP/2.
std::string Frame(char type, char flags, char stream, const std::string& payload) {
  const auto byte = [&](int shift) { return static_cast<char>(payload.size() >> shift & 0xFF); };
  return std::string({byte(16), byte(8), byte(0), type, flags, 0, 0, 0, stream}) + payload;
}

// A header as HPACK has it, neither compressed nor remembered.
std::string Header(const std::string& name, const std::string& value) {
  return std::string(1, '\0') + static_cast<char>(name.size()) + name + static_cast<char>(value.size()) +
         value;
}

TEST(ModelInferTest, CancelledBeforeItsMessageCountsAsCancelled) {
  TestServer server({{.name = "small", .signature = Small()}});
  const ClientSocket client(server.server().address());
  client.Send("PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n" + Frame(/*SETTINGS*/ 4, 0, 0, "") +
              Frame(/*HEADERS*/ 1, /*END_HEADERS*/ 4, 1,
                    Header(":method", "POST") + Header(":scheme", "http") +
                        Header(":path", "/inference.GRPCInferenceService/ModelInfer") +
                        Header(":authority", "x") + Header("te", "trailers") +
                        Header("content-type", "application/grpc")) +
              Frame(/*RST_STREAM*/ 3, 0, 1, {0, 0, 0, /*CANCEL*/ 8}));
  WaitForMetric(server, "hachi_requests_total{code=\"CANCELLED\",model=\"\",version=\"\"} 1");
  EXPECT_THAT(server.metrics_text(),
              HasSubstr("hachi_requests_total{code=\"INVALID_ARGUMENT\",model=\"\",version=\"\"} 0"));
}

TEST(ModelInferTest, PingsInGreatNumbersKeepNobodyFromAnswers) {
  TestServer server({{.name = "small", .signature = Small()}});
  const std::string ping = Frame(/*PING*/ 6, 0, 0, std::string(8, 'x'));
  std::string pings;
  for (int i = 0; i < 60'000; ++i) pings += ping;
  std::vector<ClientSocket> clients;
  for (int i = 0; i < 4; ++i) {
    clients.emplace_back(server.server().address());
    clients.back().Send("PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n" + Frame(/*SETTINGS*/ 4, 0, 0, "") + pings);
  }
  inference::ModelInferResponse answer;
  grpc::ClientContext context;
  context.set_deadline(std::chrono::system_clock::now() + std::chrono::seconds(10));
  const inference::ModelInferRequest request = SmallRequest();
  const grpc::Status status = server.stub().ModelInfer(&context, request, &answer);
  EXPECT_TRUE(status.ok()) << status.error_message();
}

TEST(RpcServerTest, ConnectionOfAgeIsReplacedAndNoCallFails) {
  TestServer server({{.name = "small", .signature = Small()}}, {.connection_age = absl::Milliseconds(50)});
  const auto connections_came = [&](int count) {
    return server.metrics_text().find(absl::StrCat("hachi_connections_accepted_total ", count)) !=
           std::string::npos;
  };
  while (!connections_came(3)) {
    inference::ModelInferResponse answer;
    const grpc::Status status = server.Infer(SmallRequest(), &answer);
    ASSERT_TRUE(status.ok()) << status.error_message();
  }
}

TEST(ModelInferTest, TypedElementsCountAsTheBytesThatTheyBecome) {
  const Signature tokens = {.inputs = {{"x", DType::kS64, {50'000}}}, .outputs = {{"y", DType::kU8, {1}}}};
  TestServer server({{.name = "tokens", .signature = tokens}}, {.inflight_bytes = 1'000'000});
  const auto ask = [&](int rows) {
    inference::ModelInferRequest request;
    request.set_model_name("tokens");
    auto* input = request.add_inputs();
    input->set_name("x");
    input->set_datatype("INT64");
    input->add_shape(rows);
    input->add_shape(50'000);
    input->mutable_contents()->mutable_int64_contents()->Resize(rows * 50'000, 1);
    EXPECT_LT(request.ByteSizeLong(), 200'000u);
    inference::ModelInferResponse answer;
    return server.Infer(request, &answer);
  };
  EXPECT_TRUE(ask(2).ok());
  const grpc::Status status = ask(3);
  EXPECT_EQ(status.error_code(), grpc::RESOURCE_EXHAUSTED);
  EXPECT_THAT(status.error_message(), HasSubstr("1200000 came, expected at most 1000000"));
  WaitForMetric(server, "hachi_inflight_bytes 0\n");
  EXPECT_TRUE(ask(2).ok());
}

TEST(ModelInferTest, FullQueueIsRefusedWithAPushback) {
  TestServer server({{.name = "small", .signature = Small()}});
  FakeModel& model = server.model("small");
  model.Block();
  AsyncInfer running(server, SmallRequest());
  model.WaitForRuns(1);
  AsyncInfer second(server, SmallRequest(4)), third(server, SmallRequest(4));
  WaitForMetric(server, "hachi_queue_rows{model=\"small\",version=\"1\"} 8");
  AsyncInfer refused(server, SmallRequest());
  const grpc::Status status = refused.Wait();
  EXPECT_EQ(status.error_code(), grpc::RESOURCE_EXHAUSTED);
  EXPECT_EQ(refused.context().GetServerTrailingMetadata().count("grpc-retry-pushback-ms"), 1u);
  model.Unblock();
  EXPECT_TRUE(running.Wait().ok());
  EXPECT_TRUE(second.Wait().ok());
  EXPECT_TRUE(third.Wait().ok());
}

TEST(ModelInferTest, ModelThatFailsIsInternal) {
  TestServer server({{.name = "small", .signature = Small()}});
  server.model("small").FailWith(absl::InternalError("kernel failed"));
  inference::ModelInferResponse answer;
  const grpc::Status status = server.Infer(SmallRequest(), &answer);
  EXPECT_EQ(status.error_code(), grpc::INTERNAL);
  EXPECT_THAT(status.error_message(), HasSubstr("kernel failed"));
}

TEST(ModelInferTest, RequestsAreCountedByModelVersionAndCode) {
  TestServer server({{.name = "small", .signature = Small()}});
  inference::ModelInferResponse answer;
  ASSERT_TRUE(server.Infer(SmallRequest(), &answer).ok());
  inference::ModelInferRequest bad = SmallRequest();
  bad.clear_raw_input_contents();
  ASSERT_FALSE(server.Infer(bad, &answer).ok());
  bad.set_model_name("none");
  ASSERT_FALSE(server.Infer(bad, &answer).ok());
  EXPECT_THAT(server.metrics_text(),
              AllOf(HasSubstr(R"(hachi_requests_total{code="OK",model="small",version="1"} 1)"),
                    HasSubstr(R"(hachi_requests_total{code="INVALID_ARGUMENT",model="small",version="1"} 1)"),
                    HasSubstr(R"(hachi_requests_total{code="NOT_FOUND",model="",version=""} 1)")));
}

TEST(ModelInferTest, MessageOverTheLimitIsResourceExhausted) {
  TestServer server({{.name = "small", .signature = Small()}}, {.max_message_bytes = 1000});
  inference::ModelInferRequest request = SmallRequest();
  inference::ModelInferResponse answer;
  EXPECT_TRUE(server.Infer(request, &answer).ok());
  request.set_id(std::string(1000, 'i'));
  EXPECT_EQ(server.Infer(request, &answer).error_code(), grpc::RESOURCE_EXHAUSTED);
}

TEST(ModelInferTest, CompressedRequestsAreRefused) {
  TestServer server({{.name = "small", .signature = Small()}});
  grpc::ClientContext context;
  context.set_compression_algorithm(GRPC_COMPRESS_GZIP);
  inference::ModelInferRequest request = SmallRequest();
  request.set_id(std::string(10'000, 'i'));  // worth compressing
  inference::ModelInferResponse answer;
  const grpc::Status status = server.stub().ModelInfer(&context, request, &answer);
  EXPECT_EQ(status.error_code(), grpc::UNIMPLEMENTED);
  EXPECT_THAT(status.error_message(), HasSubstr("gzip"));
}

constexpr char kCheck[] = "/grpc.health.v1.Health/Check";
constexpr char kWatch[] = "/grpc.health.v1.Health/Watch";

// Messages of grpc.health.v1: field 1 of the request is the service, field 1 of the answer the status.
std::string HealthQuestion(const std::string& service) {
  return service.empty() ? "" : "\x0A" + std::string(1, static_cast<char>(service.size())) + service;
}
const std::string kServing("\x08\x01"), kNotServing("\x08\x02");

TEST(HealthTest, CheckKnowsTheServerAndEveryModel) {
  TestServer server({{.name = "small", .signature = Small()}});
  const auto check = [&](const std::string& service) {
    RawCall call(server.channel(), kCheck);
    call.Write(HealthQuestion(service));
    const auto answer = call.Read();
    const grpc::Status status = call.Finish();
    return status.ok() ? *answer : status.error_message() + std::to_string(status.error_code());
  };
  EXPECT_EQ(check("liveness"), kServing);
  EXPECT_EQ(check(""), kNotServing);
  EXPECT_EQ(check("small"), kNotServing);
  server.server().SetServing("small", true);
  EXPECT_EQ(check(""), kNotServing);
  EXPECT_EQ(check("small"), kServing);
  server.server().SetServing(true);
  EXPECT_EQ(check(""), kServing);
  EXPECT_THAT(check("none"), HasSubstr(std::to_string(grpc::NOT_FOUND)));
}

TEST(HealthTest, WatchIsToldOfEveryChange) {
  TestServer server({{.name = "small", .signature = Small()}});
  RawCall watch(server.channel(), kWatch);
  watch.Write(HealthQuestion("small"));
  EXPECT_EQ(watch.Read(), kNotServing);
  server.server().SetServing("small", true);
  EXPECT_EQ(watch.Read(), kServing);
  server.server().SetServing("small", false);
  EXPECT_EQ(watch.Read(), kNotServing);
}

TEST(ReflectionTest, ListsTheServicesAndFindsTheirFiles) {
  TestServer server({});
  RawCall call(server.channel(), "/grpc.reflection.v1alpha.ServerReflection/ServerReflectionInfo");
  call.Write("\x3A\x01*", /*last=*/false);  // list_services = 7
  const auto services = call.Read();
  ASSERT_TRUE(services);
  EXPECT_THAT(*services,
              AllOf(HasSubstr("inference.GRPCInferenceService"), HasSubstr("grpc.health.v1.Health")));
  call.Write("\x22\x1Einference.GRPCInferenceService", /*last=*/false);  // file_containing_symbol = 4
  const auto file = call.Read();
  ASSERT_TRUE(file);
  EXPECT_THAT(*file, HasSubstr("inference.proto"));
  call.Write("\x22\x15grpc.health.v1.Health");
  const auto health_file = call.Read();
  ASSERT_TRUE(health_file);
  EXPECT_THAT(*health_file, HasSubstr("health.proto"));
  EXPECT_TRUE(call.Finish().ok());
}

TEST(ReflectionTest, QuestionsWithoutAnAnswerGetAnError) {
  TestServer server({});
  RawCall call(server.channel(), "/grpc.reflection.v1alpha.ServerReflection/ServerReflectionInfo");
  for (const char* question : {"\x22\x04none", "\x1A\x04none", "\x32\x04none", ""}) {
    call.Write(question, /*last=*/false);
    const auto answer = call.Read();
    ASSERT_TRUE(answer);
    EXPECT_THAT(*answer, AnyOf(HasSubstr("not found"), HasSubstr("no such"), HasSubstr("no question")));
  }
}

TEST(ReflectionTest, IdleStreamsHoldNoThreads) {
  TestServer server({});
  const auto threads = [] {
    const std::filesystem::directory_iterator tasks("/proc/self/task");
    return std::distance(begin(tasks), end(tasks));
  };
  std::vector<std::unique_ptr<RawCall>> calls;
  const auto open = [&] {
    calls.push_back(std::make_unique<RawCall>(
        server.channel(), "/grpc.reflection.v1alpha.ServerReflection/ServerReflectionInfo"));
    calls.back()->Write("\x3A\x01*", /*last=*/false);
    EXPECT_TRUE(calls.back()->Read());
  };
  for (int i = 0; i < 4; ++i) open();
  const auto before = threads();
  for (int i = 0; i < 40; ++i) open();
  EXPECT_LT(threads(), before + 10);
}

TEST(ReflectionTest, IsAnOption) {
  TestServer server({}, {.reflection = false});
  RawCall call(server.channel(), "/grpc.reflection.v1alpha.ServerReflection/ServerReflectionInfo");
  call.Write("\x3A\x01*");
  EXPECT_EQ(call.Finish().error_code(), grpc::UNIMPLEMENTED);
}

TEST(ShutdownTest, InferencesInFlightAreAnsweredAndNewOnesRefused) {
  TestServer server({{.name = "small", .signature = Small()}});
  FakeModel& model = server.model("small");
  server.server().SetServing(true);
  model.Block();
  AsyncInfer running(server, SmallRequest());
  model.WaitForRuns(1);
  RawCall watch(server.channel(), kWatch);
  watch.Write(HealthQuestion(""));
  EXPECT_EQ(watch.Read(), kServing);

  std::thread shutdown([&] { server.server().Shutdown(absl::Seconds(60)); });
  EXPECT_EQ(watch.Read(), kNotServing);
  model.Unblock();
  EXPECT_TRUE(running.Wait().ok());
  const absl::Time answered = absl::Now();
  shutdown.join();
  EXPECT_LT(absl::Now() - answered, absl::Seconds(10));  // the watcher does not hold it up
  inference::ModelInferResponse answer;
  EXPECT_EQ(server.Infer(SmallRequest(), &answer).error_code(), grpc::UNAVAILABLE);
}

TEST(ShutdownTest, DeadlineEndsWhatIsStillInFlight) {
  TestServer server({{.name = "small", .signature = Small()}});
  FakeModel& model = server.model("small");
  model.Block();
  AsyncInfer running(server, SmallRequest());
  model.WaitForRuns(1);
  AsyncInfer queued(server, SmallRequest());
  WaitForMetric(server, "hachi_queue_rows{model=\"small\",version=\"1\"} 1");
  std::thread shutdown([&] { server.server().Shutdown(absl::Milliseconds(10)); });
  EXPECT_FALSE(queued.Wait().ok());
  EXPECT_FALSE(running.Wait().ok());
  WaitForMetric(server, "hachi_queue_rows{model=\"small\",version=\"1\"} 0");
  model.Unblock();
  shutdown.join();
  EXPECT_EQ(model.rows_computed(), 1);
}

TEST(ListenTest, TakenAndImpossibleAddressesAreErrors) {
  TestServer server({});
  Metrics metrics;
  ModelRegistry registry({.models = {}, .loader = {}, .metrics = &metrics});
  BatchScheduler scheduler({.metrics = &metrics.server()});
  const auto listen = [&](const std::string& address, int64_t max_message_bytes = 1 << 20) {
    return RpcServer::Create({.address = address,
                              .registry = &registry,
                              .scheduler = &scheduler,
                              .metrics = &metrics.server(),
                              .max_message_bytes = max_message_bytes})
        .status();
  };
  for (const std::string& address :
       {server.server().address(), std::string("nonsense"), std::string("256.0.0.1:1"),
        std::string("unix:/nonexistent/folder/socket")})
    EXPECT_THAT(listen(address), StatusIs(absl::StatusCode::kUnavailable,
                                          HasSubstr("address '" + address + "': cannot listen there")));
  EXPECT_THAT(listen("127.0.0.1:0", 0),
              StatusIs(absl::StatusCode::kInvalidArgument, HasSubstr("max_message_bytes: is 0")));
  EXPECT_THAT(listen("127.0.0.1:0", int64_t{1} << 31), StatusIs(absl::StatusCode::kInvalidArgument));
}

TEST(ListenTest, ConnectionThatHasAskedIsNotCutForANewOne) {
  TestServer server({}, {.connections = 1});
  inference::ServerLiveResponse answer;
  const auto ask = [&] {
    grpc::ClientContext context;
    return server.stub().ServerLive(&context, {}, &answer);
  };
  EXPECT_TRUE(ask().ok());
  grpc::ChannelArguments own;
  own.SetInt(GRPC_ARG_USE_LOCAL_SUBCHANNEL_POOL, 1);
  const auto second =
      grpc::CreateCustomChannel(server.server().address(), grpc::InsecureChannelCredentials(), own);
  grpc::ClientContext context;
  EXPECT_EQ(inference::GRPCInferenceService::NewStub(second)->ServerLive(&context, {}, &answer).error_code(),
            grpc::UNAVAILABLE);
  EXPECT_TRUE(ask().ok());
  WaitForMetric(server, "hachi_connections_accepted_total 1");
  WaitForMetric(server, "hachi_connections_refused_total{reason=\"limit\"} ");
}

TEST(ListenTest, UnixSocketsServeToo) {
  const std::string path = testing::TempDir() + "hachi-rpc-test.sock";
  Metrics metrics;
  ModelRegistry registry({.models = {}, .loader = {}, .metrics = &metrics});
  BatchScheduler scheduler({.metrics = &metrics.server()});
  const auto server = RpcServer::Create({.address = "unix:" + path,
                                         .registry = &registry,
                                         .scheduler = &scheduler,
                                         .metrics = &metrics.server()});
  ASSERT_OK(server);
  EXPECT_EQ((*server)->address(), "unix:" + path);
  EXPECT_EQ((*server)->port(), 0);
  const auto client = Client::Create({.address = (*server)->address()});
  ASSERT_OK(client);
  EXPECT_THAT((*client)->Describe("none", "", absl::Seconds(10)), StatusIs(absl::StatusCode::kNotFound));
}

TEST(LabelsTest, TravelInTheConfigurationToOurClient) {
  const TempDir dir;
  dir.Write("labels.txt", "zero\none\ntwo\n");
  TestServer server({{.name = "small",
                      .signature = Small(),
                      .outputs = {{"z", {.labels = "labels.txt"}}},
                      .dir = dir.path()}});
  const auto client = Client::Create({.address = server.server().address()});
  ASSERT_OK(client);
  const auto description = (*client)->Describe("small", "", absl::Seconds(10));
  ASSERT_OK(description);
  EXPECT_EQ(description->version, "1");
  EXPECT_EQ(description->max_batch_rows, 4);
  ASSERT_EQ(description->inputs.size(), 1u);
  EXPECT_THAT(description->inputs[0].shape, ElementsAre(-1, 2));
  ASSERT_EQ(description->labels.count("z"), 1u);
  EXPECT_THAT(description->labels.at("z"), ElementsAre("zero", "one", "two"));
}

TEST(LabelsTest, ThatDoNotFitTheOutputFailTheLoad) {
  const TempDir dir;
  dir.Write("labels.txt", "zero\none\n");
  TestServer server({{.name = "unknown",
                      .signature = Small(),
                      .outputs = {{"y", {.labels = "labels.txt"}}},
                      .dir = dir.path()}});
  const auto client = Client::Create({.address = server.server().address()});
  ASSERT_OK(client);
  EXPECT_THAT(
      (*client)->Describe("unknown", "", absl::Seconds(10)),
      StatusIs(absl::StatusCode::kUnavailable, HasSubstr("has 2 labels, expected one for each of [1]")));
}

TEST(ClientAgainstServerTest, AnswersAndErrorsArrive) {
  TestServer server({{.name = "small", .signature = Small()}});
  const auto client = Client::Create({.address = server.server().address(), .connections = 2});
  ASSERT_OK(client);
  const std::vector<std::byte> row(8, std::byte{1});
  const InferCall call = {
      .model = "small", .id = "7", .inputs = {{"x", DType::kF32, {1, 2}, row}}, .outputs = {"z"}};
  for (int i = 0; i < 4; ++i) {
    const auto answer = (*client)->Infer(Encode(call), absl::Seconds(10));
    ASSERT_OK(answer);
    EXPECT_EQ(answer->id, "7");
    EXPECT_EQ(answer->model_version, "1");
    ASSERT_EQ(answer->outputs.size(), 1u);
    EXPECT_EQ(answer->outputs[0].dtype, DType::kU8);
    EXPECT_THAT(answer->outputs[0].shape, ElementsAre(1, 3));
    EXPECT_EQ(answer->outputs[0].bytes, std::string(3, 8));
  }
  InferCall bad = call;
  bad.inputs[0].shape = {2, 2};
  EXPECT_THAT((*client)->Infer(Encode(bad), absl::Seconds(10)),
              StatusIs(absl::StatusCode::kInvalidArgument, HasSubstr("has 8 bytes, expected 16")));
}

}  // namespace
}  // namespace hachi::server
