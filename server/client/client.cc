#include "server/client/client.h"

#include <grpcpp/generic/generic_stub.h>
#include <grpcpp/grpcpp.h>
#include <grpcpp/support/proto_buffer_reader.h>

#include <atomic>
#include <future>
#include <optional>
#include <utility>

#include "absl/strings/str_cat.h"
#include "absl/strings/str_split.h"
#include "engine/base/status_macros.h"
#include "inference.grpc.pb.h"
#include "proto/datatype.h"

namespace hachi::server {

class EncodedCall {
 public:
  explicit EncodedCall(const std::string& wire) : bytes_(MakeBuffer(wire)) {}
  const grpc::ByteBuffer& bytes() const { return bytes_; }

 private:
  static grpc::ByteBuffer MakeBuffer(const std::string& wire) {
    const grpc::Slice slice(wire);
    return grpc::ByteBuffer(&slice, 1);
  }
  grpc::ByteBuffer bytes_;
};

std::shared_ptr<const EncodedCall> Encode(const InferCall& call) {
  inference::ModelInferRequest request;
  request.set_model_name(call.model);
  request.set_model_version(call.version);
  request.set_id(call.id);
  for (const InferInput& input : call.inputs) {
    auto* tensor = request.add_inputs();
    tensor->set_name(input.name);
    tensor->set_datatype(std::string(WireName(input.dtype)));
    tensor->mutable_shape()->Add(input.shape.begin(), input.shape.end());
    request.add_raw_input_contents(input.bytes.data(), input.bytes.size());
  }
  for (const std::string& output : call.outputs) request.add_outputs()->set_name(output);
  return std::make_shared<EncodedCall>(request.SerializeAsString());
}

namespace {

absl::Status ToAbsl(const grpc::Status& status) {
  return absl::Status(static_cast<absl::StatusCode>(status.error_code()), status.error_message());
}

void SetDeadline(grpc::ClientContext& context, absl::Duration deadline) {
  context.set_deadline(absl::ToChronoTime(absl::Now() + deadline));
}

absl::StatusOr<DType> DatatypeOf(const std::string& name, const std::string& tensor) {
  if (const auto dtype = ParseWireName(name)) return *dtype;
  return absl::InternalError(absl::StrCat("tensor '", tensor, "': datatype is '", name,
                                          "', expected one of those that a model here can have"));
}

absl::StatusOr<InferAnswer> Decode(const grpc::ByteBuffer& bytes) {
  inference::ModelInferResponse response;
  grpc::ByteBuffer copy = bytes;
  grpc::ProtoBufferReader reader(&copy);
  if (!response.ParseFromZeroCopyStream(&reader))
    return absl::InternalError("answer: its bytes do not parse, expected a ModelInferResponse");
  if (response.raw_output_contents_size() != response.outputs_size())
    return absl::InternalError(absl::StrCat("answer: raw_output_contents has ",
                                            response.raw_output_contents_size(), " entries, expected ",
                                            response.outputs_size(), ", one an output"));
  InferAnswer answer;
  answer.model_version = response.model_version();
  answer.id = response.id();
  for (int i = 0; i < response.outputs_size(); ++i) {
    const auto& tensor = response.outputs(i);
    InferOutput& output = answer.outputs.emplace_back();
    output.name = tensor.name();
    ASSIGN_OR_RETURN(output.dtype, DatatypeOf(tensor.datatype(), tensor.name()));
    output.shape.assign(tensor.shape().begin(), tensor.shape().end());
    output.bytes = std::move(*response.mutable_raw_output_contents(i));
    ASSIGN_OR_RETURN(const int64_t count, CheckedCount(output.shape, SizeOf(output.dtype)));
    if (output.bytes.size() != static_cast<size_t>(count) * SizeOf(output.dtype))
      return absl::InternalError(absl::StrCat("output '", output.name, "': has ", output.bytes.size(),
                                              " bytes, expected ", count, " elements of ",
                                              tensor.datatype()));
  }
  return answer;
}

absl::StatusOr<std::vector<TensorDescription>> DescribeTensors(
    const google::protobuf::RepeatedPtrField<inference::ModelMetadataResponse::TensorMetadata>& tensors) {
  std::vector<TensorDescription> described;
  for (const auto& tensor : tensors) {
    ASSIGN_OR_RETURN(const DType dtype, DatatypeOf(tensor.datatype(), tensor.name()));
    described.push_back({tensor.name(), dtype, Shape(tensor.shape().begin(), tensor.shape().end())});
  }
  return described;
}

class GrpcClient final : public Client {
 public:
  explicit GrpcClient(const Options& options) {
    grpc::ChannelArguments arguments;
    arguments.SetMaxReceiveMessageSize(-1);
    arguments.SetInt(GRPC_ARG_USE_LOCAL_SUBCHANNEL_POOL, 1);  // a connection of its own for each channel
    const auto credentials = options.tls ? grpc::SslCredentials({.pem_root_certs = options.tls->ca,
                                                                 .pem_private_key = options.tls->key,
                                                                 .pem_cert_chain = options.tls->certificate})
                                         : grpc::InsecureChannelCredentials();
    for (int i = 0; i < options.connections; ++i) {
      channels_.push_back(grpc::CreateCustomChannel(options.address, credentials, arguments));
      stubs_.push_back(std::make_unique<grpc::GenericStub>(channels_.back()));
    }
  }

