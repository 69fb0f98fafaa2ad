#include "server/rpc/service.h"

#include <grpcpp/grpcpp.h>
#include <grpcpp/support/proto_buffer_reader.h>

#include <optional>
#include <string>
#include <utility>
#include <vector>

#include "absl/strings/str_cat.h"
#include "engine/base/status_macros.h"
#include "inference.grpc.pb.h"
#include "server/models/model_registry.h"
#include "server/rpc/access.h"
#include "server/rpc/describe.h"
#include "server/rpc/exception_stop.h"
#include "server/rpc/status.h"
#include "server/rpc/validate.h"

namespace hachi::server {
namespace {

using grpc::ByteBuffer;
using Context = grpc::CallbackServerContext;
using Reactor = grpc::ServerUnaryReactor;
using Api = inference::GRPCInferenceService;

// Base with every one of Mixins around it.
template <typename Base, template <typename> class... Mixins>
struct Stack {
  using type = Base;
};
template <typename Base, template <typename> class First, template <typename> class... Rest>
struct Stack<Base, First, Rest...> : Stack<First<Base>, Rest...> {};

using RawService =
    Stack<Api::Service, Api::WithRawCallbackMethod_ServerLive, Api::WithRawCallbackMethod_ServerReady,
          Api::WithRawCallbackMethod_ModelReady, Api::WithRawCallbackMethod_ServerMetadata,
          Api::WithRawCallbackMethod_ModelMetadata, Api::WithRawCallbackMethod_ModelConfig,
          Api::WithRawCallbackMethod_ModelStatistics, Api::WithRawCallbackMethod_ModelInfer,
          Api::WithRawCallbackMethod_ModelStreamInfer, Api::WithRawCallbackMethod_RepositoryIndex,
          Api::WithRawCallbackMethod_RepositoryModelLoad, Api::WithRawCallbackMethod_RepositoryModelUnload,
          Api::WithRawCallbackMethod_SystemSharedMemoryStatus,
          Api::WithRawCallbackMethod_SystemSharedMemoryRegister,
          Api::WithRawCallbackMethod_SystemSharedMemoryUnregister,
          Api::WithRawCallbackMethod_CudaSharedMemoryStatus,
          Api::WithRawCallbackMethod_CudaSharedMemoryRegister,
          Api::WithRawCallbackMethod_CudaSharedMemoryUnregister, Api::WithRawCallbackMethod_TraceSetting,
          Api::WithRawCallbackMethod_LogSettings>::type;

constexpr char kNoStreaming[] = "ModelStreamInfer: streaming is not offered; call ModelInfer";
constexpr char kNoRepository[] =
    "repository: models are chosen by the server's configuration, not by clients; change it there";
constexpr char kNoSharedMemory[] = "shared memory: not offered; send tensor bytes in the request";
constexpr char kNoSettings[] = "settings: not offered at run time; change the server's configuration";

// Ends a stream as soon as it has begun.
class RefusingStream final : public grpc::ServerBidiReactor<ByteBuffer, ByteBuffer> {
 public:
  explicit RefusingStream(const grpc::Status& status) { Finish(status); }
  void OnDone() override { delete this; }
};

template <typename Message>
absl::StatusOr<Message> Parse(const ByteBuffer& bytes) {
  Message message;
  ByteBuffer copy = bytes;  // of references: the reader wants a buffer that it may change
  if (bytes.Length() == 0) return message;
  grpc::ProtoBufferReader reader(&copy);
  if (!message.ParseFromZeroCopyStream(&reader))
    return absl::InvalidArgumentError(
        absl::StrCat("request: its bytes are malformed, expected a ", Message::descriptor()->name()));
  return message;
}

class InferenceService final : public RawService {
 public:
  InferenceService(const InferEnvironment& infer, const std::atomic<bool>& serving)
      : infer_(infer), registry_(*infer.registry), serving_(serving) {}

  Reactor* ModelInfer(Context* context, const ByteBuffer* request, ByteBuffer* response) override {
    return StartModelInfer(infer_, *context, *request, *response);
  }

