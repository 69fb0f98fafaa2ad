#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "tests/passes/pass_tester.h"

namespace hachi {
namespace {

constexpr char kChain[] = R"(graph g {
  input x: f32[N,4]
  const v: f32[4,4] = random 1 -1 1
  const w: f32[4,8] = random 2 -1 1
  first: MatMul(x, v) post clip(0,inf) -> a: f32[?]
  second: MatMul(a, w) -> b: f32[?]
  last: Softmax(b) -> y: f32[?]
  output y = y
})";

TEST(PlaceBf16Test, ProductsPassBf16OnAndGiveOthersRealNumbers) {
  EXPECT_EQ(RunOne(PlaceBf16, kChain, {.bf16 = true}),
            "x_bf16: Cast(x) {to=16} -> x_bf16: bf16[N,4]\n"
            "first: MatMul(x_bf16, v_bf16) post clip(0,inf) -> a: bf16[N,4]\n"
            "second: MatMul(a, w_bf16) -> b: f32[N,8]\n"
            "last: Softmax(b) -> y: f32[N,8]\n");
}

TEST(PlaceBf16Test, PinsOverruleEitherWay) {
  EXPECT_EQ(RunOne(PlaceBf16, kChain, {.pins = {{"first", Precision::kFp32}}, .bf16 = true}),
            "first: MatMul(x, v) post clip(0,inf) -> a: f32[N,4]\n"
            "a_bf16: Cast(a) {to=16} -> a_bf16: bf16[N,4]\n"
            "second: MatMul(a_bf16, w_bf16) -> b: f32[N,8]\n"
            "last: Softmax(b) -> y: f32[N,8]\n");
  EXPECT_EQ(RunOne(PlaceBf16, kChain, {.pins = {{"first", Precision::kBf16}}}),
            "x_bf16: Cast(x) {to=16} -> x_bf16: bf16[N,4]\n"
            "first: MatMul(x_bf16, v_bf16) post clip(0,inf) -> a: f32[N,4]\n"
            "second: MatMul(a, w) -> b: f32[N,8]\n"
            "last: Softmax(b) -> y: f32[N,8]\n");
}

TEST(PlaceBf16Test, ResidualsHaveTheTypeOfTheResultAndOtherReadersRealNumbers) {
  EXPECT_EQ(RunOne(PlaceBf16, R"(graph g {
  input x: f32[N,4]
  const v: f32[4,4] = random 1 -1 1
  first: MatMul(x, v) -> a: f32[?]
  other: Softmax(a) -> z: f32[?]
  second: MatMul(a, v, _, x) post add(3) -> b: f32[?]
  third: MatMul(b, v, _, a) post add(3) -> y: f32[?]
  output y = y
  output z = z
})",
                   {.bf16 = true}),
            "x_bf16: Cast(x) {to=16} -> x_bf16: bf16[N,4]\n"
            "first: MatMul(x_bf16, v_bf16) -> a: bf16[N,4]\n"
            "a_f32: Cast(a) {to=1} -> a_f32: f32[N,4]\n"
            "other: Softmax(a_f32) -> z: f32[N,4]\n"
            "x_bf16_2: Cast(x) {to=16} -> x_bf16_2: bf16[N,4]\n"
            "second: MatMul(a, v_bf16, _, x_bf16_2) post add(3) -> b: bf16[N,4]\n"
            "a_f32_2: Cast(a) {to=1} -> a_f32_2: f32[N,4]\n"
            "third: MatMul(b, v_bf16, _, a_f32_2) post add(3) -> y: f32[N,4]\n");
}

}  // namespace
}  // namespace hachi
