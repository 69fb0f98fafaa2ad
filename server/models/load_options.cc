#include "server/models/load_options.h"

namespace hachi::server {
LoadOptions LoadOptionsOf(const ModelConfig& config, const VersionFiles& files, int threads) {
  LoadOptions options;
  options.name = config.name;
  options.model = files.model;
  options.table = files.table;
  options.tuned = files.tuned;
  options.guard = {.golden = files.golden,
                   .max_drop = config.guard.max_drop,
                   .metric = config.guard.metric,
                   .on_failure = config.guard.on_failure,
                   .time = config.guard.time};
  options.precision = config.precision;
  for (const auto& [name, input] : config.inputs) {
    InputOptions& own = options.inputs[name];
    if (input.dtype) own.dtype = input.dtype == InputConfig::DType::kUint8 ? DType::kU8 : DType::kF32;
    own.channels_last = input.layout == InputConfig::Layout::kNhwc;
    own.mean = input.mean;
    own.scale = input.scale;
    for (const auto& [symbol, dim] : input.dims)
      own.dims[symbol] = {.max = dim.max, .buckets = dim.buckets, .pad = dim.pad};
  }
  options.plan_bytes = config.plan_bytes;
  options.layers = config.layers;
  options.range_method = config.range;
  options.repairs = config.repairs;
  options.max_batch_rows = config.batching.max_batch_rows;
  options.threads = threads;
  return options;
}

}  // namespace hachi::server
