#include "engine/kernels/outlet.h"

#include "engine/kernels/reference.h"
#include "tests/kernels/kernel_test_util.h"
#include "tests/support/status_matchers.h"

namespace hachi {
namespace {

using absl::StatusCode;

void ExpectAgrees(const OutletSpec& spec, int64_t rows) {
  SCOPED_TRACE(std::string(NameOf(spec.dtype)) + " " + ShapeText(spec.row_shape) + " " +
               spec.layout.ToText());
  const auto outlet = Outlet::Create(spec);
  ASSERT_OK(outlet);
  const auto count = static_cast<size_t>(rows * CountOf(spec.row_shape));
  const auto in = RandomBytes(count * SizeOf(spec.dtype));
  // One byte past alignment, and guarded on both sides.
  std::vector<std::byte> out(count * SizeOf(spec.client_dtype) + 2, std::byte{0x5a}), expected = out;
  outlet->Run(in.data(), rows, std::span(out).subspan(1, out.size() - 2));
  reference::Outlet(spec, in.data(), rows, expected.data() + 1);
  ExpectSame(out, expected);
}

const std::vector<Shape> kRowShapes = {{},         {1},          {10},     {1000},      {3, 5, 7},
                                       {16, 4, 4}, {21, 33, 31}, {17, 40}, {100, 7, 3}, {70, 80}};

TEST(OutletTest, QuantizedRowsComeBackAsFloats) {
  OnEveryTarget([] {
    for (const Shape& row_shape : kRowShapes)
      for (const Layout& layout : {Layout(), Layout::ChannelsLast(row_shape.size() + 1)})
        for (const DType dtype : {DType::kU8, DType::kS8})
          ExpectAgrees({.dtype = dtype,
                        .quant = QuantParams::PerTensor(0.037f, 5),
                        .layout = layout,
                        .row_shape = row_shape},
                       3);
  });
}

TEST(OutletTest, UnquantizedRowsAreCopiedWhateverTheirType) {
  for (const Shape& row_shape : kRowShapes)
    for (const Layout& layout : {Layout(), Layout::ChannelsLast(row_shape.size() + 1)})
      for (const DType dtype : {DType::kF32, DType::kU8, DType::kBF16, DType::kS64, DType::kBool})
        ExpectAgrees({.dtype = dtype, .layout = layout, .row_shape = row_shape, .client_dtype = dtype}, 2);
}

TEST(OutletTest, ContradictionsAreRefused) {
  EXPECT_THAT(Outlet::Create({.dtype = DType::kU8}), StatusIs(StatusCode::kInvalidArgument));
  EXPECT_THAT(Outlet::Create({.dtype = DType::kS32, .quant = QuantParams()}),
              StatusIs(StatusCode::kInvalidArgument));
  EXPECT_THAT(Outlet::Create({.dtype = DType::kU8, .quant = QuantParams(), .client_dtype = DType::kU8}),
              StatusIs(StatusCode::kInvalidArgument));
  EXPECT_THAT(Outlet::Create({.layout = Layout::FromOrder({1, 0}), .row_shape = {4}}),
              StatusIs(StatusCode::kInvalidArgument, testing::HasSubstr("batch outermost")));
}

}  // namespace
}  // namespace hachi
