#pragma once

#include <cstddef>
#include <functional>
#include <map>
#include <memory>
#include <optional>
#include <span>
#include <string>
#include <vector>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "absl/time/time.h"
#include "engine/tensor/dtype.h"
#include "engine/tensor/shape.h"

namespace hachi::server {

// One input of a request; the bytes are dense, row-major, little-endian.
struct InferInput {
  std::string name;
  DType dtype = DType::kF32;
  Shape shape;  // with the batch dimension where the model has one
  std::span<const std::byte> bytes;
};

struct InferCall {
  std::string model;
  std::string version = {};  // empty: the one that the server chooses
  std::string id = {};
  std::vector<InferInput> inputs = {};
  std::vector<std::string> outputs = {};  // empty: all of the model's
};

// A ModelInfer request in wire form: encoded once, sent any number of times.
//
// Thread-safe: immutable.
class EncodedCall;
std::shared_ptr<const EncodedCall> Encode(const InferCall& call);

struct InferOutput {
  std::string name;
  DType dtype = DType::kF32;
  Shape shape;
  std::string bytes;
};

struct InferAnswer {
  std::string model_version;
  std::string id;
  std::vector<InferOutput> outputs;  // in the order of the request, or of the model
};

// One input or output of a model as the server describes it; -1 in the shape: any.
struct TensorDescription {
  std::string name;
  DType dtype = DType::kF32;
  Shape shape;
};

struct ModelDescription {
  std::string version;
  std::vector<TensorDescription> inputs, outputs;
  int64_t max_batch_rows = 0;                              // 0: no batch dimension
  std::map<std::string, std::vector<std::string>> labels;  // by output name, where the model has them
};

// The inference protocol from the client's side.
//
// Every call ends by its deadline, at the latest with DEADLINE_EXCEEDED. Errors carry the server's code and
// message; INTERNAL for an answer that contradicts itself. Outlives its calls: the destructor cancels none.
//
// Thread-safe.
class Client {
 public:
  // As PEM.
  struct Tls {
    std::string ca;                // who signs the server's certificate
    std::string certificate, key;  // of the client; empty: it has none
  };
  struct Options {
    std::string address;          // host:port or unix:/path
    int connections = 1;          // calls take turns; a server bounds the calls in flight on each
    std::optional<Tls> tls = {};  // nullopt: in the clear
  };
  using Done = std::function<void(absl::StatusOr<InferAnswer>)>;

  static absl::StatusOr<std::unique_ptr<Client>> Create(Options options);
  virtual ~Client() = default;

  // Waits for the connection if there is none yet.
  virtual absl::StatusOr<ModelDescription> Describe(const std::string& model, const std::string& version,
                                                    absl::Duration deadline) = 0;

  virtual absl::StatusOr<InferAnswer> Infer(std::shared_ptr<const EncodedCall> call,
                                            absl::Duration deadline) = 0;

  // Returns at once. `done` is called once, from a thread of the client's, and must not block.
  virtual void InferAsync(std::shared_ptr<const EncodedCall> call, absl::Duration deadline, Done done) = 0;
};

}  // namespace hachi::server
