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
#include <utility>

#include "absl/strings/str_cat.h"
#include "engine/base/status_macros.h"

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

absl::Status Malformed(const char* what) {
  return absl::InvalidArgumentError(
      absl::StrCat("request: its bytes are malformed (", what, "), expected a ModelInferRequest"));
}

absl::Status TooMany(const std::string& field) {
  return absl::InvalidArgumentError(absl::StrCat("request: has more than ", kMaxEntries, " entries in '",
                                                 field, "', expected at most that"));
}

// The next field's tag, 0 at the end of the message. Only wire types that protobuf 3 has: no groups.
absl::StatusOr<uint32_t> NextTag(CodedInputStream& in) {
  const uint32_t tag = in.ReadTag();
  if (tag == 0 && in.ConsumedEntireMessage()) return tag;
  if (WireFormatLite::GetTagFieldNumber(tag) == 0) return Malformed("bad tag");
  const auto type = WireFormatLite::GetTagWireType(tag);
  if (type == WireFormatLite::WIRETYPE_START_GROUP || type == WireFormatLite::WIRETYPE_END_GROUP ||
      type > WireFormatLite::WIRETYPE_FIXED32)
    return Malformed("bad wire type");
  return tag;
}

// The length of what comes, all of which is there.
absl::StatusOr<int> ReadLength(CodedInputStream& in) {
  int length = 0;
  if (!in.ReadVarintSizeAsInt(&length) || length > in.BytesUntilLimit()) return Malformed("truncated field");
  return length;
}

// Adds the bytes of a length-delimited field, where they lie.
absl::Status ReadInPlace(CodedInputStream& in, Chunks& chunks) {
  ASSIGN_OR_RETURN(int length, ReadLength(in));
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
      ASSIGN_OR_RETURN(const int length, ReadLength(in));
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
  ASSIGN_OR_RETURN(const int length, ReadLength(in));
  const CodedInputStream::Limit limit = in.PushLimit(length);
  std::optional<Chunks> contents;
  Head own;
  int entries = 0;
  for (uint32_t tag = 1; tag != 0;) {
    ASSIGN_OR_RETURN(tag, NextTag(in));
    if (tag == kContentsTag) {
      // Several are read as if they stood behind one another, as protobuf does.
      if (++entries > kMaxEntries) return TooMany("contents");
      if (!contents) contents.emplace();
      RETURN_IF_ERROR(ReadInPlace(in, *contents));
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
    ASSIGN_OR_RETURN(const uint32_t tag, NextTag(in));
    if (tag == 0) return absl::OkStatus();
    const int field = WireFormatLite::GetTagFieldNumber(tag);
    const bool known = field < static_cast<int>(entries.size());
    if (known && field >= Message::kParametersFieldNumber && ++entries[field] > kMaxEntries)
      return TooMany(Message::descriptor()->FindFieldByNumber(field)->name());
    if (tag == kRawTag) {
      RETURN_IF_ERROR(ReadInPlace(in, wire.raw.emplace_back()));
    } else if (tag == kInputTag) {
      ASSIGN_OR_RETURN(wire.contents.emplace_back(), ReadInput(in, head));
    } else if (known) {
      RETURN_IF_ERROR(head.Copy(in, tag));
    } else if (!WireFormatLite::SkipField(&in, tag)) {
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
