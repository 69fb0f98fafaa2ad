#include "server/rpc/decode.h"

#include <google/protobuf/descriptor.h>
#include <google/protobuf/io/coded_stream.h>
#include <google/protobuf/io/zero_copy_stream_impl_lite.h>
#include <google/protobuf/wire_format_lite.h>

#include <algorithm>
#include <array>
#include <climits>
#include <cstdint>
#include <string>
#include <string_view>
#include <utility>

#include "absl/strings/str_cat.h"
#include "engine/base/status_macros.h"
#include "server/rpc/wire.h"

namespace hachi::server {
namespace {

using google::protobuf::internal::WireFormatLite;
using google::protobuf::io::CodedInputStream;
using google::protobuf::io::CodedOutputStream;
using google::protobuf::io::StringOutputStream;
using Message = inference::ModelInferRequest;

constexpr int kMaxEntries = 1024;  // no model comes near; a guess

// A byte of it may take a hundred in memory (an empty entry, a dimension): together less than a slice of
// gRPC's own. Names, shapes and parameters of hundreds of tensors come to less.
constexpr size_t kMaxHeadBytes = 65536;

constexpr uint32_t TagOfBytes(int field) {
  return WireFormatLite::MakeTag(field, WireFormatLite::WIRETYPE_LENGTH_DELIMITED);
}
constexpr uint32_t kInputTag = TagOfBytes(Message::kInputsFieldNumber);
constexpr uint32_t kRawTag = TagOfBytes(Message::kRawInputContentsFieldNumber);
constexpr uint32_t kContentsTag = TagOfBytes(Message::InferInputTensor::kContentsFieldNumber);

// An error of the wire format, as one about the request.
absl::Status Malformed(std::string_view what) {
  return absl::InvalidArgumentError(absl::StrCat("request: its bytes are malformed (", std::string(what),
                                                 "), expected a ModelInferRequest"));
}
template <typename T>
absl::StatusOr<T> Malformed(absl::StatusOr<T> read) {
  if (read.ok()) return read;
  return Malformed(std::string_view(read.status().message().data(), read.status().message().size()));
}

// Adds the bytes of a length-delimited field, where they lie.
absl::Status ReadInPlace(CodedInputStream& in, Chunks& chunks) {
  ASSIGN_OR_RETURN(int length, Malformed(ReadLength(in)));
  const void* data = nullptr;
  for (int size = 0; length > 0 && in.GetDirectBufferPointer(&data, &size); length -= size) {
    size = std::min(size, length);
    chunks.emplace_back(static_cast<const std::byte*>(data), size);
    in.Skip(size);
  }
  return absl::OkStatus();
}

// The request's bytes, and those of its inputs, without the elements of tensors.
//
// Confined to one thread.
class Head {
 public:
  // Copies a field, whose tag was read.
  absl::Status Copy(CodedInputStream& in, uint32_t tag) {
    if (WireFormatLite::GetTagWireType(tag) == WireFormatLite::WIRETYPE_LENGTH_DELIMITED) {
      ASSIGN_OR_RETURN(const int length, Malformed(ReadLength(in)));
      RETURN_IF_ERROR(CheckRoom(static_cast<size_t>(length)));
      std::string value;
      in.ReadString(&value, length);
      return Add(tag, value);
    }
    StringOutputStream stream(&bytes_);
    CodedOutputStream out(&stream);
    if (!WireFormatLite::SkipField(&in, tag, &out)) return Malformed("truncated field");
    return CheckRoom(0);
  }

  // Adds a length-delimited field.
  absl::Status Add(uint32_t tag, const std::string& value) {
    RETURN_IF_ERROR(CheckRoom(value.size()));
    StringOutputStream stream(&bytes_);
    CodedOutputStream out(&stream);
    out.WriteTag(tag);
    out.WriteVarint32(static_cast<uint32_t>(value.size()));
    out.WriteString(value);
    return absl::OkStatus();
  }

  const std::string& bytes() const { return bytes_; }

 private:
  absl::Status CheckRoom(size_t more) const {
    if (bytes_.size() + more <= kMaxHeadBytes) return absl::OkStatus();
    return absl::InvalidArgumentError(absl::StrCat("request: has more than ", kMaxHeadBytes,
                                                   " bytes beside its tensors' elements, expected at most "
                                                   "that"));
  }

  std::string bytes_;
};

// Reads an input; all but its contents go to `head`.
absl::StatusOr<std::optional<Chunks>> ReadInput(CodedInputStream& in, Head& head) {
  ASSIGN_OR_RETURN(const int length, Malformed(ReadLength(in)));
  const CodedInputStream::Limit limit = in.PushLimit(length);
  std::optional<Chunks> contents;
  Head own;
  for (uint32_t tag = 1; tag != 0;) {
    ASSIGN_OR_RETURN(tag, Malformed(NextTag(in)));
    if (tag == kContentsTag) {
      // Protobuf would take each apart and put their elements together; nobody sends that.
      if (contents)
        return absl::InvalidArgumentError("request: an input has contents twice, expected them once");
      RETURN_IF_ERROR(ReadInPlace(in, contents.emplace()));
    } else if (tag != 0) {
      RETURN_IF_ERROR(own.Copy(in, tag));
    }
  }
  in.PopLimit(limit);
  RETURN_IF_ERROR(head.Add(kInputTag, own.bytes()));
  return contents;
}

// Splits a message of so many bytes into its head and what stays in place.
absl::Status Split(CodedInputStream& in, Head& head, WireInfer& wire) {
  std::array<int, 8> entries{};
  while (true) {
    ASSIGN_OR_RETURN(const uint32_t tag, Malformed(NextTag(in)));
    if (tag == 0) return absl::OkStatus();
    const int field = WireFormatLite::GetTagFieldNumber(tag);
    const bool known = field < static_cast<int>(entries.size());
    if (known && field >= Message::kParametersFieldNumber && ++entries[field] > kMaxEntries)
      return absl::InvalidArgumentError(absl::StrCat("request: has more than ", kMaxEntries, " entries in '",
                                                     Message::descriptor()->FindFieldByNumber(field)->name(),
                                                     "', expected at most that"));
    if (tag == kRawTag) {
      RETURN_IF_ERROR(ReadInPlace(in, wire.raw.emplace_back()));
    } else if (tag == kInputTag) {
      ASSIGN_OR_RETURN(wire.contents.emplace_back(), ReadInput(in, head));
    } else if (known) {
      RETURN_IF_ERROR(head.Copy(in, tag));
    } else if (!SkipField(in, tag).ok()) {
      return Malformed("truncated field");
    }
  }
}

}  // namespace

absl::StatusOr<WireInfer> DecodeInfer(const grpc::ByteBuffer& bytes) {
  auto slices = std::make_shared<std::vector<grpc::Slice>>();
  // An empty message has no buffer at all.
  if (bytes.Valid() && !bytes.Dump(slices.get()).ok()) return Malformed("unreadable buffer");
  WireInfer wire;
  wire.slices = slices;
  Chunks chunks;
  for (const grpc::Slice& slice : *slices)
    chunks.emplace_back(reinterpret_cast<const std::byte*>(slice.begin()), slice.size());
  const size_t size = SizeOfChunks(chunks);
  if (size > INT_MAX) return Malformed("2 GiB or more");
  ChunkStream stream(chunks);
  CodedInputStream in(&stream);
  in.PushLimit(static_cast<int>(size));  // no field reserves more than what is there
  Head head;
  RETURN_IF_ERROR(Split(in, head, wire));
  if (!wire.head.ParseFromString(head.bytes())) return Malformed("bad field");
  return wire;
}

}  // namespace hachi::server
