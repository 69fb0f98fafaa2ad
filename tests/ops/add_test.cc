#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "absl/strings/str_cat.h"
#include "tests/ops/op_tester.h"
#include "tests/support/status_matchers.h"

namespace hachi {
namespace {

std::string GraphText(std::string_view a, std::string_view b, std::string_view y) {
  return absl::StrCat("graph g { input a: ", std::string(a), " input b: ", std::string(b),
                      "\n n: Add(a, b) post clip(0,inf) -> y: ", std::string(y), "}");
}

TEST(AddTest, Fp32AgreesWithBroadcasting) {
  EXPECT_OK(RunOpCase({.graph = GraphText("f32[2,17,5,3]", "f32[2,17,5,3]", "f32[2,17,5,3]")}));
  EXPECT_OK(RunOpCase({.graph = GraphText("f32[2,17]", "f32[17]", "f32[2,17]")}));
  EXPECT_OK(RunOpCase({.graph = GraphText("f32[]", "f32[33]", "f32[33]")}));
  EXPECT_OK(RunOpCase({.graph = GraphText("f32[]", "f32[]", "f32[]")}));
  EXPECT_OK(RunOpCase({.graph = GraphText("f32[17,1,1]", "f32[2,17,4,4]", "f32[2,17,4,4]")}));
}

TEST(AddTest, BroadcastingIsByAxisNotByMemory) {
  for (const char* b :
       {"f32[2,16,4,4] channels_last", "f32[16,1,1]", "f32[1]", "f32[1,16,1,1] channels_last"})
    EXPECT_OK(
        RunOpCase({.graph = GraphText("f32[2,16,4,4] channels_last", b, "f32[2,16,4,4] channels_last")}))
        << b;
}

TEST(AddTest, Int8AgreesWithAnyScalesAndZeroPoints) {
  for (const char* a : {"u8 quant(0.0213:0)", "u8 quant(0.0213:119)", "s8 quant(0.0377:-7)"})
    for (const char* b : {"u8 quant(0.02:0)", "u8 quant(0.05:20)", "s8 quant(0.01:0)"})
      for (const char* y : {"u8 quant(0.04:0)", "u8 quant(0.04:100)", "s8 quant(0.05:0)"})
        for (const char* shape : {"[1,1,1,1]", "[2,17,5,3]", "[1,32,4,4]"}) {
          const auto type = [&](std::string text) {
            return absl::StrCat(text.substr(0, 2), shape, " channels_last", text.substr(2));
          };
          EXPECT_OK(RunOpCase({.graph = GraphText(type(a), type(b), type(y))})) << a << b << y << shape;
        }
}

TEST(AddTest, EveryActivationIsFused) {
  for (const char* post :
       {"", "post leaky_relu(0.1)", "post clip(-1,2)", "post hard_swish()", "post sigmoid()"})
    for (const char* y : {"u8[2,300] quant(0.05:0)", "f32[2,300]"})
      EXPECT_OK(RunOpCase(
          {.graph = absl::StrCat("graph g { input a: u8[2,300] quant(0.0213:119) input b: s8[2,300] "
                                 "quant(0.0377:0)\n n: Add(a, b) ",
                                 post, " -> y: ", y, "}"),
           .kernel = *y == 'f' ? "hachi_broadcast" : "onednn"}))
          << post << y;
}

TEST(AddTest, TwoShiftsThatTheLibraryWouldMixUpRunInOurKernel) {
  EXPECT_OK(RunOpCase(
      {.graph = "graph g { input a: u8[2,300] quant(0.0213:119) input b: s8[2,300] quant(0.0377:0)\n "
                "n: Add(a, b) post hard_swish() -> y: u8[2,300] quant(0.05:3) }",
       .kernel = "hachi_broadcast"}));
}

TEST(AddTest, IntegersWrapAndShapesAreFollowed) {
  const auto result =
      RunReferences("graph g { const a: u8[3] = 1 200 255 const b: u8[1] = 100\n n: Add(a, b) -> y: u8[?] }");
  ASSERT_OK(result.status());
  EXPECT_THAT((*result)[0].As<uint8_t>(), testing::ElementsAre(101, 44, 99));
  EXPECT_THAT(InferText("graph g { const a: s64[2] = 1 2 const b: s64[] = 10\n n: Add(a, b) -> y: s64[?] }"),
              IsOkAndHolds("y: s64[2] = [11,12]"));
}

TEST(AddTest, ContradictionsAreRefused) {
  using testing::HasSubstr;
  EXPECT_THAT(InferText("graph g { input a: f32[N,3] input b: f32[2]\n n: Add(a, b) -> y: f32[?] }"),
              StatusIs(absl::StatusCode::kInvalidArgument, HasSubstr("do not broadcast")));
  EXPECT_THAT(InferText("graph g { input a: s64[3] input b: s32[3]\n n: Add(a, b) -> y: f32[?] }"),
              StatusIs(absl::StatusCode::kUnimplemented, HasSubstr("has type s32, expected s64")));
  EXPECT_THAT(InferText("graph g { input a: f32[3]\n n: Add(a) -> y: f32[?] }"),
              StatusIs(absl::StatusCode::kInvalidArgument, HasSubstr("1 inputs, expected 2")));
}

}  // namespace
}  // namespace hachi
