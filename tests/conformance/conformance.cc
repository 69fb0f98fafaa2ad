// Runs the public ONNX backend cases through the engine's door:
//
//   conformance [--exceptions FILE] [--only SUBSTRING] FOLDER...
//
// A folder holds cases: <case>/model.onnx and <case>/test_data_set_*/{input,output}_<i>.pb. Each case in
// scope is loaded, run, and compared with its own outputs at the suite's tolerances. Prints a line for each
// that does not pass and a table; fails unless at least 95 % pass and the rest are those of the exceptions
// file, which says why
// ("test_name reason" a line, '#' starts a comment).
#include <onnx/onnx_pb.h>

#include <algorithm>
#include <array>
#include <bit>
#include <cmath>
#include <cstdio>
#include <filesystem>
#include <fstream>
#include <map>
#include <set>
#include <sstream>
#include <string>
#include <vector>

#include "absl/strings/match.h"
#include "absl/strings/str_cat.h"
#include "engine/base/status_macros.h"
#include "engine/engine.h"
#include "engine/onnx/import.h"

namespace hachi {
namespace {

namespace fs = std::filesystem;

// What the server does not set out to run. Everything of it is refused at load.
constexpr std::string_view kOutOfScopeOps[] = {"Loop",
                                               "Scan",
                                               "SequenceMap",
                                               "SplitToSequence",
                                               "ConcatFromSequence",
                                               "SequenceAt",
                                               "SequenceConstruct",
                                               "SequenceEmpty",
                                               "SequenceErase",
                                               "SequenceInsert",
                                               "SequenceLength",
                                               "Optional",
                                               "OptionalGetElement",
                                               "OptionalHasElement",
                                               "Bernoulli",
                                               "Multinomial",
                                               "RandomNormal",
                                               "RandomNormalLike",
                                               "RandomUniform",
                                               "RandomUniformLike",
                                               "DFT",
                                               "STFT",
                                               "MelWeightMatrix",
                                               "HannWindow",
                                               "HammingWindow",
                                               "BlackmanWindow",
                                               "StringNormalizer",
                                               "TfIdfVectorizer",
                                               "ATen"};

bool IsNumeric(const onnx::ValueInfoProto& info) {
  return info.type().has_tensor_type() && info.type().tensor_type().elem_type() != onnx::TensorProto::STRING;
}

// Whether some node computes what only training asks for.
bool Trains(const onnx::NodeProto& node) {
  for (const auto& attribute : node.attribute())
    if (attribute.name() == "training_mode" && attribute.i() != 0) return true;
  return node.op_type() == "Dropout" && node.input_size() > 2 && !node.input(2).empty();
}

// Why a case is out of scope; empty: it is in scope.
std::string OutOfScope(const onnx::ModelProto& model) {
  for (const auto& import : model.opset_import())
    if (!import.domain().empty() && import.domain() != "ai.onnx")
      return absl::StrCat("domain ", import.domain());
  for (const auto& info : model.graph().input())
    if (!IsNumeric(info)) return "input is no tensor of numbers";
  for (const auto& info : model.graph().output())
    if (!IsNumeric(info)) return "output is no tensor of numbers";
  for (const auto& node : model.graph().node()) {
    if (std::ranges::find(kOutOfScopeOps, node.op_type()) != std::end(kOutOfScopeOps))
      return absl::StrCat("operator ", node.op_type());
    if (node.op_type() == "If" && std::ranges::any_of(model.graph().input(), [&](const auto& input) {
          return input.name() == node.input(0);
        }))
      return "control flow on a computed condition";
    if (Trains(node)) return "training";
  }
  return "";
}

// Element `i` as a number.
double At(const TensorView& view, int64_t i) {
  double value = 0;
  if (VisitDType(view.dtype, [&](auto zero) {
        value = static_cast<double>(view.As<decltype(zero)>()[static_cast<size_t>(i)]);
      }))
    return value;
  uint16_t bits;
  std::memcpy(&bits, view.bytes + 2 * i, 2);
  if (view.dtype == DType::kBF16) return std::bit_cast<float>(uint32_t{bits} << 16);
  const int exponent = bits >> 10 & 31, mantissa = bits & 1023;
  const double sign = bits >> 15 != 0 ? -1 : 1;
  if (exponent == 31) return mantissa != 0 ? NAN : sign * INFINITY;
  return sign * (exponent == 0 ? std::ldexp(mantissa, -24) : std::ldexp(1024 + mantissa, exponent - 25));
}

// The suite's measure: |found - expected| <= 1e-7 + 1e-3 |expected|; equal bits of integers.
absl::Status Compare(const std::string& name, const TensorView& found, const TensorView& expected) {
  if (found.dtype != expected.dtype)
    return absl::InternalError(absl::StrCat(name, ": type is ", std::string(NameOf(found.dtype)),
                                            ", expected ", std::string(NameOf(expected.dtype))));
  if (!std::ranges::equal(found.shape, expected.shape))
    return absl::InternalError(
        absl::StrCat(name, ": shape is ", ShapeText(Shape(found.shape.begin(), found.shape.end())),
                     ", expected ", ShapeText(Shape(expected.shape.begin(), expected.shape.end()))));
  for (int64_t i = 0; i < found.count(); ++i) {
    const double x = At(found, i), y = At(expected, i);
    if (x == y || (std::isnan(x) && std::isnan(y)) || std::abs(x - y) <= 1e-7 + 1e-3 * std::abs(y)) continue;
    return absl::InternalError(absl::StrCat(name, ": element ", i, " is ", x, ", expected ", y));
  }
  return absl::OkStatus();
}

absl::StatusOr<std::vector<Tensor>> ReadTensors(const fs::path& folder, std::string_view kind) {
  std::vector<Tensor> tensors;
  for (size_t i = 0;; ++i) {
    const fs::path file = folder / absl::StrCat(std::string(kind), "_", i, ".pb");
    if (!fs::exists(file)) return tensors;
    ASSIGN_OR_RETURN(tensors.emplace_back(), ReadTensorProtoFile(file));
  }
}

// The suite's data hold bf16 as the integers of their bits.
bool IsStoredBf16(const Tensor& data, const TensorSignature& signature) {
  return data.dtype() == DType::kU16 && signature.dtype == DType::kBF16;
}

// One request with all of a data set's rows, compared with its outputs.
absl::Status RunDataSet(const Model& model, const fs::path& folder) {
  ASSIGN_OR_RETURN(const auto inputs, ReadTensors(folder, "input"));
  ASSIGN_OR_RETURN(const auto expected, ReadTensors(folder, "output"));
  const Signature& signature = model.signature();
  if (inputs.size() != signature.inputs.size() || expected.size() != signature.outputs.size())
    return absl::InternalError(absl::StrCat(signature.inputs.size(), " inputs and ", signature.outputs.size(),
                                            " outputs, expected ", inputs.size(), " and ", expected.size()));
  int64_t rows = 1;
  std::vector<Shape> shapes;
  Rows request;
  for (size_t i = 0; i < inputs.size(); ++i) {
    if (inputs[i].dtype() != signature.inputs[i].dtype && !IsStoredBf16(inputs[i], signature.inputs[i]))
      return absl::InternalError(absl::StrCat("type of input '", signature.inputs[i].name, "' differs"));
    Shape shape = inputs[i].shape();
    if (signature.batched) {
      rows = shape.at(0);
      shape.erase(shape.begin());
    }
    shapes.push_back(shape);
    request.inputs.push_back({inputs[i].bytes()});
  }
  ASSIGN_OR_RETURN(request.shapes, model.ShapesOf(shapes, request.inputs));
  if (request.shapes->plans->largest_rows() == 0)
    RETURN_IF_ERROR(model.MakePlans(*request.shapes->plans, rows));
  request.count = rows;
  std::vector<Tensor> outputs;
  for (size_t i = 0; i < expected.size(); ++i) {
    Shape shape = request.shapes->outputs[i];
    if (signature.batched) shape.insert(shape.begin(), rows);
    outputs.emplace_back(signature.outputs[i].dtype, shape);
  }
  for (Tensor& output : outputs) request.outputs.push_back(output.bytes());
  std::vector<MeasuredOutput> measured;
  request.measured = &measured;
  const auto context = NewRunContext();
  RETURN_IF_ERROR(model.Run(*context, {&request, 1}).status());
  for (size_t i = 0; i < expected.size(); ++i) {
    TensorView view = expected[i].view();
    if (IsStoredBf16(expected[i], signature.outputs[i])) view.dtype = DType::kBF16;
    const TensorView found = request.shapes->measured
                                 ? TensorView{outputs[i].dtype(), measured[i].shape, measured[i].bytes.data()}
                                 : outputs[i].view();
    RETURN_IF_ERROR(Compare(signature.outputs[i].name, found, view));
  }
  return absl::OkStatus();
}

absl::Status RunCase(const fs::path& folder) {
  LoadOptions options{.name = folder.filename().string(), .model = folder / "model.onnx"};
  options.max_batch_rows = 64;
  ASSIGN_OR_RETURN(const auto model, LoadModel(options));
  for (const auto& entry : fs::directory_iterator(folder))
    if (entry.is_directory())
      RETURN_IF_ERROR(WithContext(RunDataSet(*model, entry.path()), entry.path().filename().string()));
  return absl::OkStatus();
}

std::map<std::string, std::string> ReadExceptions(const fs::path& file) {
  std::map<std::string, std::string> exceptions;
  std::ifstream stream(file);
  for (std::string line; std::getline(stream, line);) {
    if (line.empty() || line[0] == '#') continue;
    const size_t space = line.find(' ');
    exceptions[line.substr(0, space)] = space == std::string::npos ? "" : line.substr(space + 1);
  }
  return exceptions;
}

struct Count {
  int cases = 0, in_scope = 0, passed = 0;
};

int Main(const std::vector<std::string>& arguments) {
  std::map<std::string, std::string> exceptions;
  std::vector<fs::path> folders;
  std::string only;
  for (size_t i = 0; i < arguments.size(); ++i) {
    if (arguments[i] == "--exceptions")
      exceptions = ReadExceptions(arguments.at(++i));
    else if (arguments[i] == "--only")
      only = arguments.at(++i);
    else
      folders.emplace_back(arguments[i]);
  }
  std::map<std::string, Count> counts;
  std::map<std::string, int> out_of_scope;
  Count all;
  bool as_listed = true;
  std::set<std::string> failed;
  for (const fs::path& folder : folders) {
    std::set<fs::path> cases;
    for (const auto& entry : fs::directory_iterator(folder))
      if (fs::exists(entry.path() / "model.onnx") &&
          absl::StrContains(entry.path().filename().string(), only))
        cases.insert(entry.path());
    Count& count = counts[folder.filename().string()];
    for (const fs::path& path : cases) {
      ++count.cases;
      onnx::ModelProto model;
      std::ifstream stream(path / "model.onnx");
      if (!model.ParseFromIstream(&stream)) continue;
      if (const std::string why = OutOfScope(model); !why.empty()) {
        ++out_of_scope[why];
        continue;
      }
      ++count.in_scope;
      const absl::Status status = RunCase(path);
      if (status.ok()) {
        ++count.passed;
        continue;
      }
      const std::string name = path.filename().string();
      failed.insert(name);
      std::printf("%s %s: %s\n", exceptions.contains(name) ? "listed" : "FAILED", name.c_str(),
                  std::string(status.message()).c_str());
      as_listed = as_listed && exceptions.contains(name);
    }
    all.cases += count.cases;
    all.in_scope += count.in_scope;
    all.passed += count.passed;
  }
  for (const auto& [name, reason] : exceptions) {
    if (failed.contains(name) || !only.empty()) continue;
    std::printf("PASSED %s, expected a failure: %s\n", name.c_str(), reason.c_str());
    as_listed = false;
  }
  std::printf("\nout of scope:\n");
  for (const auto& [why, cases] : out_of_scope) std::printf("  %4d  %s\n", cases, why.c_str());
  std::printf("\nnot passed, and why:\n");
  for (const auto& [name, reason] : exceptions) std::printf("  %s: %s\n", name.c_str(), reason.c_str());
  std::printf("\n%-20s %8s %9s %8s\n", "folder", "cases", "in scope", "passed");
  counts["all"] = all;
  for (const auto& [name, count] : counts)
    std::printf("%-20s %8d %9d %8d\n", name.c_str(), count.cases, count.in_scope, count.passed);
  const bool enough = all.passed * 100 >= all.in_scope * 95;
  if (!enough) std::printf("%d of %d passed, expected 95 %%\n", all.passed, all.in_scope);
  return enough && as_listed ? 0 : 1;
}

}  // namespace
}  // namespace hachi

int main(int argc, char** argv) { return hachi::Main({argv + 1, argv + argc}); }
