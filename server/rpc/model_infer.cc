#include "server/rpc/model_infer.h"

#include <grpc/grpc.h>
#include <grpcpp/server_context.h>
#include <grpcpp/support/server_callback.h>

#include <algorithm>
#include <chrono>
#include <memory>
#include <string>
#include <utility>
#include <vector>

#include "absl/strings/cord.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_format.h"
#include "engine/base/log.h"
#include "engine/base/status_macros.h"
#include "server/batching/batch_scheduler.h"
#include "server/models/model_registry.h"
#include "server/rpc/access.h"
#include "server/rpc/answers.h"
#include "server/rpc/decode.h"
#include "server/rpc/encode.h"
#include "server/rpc/exception_stop.h"
#include "server/rpc/status.h"
#include "server/rpc/validate.h"

namespace hachi::server {
namespace {

// How long who does not read is told to wait; nobody knows when it will.
constexpr char kUnreadPushbackMs[] = "1000";

constexpr char kRequestIdKey[] = "x-request-id";
constexpr size_t kMaxIdBytes = 128;
constexpr size_t kMaxErrorBytes = 512;

// When the client stops waiting, on our clock: the call's deadline is on the system's, which may be set.
absl::Time DeadlineOf(const grpc::CallbackServerContext& context, const Clock& clock) {
  const auto deadline = context.deadline();
  if (deadline == std::chrono::system_clock::time_point::max()) return absl::InfiniteFuture();
  return clock.Now() + absl::FromChrono(deadline - std::chrono::system_clock::now());
}

// One ModelInfer call. gRPC owns it: OnDone deletes it.
//
// Thread-safe as gRPC and the scheduler use it: Start comes first; `done` of the request comes once, from any
// thread; OnCancel at any time after Start; OnDone last.
class InferReactor final : public grpc::ServerUnaryReactor {
 public:
  InferReactor(const InferEnvironment& environment, grpc::CallbackServerContext& context,
               grpc::ByteBuffer& response)
      : environment_(environment),
        context_(context),
        response_(response),
        started_(environment.clock->Now()),
        client_(context.peer()) {
    ++*environment_.open_calls;
  }

  void Start(const grpc::ByteBuffer& bytes) {
    if (bytes.Valid()) environment_.on_request(client_, static_cast<int64_t>(bytes.Length()));
    wire_bytes_ = bytes.Length();
    FindRequestId();
    // gRPC calls us without a message too, when its call has ended before.
    if (!bytes.Valid() && grpc_call_failed_before_recv_message(context_.c_call()) != 0) {
      environment_.on_taken_back(client_);
      return End(absl::CancelledError("request: cancelled before its message came"));
    }
    const absl::Status admitted = StopExceptions([&] { return Admit(bytes); });
    if (!admitted.ok()) {
      if (model_) model_->statistics().RecordFailure(environment_.clock->Now() - started_);
      return End(admitted);
    }
    environment_.scheduler->Push(request_);
  }

  void OnCancel() override {
    if (request_) environment_.scheduler->Cancel(request_);
  }

  void OnDone() override {
    if (answer_ != 0) environment_.answers->Remove(answer_);
    --*environment_.open_calls;
    delete this;
  }

 private:
  // The client's name for the request, which goes back to it. gRPC has seen to it that it is printable.
  void FindRequestId() {
    const auto found = context_.client_metadata().find(kRequestIdKey);
    if (found == context_.client_metadata().end() || found->second.size() > kMaxIdBytes) return;
    request_id_.assign(found->second.data(), found->second.size());
    context_.AddTrailingMetadata(kRequestIdKey, request_id_);
  }

  // Whether the client takes the answers that it has.
  absl::Status CheckAnswersThatWait() const {
    const int64_t waiting = environment_.answers->BytesOf(client_);
    if (waiting <= environment_.answer_bytes_per_connection) return absl::OkStatus();
    absl::Status status = absl::ResourceExhaustedError(
        absl::StrCat("connection: ", waiting, " bytes of answers wait for it to read them, expected at most ",
                     environment_.answer_bytes_per_connection));
    status.SetPayload({kPushbackPayloadUrl.data(), kPushbackPayloadUrl.size()},
                      absl::Cord(kUnreadPushbackMs));
    return status;
  }

