#include "engine/onnx/model_file.h"

#include <algorithm>
#include <cstring>
#include <future>
#include <ranges>
#include <span>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "engine/base/file.h"
#include "engine/base/status_macros.h"
#include "engine/onnx/tensor_proto.h"
#include "engine/tensor/shape.h"

namespace hachi {
namespace {

constexpr size_t kMaxFileBytes = (size_t{2} << 30) - 1;  // protobuf's own limit
constexpr size_t kPiece = 1 << 20;                       // fits the second cache
constexpr size_t kFewBytes = 256;                        // that stay in the message

// A file from its beginning, read piece by piece. While a piece is looked at, another thread hashes it.
class Pieces {
 public:
  Pieces(FileReader file, Sha256* sha256) : file_(std::move(file)), sha256_(sha256) {
    for (std::vector<char>& piece : pieces_) piece.resize(std::min(kPiece, file_.size()));
  }
  ~Pieces() { Finish(); }

  size_t size() const { return file_.size(); }
  size_t position() const { return position_; }

  // Hands the next bytes to `take`, a part at a time; false: the file has no more, or cannot be read.
  template <typename Take>
  bool Next(size_t bytes, const Take& take) {
    while (bytes > 0) {
      if (left_.empty() && !Fill()) return false;
      const std::string_view part = left_.substr(0, bytes);
      take(part);
      left_.remove_prefix(part.size());
      position_ += part.size();
      bytes -= part.size();
    }
    return true;
  }

  // All that was read is hashed.
  void Finish() {
    if (hashed_.valid()) hashed_.get();
  }

  // Of reading.
  const absl::Status& status() const { return status_; }

 private:
  bool Fill() {
    std::swap(pieces_[0], pieces_[1]);  // the one before may still be being hashed
    const absl::StatusOr<size_t> bytes = file_.Read(pieces_[0]);
    Finish();
    if (!bytes.ok()) {
      status_ = bytes.status();
      return false;
    }
    left_ = {pieces_[0].data(), *bytes};
    if (sha256_ != nullptr && *bytes > 0)
      hashed_ = std::async(std::launch::async, [this, piece = left_] { sha256_->Add(piece); });
    return *bytes > 0;
  }

  FileReader file_;
  Sha256* const sha256_;
  std::vector<char> pieces_[2];
  std::string_view left_;  // of the piece
  size_t position_ = 0;
  std::future<void> hashed_;
  absl::Status status_;
};

constexpr uint64_t kLengthDelimited = 2;
constexpr uint64_t TagOf(int field) { return static_cast<uint64_t>(field) << 3 | kLengthDelimited; }
constexpr uint64_t kGraphTag = TagOf(onnx::ModelProto::kGraphFieldNumber);
constexpr uint64_t kInitializerTag = TagOf(onnx::GraphProto::kInitializerFieldNumber);
constexpr uint64_t kRawDataTag = TagOf(onnx::TensorProto::kRawDataFieldNumber);

void PutVarint(uint64_t value, std::string& to) {
  for (; value >= 0x80; value >>= 7) to.push_back(static_cast<char>(value | 0x80));
  to.push_back(static_cast<char>(value));
}

// A tensor for so many bytes of elements, where what came before them in the message says that it has as
// many, and that bytes need no second look.
std::optional<Tensor> TensorFor(const std::string& message, size_t bytes) {
  onnx::TensorProto proto;
  if (!proto.ParseFromString(message) || static_cast<size_t>(proto.dims_size()) > kMaxRank)
    return std::nullopt;
  const absl::StatusOr<DType> dtype = ToDType(proto.data_type());
  if (!dtype.ok() || *dtype == DType::kBool) return std::nullopt;
  Shape shape(proto.dims().begin(), proto.dims().end());
  const absl::StatusOr<int64_t> count = CheckedCount(shape, SizeOf(*dtype));
  if (!count.ok() || static_cast<size_t>(*count) * SizeOf(*dtype) != bytes) return std::nullopt;
  return Tensor(*dtype, std::move(shape));
}

// Whether the whole message says of its elements what `tensor` is, and nothing else.
bool IsOnly(const Tensor& tensor, const std::string& message) {
  onnx::TensorProto proto;
  if (!proto.ParseFromString(message) || !std::ranges::equal(proto.dims(), tensor.shape())) return false;
  const absl::StatusOr<DType> dtype = ToDType(proto.data_type());
  if (!dtype.ok() || *dtype != tensor.dtype()) return false;
  proto.clear_dims();
  proto.clear_data_type();
  proto.clear_name();
  proto.clear_doc_string();
  if (proto.data_location() == onnx::TensorProto::DEFAULT) proto.clear_data_location();
  return proto.ByteSizeLong() == 0;
}

// Follows the wire format (protobuf.dev/programming-guides/encoding) down to the initializers' elements,
// and copies everything else to a message that protobuf parses. Functions return false where the bytes are
// not of that format; `end` is where the message that they are in ends.
class Splitter {
 public:
  explicit Splitter(Pieces& file) : file_(file) {}

