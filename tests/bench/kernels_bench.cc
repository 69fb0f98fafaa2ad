// Speeds of our own kernels, in bytes read and written a second, on one thread.
#include <benchmark/benchmark.h>

#include <cstring>
#include <vector>

#include "engine/cpu/team.h"
#include "engine/kernels/attention.h"
#include "engine/kernels/avgpool.h"
#include "engine/kernels/intake.h"
#include "engine/kernels/lut.h"
#include "engine/kernels/permute.h"
#include "engine/kernels/quantize.h"
#include "engine/kernels/softmax.h"
#include "engine/tensor/tensor.h"

namespace hachi {
namespace {

// Runs `body` and counts `bytes` a run.
template <typename Body>
void Measure(benchmark::State& state, size_t bytes, const Body& body) {
  SetTeam(1);
  for (auto _ : state) {
    body();
    benchmark::ClobberMemory();
  }
  state.SetBytesProcessed(static_cast<int64_t>(bytes) * state.iterations());
}

// Values from -1 to 1 in `count` floats, without the subnormals and NaNs of arbitrary bytes.
std::vector<float> Floats(size_t count) {
  std::vector<float> values(count);
  for (size_t i = 0; i < count; ++i) values[i] = static_cast<float>(i * 7919 % 2001) / 1000.0f - 1.0f;
  return values;
}

void BenchIntake(benchmark::State& state, const IntakeSpec& spec, size_t chunk_bytes = size_t{1} << 40) {
  const auto intake = Intake::Create(spec);
  if (!intake.ok()) return state.SkipWithError(intake.status().ToString().c_str());
  const auto count = static_cast<size_t>(CountOf(spec.row_shape));
  std::vector<std::byte> in(count * SizeOf(spec.client_dtype));
  if (spec.client_dtype == DType::kF32)
    std::memcpy(in.data(), Floats(count).data(), in.size());
  else
    for (size_t i = 0; i < in.size(); ++i) in[i] = static_cast<std::byte>(i * 7919);
  std::vector<std::span<const std::byte>> chunks;
  for (size_t at = 0; at < in.size(); at += chunk_bytes)
    chunks.push_back(std::span<const std::byte>(in).subspan(at, std::min(chunk_bytes, in.size() - at)));
  const AlignedBuffer out(count * SizeOf(spec.dtype));
  Measure(state, in.size() + out.size(), [&] { intake->Run(chunks, 1, out.data()); });
}

const Shape kImage = {3, 224, 224};
const std::vector<float> kMean = {123.7f, 116.3f, 103.5f}, kScale = {0.0171f, 0.0175f, 0.0174f};
const QuantParams kQuant = QuantParams::PerTensor(0.0186f, 114);

void IntakeU8NhwcToU8Nhwc(benchmark::State& state) {
  BenchIntake(state, {.client_dtype = DType::kU8,
                      .client_channels_last = true,
                      .row_shape = kImage,
                      .mean = kMean,
                      .scale = kScale,
                      .dtype = DType::kU8,
                      .quant = kQuant,
                      .layout = Layout::ChannelsLast(4)});
}
BENCHMARK(IntakeU8NhwcToU8Nhwc);

void IntakeU8NhwcToF32Nhwc(benchmark::State& state) {
  BenchIntake(state, {.client_dtype = DType::kU8,
                      .client_channels_last = true,
                      .row_shape = kImage,
                      .mean = kMean,
                      .scale = kScale,
                      .layout = Layout::ChannelsLast(4)});
}
BENCHMARK(IntakeU8NhwcToF32Nhwc);

void IntakeU8GreyToU8(benchmark::State& state) {
  BenchIntake(state, {.client_dtype = DType::kU8,
                      .client_channels_last = true,
                      .row_shape = {1, 28, 28},
                      .mean = {33.3f},
                      .scale = {0.0127f},
                      .dtype = DType::kU8,
                      .quant = kQuant,
                      .layout = Layout::ChannelsLast(4)});
}
BENCHMARK(IntakeU8GreyToU8);

void IntakeU8NchwToU8Nhwc(benchmark::State& state) {
  BenchIntake(state, {.client_dtype = DType::kU8,
                      .row_shape = kImage,
                      .mean = kMean,
                      .scale = kScale,
                      .dtype = DType::kU8,
                      .quant = kQuant,
                      .layout = Layout::ChannelsLast(4)});
}
BENCHMARK(IntakeU8NchwToU8Nhwc);

void IntakeF32NchwToU8Nhwc(benchmark::State& state) {
  BenchIntake(state,
              {.row_shape = kImage, .dtype = DType::kU8, .quant = kQuant, .layout = Layout::ChannelsLast(4)});
}
BENCHMARK(IntakeF32NchwToU8Nhwc);

void IntakeF32NchwToU8NhwcIn16KiBChunks(benchmark::State& state) {
  BenchIntake(state,
              {.row_shape = kImage, .dtype = DType::kU8, .quant = kQuant, .layout = Layout::ChannelsLast(4)},
              16'381);
}
BENCHMARK(IntakeF32NchwToU8NhwcIn16KiBChunks);

void IntakeF32NchwToF32Nhwc(benchmark::State& state) {
  BenchIntake(state, {.row_shape = kImage, .layout = Layout::ChannelsLast(4)});
}
BENCHMARK(IntakeF32NchwToF32Nhwc);

void IntakeF32NhwcToU8Nhwc(benchmark::State& state) {
  BenchIntake(state, {.client_channels_last = true,
                      .row_shape = kImage,
                      .mean = kMean,
                      .scale = kScale,
                      .dtype = DType::kU8,
                      .quant = kQuant,
                      .layout = Layout::ChannelsLast(4)});
}
BENCHMARK(IntakeF32NhwcToU8Nhwc);

// Arguments of the rest: elements. 64 Ki stay in the second cache.
void QuantizeToU8(benchmark::State& state) {
  const std::vector<float> in = Floats(static_cast<size_t>(state.range()));
  std::vector<uint8_t> out(in.size());
  Measure(state, in.size() * 5, [&] { Quantize(in, 0.0078f, 128, std::span<uint8_t>(out)); });
}
BENCHMARK(QuantizeToU8)->Arg(1 << 16)->Arg(1 << 24);

void DequantizeFromU8(benchmark::State& state) {
  const std::vector<uint8_t> in(static_cast<size_t>(state.range()), 77);
  std::vector<float> out(in.size());
  Measure(state, in.size() * 5, [&] { Dequantize(std::span<const uint8_t>(in), 0.0078f, 128, out); });
}
BENCHMARK(DequantizeFromU8)->Arg(1 << 16)->Arg(1 << 24);

void MapBytesToU8(benchmark::State& state) {
  std::vector<uint8_t> in(static_cast<size_t>(state.range())), out(in.size());
  for (size_t i = 0; i < in.size(); ++i) in[i] = static_cast<uint8_t>(i * 7919);
  const auto table = TableOf<uint8_t, uint8_t>([](uint8_t x) { return static_cast<uint8_t>(255 - x); });
  Measure(state, in.size() * 2, [&] { MapBytes(in, table, std::span<uint8_t>(out)); });
}
BENCHMARK(MapBytesToU8)->Arg(1 << 16)->Arg(1 << 24);

// Arguments: row length; 64 Ki elements in all.
void SoftmaxRows(benchmark::State& state) {
  const int64_t length = state.range();
  const std::vector<float> in = Floats(static_cast<size_t>((1 << 16) / length * length));
  std::vector<float> out(in.size());
  Measure(state, in.size() * 8, [&] { Softmax(in, length, out); });
}
BENCHMARK(SoftmaxRows)->Arg(10)->Arg(128)->Arg(1000);

// Arguments: tokens, masked or not; a layer of BERT-base. Bytes: those of its operands.
void AttentionOf12Heads(benchmark::State& state) {
  const int64_t tokens = state.range(0), heads = 12, depth = 64;
  const HeadStrides strides = {tokens * heads * depth, depth, heads * depth};
  const AttentionSpec spec = {.heads = heads,
                              .queries = tokens,
                              .keys = tokens,
                              .depth = depth,
                              .columns = depth,
                              .q = strides,
                              .k = strides,
                              .v = strides,
                              .out = strides,
                              .mask = {tokens, 0, 0},
                              .scale = 0.125f};
  const Attention attention(spec, 1);
  AlignedBuffer scratch(attention.scratch_bytes());
  const size_t count = static_cast<size_t>(tokens * heads * depth);
  const std::vector<float> q = Floats(count), k = Floats(count), v = Floats(count);
  std::vector<float> out(count), mask(static_cast<size_t>(tokens), -1.0f);
  Measure(state, count * 16, [&] {
    attention.Run(q.data(), k.data(), v.data(), state.range(1) != 0 ? mask.data() : nullptr, out.data(),
                  scratch.data());
  });
}
BENCHMARK(AttentionOf12Heads)->Args({128, 0})->Args({128, 1})->Args({384, 0});

// Arguments: bytes of an element; 256 channels of 56 x 56.
void PermuteNchwToNhwc(benchmark::State& state) {
  const auto bytes = static_cast<size_t>(state.range());
  const Shape shape = {1, 256, 56, 56};
  const auto permute = Permute::Create(shape, Layout(), Layout::ChannelsLast(4), bytes);
  if (!permute.ok()) return state.SkipWithError(permute.status().ToString().c_str());
  const AlignedBuffer in(static_cast<size_t>(CountOf(shape)) * bytes), out(in.size());
  Measure(state, in.size() * 2, [&] { permute->Run(in.data(), out.data()); });
}
BENCHMARK(PermuteNchwToNhwc)->Arg(1)->Arg(4);

void GlobalAveragePool7x7x2048(benchmark::State& state) {
  const AvgPoolSpec spec = {.pixels = 49, .channels = 2048};
  const AlignedBuffer in(49 * 2048), out(2048);
  Measure(state, in.size() + out.size(), [&] { GlobalAveragePool(spec, 1, in.data(), out.data()); });
}
BENCHMARK(GlobalAveragePool7x7x2048);

}  // namespace
}  // namespace hachi
