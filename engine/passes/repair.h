#pragma once

#include <map>
#include <optional>
#include <string>
#include <vector>

#include "absl/status/status.h"
#include "engine/decide/rules.h"
#include "engine/graph/graph.h"
#include "engine/passes/pass.h"
#include "engine/quant/repairs.h"

namespace hachi {

// Repairs what quantization will spoil (see engine/quant/repairs.h), where options.repairs say so.
//
// Confined to one thread. The graph, options, decisions and ranges outlive it.
class Repairer {
 public:
  // REQUIRES: there is a table.
  Repairer(Graph& graph, const PassOptions& options, const Decisions& decisions, ActivationRanges& ranges)
      : graph_(graph), options_(options), decisions_(decisions), ranges_(ranges) {}

  // Scales the channels of what INT8 nodes alone sum over: in what makes them where that can be, else by a
  // Mul. Before quantizers are placed.
  absl::Status Equalize();

  // Whether input `i` of an INT8 node is a residual that meets real numbers: those of the node's output,
  // which nobody reads as integers, and its own, which are there anyhow.
  bool StaysReal(const Node& node, size_t i) const;

  // What the integers of an INT8 node's weights add to it on the average, to be taken off its bias.
  struct BiasError {
    ProductWeights weights;
    ChannelMoments moments;
    double mse;  // of the input
    MeanError found;

    // Thread-compatible: of many nodes at once.
    void Find(const ConstantIntegers& integers) {
      found = FindMeanError(weights, integers.values.view(), integers.params.scales, moments, mse);
    }
  };

  // What is to be found of a node; nullopt: its bias is not corrected. `x` is the node's input before it was
  // quantized.
  absl::StatusOr<std::optional<BiasError>> BiasErrorOf(const Node& node, const Value& x, RangeMethod range);

  // Takes it off the bias where that is worth one.
  void CorrectBias(Node& node, const MeanError& error);

 private:
  // An input of INT8 nodes that may be scaled by channel.
  struct Candidate {
    Value* value;
    std::vector<Node*> readers;  // those in INT8
    size_t axis;                 // of channels
  };

  // A candidate that what is known suffices to equalize.
  struct Equalizable {
    Candidate candidate;
    bool maker_takes_factors;
    const TensorStats* stats;
    ActivationQuant whole;
    std::optional<Equalization> found;
  };

  bool IsInt8(const Node& node) const;

  // The table's statistics of a tensor of that rank; null: it has none, or of channels along another axis.
  const TensorStats* StatsOf(const std::string& name, size_t rank, size_t axis) const;

  bool Collect(Value& value, Candidate& candidate) const;
  absl::StatusOr<std::optional<Equalizable>> EqualizableOf(Candidate candidate);
  void Choose(Equalizable& equalizable) const;
  absl::Status Apply(Equalizable& equalizable);
  bool CanTakeFactors(const Candidate& candidate) const;
  void GiveFactors(Node& maker, const std::vector<float>& factors);
  absl::StatusOr<Value*> Multiply(const Candidate& candidate, const std::vector<float>& factors);
  void Report(const char* repair, const std::string& name, double gain);

  Graph& graph_;
  const PassOptions& options_;
  const Decisions& decisions_;
  ActivationRanges& ranges_;
  struct Scaled {
    std::string name;  // in the table
    std::vector<float> factors;
  };
  std::map<const Value*, Scaled> scaled_;
};

}  // namespace hachi
