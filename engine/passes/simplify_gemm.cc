#include <memory>
#include <string>
#include <vector>

#include "absl/strings/str_cat.h"
#include "engine/base/status_macros.h"
#include "engine/passes/integers.h"
#include "engine/passes/match.h"
#include "engine/passes/passes.h"

namespace hachi {
namespace {

class Simplifier {
 public:
  Simplifier(Graph& graph, Node* gemm) : graph_(graph), gemm_(gemm) {}

  absl::Status Run() {
    ASSIGN_OR_RETURN(const float alpha, gemm_->Float("alpha", 1.0f));
    ASSIGN_OR_RETURN(const float beta, gemm_->Float("beta", 1.0f));
    RETURN_IF_ERROR(Scale(1, "alpha", alpha));
    if (gemm_->input(2) != nullptr) RETURN_IF_ERROR(Scale(2, "beta", beta));
    return gemm_->inputs[1]->is_constant() ? absl::OkStatus() : BecomeMatMul();
  }

 private:
  // Input `i` times the attribute, which goes.
  absl::Status Scale(size_t i, const std::string& attr, float factor) {
    gemm_->attrs.erase(attr);
    if (factor == 1.0f) return absl::OkStatus();
    Value* input = gemm_->inputs[i];
    const std::string name = graph_.UniqueValueName(absl::StrCat(input->name, "_", attr));
    if (input->is_constant()) {
      const double factors[] = {static_cast<double>(factor)};
      graph_.SetInput(gemm_, i, AddScaled(graph_, *input, name, factors, 0));
      return absl::OkStatus();
    }
    Value* number = graph_.AddConstant(graph_.UniqueValueName(absl::StrCat(name, "_factor")),
                                       std::make_shared<const Tensor>(Tensor::Of<float>({}, {factor})));
    ASSIGN_OR_RETURN(Value * scaled, InsertBefore(graph_, gemm_, "Mul", {input, number}));
    graph_.SetInput(gemm_, i, scaled);
    return absl::OkStatus();
  }

  absl::Status BecomeMatMul() {
    std::vector<Value*> operands;
    for (size_t i = 0; i < 2; ++i) {
      ASSIGN_OR_RETURN(const int64_t transposed, gemm_->Int(i == 0 ? "transA" : "transB", 0));
      operands.push_back(gemm_->inputs[i]);
      if (transposed == 0) continue;
      ASSIGN_OR_RETURN(operands.back(), InsertBefore(graph_, gemm_, "Transpose", {operands.back()},
                                                     {{"perm", std::vector<int64_t>{1, 0}}}));
    }
    ASSIGN_OR_RETURN(Value * product, InsertBefore(graph_, gemm_, "MatMul", operands));
    if (gemm_->input(2) != nullptr) {
      ASSIGN_OR_RETURN(product, InsertBefore(graph_, gemm_, "Add", {product, gemm_->inputs[2]}));
    }
    graph_.ReplaceUses(gemm_->output(), product);
    return absl::OkStatus();
  }

  Graph& graph_;
  Node* const gemm_;
};

}  // namespace

absl::Status SimplifyGemm(Graph& graph, const PassOptions& /*options*/) {
  for (Node* node : graph.NodeList())
    if (node->op == "Gemm" && node->inputs[1]->dtype == DType::kF32)
      RETURN_IF_ERROR(Simplifier(graph, node).Run());
  return absl::OkStatus();
}

}  // namespace hachi