  bool Split(std::string& model, std::vector<std::optional<Tensor>>& elements) {
    return Fields(file_.size(), model, kGraphTag, [&](size_t graph_end) {
      std::string graph;
      return Fields(graph_end, graph, kInitializerTag,
                    [&](size_t tensor_end) { return Initializer(tensor_end, graph, elements); }) &&
             Put(kGraphTag, graph, model);
    });
  }

 private:
  // Copies the fields up to `end`, but calls special(end of it) for each with that tag.
  template <typename Special>
  bool Fields(size_t end, std::string& to, uint64_t special_tag, const Special& special) {
    while (file_.position() < end) {
      uint64_t tag, length;
      if (!Varint(tag)) return false;
      if (tag != special_tag) {
        if (!CopyField(tag, end, to)) return false;
      } else if (!Length(end, length) || !special(file_.position() + length)) {
        return false;
      }
    }
    return file_.position() == end;
  }

  bool Initializer(size_t end, std::string& graph, std::vector<std::optional<Tensor>>& all) {
    std::string message;
    std::optional<Tensor> elements;
    const bool read = Fields(end, message, kRawDataTag, [&](size_t raw_end) {
      const size_t bytes = raw_end - file_.position();
      elements = bytes > kFewBytes ? TensorFor(message, bytes) : std::nullopt;
      if (!elements) return Copy(kRawDataTag, bytes, message);
      std::byte* to = elements->bytes().data();
      return file_.Next(bytes, [&](std::string_view part) {
        std::memcpy(to, part.data(), part.size());
        to += part.size();
      });
    });
    if (!read) return false;
    if (elements && !IsOnly(*elements, message)) {  // for whoever says what is wrong with it
      const auto bytes = elements->bytes();
      Put(kRawDataTag, {reinterpret_cast<const char*>(bytes.data()), bytes.size()}, message);
      elements.reset();
    }
    all.push_back(std::move(elements));
    return Put(kInitializerTag, message, graph);
  }

  bool CopyField(uint64_t tag, size_t end, std::string& to) {
    constexpr uint64_t kVarint = 0, kEightBytes = 1, kFourBytes = 5;
    uint64_t value;
    switch (tag & 7) {
      case kVarint:
        if (!Varint(value)) return false;
        PutVarint(tag, to);
        PutVarint(value, to);
        return true;
      case kLengthDelimited:
        return Length(end, value) && Copy(tag, value, to);
      case kEightBytes:
      case kFourBytes:
        PutVarint(tag, to);
        return Append((tag & 7) == kEightBytes ? 8 : 4, to);
      default:
        return false;
    }
  }

  bool Copy(uint64_t tag, size_t bytes, std::string& to) {
    PutVarint(tag, to);
    PutVarint(bytes, to);
    return Append(bytes, to);
  }

  bool Append(size_t bytes, std::string& to) {
    return file_.Next(bytes, [&](std::string_view part) { to.append(part); });
  }

  static bool Put(uint64_t tag, std::string_view bytes, std::string& to) {
    PutVarint(tag, to);
    PutVarint(bytes.size(), to);
    to.append(bytes);
    return true;
  }

  bool Varint(uint64_t& value) {
    value = 0;
    for (int shift = 0; shift < 64; shift += 7) {
      uint8_t byte = 0;
      if (!file_.Next(1, [&](std::string_view part) { byte = static_cast<uint8_t>(part[0]); })) return false;
      value |= static_cast<uint64_t>(byte & 0x7F) << shift;
      if ((byte & 0x80) == 0) return true;
    }
    return false;
  }

  // Of bytes that are there.
  bool Length(size_t end, uint64_t& length) {
    return Varint(length) && file_.position() <= end && length <= end - file_.position();
  }

  Pieces& file_;
};

}  // namespace

absl::StatusOr<ModelFile> ParseModelFile(const std::filesystem::path& file, Sha256* sha256) {
  ASSIGN_OR_RETURN(FileReader reader, FileReader::Open(file, kMaxFileBytes));
  Pieces pieces(std::move(reader), sha256);
  ModelFile parsed;
  std::string model;
  const bool split = Splitter(pieces).Split(model, parsed.elements);
  pieces.Finish();
  RETURN_IF_ERROR(pieces.status());
  if (!split || model.empty() || !parsed.model.ParseFromString(model))
    return absl::DataLossError("does not parse, expected an ONNX model");
  return parsed;
}

}  // namespace hachi
