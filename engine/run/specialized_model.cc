#include "engine/run/specialized_model.h"

#include <algorithm>
#include <utility>

#include "absl/strings/str_cat.h"
#include "engine/base/status_macros.h"
#include "engine/passes/infer_graph.h"
#include "engine/run/ends.h"
#include "engine/run/staged_model.h"

namespace hachi {
namespace {

std::vector<std::byte> Joined(const InputChunks& chunks) {
  std::vector<std::byte> bytes;
  for (const std::span<const std::byte> chunk : chunks) bytes.insert(bytes.end(), chunk.begin(), chunk.end());
  return bytes;
}

}  // namespace

// One combination of shapes and values.
class SpecializedModel::Special final : public PlanSet {
 public:
  Special(Key key, Form form)
      : measured(std::holds_alternative<Stages>(form)), key_(std::move(key)), form_(std::move(form)) {}

  const Key& key() const { return key_; }

  // Null before it is compiled.
  std::shared_ptr<const Model> model() const {
    MutexLock lock(mutex_);
    return model_;
  }

  // The form once more, for the one that compiles it. REQUIRES: it is not compiled.
  Form Uncompiled() const {
    if (const auto* stages = std::get_if<Stages>(&form_))
      return Stages{stages->first.Clone(), stages->second.Clone(), stages->handed};
    const auto& prepared = std::get<PreparedGraph>(form_);
    return PreparedGraph{prepared.graph.Clone(), prepared.rows, prepared.why_whole};
  }

  // Lets the uncompiled form go. For the one that compiled it.
  void Set(std::shared_ptr<const Model> model) {
    form_ = PreparedGraph();
    MutexLock lock(mutex_);
    model_ = std::move(model);
  }

  int64_t largest_rows() const override { return model() == nullptr ? 0 : 1; }
  std::map<int64_t, absl::Duration> run_times(Team team) const override {
    const auto compiled = model();
    // What makes plans in a run makes them for workers.
    if (compiled == nullptr || (measured && team == Team::kWide)) return {};
    const auto own = compiled->ShapesOf(key_.shapes, {});
    return own.ok() ? (*own)->plans->run_times(team) : std::map<int64_t, absl::Duration>();
  }

  // What requests of this combination are told; its plans are this. Never changes once others see it.
  std::weak_ptr<const RowShapes> told;
  std::vector<std::vector<int64_t>> outputs;
  const bool measured;  // its outputs are: the shapes above are empty

