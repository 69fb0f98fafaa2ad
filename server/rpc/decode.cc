#include "server/rpc/decode.h"

#include <google/protobuf/wire_format_lite.h>

#include <algorithm>
#include <array>
#include <cstdint>
#include <optional>
#include <string>
#include <utility>

#include "absl/strings/str_cat.h"

namespace hachi::server {
namespace {

using google::protobuf::internal::WireFormatLite;
using Message = inference::ModelInferRequest;

constexpr int kMaxEntries = 1024;  // no model comes near; a guess

// Reads wire format from consecutive slices.
//
// Confined to one thread.
class Cursor {
 public:
  explicit Cursor(const std::vector<grpc::Slice>& slices) : slices_(slices) {
    for (const grpc::Slice& slice : slices) remaining_ += slice.size();
  }

  uint64_t remaining() const { return remaining_; }

  std::optional<uint64_t> ReadVarint() {
    uint64_t value = 0;
    for (int shift = 0; shift < 64; shift += 7) {
      if (remaining_ == 0) return std::nullopt;
      uint8_t byte = 0;
      Read(1, [&](std::span<const std::byte> chunk) { byte = static_cast<uint8_t>(chunk[0]); });
      value |= static_cast<uint64_t>(byte & 0x7F) << shift;
      if ((byte & 0x80) == 0) return value;
    }
    return std::nullopt;
  }

  // Hands the next `bytes` bytes to `take`, chunk by chunk. REQUIRES: bytes <= remaining().
  template <typename Take>
  void Read(uint64_t bytes, Take take) {
    while (bytes > 0) {
      const grpc::Slice& slice = slices_[index_];
      const size_t here = static_cast<size_t>(std::min<uint64_t>(bytes, slice.size() - offset_));
      if (here > 0) take(std::span(reinterpret_cast<const std::byte*>(slice.begin()) + offset_, here));
      offset_ += here;
      bytes -= here;
      remaining_ -= here;
      if (offset_ == slice.size()) {
        ++index_;
        offset_ = 0;
      }
    }
  }

 private:
  const std::vector<grpc::Slice>& slices_;
  size_t index_ = 0;   // of the slice with the next byte
  size_t offset_ = 0;  // of that byte in it
  uint64_t remaining_ = 0;
};

void AppendVarint(uint64_t value, std::string& out) {
  for (; value >= 0x80; value >>= 7) out.push_back(static_cast<char>(value | 0x80));
  out.push_back(static_cast<char>(value));
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
  Cursor cursor(*slices);

  std::string head;  // the message without its raw entries and unknown fields
  std::array<int, 8> entries{};
  while (cursor.remaining() > 0) {
    const std::optional<uint64_t> tag = cursor.ReadVarint();
    if (!tag || *tag > UINT32_MAX || *tag >> 3 == 0) return Malformed("bad tag");
    const int field = static_cast<int>(*tag >> 3);
    const bool known = field < static_cast<int>(entries.size());
    if (known && field >= Message::kParametersFieldNumber && ++entries[field] > kMaxEntries)
      return absl::InvalidArgumentError(absl::StrCat("request: has more than ", kMaxEntries, " entries in '",
                                                     Message::descriptor()->FindFieldByNumber(field)->name(),
                                                     "', expected at most that"));

    uint64_t length = 0;
    std::optional<uint64_t> varint;
    switch (static_cast<int>(*tag & 7)) {
      case WireFormatLite::WIRETYPE_VARINT:
        varint = cursor.ReadVarint();
        if (!varint) return Malformed("bad varint");
        break;
      case WireFormatLite::WIRETYPE_FIXED64:
        length = 8;
        break;
      case WireFormatLite::WIRETYPE_FIXED32:
        length = 4;
        break;
      case WireFormatLite::WIRETYPE_LENGTH_DELIMITED:
        varint = cursor.ReadVarint();
        if (!varint) return Malformed("bad length");
        length = *varint;
        break;
      default:
        return Malformed("bad wire type");
    }
    if (length > cursor.remaining()) return Malformed("truncated field");

    if (*tag == WireFormatLite::MakeTag(Message::kRawInputContentsFieldNumber,
                                        WireFormatLite::WIRETYPE_LENGTH_DELIMITED)) {
      Chunks& chunks = wire.raw.emplace_back();
      cursor.Read(length, [&](std::span<const std::byte> chunk) { chunks.push_back(chunk); });
    } else if (known) {
      AppendVarint(*tag, head);
      if (varint) AppendVarint(*varint, head);
      cursor.Read(length, [&](std::span<const std::byte> chunk) {
        head.append(reinterpret_cast<const char*>(chunk.data()), chunk.size());
      });
    } else {
      cursor.Read(length, [](std::span<const std::byte>) {});
    }
  }
  if (!wire.head.ParseFromString(head)) return Malformed("bad field");
  return wire;
}

}  // namespace hachi::server
