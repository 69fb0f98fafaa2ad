#include "engine/run/staged_model.h"

#include <utility>

#include "engine/base/status_macros.h"
#include "engine/tensor/tensor.h"

namespace hachi {
StagedModel::StagedModel(std::unique_ptr<Model> first, std::unique_ptr<Model> second,
                         std::vector<HandedValue> handed)
    : first_(std::move(first)), second_(std::move(second)), handed_(std::move(handed)) {
  signature_ = first_->signature();
  signature_.outputs = second_->signature().outputs;
}

absl::Status StagedModel::WarmUp() const {
  std::vector<std::vector<std::byte>> zeros;
  for (const TensorSignature& input : signature_.inputs) zeros.emplace_back(input.row_bytes());
  std::vector<MeasuredOutput> answer;
  Rows rows{.count = 1, .shapes = nullptr, .inputs = {}, .outputs = {}, .measured = &answer};
  for (const auto& bytes : zeros) rows.inputs.push_back({bytes});
  rows.outputs.resize(signature_.outputs.size());
  const auto context = NewRunContext();
  return Run(*context, {&rows, 1}).status();
}

absl::StatusOr<std::shared_ptr<const RowShapes>> StagedModel::ShapesOf(
    std::span<const std::vector<int64_t>> inputs, std::span<const InputChunks> values) const {
  return first_->ShapesOf(inputs, values);
}

absl::Status StagedModel::MakePlans(const PlanSet& plans, int64_t rows, Team team) const {
  return first_->MakePlans(plans, rows, team);
}

Model::PlanCacheStats StagedModel::plan_cache_stats() const {
  PlanCacheStats stats = second_->plan_cache_stats();
  const PlanCacheStats first = first_->plan_cache_stats();
  stats.sets += first.sets;
  stats.bytes += first.bytes;
  stats.evictions += first.evictions;
  return stats;
}

absl::StatusOr<RunTimes> StagedModel::Run(RunContext& context, std::span<const Rows> requests) const {
  const Rows& request = requests.front();
  std::vector<Tensor> outputs, handed;
  Rows first{.count = 1, .shapes = nullptr, .inputs = request.inputs};
  for (const TensorSignature& output : first_->signature().outputs)
    first.outputs.emplace_back(outputs.emplace_back(output.dtype, output.dims).bytes());
  ASSIGN_OR_RETURN(RunTimes times, first_->Run(context, {&first, 1}));

  std::vector<std::vector<int64_t>> shapes;
  Rows second{.count = 1};
  for (const HandedValue& value : handed_) {
    const Tensor& tensor = handed.emplace_back(TakeHanded(value, outputs));
    shapes.push_back(tensor.shape());
    second.inputs.push_back({tensor.bytes()});
  }
  ASSIGN_OR_RETURN(second.shapes, second_->ShapesOf(shapes, second.inputs));
  if (second.shapes->plans->largest_rows() == 0)
    RETURN_IF_ERROR(second_->MakePlans(*second.shapes->plans, 1));
  std::vector<MeasuredOutput>& answer = *request.measured;
  answer.resize(signature_.outputs.size());
  for (size_t i = 0; i < answer.size(); ++i) {
    answer[i].shape = second.shapes->outputs[i];
    answer[i].bytes.resize(second.shapes->output_bytes[i]);
    second.outputs.emplace_back(answer[i].bytes);
  }
  second.measured = request.measured;
  ASSIGN_OR_RETURN(const RunTimes more, second_->Run(context, {&second, 1}));
  times.gather += more.gather;
  times.compute += more.compute;
  times.scatter += more.scatter;
  return times;
}

absl::StatusOr<std::string> StagedModel::PlanText(const RowShapes* shapes, int64_t rows) const {
  return first_->PlanText(shapes, rows);
}

absl::StatusOr<std::vector<StepFacts>> StagedModel::Steps(const RowShapes* shapes, int64_t rows) const {
  return first_->Steps(shapes, rows);
}

absl::StatusOr<std::vector<StepProfile>> StagedModel::Profile(RunContext& context, const RowShapes* shapes,
                                                              int64_t rows, int runs) const {
  return first_->Profile(context, shapes, rows, runs);
}

}  // namespace hachi