 private:
  const Key key_;
  Form form_;
  mutable Mutex mutex_;
  std::shared_ptr<const Model> model_ ABSL_GUARDED_BY(mutex_);
};

SpecializedModel::SpecializedModel(Spec spec) : spec_(std::move(spec)) {
  signature_.batched = false;
  signature_.why_not_batched = spec_.why;
  for (size_t i = 0; i < spec_.imported.inputs().size(); ++i) {
    const Value* input = spec_.imported.inputs()[i];
    const InputOptions& client = clients_.emplace_back(OptionsOf(*input, spec_.inputs));
    signature_.inputs.push_back(SignatureOf(input->name, *client.dtype, ToClient(*input->dims, client)));
    signature_.inputs.back().decides = spec_.deciding.contains(i);
  }
  for (const Graph::Output& output : spec_.imported.outputs())
    signature_.outputs.push_back(
        {.name = output.name, .dtype = output.value->dtype, .dims = {-1}, .symbols = {"?"}});
}

absl::StatusOr<std::unique_ptr<Model>> SpecializedModel::Create(Spec spec) {
  std::unique_ptr<SpecializedModel> model(new SpecializedModel(std::move(spec)));
  // Where nothing but shapes decides, usual ones show whether it runs at all.
  if (model->spec_.deciding.empty() && !model->spec_.is_stage) RETURN_IF_ERROR(model->TryUsualShapes());
  return absl::StatusOr<std::unique_ptr<Model>>(std::move(model));
}

absl::Status SpecializedModel::TryUsualShapes() {
  absl::Status status;
  for (const int64_t size : kTrialSizes) {
    std::vector<std::vector<int64_t>> shapes;
    for (const TensorSignature& input : signature_.inputs) {
      auto& shape = shapes.emplace_back(input.dims);
      for (size_t axis = 0; axis < shape.size(); ++axis)  // the first one counts rows, mostly
        if (shape[axis] < 0) shape[axis] = axis == 0 && shape.size() > 1 ? 1 : size;
    }
    auto tried = ShapesOf(shapes, {});
    status = tried.ok() ? MakePlans(*(*tried)->plans, 1, Team::kWorker) : tried.status();
    if (!status.ok()) continue;
    const auto compiled = static_cast<const Special&>(*(*tried)->plans).model();
    spec_.info = compiled->info();
    for (size_t i = 0; i < signature_.outputs.size() && !(*tried)->measured; ++i) {
      TensorSignature& output = signature_.outputs[i];
      output.dims.assign((*tried)->outputs[i].size(), -1);
      output.symbols.assign(output.dims.size(), "?");
    }
    return absl::OkStatus();
  }
  return status;
}

absl::Status SpecializedModel::CheckShapes(std::span<const std::vector<int64_t>> inputs) const {
  std::map<std::string, int64_t> sizes;  // of symbols
  for (size_t i = 0; i < inputs.size(); ++i) {
    const TensorSignature& input = signature_.inputs[i];
    bool fits = inputs[i].size() == input.dims.size();
    for (size_t axis = 0; fits && axis < input.dims.size(); ++axis) {
      const int64_t size = inputs[i][axis];
      fits = input.dims[axis] < 0 ? size >= (spec_.is_stage ? 0 : 1) : size == input.dims[axis];
      if (fits && input.dims[axis] < 0)
        fits = sizes.try_emplace(input.symbols[axis], size).first->second == size;
    }
    if (!fits)
      return absl::InvalidArgumentError(absl::StrCat("input '", input.name, "': shape is ",
                                                     ShapeText(inputs[i]), ", expected ", input.DimsText()));
  }
  return absl::OkStatus();
}

absl::StatusOr<std::shared_ptr<const RowShapes>> SpecializedModel::ShapesOf(
    std::span<const std::vector<int64_t>> inputs, std::span<const InputChunks> values) const {
  RETURN_IF_ERROR(CheckShapes(inputs));
  Key key{{inputs.begin(), inputs.end()}, std::vector<std::vector<std::byte>>(inputs.size())};
  for (const size_t i : spec_.deciding) {
    const TensorSignature& input = signature_.inputs[i];
    if (i < values.size()) key.values[i] = Joined(values[i]);
    if (key.values[i].size() != input.row_bytes())
      return absl::InvalidArgumentError(
          absl::StrCat("input '", input.name, "' decides what the model computes: it has ",
                       key.values[i].size(), " bytes, expected ", input.row_bytes()));
  }
  {
    MutexLock lock(mutex_);
    const auto found =
        std::ranges::find_if(specials_, [&](const auto& special) { return special->key() == key; });
    if (found != specials_.end()) {
      specials_.splice(specials_.begin(), specials_, found);
      if (auto shapes = specials_.front()->told.lock()) return shapes;
      return ShapesFor(specials_.front());
    }
  }
  ASSIGN_OR_RETURN(const auto special, Prepare(std::move(key)));
  MutexLock lock(mutex_);
  // What was refused before it was compiled leaves nothing behind.
  std::erase_if(specials_,
                [](const auto& each) { return each.use_count() == 1 && each->largest_rows() == 0; });
  specials_.push_front(special);
  return ShapesFor(special);
}

std::shared_ptr<const RowShapes> SpecializedModel::ShapesFor(const std::shared_ptr<Special>& special) const {
  auto shapes = std::make_shared<RowShapes>();
  shapes->inputs = special->key().shapes;
  shapes->outputs = special->outputs;
  for (size_t i = 0; i < shapes->inputs.size(); ++i)
    shapes->input_bytes.push_back(static_cast<size_t>(CountOf(shapes->inputs[i])) *
                                  SizeOf(signature_.inputs[i].dtype));
  for (size_t i = 0; i < shapes->outputs.size(); ++i)
    shapes->output_bytes.push_back(static_cast<size_t>(CountOf(shapes->outputs[i])) *
                                   SizeOf(signature_.outputs[i].dtype));
  shapes->plans = special;
  shapes->measured = special->measured;
  special->told = shapes;
  return shapes;
}

absl::StatusOr<std::shared_ptr<SpecializedModel::Special>> SpecializedModel::Prepare(Key key) const {
  std::vector<Shape> shapes;
  for (size_t i = 0; i < key.shapes.size(); ++i) shapes.push_back(FromClient(key.shapes[i], clients_[i]));
  const Graph graph = GraphFor(spec_.imported, shapes, spec_.deciding, key.values);
  auto prepared = PrepareGraph(graph, {});
  if (prepared.ok()) {
    RETURN_IF_ERROR(CheckSizes(prepared->graph));
    ASSIGN_OR_RETURN(auto outputs, OutputShapes(prepared->graph));
    auto special = std::make_shared<Special>(std::move(key), *std::move(prepared));
    special->outputs = std::move(outputs);
    return special;
  }
  if (!absl::IsUnimplemented(prepared.status())) return prepared.status();
  ASSIGN_OR_RETURN(Stages stages, SplitStages(graph));
  auto special = std::make_shared<Special>(std::move(key), std::move(stages));
  special->outputs.resize(signature_.outputs.size(), {0});
  return special;
}

absl::Status SpecializedModel::CheckSizes(const Graph& graph) const {
  for (const auto& node : graph.nodes())
    for (const Value* output : node->outputs) {
      const auto count = CountOf(*output->dims).constant();
      if (!count || *count < 0 || *count > spec_.plan_bytes / static_cast<int64_t>(SizeOf(output->dtype)))
        return absl::ResourceExhaustedError(absl::StrCat(
            "node '", node->name, "': '", output->name, "' would have shape ", ShapeText(*output->dims),
            ", more than ", spec_.plan_bytes, " bytes, the limit of a model's plans"));
    }
  return absl::OkStatus();
}

absl::StatusOr<std::vector<std::vector<int64_t>>> SpecializedModel::OutputShapes(const Graph& graph) const {
  std::vector<std::vector<int64_t>> shapes;
  for (size_t i = 0; i < graph.outputs().size(); ++i) {
    const Graph::Output& output = graph.outputs()[i];
    const DType expected = signature_.outputs[i].dtype;
    if (output.value->dtype != expected)
      return absl::InvalidArgumentError(
          absl::StrCat("output '", output.name, "' has type ", std::string(NameOf(output.value->dtype)),
                       ", expected ", std::string(NameOf(expected)), ", which the file declares"));
    shapes.push_back(*ConstantShape(*output.value->dims));
  }
  return shapes;
}

absl::StatusOr<std::unique_ptr<Model>> SpecializedModel::Compile(Form form) const {
  if (auto* prepared = std::get_if<PreparedGraph>(&form))
    return spec_.compile(std::move(*prepared), spec_.inputs, spec_.is_stage);
  Stages& stages = std::get<Stages>(form);
  ASSIGN_OR_RETURN(PreparedGraph prepared, PrepareGraph(stages.first, {}));
  RETURN_IF_ERROR(CheckSizes(prepared.graph));
  ASSIGN_OR_RETURN(auto first, spec_.compile(std::move(prepared), spec_.inputs, /*is_part=*/true));
  ASSIGN_OR_RETURN(std::set<size_t> deciding, DecidingInputs(stages.second));
  ASSIGN_OR_RETURN(auto second, Create({.imported = std::move(stages.second),
                                        .deciding = std::move(deciding),
                                        .inputs = {},
                                        .why = spec_.why,
                                        .info = spec_.info,
                                        .plan_bytes = spec_.plan_bytes,
                                        .is_stage = true,
                                        .compile = spec_.compile}));
  auto staged = std::make_unique<StagedModel>(std::move(first), std::move(second), std::move(stages.handed));
  RETURN_IF_ERROR(staged->WarmUp());
  return absl::StatusOr<std::unique_ptr<Model>>(std::move(staged));
}

absl::Status SpecializedModel::MakePlans(const PlanSet& plans, int64_t rows, Team team) const {
  std::shared_ptr<Special> special;
  {
    MutexLock lock(mutex_);
    const auto found =
        std::ranges::find(specials_, &plans, [](const auto& each) -> const PlanSet* { return each.get(); });
    if (found == specials_.end()) return absl::OkStatus();  // nobody wants it any more
    special = *found;
  }
  if (team == Team::kWide) {
    const auto compiled = special->model();
    if (compiled == nullptr || special->measured) return absl::OkStatus();
    ASSIGN_OR_RETURN(const auto shapes, compiled->ShapesOf(special->key().shapes, {}));
    return compiled->MakePlans(*shapes->plans, rows, team);
  }
  MutexLock making(making_);
  if (special->model() != nullptr) return absl::OkStatus();
  ASSIGN_OR_RETURN(std::shared_ptr<const Model> model, Compile(special->Uncompiled()));
  special->Set(std::move(model));
  MutexLock lock(mutex_);
  MakeRoom();
  return absl::OkStatus();
}

void SpecializedModel::MakeRoom() const {
  int64_t bytes = 0;
  for (auto special = specials_.begin(); special != specials_.end();) {
    const auto model = (*special)->model();
    if (model != nullptr) bytes += model->plan_cache_stats().bytes;
    const bool leaves = bytes > spec_.plan_bytes && special != specials_.begin() && special->use_count() == 1;
    if (leaves) ++evictions_;
    special = leaves ? specials_.erase(special) : std::next(special);
  }
}

Model::PlanCacheStats SpecializedModel::plan_cache_stats() const {
  MutexLock lock(mutex_);
  PlanCacheStats stats{.sets = static_cast<int64_t>(specials_.size()), .evictions = evictions_};
  for (const auto& special : specials_)
    if (const auto model = special->model()) stats.bytes += model->plan_cache_stats().bytes;
  return stats;
}

absl::StatusOr<RunTimes> SpecializedModel::Run(RunContext& context, std::span<const Rows> requests) const {
  RunTimes times;
  if (requests.empty()) return times;
  const auto& special = static_cast<const Special&>(*requests.front().shapes->plans);
  const auto model = special.model();
  Rows own = requests.front();
  own.shapes = nullptr;
  return model->Run(context, {&own, 1});
}

absl::StatusOr<std::shared_ptr<const Model>> SpecializedModel::CompiledOf(const RowShapes* shapes) const {
  const auto model = shapes == nullptr ? nullptr : static_cast<const Special&>(*shapes->plans).model();
  if (model != nullptr) return model;
  return absl::NotFoundError("no plan is made for these shapes and values, expected one");
}

absl::StatusOr<std::string> SpecializedModel::PlanText(const RowShapes* shapes, int64_t rows) const {
  ASSIGN_OR_RETURN(const auto model, CompiledOf(shapes));
  return model->PlanText(nullptr, rows);
}

absl::StatusOr<std::vector<StepFacts>> SpecializedModel::Steps(const RowShapes* shapes, int64_t rows) const {
  ASSIGN_OR_RETURN(const auto model, CompiledOf(shapes));
  return model->Steps(nullptr, rows);
}

absl::StatusOr<std::vector<StepProfile>> SpecializedModel::Profile(RunContext& context,
                                                                   const RowShapes* shapes, int64_t rows,
                                                                   int runs) const {
  ASSIGN_OR_RETURN(const auto model, CompiledOf(shapes));
  return model->Profile(context, nullptr, rows, runs);
}

}  // namespace hachi
