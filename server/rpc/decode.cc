#include "server/rpc/decode.h"

#include <google/protobuf/descriptor.h>
#include <google/protobuf/io/coded_stream.h>
#include <google/protobuf/io/zero_copy_stream_impl_lite.h>
#include <google/protobuf/wire_format_lite.h>

#include <algorithm>
#include <array>
#include <climits>
#include <cstdint>
#include <optional>
#include <string>
#include <string_view>
#include <utility>

#include "absl/strings/str_cat.h"

namespace hachi::server {
namespace {

using google::protobuf::internal::WireFormatLite;
using google::protobuf::io::CodedInputStream;
using google::protobuf::io::CodedOutputStream;
using google::protobuf::io::StringOutputStream;
using Message = inference::ModelInferRequest;

constexpr int kMaxEntries = 1024;  // no model comes near; a guess

// In memory each takes some hundred bytes, on the wire as few as two.
constexpr int kMaxNestedEntries = 65536;

constexpr uint32_t kRawTag =
    WireFormatLite::MakeTag(Message::kRawInputContentsFieldNumber, WireFormatLite::WIRETYPE_LENGTH_DELIMITED);

// Consecutive slices as protobuf reads them, in place.
//
// Confined to one thread.
class SliceStream final : public google::protobuf::io::ZeroCopyInputStream {
 public:
  explicit SliceStream(const std::vector<grpc::Slice>& slices) : slices_(slices) {}

  bool Next(const void** data, int* size) override {
    while (index_ < slices_.size() && offset_ == slices_[index_].size()) {
      ++index_;
      offset_ = 0;
    }
    if (index_ == slices_.size()) return false;
    *data = slices_[index_].begin() + offset_;
    *size = static_cast<int>(slices_[index_].size() - offset_);
    offset_ = slices_[index_].size();
    read_ += *size;
    return true;
  }

  void BackUp(int count) override {
    offset_ -= static_cast<size_t>(count);
    read_ -= count;
  }

  bool Skip(int count) override {
    const void* data = nullptr;
    int size = 0;
    for (; count > 0; count -= size)
      if (!Next(&data, &size)) return false;
    BackUp(-count);
    return true;
  }

  int64_t ByteCount() const override { return read_; }

 private:
  const std::vector<grpc::Slice>& slices_;
  size_t index_ = 0;   // of the slice with the next byte
  size_t offset_ = 0;  // of that byte in it
  int64_t read_ = 0;
};

// The bytes of a length-delimited field where they lie; nullopt: they are not all there.
std::optional<Chunks> ReadInPlace(CodedInputStream& in) {
  int length = 0;
  if (!in.ReadVarintSizeAsInt(&length) || length > in.BytesUntilLimit()) return std::nullopt;
  Chunks chunks;
  const void* data = nullptr;
  for (int size = 0; length > 0 && in.GetDirectBufferPointer(&data, &size); length -= size) {
    size = std::min(size, length);
    chunks.emplace_back(static_cast<const std::byte*>(data), size);
    in.Skip(size);
  }
  return chunks;
}

// Adds the fields of a message and of those in it to `count`, until it is beyond kMaxNestedEntries; false:
// the bytes end in the middle of one. What is no message (a packed list, a string) is one field.
bool CountEntries(std::string_view bytes, const google::protobuf::Descriptor& type, int& count) {
  CodedInputStream in(reinterpret_cast<const uint8_t*>(bytes.data()), static_cast<int>(bytes.size()));
  for (uint32_t tag = in.ReadTag(); tag != 0 && ++count <= kMaxNestedEntries; tag = in.ReadTag()) {
    const auto* const field = type.FindFieldByNumber(WireFormatLite::GetTagFieldNumber(tag));
    const bool is_message = field != nullptr && field->message_type() != nullptr &&
                            WireFormatLite::GetTagWireType(tag) == WireFormatLite::WIRETYPE_LENGTH_DELIMITED;
    if (!is_message) {
      if (!WireFormatLite::SkipField(&in, tag)) return false;
      continue;
    }
    int length = 0;
    if (!in.ReadVarintSizeAsInt(&length)) return false;
    const auto begin = static_cast<size_t>(in.CurrentPosition());
    if (!in.Skip(length) || begin + static_cast<size_t>(length) > bytes.size()) return false;
    if (!CountEntries(bytes.substr(begin, static_cast<size_t>(length)), *field->message_type(), count))
      return false;
  }
  return true;
}

absl::Status Malformed(const char* what) {
  return absl::InvalidArgumentError(
      absl::StrCat("request: its bytes are malformed (", what, "), expected a ModelInferRequest"));
}

}  // namespace

absl::StatusOr<WireInfer> DecodeInfer(const grpc::ByteBuffer& bytes) {
  auto slices = std::make_shared<std::vector<grpc::Slice>>();
  // An empty message has no buffer at all.
  if (bytes.Valid() && !bytes.Dump(slices.get()).ok()) return Malformed("unreadable buffer");
  WireInfer wire;
  wire.slices = slices;
  size_t size = 0;
  for (const grpc::Slice& slice : *slices) size += slice.size();
  if (size > INT_MAX) return Malformed("2 GiB or more");
  SliceStream stream(*slices);
  CodedInputStream in(&stream);
  in.PushLimit(static_cast<int>(size));  // no field reserves more than what is there

  std::string head;  // the message without its raw entries and unknown fields
  StringOutputStream head_stream(&head);
  CodedOutputStream out(&head_stream);
  std::array<int, 8> entries{};
  for (uint32_t tag = in.ReadTag(); tag != 0 || !in.ConsumedEntireMessage(); tag = in.ReadTag()) {
    const int field = WireFormatLite::GetTagFieldNumber(tag);
    if (field == 0) return Malformed("bad tag");
    const bool known = field < static_cast<int>(entries.size());
    if (known && field >= Message::kParametersFieldNumber && ++entries[field] > kMaxEntries)
      return absl::InvalidArgumentError(absl::StrCat("request: has more than ", kMaxEntries, " entries in '",
                                                     Message::descriptor()->FindFieldByNumber(field)->name(),
                                                     "', expected at most that"));
    // The wire types that protobuf 3 has: no groups.
    const auto type = WireFormatLite::GetTagWireType(tag);
    if (type == WireFormatLite::WIRETYPE_START_GROUP || type == WireFormatLite::WIRETYPE_END_GROUP ||
        type > WireFormatLite::WIRETYPE_FIXED32)
      return Malformed("bad wire type");
    if (tag == kRawTag) {
      std::optional<Chunks> chunks = ReadInPlace(in);
      if (!chunks) return Malformed("truncated field");
      wire.raw.push_back(*std::move(chunks));
    } else if (!(known ? WireFormatLite::SkipField(&in, tag, &out) : WireFormatLite::SkipField(&in, tag))) {
      return Malformed("truncated field");
    }
  }
  out.Trim();
  int nested = 0;
  if (!CountEntries(head, *Message::descriptor(), nested)) return Malformed("truncated field");
  if (nested > kMaxNestedEntries)
    return absl::InvalidArgumentError(absl::StrCat(
        "request: has more than ", kMaxNestedEntries,
        " entries beside its tensors' bytes, expected at most that; send tensors raw or packed"));
  if (!wire.head.ParseFromString(head)) return Malformed("bad field");
  return wire;
}

}  // namespace hachi::server
