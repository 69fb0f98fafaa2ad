#include "engine/kernels/attention.h"

#include <gtest/gtest.h>

#include <cmath>
#include <limits>
#include <random>
#include <vector>

#include "engine/cpu/isa.h"
#include "engine/cpu/team.h"
#include "engine/tensor/tensor.h"

namespace hachi {
namespace {

struct Operands {
  std::vector<float> q, k, v, mask;

  explicit Operands(const AttentionSpec& s) {
    std::mt19937 random(7);
    std::normal_distribution<float> normal;
    for (auto& [values, count] : {std::pair(&q, s.batch * s.heads * s.queries * s.depth),
                                  {&k, s.batch * s.heads * s.keys * s.depth},
                                  {&v, s.batch * s.heads * s.keys * s.columns}})
      for (int64_t i = 0; i < count; ++i) values->push_back(normal(random));
    mask.assign(static_cast<size_t>(s.batch * s.queries * s.keys), 0.0f);
  }
};

// Positions in front of heads, as projections leave them; the mask [batch, 1, 1 or queries, keys].
AttentionSpec Spec(int64_t batch, int64_t heads, int64_t queries, int64_t keys, int64_t depth,
                   int64_t columns, bool mask_by_query = false) {
  return {.batch = batch,
          .heads = heads,
          .queries = queries,
          .keys = keys,
          .depth = depth,
          .columns = columns,
          .q = {queries * heads * depth, depth, heads * depth},
          .k = {keys * heads * depth, depth, heads * depth},
          .v = {keys * heads * columns, columns, heads * columns},
          .out = {queries * heads * columns, columns, heads * columns},
          .mask = {mask_by_query ? queries * keys : keys, 0, mask_by_query ? keys : 0},
          .scale = 1 / std::sqrt(static_cast<float>(depth))};
}

std::vector<float> Expected(const AttentionSpec& s, const Operands& o) {
  std::vector<float> out(static_cast<size_t>(s.batch * s.heads * s.queries * s.columns));
  for (int64_t b = 0; b < s.batch; ++b)
    for (int64_t h = 0; h < s.heads; ++h)
      for (int64_t i = 0; i < s.queries; ++i) {
        const auto at = [&](const HeadStrides& strides, int64_t position) {
          return static_cast<size_t>(b * strides.batch + h * strides.head + position * strides.position);
        };
        std::vector<double> weights;
        double largest = -INFINITY, sum = 0;
        for (int64_t j = 0; j < s.keys; ++j) {
          double score = 0;
          for (int64_t d = 0; d < s.depth; ++d) score += o.q[at(s.q, i) + d] * o.k[at(s.k, j) + d];
          weights.push_back(score * s.scale + o.mask[b * s.mask.batch + i * s.mask.query + j]);
          largest = std::max(largest, weights.back());
        }
        for (double& weight : weights) sum += weight = std::exp(weight - largest);
        for (int64_t c = 0; c < s.columns; ++c) {
          double y = 0;
          for (int64_t j = 0; j < s.keys; ++j) y += weights[j] / sum * o.v[at(s.v, j) + c];
          out[at(s.out, i) + c] = static_cast<float>(y);
        }
      }
  return out;
}

std::vector<float> Found(const AttentionSpec& s, const Operands& o, int threads) {
  SetTeam(threads);
  const Attention attention(s, threads);
  AlignedBuffer scratch(attention.scratch_bytes());
  std::vector<float> out(static_cast<size_t>(s.batch * s.heads * s.queries * s.columns), 99.0f);
  attention.Run(o.q.data(), o.k.data(), o.v.data(), o.mask.data(), out.data(), scratch.data());
  return out;
}

double SignalToNoise(const std::vector<float>& right, const std::vector<float>& found) {
  double signal = 0, noise = 0;
  for (size_t i = 0; i < right.size(); ++i) {
    signal += right[i] * right[i];
    noise += (right[i] - found[i]) * (right[i] - found[i]);
  }
  return 10 * std::log10(signal / noise);
}

class AttentionTest : public testing::Test {
 protected:
  void SetUp() override {
    if (!HasVnni(DetectIsa())) GTEST_SKIP() << "the CPU has no VNNI";
  }
};

TEST_F(AttentionTest, IntegersKeepTheAnswerForEverySize) {
  for (const auto& [queries, keys] : {std::pair(1, 1), {4, 16}, {7, 33}, {128, 128}, {5, 300}})
    for (const auto& [depth, columns] : {std::pair(64, 64), {32, 80}, {5, 3}, {20, 16}})
      for (const int threads : {1, 2}) {
        const AttentionSpec spec = Spec(2, 3, queries, keys, depth, columns);
        const Operands operands(spec);
        EXPECT_GT(SignalToNoise(Expected(spec, operands), Found(spec, operands, threads)), 30)
            << queries << " " << keys << " " << depth << " " << columns;
      }
}

TEST_F(AttentionTest, MasksLeaveKeysOut) {
  for (const bool by_query : {false, true})
    for (const float masked : {-10000.0f, -std::numeric_limits<float>::infinity()}) {
      const AttentionSpec spec = Spec(2, 2, 9, 40, 16, 16, by_query);
      Operands operands(spec);
      for (size_t i = 0; i < operands.mask.size(); ++i)
        if (i % 40 > (by_query ? i / 40 % 9 + 3 : 20)) operands.mask[i] = masked;
      EXPECT_GT(SignalToNoise(Expected(spec, operands), Found(spec, operands, 1)), 30) << by_query << masked;
    }
}

TEST_F(AttentionTest, KeysFarFromZeroCostNoDigits) {
  const AttentionSpec spec = Spec(1, 1, 32, 64, 64, 64);
  Operands operands(spec);
  for (size_t i = 0; i < operands.k.size(); i += 64) operands.k[i] += 50;
  EXPECT_GT(SignalToNoise(Expected(spec, operands), Found(spec, operands, 1)), 30);
}

TEST_F(AttentionTest, AnAnswerDependsOnItsRowAlone) {
  const AttentionSpec one = Spec(1, 2, 7, 19, 32, 32), two = Spec(2, 2, 7, 19, 32, 32);
  const Operands both(two);
  Operands second(one);
  const auto half = [](const std::vector<float>& values) {
    return std::vector<float>(values.begin() + std::ssize(values) / 2, values.end());
  };
  second.q = half(both.q);
  second.k = half(both.k);
  second.v = half(both.v);
  EXPECT_EQ(Found(one, second, 1), half(Found(two, both, 2)));
}

TEST_F(AttentionTest, WhatIsNotFiniteSpoilsItsOwn) {
  const AttentionSpec spec = Spec(1, 2, 5, 9, 16, 16);
  const auto spoilt = [&](std::vector<float> Operands::*which, size_t at) {
    Operands operands(spec);
    (operands.*which)[at] = std::numeric_limits<float>::quiet_NaN();
    const std::vector<float> out = Found(spec, operands, 1);
    return std::ranges::count_if(out, [](float y) { return std::isnan(y); });
  };
  EXPECT_EQ(spoilt(&Operands::q, 0), 16);      // a row of one head
  EXPECT_EQ(spoilt(&Operands::k, 0), 5 * 16);  // a head
  EXPECT_EQ(spoilt(&Operands::v, 0), 5);       // a feature of one head
}

}  // namespace
}  // namespace hachi
