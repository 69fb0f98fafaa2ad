// A ModelInfer request as it comes, cut into slices; the first byte says how.
#include <google/protobuf/util/message_differencer.h>

#include <algorithm>
#include <string>
#include <vector>

#include "server/rpc/decode.h"
#include "tests/fuzz/fuzz.h"

namespace {

using google::protobuf::util::MessageDifferencer;
using hachi::Require;
using hachi::server::Chunks;
using hachi::server::WireInfer;

absl::StatusOr<WireInfer> Decoded(std::string_view bytes, size_t slice_bytes) {
  std::vector<grpc::Slice> slices;
  for (size_t i = 0; i < bytes.size(); i += slice_bytes)
    slices.emplace_back(std::string(bytes.substr(i, slice_bytes)));
  return hachi::server::DecodeInfer(grpc::ByteBuffer(slices.data(), slices.size()));
}

std::string Joined(const Chunks& chunks) {
  std::string bytes;
  for (const auto& chunk : chunks) bytes.append(reinterpret_cast<const char*>(chunk.data()), chunk.size());
  return bytes;
}

// What was split, as one message again; false where contents are none.
bool Assemble(const WireInfer& wire, inference::ModelInferRequest& whole) {
  whole = wire.head;
  for (int i = 0; i < whole.inputs_size(); ++i)
    if (const auto& contents = wire.contents[static_cast<size_t>(i)])
      if (!whole.mutable_inputs(i)->mutable_contents()->ParseFromString(Joined(*contents))) return false;
  for (const Chunks& raw : wire.raw) whole.add_raw_input_contents(Joined(raw));
  whole.DiscardUnknownFields();
  return true;
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  if (size == 0) return 0;
  const std::string_view bytes = hachi::TextOf(data + 1, size - 1);
  const auto wire = Decoded(bytes, 1 + data[0]), in_one = Decoded(bytes, std::max<size_t>(1, bytes.size()));
  Require(wire.status() == in_one.status(), "slices change nothing");
  if (!wire.ok()) return 0;
  Require(wire->contents.size() == static_cast<size_t>(wire->head.inputs_size()),
          "inputs have their contents");
  inference::ModelInferRequest whole, other, reference;
  if (!Assemble(*wire, whole)) return 0;
  Require(Assemble(*in_one, other) && MessageDifferencer::Equals(whole, other), "slices change nothing");
  Require(reference.ParseFromArray(bytes.data(), static_cast<int>(bytes.size())), "protobuf reads it too");
  reference.DiscardUnknownFields();
  Require(MessageDifferencer::Equals(whole, reference), "protobuf reads the same");
  return 0;
}
