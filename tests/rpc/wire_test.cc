#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <cstring>
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
}

TEST(DecodeInferTest, EntriesInsideOfTensorsAreBounded) {
  inference::ModelInferRequest request = Sample();
  auto* contents = request.mutable_inputs(0)->mutable_contents();
  // A packed list is one entry.
  for (int i = 0; i < 100'000; ++i) contents->add_fp32_contents(1);
  EXPECT_OK(DecodeInfer(Sliced(request.SerializeAsString(), 10'000)));
  const auto add = [&](int count) {
    for (int i = 0; i < count; ++i) contents->add_bytes_contents("");
    return DecodeInfer(Sliced(request.SerializeAsString(), 10'000)).status();
  };
  EXPECT_OK(add(65'000));
  EXPECT_THAT(add(1'000), StatusIs(absl::StatusCode::kInvalidArgument,
                                   HasSubstr("has more than 65536 entries beside its tensors' bytes")));
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

TEST(DenseBytesTest, EveryDatatypeHasItsField) {
  inference::InferTensorContents contents;
  contents.add_bool_contents(true);
  contents.add_bool_contents(false);
  EXPECT_THAT(Elements<uint8_t>(DenseBytes(contents, DType::kBool, 2)), ElementsAre(1, 0));
  contents.Clear();
  contents.add_int_contents(-128);
  EXPECT_THAT(Elements<int8_t>(DenseBytes(contents, DType::kS8, 1)), ElementsAre(-128));
  EXPECT_THAT(Elements<int16_t>(DenseBytes(contents, DType::kS16, 1)), ElementsAre(-128));
  EXPECT_THAT(Elements<int32_t>(DenseBytes(contents, DType::kS32, 1)), ElementsAre(-128));
  contents.Clear();
  contents.add_int64_contents(int64_t{-1} << 62);
  EXPECT_THAT(Elements<int64_t>(DenseBytes(contents, DType::kS64, 1)), ElementsAre(int64_t{-1} << 62));
  contents.Clear();
  contents.add_uint_contents(255);
  EXPECT_THAT(Elements<uint8_t>(DenseBytes(contents, DType::kU8, 1)), ElementsAre(255));
  EXPECT_THAT(Elements<uint16_t>(DenseBytes(contents, DType::kU16, 1)), ElementsAre(255));
  EXPECT_THAT(Elements<uint32_t>(DenseBytes(contents, DType::kU32, 1)), ElementsAre(255));
  contents.Clear();
  contents.add_uint64_contents(uint64_t{1} << 63);
  EXPECT_THAT(Elements<uint64_t>(DenseBytes(contents, DType::kU64, 1)), ElementsAre(uint64_t{1} << 63));
  contents.Clear();
  contents.add_fp32_contents(-1.5f);
  EXPECT_THAT(Elements<float>(DenseBytes(contents, DType::kF32, 1)), ElementsAre(-1.5f));
  contents.Clear();
  contents.add_fp64_contents(1e300);
  EXPECT_THAT(Elements<double>(DenseBytes(contents, DType::kF64, 1)), ElementsAre(1e300));
}

TEST(DenseBytesTest, HalfPrecisionHasNoField) {
  inference::InferTensorContents contents;
  contents.add_fp32_contents(1);
  for (const DType dtype : {DType::kF16, DType::kBF16})
    EXPECT_THAT(DenseBytes(contents, dtype, 1),
                StatusIs(absl::StatusCode::kInvalidArgument, HasSubstr("expected raw_input_contents")));
}

TEST(DenseBytesTest, ValuesOutOfRangeAreRefused) {
  inference::InferTensorContents contents;
  contents.add_int_contents(-129);
  EXPECT_THAT(
      DenseBytes(contents, DType::kS8, 1),
      StatusIs(absl::StatusCode::kInvalidArgument, "int_contents[0] is -129, expected a value of INT8"));
  contents.Clear();
  contents.add_uint_contents(65536);
  EXPECT_THAT(
      DenseBytes(contents, DType::kU16, 1),
      StatusIs(absl::StatusCode::kInvalidArgument, HasSubstr("is 65536, expected a value of UINT16")));
}

TEST(WireNameTest, NamesAndTypesAreOneToOne) {
  for (const auto& [dtype, name] : kWireNames) EXPECT_EQ(ParseWireName(WireName(dtype)), dtype) << name;
  EXPECT_EQ(ParseWireName("BYTES"), std::nullopt);
  EXPECT_EQ(ParseWireName("fp32"), std::nullopt);
}

}  // namespace
}  // namespace hachi::server
