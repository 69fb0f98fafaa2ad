// What gRPC itself costs: a server of bytes that answers every method with what another server answered
// first.
//
// usage: replay_server SERVER
//
// The first message of a method goes to SERVER (host:port); its answer is everyone's from then on. Prints the
// address it listens on, and ends when its standard input does.

#include <grpcpp/generic/async_generic_service.h>
#include <grpcpp/generic/generic_stub.h>
#include <grpcpp/grpcpp.h>

#include <iostream>
#include <limits>
#include <map>
#include <memory>
#include <string>

#include "absl/base/thread_annotations.h"
#include "engine/base/mutex.h"

namespace hachi {
namespace {

using grpc::ByteBuffer;

class Replay final : public grpc::CallbackGenericService {
 public:
  explicit Replay(const std::string& server)
      : source_(grpc::CreateChannel(server, grpc::InsecureChannelCredentials())) {}

  grpc::ServerGenericBidiReactor* CreateReactor(grpc::GenericCallbackServerContext* context) override {
    return new Call(*this, context->method());
  }

 private:
  class Call final : public grpc::ServerGenericBidiReactor {
   public:
    Call(Replay& replay, std::string method) : replay_(replay), method_(std::move(method)) {
      StartRead(&request_);
    }

    void OnReadDone(bool ok) override {
      if (!ok) return Finish(grpc::Status::CANCELLED);
      const grpc::Status status = replay_.Answer(method_, request_, answer_);
      if (status.ok())
        StartWriteAndFinish(&answer_, {}, status);
      else
        Finish(status);
    }
    void OnDone() override { delete this; }

   private:
    Replay& replay_;
    const std::string method_;
    ByteBuffer request_, answer_;
  };

  grpc::Status Answer(const std::string& method, const ByteBuffer& request, ByteBuffer& answer)
      ABSL_LOCKS_EXCLUDED(mutex_) {
    const MutexLock lock(mutex_);
    const auto [entry, is_new] = answers_.try_emplace(method);
    if (is_new) {
      grpc::Status status = Ask(method, request, entry->second);
      if (!status.ok()) {
        answers_.erase(entry);
        return status;
      }
    }
    answer = entry->second;  // of references to the same bytes
    return grpc::Status::OK;
  }

  grpc::Status Ask(const std::string& method, const ByteBuffer& request, ByteBuffer& answer) {
    grpc::ClientContext context;
    grpc::CompletionQueue queue;
    const auto call = source_.PrepareUnaryCall(&context, method, request, &queue);
    call->StartCall();
    grpc::Status status;
    call->Finish(&answer, &status, nullptr);
    void* tag;
    bool ok;
    queue.Next(&tag, &ok);
    return status;
  }

  grpc::GenericStub source_;
  Mutex mutex_;
  std::map<std::string, ByteBuffer> answers_ ABSL_GUARDED_BY(mutex_);  // by method
};

}  // namespace
}  // namespace hachi

int main(int argc, char** argv) {
  if (argc != 2) {
    std::cerr << "usage: replay_server SERVER\n";
    return 1;
  }
  hachi::Replay replay(argv[1]);
  grpc::ServerBuilder builder;
  int port = 0;
  builder.AddListeningPort("127.0.0.1:0", grpc::InsecureServerCredentials(), &port);
  builder.RegisterCallbackGenericService(&replay);
  const auto server = builder.BuildAndStart();
  std::cout << "127.0.0.1:" << port << std::endl;
  std::cin.ignore(std::numeric_limits<std::streamsize>::max());
  server->Shutdown();
}
