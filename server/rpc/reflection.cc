#include "server/rpc/reflection.h"

#include <google/protobuf/descriptor.h>
#include <google/protobuf/descriptor.pb.h>
#include <grpcpp/grpcpp.h>

#include <set>
#include <string>
#include <vector>

#include "health.pb.h"
#include "inference.pb.h"
#include "reflection.grpc.pb.h"

namespace hachi::server {
namespace {

namespace api = grpc::reflection::v1alpha;
using google::protobuf::DescriptorPool;
using google::protobuf::FileDescriptor;

void SetError(grpc::StatusCode code, const std::string& message, api::ServerReflectionResponse& response) {
  response.mutable_error_response()->set_error_code(code);
  response.mutable_error_response()->set_error_message(message);
}

// Adds `file` and what it imports, each once.
void AddFile(const FileDescriptor& file, std::set<const FileDescriptor*>& added,
             api::FileDescriptorResponse& response) {
  if (!added.insert(&file).second) return;
  google::protobuf::FileDescriptorProto proto;
  file.CopyTo(&proto);
  response.add_file_descriptor_proto(proto.SerializeAsString());
  for (int i = 0; i < file.dependency_count(); ++i) AddFile(*file.dependency(i), added, response);
}

api::ServerReflectionResponse Answer(const api::ServerReflectionRequest& request) {
  using Request = api::ServerReflectionRequest;
  const DescriptorPool& pool = *DescriptorPool::generated_pool();
  api::ServerReflectionResponse response;
  response.set_valid_host(request.host());
  *response.mutable_original_request() = request;
  const auto answer_file = [&](const FileDescriptor* file, const std::string& name) {
    if (file == nullptr) return SetError(grpc::StatusCode::NOT_FOUND, "'" + name + "': not found", response);
    std::set<const FileDescriptor*> added;
    AddFile(*file, added, *response.mutable_file_descriptor_response());
  };
  switch (request.message_request_case()) {
    case Request::kFileByFilename:
      answer_file(pool.FindFileByName(request.file_by_filename()), request.file_by_filename());
      break;
    case Request::kFileContainingSymbol:
      answer_file(pool.FindFileContainingSymbol(request.file_containing_symbol()),
                  request.file_containing_symbol());
      break;
    case Request::kListServices:
      for (const FileDescriptor* file :
           {inference::ModelInferRequest::descriptor()->file(),
            grpc::health::v1::HealthCheckRequest::descriptor()->file(), Request::descriptor()->file()})
        for (int i = 0; i < file->service_count(); ++i)
          response.mutable_list_services_response()->add_service()->set_name(file->service(i)->full_name());
      break;
    case Request::kFileContainingExtension:
      SetError(grpc::StatusCode::NOT_FOUND, "no message has extensions", response);
      break;
    case Request::kAllExtensionNumbersOfType:
      if (pool.FindMessageTypeByName(request.all_extension_numbers_of_type()) == nullptr)
        SetError(grpc::StatusCode::NOT_FOUND, "no such message", response);
      else
        response.mutable_all_extension_numbers_response()->set_base_type_name(
            request.all_extension_numbers_of_type());
      break;
    case Request::MESSAGE_REQUEST_NOT_SET:
      SetError(grpc::StatusCode::INVALID_ARGUMENT, "no question, expected one", response);
      break;
  }
  return response;
}

// One stream: answers each question before it reads the next. gRPC owns it: OnDone deletes it.
class Stream final
    : public grpc::ServerBidiReactor<api::ServerReflectionRequest, api::ServerReflectionResponse> {
 public:
  Stream() { StartRead(&request_); }

  void OnReadDone(bool ok) override {
    if (!ok) return Finish(grpc::Status::OK);
    response_ = Answer(request_);
    StartWrite(&response_);
  }
  void OnWriteDone(bool ok) override {
    if (!ok) return Finish(grpc::Status::OK);
    StartRead(&request_);
  }
  void OnDone() override { delete this; }

 private:
  api::ServerReflectionRequest request_;
  api::ServerReflectionResponse response_;
};

class ReflectionService final : public api::ServerReflection::CallbackService {
 public:
  grpc::ServerBidiReactor<api::ServerReflectionRequest, api::ServerReflectionResponse>* ServerReflectionInfo(
      grpc::CallbackServerContext*) override {
    return new Stream;
  }
};

}  // namespace

std::unique_ptr<grpc::Service> NewReflectionService() { return std::make_unique<ReflectionService>(); }

}  // namespace hachi::server