  absl::StatusOr<ModelDescription> Describe(const std::string& model, const std::string& version,
                                            absl::Duration deadline) override {
    const auto stub = inference::GRPCInferenceService::NewStub(channels_.front());
    inference::ModelMetadataRequest metadata_request;
    metadata_request.set_name(model);
    metadata_request.set_version(version);
    inference::ModelMetadataResponse metadata;
    grpc::ClientContext metadata_context;
    metadata_context.set_wait_for_ready(true);
    SetDeadline(metadata_context, deadline);
    RETURN_IF_ERROR(ToAbsl(stub->ModelMetadata(&metadata_context, metadata_request, &metadata)));

    inference::ModelConfigRequest config_request;
    config_request.set_name(model);
    config_request.set_version(version);
    inference::ModelConfigResponse config;
    grpc::ClientContext config_context;
    SetDeadline(config_context, deadline);
    RETURN_IF_ERROR(ToAbsl(stub->ModelConfig(&config_context, config_request, &config)));

    ModelDescription description;
    description.version = version;
    if (version.empty() && !metadata.versions().empty()) description.version = *metadata.versions().rbegin();
    ASSIGN_OR_RETURN(description.inputs, DescribeTensors(metadata.inputs()));
    ASSIGN_OR_RETURN(description.outputs, DescribeTensors(metadata.outputs()));
    description.max_batch_rows = config.config().max_batch_size();
    for (const TensorDescription& output : description.outputs) {
      const auto& parameters = config.config().parameters();
      if (const auto labels = parameters.find("labels:" + output.name); labels != parameters.end())
        description.labels[output.name] = absl::StrSplit(labels->second.string_value(), '\n');
    }
    return description;
  }

  absl::StatusOr<InferAnswer> Infer(std::shared_ptr<const EncodedCall> call,
                                    absl::Duration deadline) override {
    std::promise<absl::StatusOr<InferAnswer>> promise;
    auto future = promise.get_future();
    InferAsync(std::move(call), deadline,
               [&promise](absl::StatusOr<InferAnswer> answer) { promise.set_value(std::move(answer)); });
    return future.get();
  }

  void InferAsync(std::shared_ptr<const EncodedCall> call, absl::Duration deadline, Done done) override {
    struct Pending {
      std::shared_ptr<const EncodedCall> call;
      Done done;
      std::optional<grpc::ClientContext> context{std::in_place};
      grpc::ByteBuffer answer;
    };
    auto pending = std::make_shared<Pending>();
    pending->call = std::move(call);
    pending->done = std::move(done);
    SetDeadline(*pending->context, deadline);
    // The counter only spreads calls: no order between threads is needed.
    const size_t turn = next_.fetch_add(1, std::memory_order_relaxed) % stubs_.size();
    stubs_[turn]->UnaryCall(&*pending->context, "/inference.GRPCInferenceService/ModelInfer", {},
                            &pending->call->bytes(), &pending->answer, [pending](const grpc::Status& status) {
                              // A context holds its channel. Were it to go after done, and the client before
                              // it, this thread would take down the channel and with it itself.
                              pending->context.reset();
                              if (status.ok())
                                pending->done(Decode(pending->answer));
                              else
                                pending->done(ToAbsl(status));
                            });
  }

 private:
  std::vector<std::shared_ptr<grpc::Channel>> channels_;
  std::vector<std::unique_ptr<grpc::GenericStub>> stubs_;
  std::atomic<size_t> next_{0};
};

}  // namespace

absl::StatusOr<std::unique_ptr<Client>> Client::Create(Options options) {
  if (options.address.empty())
    return absl::InvalidArgumentError("address: is empty, expected host:port or unix:/path");
  if (options.connections < 1)
    return absl::InvalidArgumentError(
        absl::StrCat("connections: is ", options.connections, ", expected 1 or more"));
  return std::make_unique<GrpcClient>(options);
}

}  // namespace hachi::server
