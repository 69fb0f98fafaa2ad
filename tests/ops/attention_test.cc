#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "absl/strings/str_cat.h"
#include "engine/cpu/isa.h"
#include "tests/ops/op_tester.h"
#include "tests/support/status_matchers.h"

namespace hachi {
namespace {

TEST(FusedAttentionTest, KernelAgreesHoweverHeadsLie) {
  if (!HasVnni(DetectIsa())) GTEST_SKIP() << "the kernel needs VNNI";
  for (const int tokens_first : {0, 1})
    for (const char* mask : {"", "input m: f32[2,1,1,9]", "input m: f32[5,9]", "input m: f32[2,3,5,9]"}) {
      const char* shapes = tokens_first != 0
                               ? "input q: f32[2,5,3,8] input k: f32[2,9,3,8] input v: f32[2,9,3,4]"
                               : "input q: f32[2,3,5,8] input k: f32[2,3,9,8] input v: f32[2,3,9,4]";
      EXPECT_OK(RunOpCase(
          {.graph = absl::StrCat("graph g { ", shapes, " ", mask, "\n a: FusedAttention(q, k, v",
                                 *mask == '\0' ? "" : ", m", ") {scale=0.35,q_tokens_first=", tokens_first,
                                 ",k_tokens_first=", tokens_first, ",v_tokens_first=", tokens_first,
                                 ",y_tokens_first=", tokens_first, "} -> y: f32[?] }"),
           .low = -1,
           .high = 1,
           .tolerance = 0.02,
           .kernel = "hachi_attention",
           .threads = 2,
           .reference_allocates = "it holds a row of weights"}))
          << tokens_first << mask;
    }
}

TEST(FusedAttentionTest, OperandsOfOtherHeadsAreRefused) {
  EXPECT_THAT(InferText("graph g { input q: f32[N,3,5,8] input k: f32[N,2,9,8] input v: f32[N,3,9,4]\n"
                        " a: FusedAttention(q, k, v) -> y: f32[?] }"),
              StatusIs(absl::StatusCode::kInvalidArgument));
  EXPECT_THAT(InferText("graph g { input q: f32[N,S,3,8] input k: f32[N,3,T,8] input v: f32[N,3,T,4]\n"
                        " a: FusedAttention(q, k, v) {q_tokens_first=1} -> y: f32[?] }"),
              IsOkAndHolds("y: f32[N,3,S,4]"));
}

}  // namespace
}  // namespace hachi