  // Decodes the call and makes request_ of it.
  absl::Status Admit(const grpc::ByteBuffer& bytes) {
    ASSIGN_OR_RETURN(WireInfer wire, DecodeInfer(bytes));
    id_ = wire.head.id();
    model_name_ = wire.head.model_name();
    if (environment_.access != nullptr)
      RETURN_IF_ERROR(environment_.access->Check(context_, wire.head.model_name()));
    RETURN_IF_ERROR(CheckAnswersThatWait());
    const std::string subject = absl::StrCat("model '", wire.head.model_name(), "'");
    const auto version = ParseVersion(wire.head.model_version());
    RETURN_IF_ERROR(WithContext(version.status(), subject));
    ASSIGN_OR_RETURN(model_, environment_.registry->Find(wire.head.model_name(), *version));
    const Signature& signature = model_->model().signature();
    auto request = std::make_shared<Request>();
    request->model = model_;
    const auto reserve = [&](int64_t rows, int64_t needed) {
      request->rows.count = rows;
      return environment_.scheduler->Reserve(*request, needed);
    };
    auto valid = ValidateInfer(std::move(wire), model_->model(), model_->max_batch_rows(), reserve);
    RETURN_IF_ERROR(WithContext(valid.status(), subject));

    request->rows = std::move(valid->rows);
    request->plans = request->rows.shapes->plans;
    request->keep_alive = std::move(valid->keep_alive);
    request->deadline =
        std::min(DeadlineOf(context_, *environment_.clock), started_ + valid->parameters.timeout);
    request->done = [this](const absl::Status& status) { Complete(status); };
    rows_ = request->rows.count;
    outputs_ = std::move(valid->outputs);
    std::vector<bool> wanted(signature.outputs.size());
    for (const size_t output : outputs_) wanted[output] = true;
    request->AllocateOutputs(wanted);
    request->bytes += static_cast<int64_t>(bytes.Length());
    for (const auto& output : request->rows.outputs) request->bytes += static_cast<int64_t>(output.size());
    request_ = std::move(request);
    return absl::OkStatus();
  }

  // The request's done.
  void Complete(const absl::Status& status) {
    if (!status.ok()) return End(status);
    End(StopExceptions([&] {
      response_ = EncodeInfer(request_, id_, outputs_);
      return absl::OkStatus();
    }));
  }

  void End(const absl::Status& status) {
    const RequestCounters& counters =
        model_ ? model_->metrics().requests_total : environment_.metrics->requests_without_model_total;
    counters[status.code()].Increment();
    if (environment_.access_log) LogAccess(status);
    if (model_) Observe(model_->metrics().request_duration_seconds, environment_.clock->Now() - started_);
    if (status.ok())
      answer_ = environment_.answers->Add(client_, static_cast<int64_t>(response_.Length()),
                                          [this] { context_.TryCancel(); });
    Finish(ToGrpc(status, context_));  // from here on, OnDone may delete *this
  }

  void LogAccess(const absl::Status& status) const {
    const auto number = [](auto value) { return absl::StrCat(value); };
    LogInfo("request",
            {{"client", client_},
             {"model", model_name_.substr(0, kMaxIdBytes)},
             {"version", model_ ? number(model_->version()) : ""},
             {"code", absl::StatusCodeToString(status.code())},
             {"id", id_.substr(0, kMaxIdBytes)},
             {"request_id", request_id_},
             {"rows", number(rows_), /*is_number=*/true},
             {"bytes", number(wire_bytes_), /*is_number=*/true},
             {"seconds", absl::StrFormat("%.6f", absl::ToDoubleSeconds(environment_.clock->Now() - started_)),
              /*is_number=*/true},
             {"error", std::string(status.message().substr(0, kMaxErrorBytes))}});
  }

  const InferEnvironment& environment_;
  grpc::CallbackServerContext& context_;
  grpc::ByteBuffer& response_;
  const absl::Time started_;
  const std::string client_;
  size_t wire_bytes_ = 0;
  int64_t rows_ = 0;
  std::string request_id_;  // of the metadata; empty: none
  std::string id_;          // of the message
  std::string model_name_;
  std::vector<size_t> outputs_;
  ModelHandle model_;
  std::shared_ptr<Request> request_;
  Answers::Id answer_ = 0;  // until gRPC has sent it; 0: there is none
};

}  // namespace

grpc::ServerUnaryReactor* StartModelInfer(const InferEnvironment& environment,
                                          grpc::CallbackServerContext& context,
                                          const grpc::ByteBuffer& request, grpc::ByteBuffer& response) {
  auto* reactor = new InferReactor(environment, context, response);
  reactor->Start(request);
  return reactor;
}

}  // namespace hachi::server
