// Einsum (ONNX opset 12), where decompose_einsum has not made a matrix product of it.
#include "engine/ops/einsum.h"

#include <algorithm>
#include <map>

#include "absl/strings/ascii.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_split.h"
#include "engine/base/status_macros.h"
#include "engine/ops/infer.h"
#include "engine/ops/op.h"

namespace hachi {
namespace {

constexpr size_t kMostBroadcast = 10;  // axes of an ellipsis, each a digit

// `term` with digits for its ellipsis, of an operand of that rank; the last axes of broadcasting have the
// last digits.
absl::StatusOr<std::string> WithoutEllipsis(std::string term, size_t rank, size_t broadcast) {
  const size_t dots = term.find("...");
  if (dots == std::string::npos) {
    if (term.size() != rank)
      return absl::InvalidArgumentError(
          absl::StrCat("'", term, "' names ", term.size(), " axes, expected ", rank));
    return term;
  }
  if (term.size() - 3 > rank)
    return absl::InvalidArgumentError(absl::StrCat("'", term, "' names more axes than ", rank));
  const size_t covered = rank - (term.size() - 3);
  std::string digits;
  for (size_t i = broadcast - covered; i < broadcast; ++i) digits += static_cast<char>('0' + i);
  return term.replace(dots, 3, digits);
}

absl::Status CheckTerm(std::string term) {
  if (const size_t dots = term.find("..."); dots != std::string::npos) term.erase(dots, 3);
  if (std::ranges::all_of(term, [](char c) { return absl::ascii_isalpha(static_cast<unsigned char>(c)); }))
    return absl::OkStatus();
  return absl::InvalidArgumentError(
      absl::StrCat("equation has '", term, "', expected letters and one ellipsis"));
}

}  // namespace

absl::StatusOr<Equation> EquationOf(const Node& node) {
  ASSIGN_OR_RETURN(std::string text, node.String("equation", ""));
  std::erase_if(text, [](char c) { return absl::ascii_isspace(static_cast<unsigned char>(c)); });
  const size_t arrow = text.find("->");
  std::vector<std::string> terms = absl::StrSplit(text.substr(0, arrow), ',');
  if (terms.size() != node.inputs.size())
    return absl::InvalidArgumentError(
        absl::StrCat("equation has ", terms.size(), " operands, expected ", node.inputs.size()));
  size_t broadcast = 0;
  for (size_t i = 0; i < terms.size(); ++i) {
    RETURN_IF_ERROR(CheckTerm(terms[i]));
    const size_t rank = node.inputs[i]->rank();
    if (terms[i].find("...") != std::string::npos && terms[i].size() - 3 <= rank)
      broadcast = std::max(broadcast, rank - (terms[i].size() - 3));
  }
  if (broadcast > kMostBroadcast)
    return absl::UnimplementedError(
        absl::StrCat("an ellipsis covers ", broadcast, " axes, expected at most 10"));
  std::string digits;
  for (size_t i = 0; i < broadcast; ++i) digits += static_cast<char>('0' + i);
  Equation equation;
  for (size_t i = 0; i < terms.size(); ++i) {
    ASSIGN_OR_RETURN(equation.inputs.emplace_back(),
                     WithoutEllipsis(terms[i], node.inputs[i]->rank(), broadcast));
  }
  if (arrow != std::string::npos) {
    equation.output = text.substr(arrow + 2);
    RETURN_IF_ERROR(CheckTerm(equation.output));
    if (const size_t dots = equation.output.find("..."); dots != std::string::npos)
      equation.output.replace(dots, 3, digits);
  } else {
    // Left out, it is what stands once, in the order of the alphabet.
    std::map<char, int> counts;
    for (const std::string& term : equation.inputs)
      for (const char c : term) ++counts[c];
    equation.output = digits;
    for (const auto& [c, count] : counts)
      if (count == 1 && !absl::ascii_isdigit(static_cast<unsigned char>(c))) equation.output += c;
  }
  for (const char c : equation.output)
    if (std::ranges::count(equation.output, c) > 1 ||
        std::ranges::none_of(equation.inputs,
                             [&](const std::string& term) { return term.find(c) != std::string::npos; }))
      return absl::InvalidArgumentError(
          absl::StrCat("the result '", equation.output, "' has an axis twice or one that no operand has"));
  return equation;
}

namespace {

// The size of each letter.
template <typename Shapes>
absl::StatusOr<std::map<char, Dim>> SizesOf(const Equation& equation, const Shapes& shape_of) {
  std::map<char, Dim> sizes;
  for (size_t i = 0; i < equation.inputs.size(); ++i) {
    const SymbolicShape& shape = shape_of(i);
    for (size_t axis = 0; axis < shape.size(); ++axis) {
      Dim& size = sizes.try_emplace(equation.inputs[i][axis], shape[axis]).first->second;
      if (size == Dim(1)) size = shape[axis];
      if (size != shape[axis] && shape[axis] != Dim(1))
        return absl::InvalidArgumentError(absl::StrCat("axis '", std::string(1, equation.inputs[i][axis]),
                                                       "' has ", size.ToText(), " and ", shape[axis].ToText(),
                                                       " elements, expected one size"));
    }
  }
  return sizes;
}

absl::Status Infer(Node& node) {
  RETURN_IF_ERROR(CheckInputCount(node, 1, node.inputs.size()));
  for (size_t i = 0; i < node.inputs.size(); ++i) {
    if (node.inputs[i] == nullptr)
      return absl::InvalidArgumentError(absl::StrCat("input ", i, " is left out"));
    RETURN_IF_ERROR(CheckInputType(node, i, {DType::kF32}));
  }
  ASSIGN_OR_RETURN(const Equation equation, EquationOf(node));
  const auto shape_of = [&](size_t i) -> const SymbolicShape& { return *node.inputs[i]->dims; };
  ASSIGN_OR_RETURN(const auto sizes, SizesOf(equation, shape_of));
  SymbolicShape dims;
  for (const char c : equation.output) dims.push_back(sizes.at(c));
  return SetOutput(node, DType::kF32, std::move(dims));
}

// For each element of the result the sum over all letters that it does not have.
absl::Status Reference(const Node& node, std::span<const TensorView> inputs, std::span<Tensor> outputs) {
  ASSIGN_OR_RETURN(const Equation equation, EquationOf(node));
  std::map<char, int64_t> sizes, index;
  std::string letters = equation.output;
  for (size_t i = 0; i < inputs.size(); ++i)
    for (size_t axis = 0; axis < inputs[i].shape.size(); ++axis) {
      const char c = equation.inputs[i][axis];
      int64_t& size = sizes.try_emplace(c, 1).first->second;
      size = std::max(size, inputs[i].shape[axis]);
      if (letters.find(c) == std::string::npos) letters += c;
    }
  int64_t terms = 1;
  for (const char c : letters.substr(equation.output.size())) terms *= sizes[c];
  for (int64_t o = 0; o < outputs[0].count(); ++o) {
    double sum = 0;
    for (int64_t t = 0; t < terms; ++t) {
      int64_t rest = o * terms + t;
      for (size_t k = letters.size(); k-- > 0; rest /= sizes[letters[k]])
        index[letters[k]] = rest % sizes[letters[k]];
      double product = 1;
      for (size_t i = 0; i < inputs.size(); ++i) {
        int64_t at = 0;
        for (size_t axis = 0; axis < inputs[i].shape.size(); ++axis) {
          const int64_t size = inputs[i].shape[axis];
          at = at * size + (size == 1 ? 0 : index[equation.inputs[i][axis]]);
        }
        product *= static_cast<double>(inputs[i].As<float>()[at]);
      }
      sum += product;
    }
    outputs[0].As<float>()[o] = static_cast<float>(sum);
  }
  return absl::OkStatus();
}

absl::StatusOr<RowAxis> Rows(const RowQuery& query) {
  ASSIGN_OR_RETURN(const Equation equation, EquationOf(query.node));
  std::vector<RowAxis> found;
  for (size_t i = 0; i < query.inputs.size(); ++i) {
    if (!query.inputs[i]) continue;
    const size_t axis = equation.output.find(equation.inputs[i][*query.inputs[i]]);
    if (axis == std::string::npos) return MixesRows(*query.inputs[i]);
    found.emplace_back(axis);
  }
  return OneRowAxis(found);
}

}  // namespace

std::span<const OpDef> einsum_ops() {
  static const OpDef defs[] = {{.name = "Einsum", .infer = Infer, .rows = Rows, .reference = Reference}};
  return defs;
}

}  // namespace hachi
