#include "server/models/load_options.h"

namespace hachi::server {
namespace {

Precision PrecisionOf(ConfiguredPrecision precision) {
  switch (precision) {
    case ConfiguredPrecision::kAuto:
      return Precision::kAuto;
    case ConfiguredPrecision::kInt8:
      return Precision::kInt8;
    case ConfiguredPrecision::kBf16:
      return Precision::kBf16;
    case ConfiguredPrecision::kFp32:
      return Precision::kFp32;
  }
  return Precision::kAuto;
}

}  // namespace

LoadOptions LoadOptionsOf(const ModelConfig& config, const VersionFiles& files, int threads) {
  LoadOptions options;
  options.name = config.name;
  options.model = files.model;
  options.table = files.table;
  options.precision = PrecisionOf(config.precision);
  for (const auto& [name, input] : config.inputs) {
    options.inputs[name] = {
        .dtype = input.dtype == InputConfig::DType::kUint8 ? DType::kU8 : DType::kF32,
        .channels_last = input.layout == InputConfig::Layout::kNhwc,
        .mean = input.mean,
        .scale = input.scale,
    };
  }
  for (const auto& [pattern, precision] : config.layers) options.layers[pattern] = PrecisionOf(precision);
  options.max_batch_rows = config.batching.max_batch_rows;
  options.threads = threads;
  return options;
}

}  // namespace hachi::server
