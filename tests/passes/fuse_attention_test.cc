#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "absl/strings/str_cat.h"
#include "tests/passes/pass_tester.h"

namespace hachi {
namespace {

using testing::HasSubstr;
using testing::Not;

// Heads out of tokens; `keys` makes "t" of the keys, `scores` makes "b" of the product "s".
std::string Fused(const char* keys, const char* scores, PassOptions options = {.dynamic = true}) {
  return RunOne(
      FuseAttention,
      absl::StrCat("graph g { input q: f32[N,S,4,8] input k: f32[N,S,4,8] input v: f32[N,S,4,8] "
                   "input m: f32[N,1,1,S]\n const c: f32[] = 0.5\n"
                   " tq: Transpose(q) {perm=[0,2,1,3]} -> hq: f32[?]\n ",
                   keys, "\n tv: Transpose(v) {perm=[0,2,1,3]} -> hv: f32[?]\n",
                   " product: MatMul(hq, t) -> s: f32[?]\n ", scores,
                   "\n soft: Softmax(b) {axis=-1} -> p: f32[?]\n context: MatMul(p, hv) -> x: f32[?]\n"
                   " turn: Transpose(x) {perm=[0,2,1,3]} -> y: f32[?]\n output y = y }"),
      options);
}

constexpr char kTurned[] = "tk: Transpose(k) {perm=[0,2,3,1]} -> t: f32[?]";
constexpr char kTwice[] =
    "th: Transpose(k) {perm=[0,2,1,3]} -> h: f32[?]\n tk: Transpose(h) {perm=[0,1,3,2]} -> t: f32[?]";
constexpr char kMasked[] = "add: Add(s, m) -> b: f32[?]";

TEST(FuseAttentionTest, TransposesScalesAndMasksGoWithIt) {
  for (const char* keys : {kTurned, kTwice})
    EXPECT_THAT(Fused(keys, kMasked), HasSubstr("turn: FusedAttention(q, k, v, m) {k_tokens_first=1"))
        << keys;
  EXPECT_THAT(Fused("tk: Transpose(k) {perm=[0,2,3,1]} -> u: f32[?]\n mul: Mul(u, c) -> t: f32[?]",
                    "relabel: Add(s, m) -> b: f32[?]"),
              HasSubstr("scale=0.5"));
  EXPECT_THAT(Fused(kTurned, "add: Add(m, s) -> b: f32[?]"), HasSubstr("FusedAttention(q, k, v, m)"));
  EXPECT_THAT(Fused(kTurned, "scale: Mul(s, c) -> b: f32[?]"), Not(HasSubstr("FusedAttention")));
}

TEST(FuseAttentionTest, WhatIsNoSuchThingStays) {
  EXPECT_THAT(Fused(kTurned, "relu: Relu(s) -> b: f32[?]"), Not(HasSubstr("FusedAttention")));
  EXPECT_THAT(Fused("tk: Transpose(k) {perm=[0,2,3,1]} -> t: f32[?]", "add: Add(s, s) -> b: f32[?]"),
              Not(HasSubstr("FusedAttention")));
  EXPECT_THAT(Fused(kTurned, kMasked, {}), Not(HasSubstr("FusedAttention")));
  EXPECT_THAT(Fused(kTurned, kMasked, {.weight_bits = 7, .dynamic = true}), Not(HasSubstr("FusedAttention")));
  EXPECT_THAT(Fused(kTurned, kMasked, {.pins = {{"context", Precision::kFp32}}, .dynamic = true}),
              Not(HasSubstr("FusedAttention")));
}

}  // namespace
}  // namespace hachi