  Reactor* ServerLive(Context* context, const ByteBuffer* request, ByteBuffer* response) override {
    return Answer<inference::ServerLiveRequest, inference::ServerLiveResponse>(context, request, response,
                                                                               [](const auto&, auto& answer) {
                                                                                 answer.set_live(true);
                                                                                 return absl::OkStatus();
                                                                               });
  }

  Reactor* ServerReady(Context* context, const ByteBuffer* request, ByteBuffer* response) override {
    return Answer<inference::ServerReadyRequest, inference::ServerReadyResponse>(
        context, request, response, [this](const auto&, auto& answer) {
          answer.set_ready(serving_);
          return absl::OkStatus();
        });
  }

  Reactor* ModelReady(Context* context, const ByteBuffer* request, ByteBuffer* response) override {
    return Answer<inference::ModelReadyRequest, inference::ModelReadyResponse>(
        context, request, response, [&](const auto& question, auto& answer) {
          answer.set_ready(true);
          return Find(*context, question).status();
        });
  }

  Reactor* ServerMetadata(Context* context, const ByteBuffer* request, ByteBuffer* response) override {
    return Answer<
        inference::ServerMetadataRequest,
        inference::ServerMetadataResponse>(context, request, response, [&](const auto&, auto& answer) {
      RETURN_IF_ERROR(MayUse(*context, ""));
      answer.set_name("hachi");
      answer.set_version(HACHI_VERSION);
      for (const char* extension : {"binary_tensor_data", "model_configuration", "parameters", "statistics"})
        answer.add_extensions(extension);
      return absl::OkStatus();
    });
  }

  Reactor* ModelMetadata(Context* context, const ByteBuffer* request, ByteBuffer* response) override {
    return Answer<inference::ModelMetadataRequest, inference::ModelMetadataResponse>(
        context, request, response, [&](const auto& question, auto& answer) {
          ASSIGN_OR_RETURN(const ModelHandle model, Find(*context, question));
          DescribeMetadata(*model, answer);
          ASSIGN_OR_RETURN(const auto versions, ReadyVersions(*context, question));
          for (const auto& version : versions) answer.add_versions(absl::StrCat(version->version()));
          return absl::OkStatus();
        });
  }

  Reactor* ModelConfig(Context* context, const ByteBuffer* request, ByteBuffer* response) override {
    return Answer<inference::ModelConfigRequest, inference::ModelConfigResponse>(
        context, request, response, [&](const auto& question, auto& answer) {
          ASSIGN_OR_RETURN(const ModelHandle model, Find(*context, question));
          DescribeConfig(*model, *answer.mutable_config());
          return absl::OkStatus();
        });
  }

  Reactor* ModelStatistics(Context* context, const ByteBuffer* request, ByteBuffer* response) override {
    return Answer<inference::ModelStatisticsRequest, inference::ModelStatisticsResponse>(
        context, request, response, [&](const auto& question, auto& answer) {
          ASSIGN_OR_RETURN(const auto versions, ReadyVersions(*context, question));
          for (const auto& version : versions) DescribeStatistics(*version, *answer.add_model_stats());
          return absl::OkStatus();
        });
  }

