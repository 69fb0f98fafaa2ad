#include "engine/onnx/tensor_proto.h"

#include <gtest/gtest.h>

#include "tests/onnx/model_builder.h"
#include "tests/support/status_matchers.h"

namespace hachi {
namespace {

using absl::StatusCode;
using onnx::TensorProto;
using testing::ElementsAre;
using testing::HasSubstr;

TensorProto Proto(int type, const std::vector<int64_t>& dims) {
  TensorProto proto;
  proto.set_data_type(type);
  proto.mutable_dims()->Add(dims.begin(), dims.end());
  return proto;
}

absl::StatusOr<Tensor> Convert(const TensorProto& proto) { return ToTensor(proto, nullptr); }

TEST(TensorProtoTest, RawAndTypedEncodingsGiveTheSameTensor) {
  TensorProto raw = Proto(TensorProto::INT16, {2}), typed = raw;
  raw.set_raw_data(std::string("\x01\x00\xFE\xFF", 4));
  typed.add_int32_data(1);
  typed.add_int32_data(-2);
  for (const auto& proto : {raw, typed}) {
    const auto tensor = Convert(proto);
    ASSERT_OK(tensor);
    EXPECT_THAT(tensor->As<int16_t>(), ElementsAre(1, -2));
  }
}

TEST(TensorProtoTest, EveryTypedFieldIsRead) {
  TensorProto f64 = Proto(TensorProto::DOUBLE, {1});
  f64.add_double_data(0.25);
  EXPECT_THAT(Convert(f64)->As<double>(), ElementsAre(0.25));
  TensorProto s64 = Proto(TensorProto::INT64, {});
  s64.add_int64_data(INT64_MIN);
  EXPECT_THAT(Convert(s64)->As<int64_t>(), ElementsAre(INT64_MIN));
  TensorProto u32 = Proto(TensorProto::UINT32, {1});
  u32.add_uint64_data(UINT32_MAX);
  EXPECT_THAT(Convert(u32)->As<uint32_t>(), ElementsAre(UINT32_MAX));
  TensorProto u64 = Proto(TensorProto::UINT64, {1});
  u64.add_uint64_data(UINT64_MAX);
  EXPECT_THAT(Convert(u64)->As<uint64_t>(), ElementsAre(UINT64_MAX));
  for (const int type : {TensorProto::FLOAT16, TensorProto::BFLOAT16}) {
    TensorProto half = Proto(type, {1});
    half.add_int32_data(0xBC00);
    const auto tensor = Convert(half);
    ASSERT_OK(tensor);
    EXPECT_THAT(tensor->bytes(), ElementsAre(std::byte{0x00}, std::byte{0xBC}));
  }
}

TEST(TensorProtoTest, BoolsAreZeroOrOne) {
  TensorProto raw = Proto(TensorProto::BOOL, {2});
  raw.set_raw_data(std::string("\x00\x40", 2));
  const auto tensor = Convert(raw);
  ASSERT_OK(tensor);
  EXPECT_THAT(tensor->bytes(), ElementsAre(std::byte{0}, std::byte{1}));
}

TEST(TensorProtoTest, EmptyTensorsNeedNoData) { EXPECT_OK(Convert(Proto(TensorProto::FLOAT, {0, 3}))); }

TEST(TensorProtoTest, DimensionsBesideNoElementsAreBounded) {
  EXPECT_THAT(Convert(Proto(TensorProto::FLOAT, {0, INT64_MAX, INT64_MAX})),
              StatusIs(absl::StatusCode::kInvalidArgument));
}

TEST(TensorProtoTest, DataThatDoesNotFitTheDimensionsIsRefused) {
  const std::vector<std::vector<int64_t>> shapes = {{3},
                                                    {1},
                                                    {-2},
                                                    {2, -1},
                                                    {INT64_MIN},
                                                    {INT64_MAX},
                                                    {int64_t{1} << 32, int64_t{1} << 32},
                                                    {700000000},
                                                    {INT64_MAX, INT64_MAX},
                                                    {int64_t{1} << 61, 8}};
  for (const auto& shape : shapes) {
    TensorProto raw = Proto(TensorProto::FLOAT, shape);
    raw.set_raw_data("12345678");
    EXPECT_THAT(Convert(raw), StatusIs(StatusCode::kInvalidArgument)) << ShapeText(shape);
    TensorProto typed = Proto(TensorProto::FLOAT, shape);
    typed.add_float_data(1);
    typed.add_float_data(2);
    EXPECT_THAT(Convert(typed), StatusIs(StatusCode::kInvalidArgument)) << ShapeText(shape);
  }
  TensorProto ragged = Proto(TensorProto::FLOAT, {2});
  ragged.set_raw_data("1234567");
  EXPECT_THAT(Convert(ragged), StatusIs(StatusCode::kInvalidArgument,
                                        HasSubstr("raw_data has 7 bytes, expected 8 for f32[2]")));
  EXPECT_THAT(Convert(Proto(TensorProto::FLOAT, std::vector<int64_t>(1025, 1))),
              StatusIs(StatusCode::kInvalidArgument, HasSubstr("1025 dimensions")));
}

TEST(TensorProtoTest, ElementsOutOfRangeAreRefused) {
  for (const int type : {TensorProto::UINT8, TensorProto::INT8, TensorProto::UINT16, TensorProto::BOOL}) {
    TensorProto proto = Proto(type, {1});
    proto.add_int32_data(70000);
    EXPECT_THAT(Convert(proto), StatusIs(StatusCode::kInvalidArgument, HasSubstr("holds 70000")));
  }
}

TEST(TensorProtoTest, TwoPlacesForTheDataAreRefused) {
  TensorProto both = Proto(TensorProto::FLOAT, {1});
  both.set_raw_data("1234");
  both.add_float_data(1);
  EXPECT_THAT(Convert(both), StatusIs(StatusCode::kInvalidArgument, HasSubstr("several places")));
}

TEST(TensorProtoTest, IntegersOfFourBitsBecomeBytes) {
  TensorProto proto = Proto(22, {3});
  proto.set_raw_data("\x7f\x08");
  const auto tensor = Convert(proto);
  ASSERT_OK(tensor);
  EXPECT_THAT(tensor->As<int8_t>(), testing::ElementsAre(-1, 7, -8));
  TensorProto positive = Proto(21, {2});
  positive.add_int32_data(0xF3);
  EXPECT_THAT(Convert(positive)->As<uint8_t>(), testing::ElementsAre(3, 15));
  EXPECT_THAT(Convert(Proto(21, {3})), StatusIs(StatusCode::kInvalidArgument));
}

TEST(TensorProtoTest, OtherElementTypesAreRefused) {
  for (const int type : {0, -1, 24, 1 << 30})
    EXPECT_THAT(Convert(Proto(type, {0})), StatusIs(StatusCode::kInvalidArgument)) << type;
  for (const int type : {8, 14, 15, 17, 20, 23})
    EXPECT_THAT(Convert(Proto(type, {0})), StatusIs(StatusCode::kUnimplemented)) << type;
}

TEST(TensorProtoTest, SegmentsAndExternalDataAreRefused) {
  TensorProto segment = Proto(TensorProto::FLOAT, {0});
  segment.mutable_segment();
  EXPECT_THAT(Convert(segment), StatusIs(StatusCode::kUnimplemented));
  TensorProto external = Proto(TensorProto::FLOAT, {0});
  external.set_data_location(TensorProto::EXTERNAL);
  EXPECT_THAT(Convert(external), StatusIs(StatusCode::kUnimplemented));
}

TEST(TensorProtoTest, FilesOfOneTensorAreRead) {
  const TempDir directory;
  TensorProto proto = Proto(TensorProto::FLOAT, {2});
  proto.set_raw_data(std::string("\0\0\x80\x3f\0\0\0\x40", 8));
  const auto tensor = ReadTensorProtoFile(directory.Write("input_0.pb", proto.SerializeAsString()));
  ASSERT_OK(tensor);
  EXPECT_THAT(tensor->As<float>(), ElementsAre(1, 2));
  EXPECT_THAT(ReadTensorProtoFile(directory.Write("bad.pb", "not a tensor")),
              StatusIs(StatusCode::kDataLoss, HasSubstr("bad.pb")));
}

}  // namespace
}  // namespace hachi
