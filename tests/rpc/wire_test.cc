#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <algorithm>
#include <cstring>
#include <functional>
#include <span>
#include <string>
#include <vector>

#include "proto/datatype.h"
#include "server/rpc/decode.h"
#include "server/rpc/typed_contents.h"
#include "tests/support/status_matchers.h"

namespace hachi::server {
namespace {

using ::testing::ElementsAre;
using ::testing::HasSubstr;

// `bytes` as a message that came in slices of `slice_bytes`.
grpc::ByteBuffer Sliced(const std::string& bytes, size_t slice_bytes) {
  std::vector<grpc::Slice> slices;
  for (size_t i = 0; i < bytes.size(); i += slice_bytes) slices.emplace_back(bytes.substr(i, slice_bytes));
  return grpc::ByteBuffer(slices.data(), slices.size());
}

std::string Join(const Chunks& chunks) {
  std::string text;
  for (const auto& chunk : chunks) text.append(reinterpret_cast<const char*>(chunk.data()), chunk.size());
  return text;
}

inference::ModelInferRequest Sample() {
  inference::ModelInferRequest request;
  request.set_model_name("model");
  request.set_id("ä");
  (*request.mutable_parameters())["priority"].set_uint64_param(uint64_t{1} << 63);
  auto* input = request.add_inputs();
  input->set_name("x");
  input->add_shape(-1);
  input->add_shape(int64_t{1} << 40);
  request.add_outputs()->set_name("y");
  request.add_raw_input_contents(std::string(300, 'a'));
  request.add_raw_input_contents("");
  request.add_raw_input_contents("bc");
  return request;
}

TEST(DecodeInferTest, AgreesWithProtobufHoweverTheBytesAreSliced) {
  const inference::ModelInferRequest sample = Sample();
  inference::ModelInferRequest head = sample;
  head.clear_raw_input_contents();
  for (const size_t slice_bytes : {1, 2, 3, 7, 24, 100, 1000}) {
    const auto wire = DecodeInfer(Sliced(sample.SerializeAsString(), slice_bytes));
    ASSERT_OK(wire) << slice_bytes;
    EXPECT_EQ(wire->head.SerializeAsString(), head.SerializeAsString()) << slice_bytes;
    ASSERT_EQ(wire->raw.size(), 3u);
    EXPECT_EQ(Join(wire->raw[0]), std::string(300, 'a'));
    EXPECT_EQ(Join(wire->raw[1]), "");
    EXPECT_EQ(Join(wire->raw[2]), "bc");
  }
}

TEST(DecodeInferTest, RawBytesStayInTheirSlices) {
  const auto wire = DecodeInfer(Sliced(Sample().SerializeAsString(), 1000));
  ASSERT_OK(wire);
  const grpc::Slice& slice = wire->slices->front();
  const auto* begin = reinterpret_cast<const std::byte*>(slice.begin());
  EXPECT_GE(wire->raw[0][0].data(), begin);
  EXPECT_LT(wire->raw[0][0].data(), begin + slice.size());
}

TEST(DecodeInferTest, TruncatedBytesParseExactlyWhereProtobufParsesThem) {
  const std::string bytes = Sample().SerializeAsString();
  int refused = 0;
  for (size_t size = 0; size < bytes.size(); ++size) {
    inference::ModelInferRequest reference;
    const bool parses = reference.ParseFromString(bytes.substr(0, size));
    EXPECT_EQ(DecodeInfer(Sliced(bytes.substr(0, size), 5)).ok(), parses) << size;
    refused += parses ? 0 : 1;
  }
  EXPECT_GT(refused, 300);
}

TEST(DecodeInferTest, FlippedBytesNeverCrashAndNeverParseWhereProtobufDoesNot) {
  const std::string bytes = Sample().SerializeAsString();
  for (size_t i = 0; i < bytes.size(); ++i) {
    for (const int mask : {0x01, 0x06, 0x80, 0xFF}) {
      std::string damaged = bytes;
      damaged[i] = static_cast<char>(damaged[i] ^ mask);
      inference::ModelInferRequest reference;
      const auto wire = DecodeInfer(Sliced(damaged, 11));
      EXPECT_TRUE(!wire.ok() || reference.ParseFromString(damaged)) << i << " ^ " << mask;
    }
  }
}

TEST(DecodeInferTest, MalformedBytesSayWhat) {
  const auto error = [](const std::string& bytes) { return DecodeInfer(Sliced(bytes, 1)).status(); };
  const auto is = [](const char* what) {
    return StatusIs(absl::StatusCode::kInvalidArgument, HasSubstr(what));
  };
  EXPECT_THAT(error(std::string(1, '\0')), is("bad tag"));                                // field number 0
  EXPECT_THAT(error(std::string(11, '\xFF')), is("bad tag"));                             // endless varint
  EXPECT_THAT(error("\x0B"), is("bad wire type"));                                        // a group
  EXPECT_THAT(error("\x3A\x05"), is("truncated field"));                                  // raw entry
  EXPECT_THAT(error("\x3A\xFF\xFF\xFF\xFF\xFF\xFF\xFF\xFF\x7F"), is("truncated field"));  // 2^63 bytes long
  EXPECT_THAT(error("\x0A\x01\xC0"), is("bad field"));                                    // name is not UTF-8
  EXPECT_THAT(error("\x08"), is("truncated field"));
  // Numbers of six bytes, which protobuf refuses and CodedInputStream cuts off.
  EXPECT_THAT(error(std::string("\x8A\x80\x80\x80\x80\x00\x00", 7)), is("bad tag"));
  EXPECT_THAT(error(std::string("\x0A\x81\x80\x80\x80\x80\x00m", 8)), is("truncated field"));
  EXPECT_THAT(error(std::string("\x4A\x81\x80\x80\x80\x80\x00m", 8)), is("truncated field"));
}

TEST(DecodeInferTest, ContentsStayInTheirSlices) {
  inference::ModelInferRequest request = Sample();
  request.add_inputs();
  inference::InferTensorContents contents;
  for (int i = 0; i < 1000; ++i) contents.add_int64_contents(i << 10);
  *request.mutable_inputs(0)->mutable_contents() = contents;
  const auto wire = DecodeInfer(Sliced(request.SerializeAsString(), 100));
  ASSERT_OK(wire);
  ASSERT_EQ(wire->contents.size(), 2u);
  ASSERT_TRUE(wire->contents[0].has_value());
  EXPECT_GT(wire->contents[0]->size(), 10u);
  EXPECT_EQ(Join(*wire->contents[0]), contents.SerializeAsString());
  EXPECT_FALSE(wire->contents[1].has_value());
  EXPECT_FALSE(wire->head.inputs(0).has_contents());
  EXPECT_EQ(wire->head.inputs(0).name(), "x");
  EXPECT_EQ(wire->head.inputs(0).shape_size(), 2);
}

TEST(DecodeInferTest, ContentsTwiceAreRefused) {
  // An input with the contents [1], a name and the contents [2].
  const std::string input = std::string("\x2A\x03\x1A\x01\x01") + "\x0A\x01x" + "\x2A\x03\x1A\x01\x02";
  EXPECT_THAT(DecodeInfer(Sliced("\x2A\x0D" + input, 4)),
              StatusIs(absl::StatusCode::kInvalidArgument, HasSubstr("an input has contents twice")));
}

TEST(DecodeInferTest, WhatIsNoElementIsBounded) {
  const auto error = [](const inference::ModelInferRequest& request) {
    return DecodeInfer(Sliced(request.SerializeAsString(), 10'000)).status();
  };
  const auto too_long = StatusIs(absl::StatusCode::kInvalidArgument,
                                 HasSubstr("has more than 65536 bytes beside its tensors' elements"));
  inference::ModelInferRequest request = Sample();
  for (int i = 0; i < 100'000; ++i) request.mutable_inputs(0)->mutable_contents()->add_fp32_contents(1);
  request.add_raw_input_contents(std::string(100'000, 'x'));
  EXPECT_OK(error(request));
  const auto with = [&](const std::function<void(inference::ModelInferRequest&)>& change) {
    inference::ModelInferRequest changed = request;
    change(changed);
    return error(changed);
  };
  EXPECT_OK(with([](auto& r) { r.set_id(std::string(65'000, 'x')); }));
  EXPECT_THAT(with([](auto& r) { r.set_id(std::string(66'000, 'x')); }), too_long);
  EXPECT_THAT(with([](auto& r) { r.mutable_inputs(0)->mutable_shape()->Resize(66'000, 1); }), too_long);
  EXPECT_THAT(with([](auto& r) {
                for (int i = 0; i < 8; ++i) r.add_inputs()->set_name(std::string(10'000, 'x'));
              }),
              too_long);
}

TEST(DecodeInferTest, UnknownFieldsAreSkipped) {
  const auto wire = DecodeInfer(Sliced("\x42\x02zz\x0A\x01m", 2));  // field 8, then the name
  ASSERT_OK(wire);
  EXPECT_EQ(wire->head.model_name(), "m");
  EXPECT_EQ(wire->head.ByteSizeLong(), 3u);
}

TEST(DecodeInferTest, NothingIsAnEmptyRequest) {
  const auto wire = DecodeInfer(grpc::ByteBuffer());
  ASSERT_OK(wire);
  EXPECT_EQ(wire->head.ByteSizeLong(), 0u);
}

template <typename T>
std::vector<T> Elements(const absl::StatusOr<std::vector<std::byte>>& bytes) {
  EXPECT_OK(bytes);
  std::vector<T> elements(bytes->size() / sizeof(T));
  std::memcpy(elements.data(), bytes->data(), bytes->size());
  return elements;
}

// A message, as its bytes came in slices of five.
absl::StatusOr<std::vector<std::byte>> Dense(const std::string& bytes, DType dtype, int64_t count) {
  Chunks chunks;
  for (size_t i = 0; i < bytes.size(); i += 5)
    chunks.push_back(std::as_bytes(std::span(bytes).subspan(i, std::min<size_t>(5, bytes.size() - i))));
  return DenseBytes(chunks, dtype, count, [](int64_t) { return absl::OkStatus(); });
}
absl::StatusOr<std::vector<std::byte>> Dense(const inference::InferTensorContents& contents, DType dtype,
                                             int64_t count) {
  return Dense(contents.SerializeAsString(), dtype, count);
}

TEST(DenseBytesTest, EveryDatatypeHasItsField) {
  inference::InferTensorContents contents;
  contents.add_bool_contents(true);
  contents.add_bool_contents(false);
  EXPECT_THAT(Elements<uint8_t>(Dense(contents, DType::kBool, 2)), ElementsAre(1, 0));
  contents.Clear();
  contents.add_int_contents(-128);
  EXPECT_THAT(Elements<int8_t>(Dense(contents, DType::kS8, 1)), ElementsAre(-128));
  EXPECT_THAT(Elements<int16_t>(Dense(contents, DType::kS16, 1)), ElementsAre(-128));
  EXPECT_THAT(Elements<int32_t>(Dense(contents, DType::kS32, 1)), ElementsAre(-128));
  contents.Clear();
  contents.add_int64_contents(int64_t{-1} << 62);
  EXPECT_THAT(Elements<int64_t>(Dense(contents, DType::kS64, 1)), ElementsAre(int64_t{-1} << 62));
  contents.Clear();
  contents.add_uint_contents(255);
  EXPECT_THAT(Elements<uint8_t>(Dense(contents, DType::kU8, 1)), ElementsAre(255));
  EXPECT_THAT(Elements<uint16_t>(Dense(contents, DType::kU16, 1)), ElementsAre(255));
  EXPECT_THAT(Elements<uint32_t>(Dense(contents, DType::kU32, 1)), ElementsAre(255));
  contents.Clear();
  contents.add_uint64_contents(uint64_t{1} << 63);
  EXPECT_THAT(Elements<uint64_t>(Dense(contents, DType::kU64, 1)), ElementsAre(uint64_t{1} << 63));
  contents.Clear();
  contents.add_fp32_contents(-1.5f);
  EXPECT_THAT(Elements<float>(Dense(contents, DType::kF32, 1)), ElementsAre(-1.5f));
  contents.Clear();
  contents.add_fp64_contents(1e300);
  EXPECT_THAT(Elements<double>(Dense(contents, DType::kF64, 1)), ElementsAre(1e300));
}

TEST(DenseBytesTest, ElementsMayBePackedOrNot) {
  const std::string packed = "\x1A\x03\x01\xAC\x02", single("\x18\x05");
  EXPECT_THAT(Elements<int64_t>(Dense(packed + single + packed, DType::kS64, 5)),
              ElementsAre(1, 300, 5, 1, 300));
  const std::string real("\x35\0\0\x80\x3F", 5);
  EXPECT_THAT(Elements<float>(Dense(real + real, DType::kF32, 2)), ElementsAre(1, 1));
}

TEST(DenseBytesTest, DamagedBytesAreRefused) {
  const auto is_malformed = StatusIs(absl::StatusCode::kInvalidArgument, HasSubstr("bytes are malformed"));
  for (const std::string& bytes :
       {std::string("\x1A\x03\x01"), std::string("\x1A\x01\x80"), std::string("\x32\x03\0\0\0", 5),
        std::string("\x18"), std::string(1, '\0'), std::string("\x1B\x08\x01\x1C"),
        std::string("\x98\x80\x80\x80\x80\x00\x01", 7), std::string("\x1A\x81\x80\x80\x80\x80\x00\x01", 8)})
    EXPECT_THAT(Dense(bytes, DType::kS64, 1), is_malformed);
  // What protobuf takes for unknown is no element.
  EXPECT_THAT(Dense("\x1D\x01\x01\x01\x01\x50\x01", DType::kS64, 1),
              StatusIs(absl::StatusCode::kInvalidArgument, HasSubstr("int64_contents has 0 elements")));
}

TEST(DenseBytesTest, MemoryIsAskedForBeforeItIsTaken) {
  inference::InferTensorContents contents;
  for (int i = 0; i < 1000; ++i) contents.add_int64_contents(1);
  const std::string bytes = contents.SerializeAsString();
  const Chunks chunks = {std::as_bytes(std::span(bytes))};
  int64_t asked = 0;
  const auto refuse = [&](int64_t needed) {
    asked = needed;
    return absl::ResourceExhaustedError("full");
  };
  EXPECT_THAT(DenseBytes(chunks, DType::kS64, 1000, refuse),
              StatusIs(absl::StatusCode::kResourceExhausted, "full"));
  EXPECT_EQ(asked, 8000);
  // Not for elements that are not there.
  asked = 0;
  EXPECT_THAT(DenseBytes(chunks, DType::kS64, int64_t{1} << 40, refuse),
              StatusIs(absl::StatusCode::kInvalidArgument));
  EXPECT_EQ(asked, 0);
}

TEST(DenseBytesTest, HalfPrecisionHasNoField) {
  inference::InferTensorContents contents;
  contents.add_fp32_contents(1);
  for (const DType dtype : {DType::kF16, DType::kBF16})
    EXPECT_THAT(Dense(contents, dtype, 1),
                StatusIs(absl::StatusCode::kInvalidArgument, HasSubstr("expected raw_input_contents")));
}

TEST(DenseBytesTest, ValuesOutOfRangeAreRefused) {
  inference::InferTensorContents contents;
  contents.add_int_contents(-129);
  EXPECT_THAT(Dense(contents, DType::kS8, 1), StatusIs(absl::StatusCode::kInvalidArgument,
                                                       "int_contents[0] is -129, expected a value of INT8"));
  contents.Clear();
  contents.add_uint_contents(65536);
  EXPECT_THAT(Dense(contents, DType::kU16, 1), StatusIs(absl::StatusCode::kInvalidArgument,
                                                        HasSubstr("is 65536, expected a value of UINT16")));
}

TEST(WireNameTest, NamesAndTypesAreOneToOne) {
  for (const auto& [dtype, name] : kWireNames) EXPECT_EQ(ParseWireName(WireName(dtype)), dtype) << name;
  EXPECT_EQ(ParseWireName("BYTES"), std::nullopt);
  EXPECT_EQ(ParseWireName("fp32"), std::nullopt);
}

}  // namespace
}  // namespace hachi::server