  grpc::ServerBidiReactor<ByteBuffer, ByteBuffer>* ModelStreamInfer(Context* context) override {
    return new RefusingStream(ToGrpc(absl::UnimplementedError(kNoStreaming), *context));
  }
  Reactor* RepositoryIndex(Context* context, const ByteBuffer*, ByteBuffer*) override {
    return Refuse(context, kNoRepository);
  }
  Reactor* RepositoryModelLoad(Context* context, const ByteBuffer*, ByteBuffer*) override {
    return Refuse(context, kNoRepository);
  }
  Reactor* RepositoryModelUnload(Context* context, const ByteBuffer*, ByteBuffer*) override {
    return Refuse(context, kNoRepository);
  }
  Reactor* SystemSharedMemoryStatus(Context* context, const ByteBuffer*, ByteBuffer*) override {
    return Refuse(context, kNoSharedMemory);
  }
  Reactor* SystemSharedMemoryRegister(Context* context, const ByteBuffer*, ByteBuffer*) override {
    return Refuse(context, kNoSharedMemory);
  }
  Reactor* SystemSharedMemoryUnregister(Context* context, const ByteBuffer*, ByteBuffer*) override {
    return Refuse(context, kNoSharedMemory);
  }
  Reactor* CudaSharedMemoryStatus(Context* context, const ByteBuffer*, ByteBuffer*) override {
    return Refuse(context, kNoSharedMemory);
  }
  Reactor* CudaSharedMemoryRegister(Context* context, const ByteBuffer*, ByteBuffer*) override {
    return Refuse(context, kNoSharedMemory);
  }
  Reactor* CudaSharedMemoryUnregister(Context* context, const ByteBuffer*, ByteBuffer*) override {
    return Refuse(context, kNoSharedMemory);
  }
  Reactor* TraceSetting(Context* context, const ByteBuffer*, ByteBuffer*) override {
    return Refuse(context, kNoSettings);
  }
  Reactor* LogSettings(Context* context, const ByteBuffer*, ByteBuffer*) override {
    return Refuse(context, kNoSettings);
  }

 private:
  template <typename Question, typename Response, typename Fn>
  Reactor* Answer(Context* context, const ByteBuffer* request, ByteBuffer* response, Fn fn) const {
    if (request->Valid()) infer_.on_request(context->peer(), static_cast<int64_t>(request->Length()));
    const absl::Status status = StopExceptions([&]() -> absl::Status {
      ASSIGN_OR_RETURN(const Question question, Parse<Question>(*request));
      Response answer;
      RETURN_IF_ERROR(fn(question, answer));
      const grpc::Slice slice(answer.SerializeAsString());
      *response = ByteBuffer(&slice, 1);
      return absl::OkStatus();
    });
    Reactor* reactor = context->DefaultReactor();
    reactor->Finish(ToGrpc(status, *context));
    return reactor;
  }

  static Reactor* Refuse(Context* context, const char* sentence) {
    Reactor* reactor = context->DefaultReactor();
    reactor->Finish(ToGrpc(absl::UnimplementedError(sentence), *context));
    return reactor;
  }

  // Whether the caller may use the model, or without one ask about the server at all.
  absl::Status MayUse(const Context& context, std::string_view model) const {
    return infer_.access == nullptr ? absl::OkStatus() : infer_.access->Check(context, model);
  }

  // The model that a question with name and version is about.
  template <typename Question>
  absl::StatusOr<ModelHandle> Find(const Context& context, const Question& question) const {
    RETURN_IF_ERROR(MayUse(context, question.name()));
    const auto version = ParseVersion(question.version());
    RETURN_IF_ERROR(WithContext(version.status(), absl::StrCat("model '", question.name(), "'")));
    return registry_.Find(question.name(), *version);
  }

  // The version that it names, or all READY versions of the model, or of all models.
  template <typename Question>
  absl::StatusOr<std::vector<ModelHandle>> ReadyVersions(const Context& context,
                                                         const Question& question) const {
    RETURN_IF_ERROR(MayUse(context, question.name()));
    std::vector<ModelHandle> versions;
    if (!question.version().empty()) {
      ASSIGN_OR_RETURN(versions.emplace_back(), Find(context, question));
      return versions;
    }
    if (question.name().empty()) {
      versions = registry_.AllVersions();
    } else {
      ASSIGN_OR_RETURN(versions, registry_.VersionsOf(question.name()));
    }
    std::erase_if(versions, [&](const ModelHandle& version) {
      return version->state() != ModelState::kReady || !MayUse(context, version->name()).ok();
    });
    return versions;
  }

  const InferEnvironment infer_;
  const ModelRegistry& registry_;
  const std::atomic<bool>& serving_;
};

}  // namespace

std::unique_ptr<grpc::Service> NewInferenceService(const InferEnvironment& infer,
                                                   const std::atomic<bool>& serving) {
  return std::make_unique<InferenceService>(infer, serving);
}

}  // namespace hachi::server
