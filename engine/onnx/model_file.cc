#include "engine/onnx/model_file.h"

#include <google/protobuf/io/zero_copy_stream_impl_lite.h>

#include <algorithm>
#include <future>
#include <span>
#include <string>
#include <utility>

#include "engine/base/file.h"
#include "engine/base/status_macros.h"

namespace hachi {
namespace {

constexpr size_t kMaxFileBytes = (size_t{2} << 30) - 1;  // protobuf's own limit
constexpr int kPiece = 1 << 20;                          // fits the second cache

// A file for protobuf's parser, which parses a piece while another thread hashes it.
class HashedFile final : public google::protobuf::io::CopyingInputStream {
 public:
  HashedFile(FileReader file, Sha256* sha256) : file_(std::move(file)), sha256_(sha256) {}
  ~HashedFile() override { Finish(); }

  int Read(void* buffer, int size) override {
    const absl::StatusOr<size_t> bytes = file_.Read({static_cast<char*>(buffer), static_cast<size_t>(size)});
    if (!bytes.ok()) {
      status_ = bytes.status();
      return -1;
    }
    if (sha256_ == nullptr) return static_cast<int>(*bytes);
    Finish();
    piece_.assign(static_cast<const char*>(buffer), *bytes);
    hashed_ = std::async(std::launch::async, [this] { sha256_->Add(piece_); });
    return static_cast<int>(*bytes);
  }

  // All that was read is hashed.
  void Finish() {
    if (hashed_.valid()) hashed_.get();
  }

  const absl::Status& status() const { return status_; }

 private:
  FileReader file_;
  Sha256* const sha256_;
  std::string piece_;
  std::future<void> hashed_;
  absl::Status status_;
};

}  // namespace

absl::Status ParseModelFile(const std::filesystem::path& file, onnx::ModelProto& model, Sha256* sha256) {
  ASSIGN_OR_RETURN(FileReader reader, FileReader::Open(file, kMaxFileBytes));
  const bool empty = reader.size() == 0;
  HashedFile hashed(std::move(reader), sha256);
  google::protobuf::io::CopyingInputStreamAdaptor stream(&hashed, kPiece);
  const bool parsed = model.ParseFromZeroCopyStream(&stream);
  hashed.Finish();
  RETURN_IF_ERROR(hashed.status());
  if (empty || !parsed) return absl::DataLossError("does not parse, expected an ONNX model");
  return absl::OkStatus();
}

}  // namespace hachi
