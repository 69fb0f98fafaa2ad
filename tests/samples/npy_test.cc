#include <gtest/gtest.h>

#include <cstring>
#include <random>

#include "engine/samples/tensor_file.h"
#include "tests/support/status_matchers.h"
#include "tests/support/temp_dir.h"

namespace hachi {
namespace {

using absl::StatusCode;
using testing::ElementsAre;
using testing::HasSubstr;

// A .npy of version 1 with this header and payload.
std::string Npy(const std::string& header, const std::string& payload) {
  std::string bytes("\x93NUMPY\x01\x00", 8);
  bytes += static_cast<char>(header.size() & 0xFF);
  bytes += static_cast<char>(header.size() >> 8);
  return bytes + header + payload;
}

TEST(NpyTest, EveryTypeReadsBackAsWritten) {
  for (int i = 0; i <= static_cast<int>(DType::kBool); ++i) {
    Tensor tensor(static_cast<DType>(i), {3, 2});
    std::memset(tensor.bytes().data(), 1, tensor.bytes().size());
    const auto again = ParseNpy(NpyBytes(tensor.view()));
    ASSERT_OK(again);
    EXPECT_EQ(again->dtype(), tensor.dtype());
    EXPECT_EQ(again->shape(), tensor.shape());
    EXPECT_EQ(std::memcmp(again->bytes().data(), tensor.bytes().data(), tensor.bytes().size()), 0);
  }
}

TEST(NpyTest, ShapesOfEveryRankReadBackAsWritten) {
  for (const Shape& shape : {Shape{}, Shape{0}, Shape{5}, Shape{2, 3}, Shape{1, 2, 1, 3, 1}}) {
    const auto again = ParseNpy(NpyBytes(Tensor(DType::kF32, shape).view()));
    ASSERT_OK(again);
    EXPECT_EQ(again->shape(), shape);
  }
}

TEST(NpyTest, EmptyArraysWhoseDimensionsDoNotMultiplyAreRefused) {
  for (const std::string order : {"True", "False"}) {
    const auto parse = [&](const std::string& shape) {
      return ParseNpy(
          Npy("{'descr': '<f4', 'fortran_order': " + order + ", 'shape': " + shape + ", }\n", ""));
    };
    EXPECT_THAT(parse("(4000000000000, 4000000000, 0)"),
                StatusIs(StatusCode::kInvalidArgument, HasSubstr("is too large")));
    EXPECT_OK(parse("(4, 0, 5)"));
  }
}

TEST(NpyTest, WritesWhatNumPyWrites) {
  const std::string bytes = NpyBytes(Tensor::Of<uint8_t>({2}, {7, 8}).view());
  ASSERT_EQ(bytes.size(), 128u + 2u);
  EXPECT_EQ(bytes.substr(0, 10), std::string("\x93NUMPY\x01\x00\x76\x00", 10));
  EXPECT_EQ(bytes.substr(10, 60), "{'descr': '|u1', 'fortran_order': False, 'shape': (2,), }   ");
  EXPECT_EQ(bytes.substr(127), "\n\x07\x08");
}

TEST(NpyTest, LaterVersionsHaveLongerLengths) {
  std::string bytes = NpyBytes(Tensor::Of<uint8_t>({2}, {7, 8}).view());
  bytes.insert(10, 2, '\0');
  for (const char version : {'\x02', '\x03'}) {
    bytes[6] = version;
    EXPECT_OK(ParseNpy(bytes));
  }
  bytes[6] = '\x04';
  EXPECT_THAT(ParseNpy(bytes), StatusIs(StatusCode::kUnimplemented, HasSubstr("version is 4")));
}

TEST(NpyTest, FortranOrderIsTransposed) {
  const auto tensor =
      ParseNpy(Npy("{'descr': '|u1', 'fortran_order': True, 'shape': (2, 3)}", std::string("\1\4\2\5\3\6")));
  ASSERT_OK(tensor);
  EXPECT_THAT(tensor->As<uint8_t>(), ElementsAre(1, 2, 3, 4, 5, 6));
}

TEST(NpyTest, HeadersMayBeWrittenInOtherWays) {
  EXPECT_OK(ParseNpy(Npy("{\"shape\":(2L,),'fortran_order':False,'descr':'=u2',}\n", "1234")));
  EXPECT_OK(ParseNpy(Npy("{'descr': '>i1', 'fortran_order': False, 'shape': ()}", "1")));
}

TEST(NpyTest, BoolsAreZeroOrOne) {
  const auto tensor =
      ParseNpy(Npy("{'descr': '|b1', 'fortran_order': False, 'shape': (2,)}", std::string("\0\x7f", 2)));
  ASSERT_OK(tensor);
  EXPECT_THAT(tensor->bytes(), ElementsAre(std::byte{0}, std::byte{1}));
}

TEST(NpyTest, BadHeadersAreRefused) {
  const std::pair<const char*, StatusCode> cases[] = {
      {"", StatusCode::kInvalidArgument},
      {"[]", StatusCode::kInvalidArgument},
      {"{}", StatusCode::kInvalidArgument},
      {"{'descr': '<f4', 'shape': (1,)}", StatusCode::kInvalidArgument},
      {"{'descr': '<f4', 'descr': '<f4', 'fortran_order': False, 'shape': (1,)}",
       StatusCode::kInvalidArgument},
      {"{'descr': '<f4', 'fortran_order': 0, 'shape': (1,)}", StatusCode::kInvalidArgument},
      {"{'descr': '<f4', 'fortran_order': False, 'shape': (1,), 'x': 1}", StatusCode::kInvalidArgument},
      {"{'descr': '<f4', 'fortran_order': False, 'shape': (-1,)}", StatusCode::kInvalidArgument},
      {"{'descr': '<f4', 'fortran_order': False, 'shape': (1 1)}", StatusCode::kInvalidArgument},
      {"{'descr': '<f4', 'fortran_order': False, 'shape': (99999999999999999999,)}",
       StatusCode::kInvalidArgument},
      {"{'descr': '<f4', 'fortran_order': False, 'shape': (4294967296, 4294967296)}",
       StatusCode::kInvalidArgument},
      {"{'descr': '<f4', 'fortran_order': False, 'shape': (1,", StatusCode::kInvalidArgument},
      {"{'descr': '<f4, 'fortran_order': False, 'shape': (1,)}", StatusCode::kInvalidArgument},
      {"{'descr': '>f4', 'fortran_order': False, 'shape': (1,)}", StatusCode::kUnimplemented},
      {"{'descr': '<c8', 'fortran_order': False, 'shape': (1,)}", StatusCode::kUnimplemented},
      {"{'descr': '|O', 'fortran_order': False, 'shape': (1,)}", StatusCode::kUnimplemented},
      {"{'descr': '', 'fortran_order': False, 'shape': (1,)}", StatusCode::kUnimplemented},
      {"{'descr': [('a', '<f4')], 'fortran_order': False, 'shape': (1,)}", StatusCode::kUnimplemented},
      {"{'descr': '<f4', 'fortran_order': False, 'shape': (1099511627776,)}", StatusCode::kDataLoss},
      {"{'descr': '<f4', 'fortran_order': False, 'shape': (2,)}", StatusCode::kDataLoss},
      {"{'descr': '<f4', 'fortran_order': False, 'shape': (0,)}", StatusCode::kInvalidArgument}};
  for (const auto& [header, code] : cases)
    EXPECT_THAT(ParseNpy(Npy(header, "1234")), StatusIs(code)) << header;
  EXPECT_THAT(ParseNpy(Npy(std::string(20000, ' '), "")), StatusIs(StatusCode::kInvalidArgument));
  EXPECT_THAT(ParseNpy("PK\x03\x04"), StatusIs(StatusCode::kDataLoss));
}

TEST(NpyTest, NoPrefixIsAnArray) {
  const std::string bytes = NpyBytes(Tensor::Of<float>({2, 2}, {1, 2, 3, 4}).view());
  for (size_t length = 0; length < bytes.size(); ++length)
    EXPECT_THAT(ParseNpy(std::string_view(bytes).substr(0, length)), StatusIs(StatusCode::kDataLoss))
        << length;
}

TEST(NpyTest, NoMutationCrashes) {
  const std::string bytes = NpyBytes(Tensor::Of<float>({2, 2}, {1, 2, 3, 4}).view());
  std::mt19937 random(7);
  int refused = 0;
  for (int round = 0; round < 20000; ++round) {
    std::string mutated = bytes;
    for (int changes = 0; changes < 3; ++changes) mutated[random() % 80] = static_cast<char>(random() % 256);
    const auto tensor = ParseNpy(mutated);
    if (tensor.ok()) {
      EXPECT_EQ(tensor->bytes().size(), 16u);
    }
    refused += !tensor.ok();
  }
  EXPECT_GT(refused, 15000);
}

TEST(TensorFileTest, ErrorsNameTheFile) {
  const TempDir directory;
  const Tensor tensor = Tensor::Of<float>({2}, {1, 2});
  ASSERT_OK(WriteNpy(directory.path() / "a.NPY", tensor.view()));
  const auto again = ReadTensorFile(directory.path() / "a.NPY");
  ASSERT_OK(again);
  EXPECT_THAT(again->As<float>(), ElementsAre(1, 2));
  EXPECT_THAT(ReadTensorFile(directory.path() / "none.npy"),
              StatusIs(StatusCode::kNotFound, HasSubstr("none.npy")));
  EXPECT_THAT(ReadTensorFile(directory.Write("bad.npy", "x")),
              StatusIs(StatusCode::kDataLoss, HasSubstr("bad.npy")));
  EXPECT_THAT(ReadTensorFile(directory.Write("x.csv", "1")),
              StatusIs(StatusCode::kUnimplemented, HasSubstr("'.csv'")));
}

}  // namespace
}  // namespace hachi
