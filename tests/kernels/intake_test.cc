#include "engine/kernels/intake.h"

#include "engine/kernels/reference.h"
#include "tests/kernels/kernel_test_util.h"
#include "tests/support/status_matchers.h"

namespace hachi {
namespace {

using absl::StatusCode;

std::vector<std::byte> InputFor(const IntakeSpec& spec, int64_t rows) {
  const auto count = static_cast<size_t>(rows * CountOf(spec.row_shape));
  if (spec.client_dtype != DType::kF32) return RandomBytes(count * SizeOf(spec.client_dtype));
  const std::vector<float> values = TrickyFloats(count, spec.quant ? spec.quant->scale() : 1.0f);
  std::vector<std::byte> bytes(count * sizeof(float));
  if (count > 0) std::memcpy(bytes.data(), values.data(), bytes.size());
  return bytes;
}

// One chunk, or pieces of `step` bytes (each a copy of its own, so that reading past an end is caught) with
// an empty one in between.
std::vector<std::vector<std::byte>> Split(const std::vector<std::byte>& bytes, size_t step) {
  std::vector<std::vector<std::byte>> pieces;
  for (size_t at = 0; at < bytes.size(); at += step) {
    pieces.emplace_back();
    pieces.emplace_back(bytes.begin() + static_cast<std::ptrdiff_t>(at),
                        bytes.begin() + static_cast<std::ptrdiff_t>(std::min(at + step, bytes.size())));
  }
  return pieces;
}

void ExpectAgrees(const IntakeSpec& spec, int64_t rows, std::span<const size_t> steps) {
  SCOPED_TRACE(std::string(NameOf(spec.client_dtype)) + (spec.client_channels_last ? " last " : " first ") +
               ShapeText(spec.row_shape) + " -> " + std::string(NameOf(spec.dtype)) + " " +
               spec.layout.ToText());
  const auto intake = Intake::Create(spec);
  ASSERT_OK(intake);
  const auto in = InputFor(spec, rows);
  std::vector<std::byte> expected(static_cast<size_t>(rows * CountOf(spec.row_shape)) * SizeOf(spec.dtype));
  reference::Intake(spec, in.data(), rows, expected.data());
  for (const size_t step : steps) {
    SCOPED_TRACE("pieces of " + std::to_string(step) + " bytes");
    const auto pieces = Split(in, step);
    const std::vector<std::span<const std::byte>> chunks(pieces.begin(), pieces.end());
    std::vector<std::byte> out(expected.size());
    intake->Run(chunks, rows, out.data());
    ExpectSame(out, expected);
  }
}

constexpr size_t kWhole = size_t{1} << 40;
const std::vector<size_t> kSteps = {kWhole, 1000, 13};
const std::vector<Shape> kRowShapes = {{},          {1},        {10},     {1000},      {1, 28, 28}, {3, 5, 7},
                                       {3, 40, 41}, {16, 4, 4}, {17, 40}, {100, 7, 3}, {70, 80}};

// Nothing, one value for all channels, or one a channel.
std::vector<float> PerChannel(const Shape& row_shape, int kind, float first) {
  if (kind == 0) return {};
  std::vector<float> values{first};
  for (int64_t c = 1; kind == 2 && !row_shape.empty() && c < row_shape[0]; ++c)
    values.push_back(first * (1.0f + 0.1f * static_cast<float>(c)));
  return values;
}

template <typename Fn>
void ForEachOrder(const Shape& row_shape, const Fn& fn) {
  for (const bool client_channels_last : {false, true})
    for (const Layout& layout : {Layout(), Layout::ChannelsLast(row_shape.size() + 1)})
      fn(client_channels_last, layout);
}

TEST(IntakeTest, BytesAreNormalisedAndQuantizedWithOneRounding) {
  OnEveryTarget([] {
    for (const Shape& row_shape : kRowShapes)
      for (const int kind : {0, 1, 2})
        for (const DType dtype : {DType::kU8, DType::kS8})
          ForEachOrder(row_shape, [&](bool last, const Layout& layout) {
            ExpectAgrees({.client_dtype = kind == 1 ? DType::kS8 : DType::kU8,
                          .client_channels_last = last,
                          .row_shape = row_shape,
                          .mean = PerChannel(row_shape, kind, 33.3f),
                          .scale = PerChannel(row_shape, kind, 0.0127f),
                          .dtype = dtype,
                          .quant = QuantParams::PerTensor(0.0211f, dtype == DType::kU8 ? 31 : -100),
                          .layout = layout},
                         3, kSteps);
          });
  });
}

TEST(IntakeTest, BytesBecomeFloats) {
  for (const Shape& row_shape : kRowShapes)
    for (const int kind : {0, 1, 2})
      ForEachOrder(row_shape, [&](bool last, const Layout& layout) {
        ExpectAgrees({.client_dtype = DType::kU8,
                      .client_channels_last = last,
                      .row_shape = row_shape,
                      .mean = PerChannel(row_shape, kind, 33.3f),
                      .scale = PerChannel(row_shape, kind, 0.0127f),
                      .dtype = DType::kF32,
                      .layout = layout},
                     2, kSteps);
      });
}

TEST(IntakeTest, FloatsAreNormalisedAndQuantized) {
  OnEveryTarget([] {
    for (const Shape& row_shape : kRowShapes)
      for (const int kind : {0, 1, 2})
        for (const DType dtype : {DType::kU8, DType::kS8})
          ForEachOrder(row_shape, [&](bool last, const Layout& layout) {
            ExpectAgrees({.client_channels_last = last,
                          .row_shape = row_shape,
                          .mean = PerChannel(row_shape, kind, 0.485f),
                          .scale = PerChannel(row_shape, kind, 4.36f),
                          .dtype = dtype,
                          .quant = QuantParams::PerTensor(0.0211f, dtype == DType::kU8 ? 31 : -100),
                          .layout = layout},
                         3, kSteps);
          });
  });
}

TEST(IntakeTest, FloatsStayFloats) {
  OnEveryTarget([] {
    for (const Shape& row_shape : kRowShapes)
      for (const int kind : {0, 1, 2})
        ForEachOrder(row_shape, [&](bool last, const Layout& layout) {
          ExpectAgrees({.client_channels_last = last,
                        .row_shape = row_shape,
                        .mean = PerChannel(row_shape, kind, 0.485f),
                        .scale = PerChannel(row_shape, kind, 4.36f),
                        .layout = layout},
                       2, kSteps);
        });
  });
}

TEST(IntakeTest, RowsOfOneTypeAreCopiedWhateverTheType) {
  for (const Shape& row_shape : kRowShapes)
    for (const DType dtype : {DType::kU8, DType::kBool, DType::kF16, DType::kS32, DType::kS64, DType::kF64})
      ForEachOrder(row_shape, [&](bool last, const Layout& layout) {
        ExpectAgrees({.client_dtype = dtype,
                      .client_channels_last = last,
                      .row_shape = row_shape,
                      .dtype = dtype,
                      .layout = layout},
                     3, kSteps);
      });
}

TEST(IntakeTest, BatchTensorMayHaveAnyOrderBehindItsBatch) {
  for (const std::vector<int>& order : {std::vector{0, 3, 1, 2}, {0, 2, 1, 3}, {0, 3, 2, 1}, {0, 1, 3, 2}})
    for (const bool last : {false, true})
      ExpectAgrees({.client_dtype = DType::kU8,
                    .client_channels_last = last,
                    .row_shape = {3, 11, 13},
                    .mean = {1, 2, 3},
                    .dtype = DType::kF32,
                    .layout = Layout::FromOrder(order)},
                   2, kSteps);
}

TEST(IntakeTest, PiecesOfOneByteSplitElementsAnywhere) {
  const std::vector<size_t> steps = {1, 2, 3, 5, 7};
  for (const bool last : {false, true}) {
    ExpectAgrees({.client_channels_last = last,
                  .row_shape = {3, 4, 5},
                  .mean = {0.1f, 0.2f, 0.3f},
                  .layout = Layout::ChannelsLast(4)},
                 2, steps);
    ExpectAgrees({.client_dtype = DType::kS64, .row_shape = {9}, .dtype = DType::kS64}, 2, steps);
  }
}

TEST(IntakeTest, LargeBatchesAreSharedAmongThreads) {
  const std::vector<size_t> steps = {kWhole, 16'384};
  for (const int threads : {1, 3}) {
    SetTeam(threads);
    for (const bool last : {false, true})
      for (const DType client_dtype : {DType::kU8, DType::kF32})
        ExpectAgrees({.client_dtype = client_dtype,
                      .client_channels_last = last,
                      .row_shape = {3, 96, 97},
                      .mean = {0.485f, 0.456f, 0.406f},
                      .scale = {4.36f, 4.46f, 4.44f},
                      .dtype = DType::kU8,
                      .quant = QuantParams::PerTensor(0.02f, 120),
                      .layout = Layout::ChannelsLast(4)},
                     5, steps);
  }
  SetTeam(1);
}

TEST(IntakeTest, ScaledBytesThatMapToThemselvesStayAsTheyAre) {
  ExpectAgrees({.client_dtype = DType::kU8,
                .client_channels_last = true,
                .row_shape = {3, 8, 8},
                .scale = {1.0f / 256},
                .dtype = DType::kU8,
                .quant = QuantParams::PerTensor(1.0f / 256, 0),
                .layout = Layout::ChannelsLast(4)},
               2, kSteps);
}

TEST(IntakeTest, NoRowsAndEmptyRowsAreFine) {
  const auto intake = Intake::Create({.row_shape = {3, 0, 5}});
  ASSERT_OK(intake);
  intake->Run({}, 4, nullptr);
  const auto other = Intake::Create({.row_shape = {3}});
  ASSERT_OK(other);
  other->Run({}, 0, nullptr);
}

TEST(IntakeTest, ContradictionsAreRefused) {
  const QuantParams quant = QuantParams::PerTensor(0.1f, 0);
  EXPECT_THAT(Intake::Create({.row_shape = {3, 4, 4}, .mean = {1, 2}}),
              StatusIs(StatusCode::kInvalidArgument, testing::HasSubstr("expected 1 or 3")));
  EXPECT_THAT(Intake::Create({.row_shape = {3}, .scale = {std::numeric_limits<float>::infinity()}}),
              StatusIs(StatusCode::kInvalidArgument));
  EXPECT_THAT(Intake::Create({.row_shape = {3}, .quant = quant}), StatusIs(StatusCode::kInvalidArgument));
  EXPECT_THAT(Intake::Create({.dtype = DType::kU8, .quant = QuantParams::PerTensor(0.0f, 0)}),
              StatusIs(StatusCode::kInvalidArgument));
  EXPECT_THAT(Intake::Create({.dtype = DType::kU8, .quant = QuantParams::PerTensor(0.1f, -1)}),
              StatusIs(StatusCode::kInvalidArgument));
  EXPECT_THAT(Intake::Create({.row_shape = {3}, .layout = Layout::FromOrder({1, 0})}),
              StatusIs(StatusCode::kInvalidArgument));
  EXPECT_THAT(Intake::Create({.client_dtype = DType::kS64, .dtype = DType::kF32}),
              StatusIs(StatusCode::kUnimplemented));
  EXPECT_THAT(Intake::Create({.client_dtype = DType::kF32, .dtype = DType::kU8}),
              StatusIs(StatusCode::kUnimplemented));
}

}  // namespace
}  // namespace hachi
