#include "engine/quant/tensor_stats.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <cmath>
#include <limits>
#include <map>
#include <random>
#include <string>
#include <vector>

#include "absl/strings/str_replace.h"
#include "tests/support/status_matchers.h"

namespace hachi {
namespace {

constexpr float kInfinity = std::numeric_limits<float>::infinity();
constexpr float kNan = std::numeric_limits<float>::quiet_NaN();
constexpr float kDenormal = std::numeric_limits<float>::denorm_min();
constexpr float kLargest = std::numeric_limits<float>::max();

TensorStats StatsOf(const std::vector<float>& values, int64_t channels = 1, int64_t inner = 1) {
  TensorStats stats;
  stats.Observe(values, {channels, inner});
  return stats;
}

uint64_t CountIn(const TensorStats& stats, int bin) {
  return stats.histogram().counts().at(static_cast<size_t>(bin - stats.histogram().first()));
}

// Kinds of data that tensors may hold, drawn at random.
struct Source {
  const char* name;
  float (*draw)(std::mt19937& random);
};

float Normal(std::mt19937& random) { return std::normal_distribution<float>(0, 1)(random); }
float AnyMagnitude(std::mt19937& random) {
  const float magnitude = std::ldexp(1.0f + std::generate_canonical<float, 24>(random),
                                     std::uniform_int_distribution(-149, 126)(random));
  return random() % 2 == 0 ? magnitude : -magnitude;
}

const Source kSources[] = {
    {"normal", Normal},
    {"after a ReLU", [](std::mt19937& random) { return std::max(Normal(random), 0.0f); }},
    {"negative", [](std::mt19937& random) { return -std::abs(Normal(random)); }},
    {"far from zero", [](std::mt19937& random) { return 1000 + 1e-3f * Normal(random); }},
    {"any magnitude", AnyMagnitude},
    {"any positive magnitude", [](std::mt19937& random) { return std::abs(AnyMagnitude(random)); }},
    {"zeros of both signs", [](std::mt19937& random) { return random() % 2 == 0 ? 0.0f : -0.0f; }},
    {"one constant", [](std::mt19937&) { return -0.1f; }},
    {"denormals", [](std::mt19937& random) { return static_cast<float>(random() % 99) * kDenormal; }},
    {"powers of two",
     [](std::mt19937& random) { return -std::ldexp(1.0f, static_cast<int>(random() % 20)); }},
    {"extremes", [](std::mt19937& random) { return random() % 2 == 0 ? kLargest : -kLargest; }},
    {"mostly not finite",
     [](std::mt19937& random) {
       const float kinds[] = {kNan, kInfinity, -kInfinity, Normal(random)};
       return kinds[random() % 4];
     }},
    {"never finite", [](std::mt19937& random) { return random() % 2 == 0 ? kNan : kInfinity; }},
};

TEST(TensorStatsTest, MergedShardsEqualTheWhole) {
  std::mt19937 random(1);
  for (const Source& source : kSources) {
    for (int round = 0; round < 40; ++round) {
      SCOPED_TRACE(testing::Message() << source.name << ", round " << round);
      const int64_t channels = 1 + random() % 5, inner = 1 + random() % 40;
      TensorStats whole;
      std::vector<TensorStats> shards(1 + random() % 6);
      for (int observation = 0; observation < 12; ++observation) {
        std::vector<float> values(random() % 4 * static_cast<size_t>(channels * inner));
        for (float& value : values) value = source.draw(random);
        whole.Observe(values, {channels, inner});
        TensorStats& shard = shards[random() % shards.size()];
        shard.Observe(values, {channels, inner});
        if (random() % 3 == 0) {  // as if the shard had been written and read again
          const auto read = TensorStats::Parse(shard.ToText());
          ASSERT_OK(read);
          shard = *read;
        }
      }
      while (shards.size() > 1) {  // any two of them, until one is left
        std::shuffle(shards.begin(), shards.end(), random);
        shards.front().Merge(shards.back());
        shards.pop_back();
      }
      const TensorStats& merged = shards.front();
      EXPECT_TRUE(merged.SameButForMeans(whole));
      ASSERT_EQ(merged.channels(), whole.channels());
      for (int64_t c = 0; c < whole.channels(); ++c) {
        // Each of a dozen roundings may move the mean by 2^-24 of the largest addend, or by the least
        // denormal.
        const float tolerance = 2e-6f * whole.ChannelAbsmax(c) + 12 * kDenormal;
        EXPECT_NEAR(merged.ChannelMean(c), whole.ChannelMean(c), tolerance);
      }
    }
  }
}

TEST(TensorStatsTest, CountsAreThoseOfPlainArithmetic) {
  std::mt19937 random(2);
  for (const Source& source : kSources) {
    SCOPED_TRACE(source.name);
    std::vector<float> values(1000);
    for (float& value : values) value = source.draw(random);
    const TensorStats stats = StatsOf(values, /*channels=*/10, /*inner=*/100);
    const long double width = std::ldexp(1.0L, stats.histogram().exponent());
    std::map<int, uint64_t> expected;
    uint64_t finite = 0;
    for (const float value : values) {
      if (!std::isfinite(value)) continue;
      ++finite;
      const long double bin = static_cast<long double>(value) / width;
      ++expected[static_cast<int>(value < 0 ? std::ceil(bin) - 1 : std::floor(bin))];
    }
    EXPECT_EQ(stats.count(), values.size());
    EXPECT_EQ(stats.nonfinite(), values.size() - finite);
    uint64_t total = 0;
    for (const uint64_t count : stats.histogram().counts()) total += count;
    EXPECT_EQ(total, finite);
    for (const auto& [bin, count] : expected) EXPECT_EQ(CountIn(stats, bin), count) << "bin " << bin;
    EXPECT_LE(stats.histogram().counts().size(), static_cast<size_t>(Histogram::kMaxBins));
  }
}

TEST(TensorStatsTest, RangeHasAtLeast4096Bins) {
  for (const float max : {1.0f, 0.999f, 1.001f, 3e38f, 7e-20f})
    for (const float min : {0.0f, -max, -max / 1000})
      EXPECT_GE(StatsOf({min, max}).histogram().counts().size(), 4096u) << min << " to " << max;
}

TEST(TensorStatsTest, RangesAndMeansAreThoseOfEachChannel) {
  const TensorStats stats = StatsOf({1, 2, 3, -4, -5, -6, 7, 8, 9, 0, 0, 3}, /*channels=*/2, /*inner=*/3);
  ASSERT_EQ(stats.channels(), 2);
  EXPECT_EQ(stats.min(), -6);
  EXPECT_EQ(stats.max(), 9);
  EXPECT_EQ(stats.ChannelMin(0), 1);
  EXPECT_EQ(stats.ChannelMax(0), 9);
  EXPECT_EQ(stats.ChannelMean(0), 5);
  EXPECT_EQ(stats.ChannelMin(1), -6);
  EXPECT_EQ(stats.ChannelMax(1), 3);
  EXPECT_EQ(stats.ChannelAbsmax(1), 6);
  EXPECT_EQ(stats.ChannelMean(1), -2);
}

TEST(TensorStatsTest, NonfiniteValuesAreCountedApart) {
  const TensorStats stats = StatsOf({1, kNan, -2, kInfinity, 3, -kInfinity});
  EXPECT_EQ(stats.count(), 6u);
  EXPECT_EQ(stats.nonfinite(), 3u);
  EXPECT_EQ(stats.min(), -2);
  EXPECT_EQ(stats.max(), 3);
  EXPECT_FALSE(stats.quantizable());
  EXPECT_TRUE(StatsOf({1}).quantizable());
  EXPECT_FALSE(TensorStats().quantizable());
}

TEST(TensorStatsTest, ChannelsOfChangingNumberAreForgotten) {
  TensorStats stats = StatsOf({1, 2, 3, 4}, /*channels=*/4);
  stats.Observe({}, {.channels = 9});
  EXPECT_EQ(stats.channels(), 4);
  stats.Observe(std::vector<float>{1, 2}, {.channels = 2});
  EXPECT_EQ(stats.channels(), 0);
  stats.Observe(std::vector<float>{9, 2, 3, 4}, {.channels = 4});
  EXPECT_EQ(stats.channels(), 0);
  EXPECT_EQ(stats.max(), 9);
  EXPECT_EQ(
      StatsOf(std::vector<float>(TensorStats::kMaxChannels + 1), TensorStats::kMaxChannels + 1).channels(),
      0);
}

TEST(TensorStatsTest, ChannelsOfAnotherAxisAreForgottenToo) {
  TensorStats stats;
  stats.Observe(std::vector<float>{1, 2}, {.channels = 2, .axis = ChannelAxis::kLast});
  EXPECT_EQ(TensorStats::Parse(stats.ToText())->channel_axis(), ChannelAxis::kLast);
  stats.Observe(std::vector<float>{1, 2}, {.channels = 2});
  EXPECT_EQ(stats.channels(), 0);
}

TEST(TensorStatsTest, TextReadsBackAsTheSameText) {
  std::mt19937 random(3);
  for (const Source& source : kSources) {
    SCOPED_TRACE(source.name);
    std::vector<float> values(600);
    for (float& value : values) value = source.draw(random);
    const TensorStats stats = StatsOf(values, /*channels=*/3, /*inner=*/20);
    const auto read = TensorStats::Parse(stats.ToText());
    ASSERT_OK(read);
    EXPECT_TRUE(read->SameButForMeans(stats));
    EXPECT_EQ(read->ToText(), stats.ToText());
  }
}

TEST(TensorStatsTest, TextThatContradictsItselfIsDamaged) {
  const std::string good = StatsOf({1, 2, 3, 4}, /*channels=*/2).ToText();
  ASSERT_OK(TensorStats::Parse(good));
  const std::pair<std::string, std::string> edits[] = {{"min=1", "min=2"},
                                                       {"min=1", "min=nan"},
                                                       {"min=1", "min=inf"},
                                                       {"min=1", "min=5"},
                                                       {"min=1", "min="},
                                                       {"min=1 ", "min=1  "},
                                                       {"max=4", "max=1e39"},
                                                       {"max=4", "max=8"},
                                                       {"count=4", "count=5"},
                                                       {"count=4", "count=-4"},
                                                       {"count=4", "count=1e300"},
                                                       {"nonfinite=0", "nonfinite=1"},
                                                       {"channels=2", "channels=4"},
                                                       {"channels=2:", "channels=2"},
                                                       {"histogram=", "histogram=@"},
                                                       {"channels=2", "channels=-2"},
                                                       {"count=4", "count=9223372036854775807"}};
  for (const auto& [from, to] : edits) {
    const std::string bad = absl::StrReplaceAll(good, {{from, to}});
    ASSERT_NE(bad, good) << from;
    EXPECT_THAT(TensorStats::Parse(bad), StatusIs(absl::StatusCode::kDataLoss)) << to;
  }
  for (size_t length = 0; length < good.size() - 2; ++length)  // the last two may be base64's padding
    EXPECT_THAT(TensorStats::Parse(good.substr(0, length)), StatusIs(absl::StatusCode::kDataLoss)) << length;
}

}  // namespace
}  // namespace hachi
