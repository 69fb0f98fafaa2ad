#include "server/rpc/describe.h"

#include <array>
#include <utility>

#include "absl/strings/str_cat.h"
#include "proto/datatype.h"

namespace hachi::server {
namespace {

constexpr char kPlatform[] = "onnx_onnxv1";  // the name that the open inference protocol gives ONNX models

inference::DataType ConfigDataType(DType dtype) {
  inference::DataType type = inference::TYPE_INVALID;
  inference::DataType_Parse(absl::StrCat("TYPE_", std::string(WireName(dtype))), &type);
  return type;
}

template <typename Shape>
void SetDims(const std::vector<int64_t>& dims, Shape* shape) {
  shape->Add(dims.begin(), dims.end());
}

void SetTensor(const TensorSignature& tensor, bool batched,
               inference::ModelMetadataResponse::TensorMetadata& metadata) {
  metadata.set_name(tensor.name);
  metadata.set_datatype(std::string(WireName(tensor.dtype)));
  if (batched) metadata.add_shape(-1);
  SetDims(tensor.dims, metadata.mutable_shape());
}

// Images of a named layout say so; for other tensors the format means nothing.
inference::ModelInput::Format FormatOf(const ModelConfig& config, const TensorSignature& tensor) {
  const auto input = config.inputs.find(tensor.name);
  if (input == config.inputs.end() || tensor.dims.size() != 3) return inference::ModelInput::FORMAT_NONE;
  return input->second.layout == InputConfig::Layout::kNhwc ? inference::ModelInput::FORMAT_NHWC
                                                            : inference::ModelInput::FORMAT_NCHW;
}

void SetDuration(const DurationStatistic& from, inference::StatisticDuration* to) {
  to->set_count(from.count);
  to->set_ns(from.ns);
}

}  // namespace

void DescribeMetadata(const ModelVersion& model, inference::ModelMetadataResponse& response) {
  const Signature& signature = model.model().signature();
  response.set_name(model.name());
  response.set_platform(kPlatform);
  for (const TensorSignature& input : signature.inputs)
    SetTensor(input, signature.batched, *response.add_inputs());
  for (const TensorSignature& output : signature.outputs)
    SetTensor(output, signature.batched, *response.add_outputs());
}

void DescribeConfig(const ModelVersion& model, inference::ModelConfig& config) {
  const Signature& signature = model.model().signature();
  const BatchingConfig& batching = model.config().batching;
  config.set_name(model.name());
  config.set_platform(kPlatform);
  config.set_backend("hachi");
  for (const TensorSignature& tensor : signature.inputs) {
    inference::ModelInput& input = *config.add_input();
    input.set_name(tensor.name);
    input.set_data_type(ConfigDataType(tensor.dtype));
    input.set_format(FormatOf(model.config(), tensor));
    SetDims(tensor.dims, input.mutable_dims());
  }
  for (const TensorSignature& tensor : signature.outputs) {
    inference::ModelOutput& output = *config.add_output();
    output.set_name(tensor.name);
    output.set_data_type(ConfigDataType(tensor.dtype));
    SetDims(tensor.dims, output.mutable_dims());
    const auto configured = model.config().outputs.find(tensor.name);
    if (configured != model.config().outputs.end())
      output.set_label_filename(configured->second.labels.filename().string());
  }
  if (signature.batched) {
    config.set_max_batch_size(static_cast<int32_t>(model.max_batch_rows()));
    inference::ModelDynamicBatching& dynamic = *config.mutable_dynamic_batching();
    dynamic.set_max_queue_delay_microseconds(
        static_cast<uint64_t>(absl::ToInt64Microseconds(batching.max_delay)));
    dynamic.mutable_default_queue_policy()->set_max_queue_size(
        static_cast<uint32_t>(batching.max_queue_rows));
  }
  if (model.config().instances) {
    inference::ModelInstanceGroup& group = *config.add_instance_group();
    group.set_name(model.name());
    group.set_count(*model.config().instances);
    group.set_kind(inference::ModelInstanceGroup::KIND_CPU);
  }
  auto& parameters = *config.mutable_parameters();
  parameters["precision"].set_string_value(std::string(NameOf(model.model().info().precision)));
  parameters["isa"].set_string_value(model.model().info().isa);
  for (const auto& [output, text] : model.labels()) parameters["labels:" + output].set_string_value(text);
}

void DescribeStatistics(const ModelVersion& model, inference::ModelStatistics& statistics) {
  const StatisticsSnapshot snapshot = model.statistics().Snapshot();
  statistics.set_name(model.name());
  statistics.set_version(absl::StrCat(model.version()));
  statistics.set_last_inference(snapshot.last_inference_ms);
  statistics.set_inference_count(snapshot.inference_count);
  statistics.set_execution_count(snapshot.execution_count);
  inference::InferStatistics& requests = *statistics.mutable_inference_stats();
  SetDuration(snapshot.success, requests.mutable_success());
  SetDuration(snapshot.fail, requests.mutable_fail());
  SetDuration(snapshot.queue, requests.mutable_queue());
  SetDuration(snapshot.compute_input, requests.mutable_compute_input());
  SetDuration(snapshot.compute_infer, requests.mutable_compute_infer());
  SetDuration(snapshot.compute_output, requests.mutable_compute_output());
  for (const auto& [rows, times] : snapshot.by_batch_rows) {
    inference::InferBatchStatistics& batch = *statistics.add_batch_stats();
    batch.set_batch_size(static_cast<uint64_t>(rows));
    SetDuration(times.compute_input, batch.mutable_compute_input());
    SetDuration(times.compute_infer, batch.mutable_compute_infer());
    SetDuration(times.compute_output, batch.mutable_compute_output());
  }
}

}  // namespace hachi::server
