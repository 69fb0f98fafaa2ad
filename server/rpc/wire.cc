#include "server/rpc/wire.h"

#include <google/protobuf/wire_format_lite.h>

#include "engine/base/status_macros.h"

namespace hachi::server {
namespace {

using google::protobuf::internal::WireFormatLite;
using google::protobuf::io::CodedInputStream;

constexpr int kLongestBytes = 5;  // of a number of 32 bits

}  // namespace

absl::StatusOr<uint32_t> NextTag(CodedInputStream& in) {
  const int begin = in.CurrentPosition();
  const uint32_t tag = in.ReadTag();
  if (tag == 0 && in.ConsumedEntireMessage()) return tag;
  if (WireFormatLite::GetTagFieldNumber(tag) == 0 || in.CurrentPosition() - begin > kLongestBytes)
    return absl::InvalidArgumentError("bad tag");
  const auto type = WireFormatLite::GetTagWireType(tag);
  if (type == WireFormatLite::WIRETYPE_START_GROUP || type == WireFormatLite::WIRETYPE_END_GROUP ||
      type > WireFormatLite::WIRETYPE_FIXED32)
    return absl::InvalidArgumentError("bad wire type");
  return tag;
}

absl::StatusOr<int> ReadLength(CodedInputStream& in) {
  const int begin = in.CurrentPosition();
  int length = 0;
  if (!in.ReadVarintSizeAsInt(&length) || in.CurrentPosition() - begin > kLongestBytes ||
      length > in.BytesUntilLimit())
    return absl::InvalidArgumentError("truncated field");
  return length;
}

absl::Status SkipField(CodedInputStream& in, uint32_t tag) {
  if (WireFormatLite::GetTagWireType(tag) == WireFormatLite::WIRETYPE_LENGTH_DELIMITED) {
    ASSIGN_OR_RETURN(const int length, ReadLength(in));
    in.Skip(length);
    return absl::OkStatus();
  }
  return WireFormatLite::SkipField(&in, tag) ? absl::OkStatus()
                                             : absl::InvalidArgumentError("truncated field");
}

}  // namespace hachi::server
