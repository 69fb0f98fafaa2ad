// A model file, through import, passes and plans to a first run. Most changes are made to the message: a
// number becomes another one that is often wrong, an operator another, an input another value.
#include <onnx/onnx_pb.h>

#include <algorithm>
#include <cstring>
#include <iterator>
#include <limits>
#include <random>
#include <string>
#include <vector>

#include "engine/cpu/budget.h"
#include "engine/engine.h"
#include "engine/ops/op.h"
#include "tests/fuzz/input_file.h"

extern "C" __attribute__((weak)) size_t LLVMFuzzerMutate(uint8_t* data, size_t size, size_t max_size);

namespace {

// A model may ask for all the memory that there is; fuzzing has no time for that.
[[maybe_unused]] const bool limited = [] {
  hachi::SetMemoryBudget(4 << 20);
  return true;
}();

class Mutator {
 public:
  explicit Mutator(unsigned seed) : random_(seed) {}

  void Change(onnx::ModelProto& model) {
    onnx::GraphProto& graph = *model.mutable_graph();
    switch (Below(6)) {
      case 0:
        return ChangeInput(graph);
      case 1:
        return ChangeInitializer(graph);
      case 2:
        if (model.opset_import_size() > 0)
          model.mutable_opset_import(0)->set_version(1 + static_cast<int64_t>(Below(23)));
        return;
      default:
        if (graph.node_size() > 0)
          ChangeNode(graph,
                     *graph.mutable_node(static_cast<int>(Below(static_cast<size_t>(graph.node_size())))));
    }
  }

 private:
  size_t Below(size_t n) { return random_() % n; }

  int64_t Number() {
    constexpr int64_t kMost = std::numeric_limits<int64_t>::max();
    constexpr int64_t kNumbers[] = {0,
                                    1,
                                    2,
                                    3,
                                    4,
                                    5,
                                    7,
                                    8,
                                    16,
                                    63,
                                    64,
                                    65,
                                    255,
                                    1 << 12,
                                    1 << 16,
                                    1 << 20,
                                    1 << 24,
                                    1 << 30,
                                    (int64_t{1} << 31) - 1,
                                    int64_t{1} << 31,
                                    int64_t{1} << 40,
                                    int64_t{1} << 62,
                                    kMost - 1,
                                    kMost};
    const int64_t number = kNumbers[Below(std::size(kNumbers))];
    return Below(4) == 0 ? -number - static_cast<int64_t>(Below(2)) : number;
  }

  float Real() {
    constexpr float kInfinity = std::numeric_limits<float>::infinity();
    constexpr float kNumbers[] = {0,     1,         0.5f,   2,
                                  1.5f,  1e-7f,     1e-30f, 1e7f,
                                  1e30f, kInfinity, 1e-40f, std::numeric_limits<float>::quiet_NaN()};
    const float number = kNumbers[Below(std::size(kNumbers))];
    return Below(4) == 0 ? -number : number;
  }

  void ChangeInput(onnx::GraphProto& graph) {
    if (graph.input_size() == 0) return;
    auto& type = *graph.mutable_input(static_cast<int>(Below(static_cast<size_t>(graph.input_size()))))
                      ->mutable_type()
                      ->mutable_tensor_type();
    auto& shape = *type.mutable_shape();
    if (Below(6) == 0) {
      type.set_elem_type(static_cast<int>(1 + Below(13)));
    } else if (Below(4) == 0 || shape.dim_size() == 0) {
      shape.add_dim()->set_dim_value(Number());
    } else if (Below(6) == 0) {
      shape.mutable_dim()->RemoveLast();
    } else {
      auto& dim = *shape.mutable_dim(static_cast<int>(Below(static_cast<size_t>(shape.dim_size()))));
      if (Below(4) == 0)
        dim.set_dim_param(std::string(1, static_cast<char>('A' + Below(4))));
      else
        dim.set_dim_value(Number());
    }
  }

  void ChangeInitializer(onnx::GraphProto& graph) {
    if (graph.initializer_size() == 0) return;
    auto& tensor =
        *graph.mutable_initializer(static_cast<int>(Below(static_cast<size_t>(graph.initializer_size()))));
    std::string& raw = *tensor.mutable_raw_data();
    if (tensor.data_type() == onnx::TensorProto::INT64 && raw.size() >= 8) {
      const int64_t number = Number();
      std::memcpy(raw.data() + Below(raw.size() / 8) * 8, &number, 8);
    } else if (tensor.data_type() == onnx::TensorProto::FLOAT && raw.size() >= 4) {
      const float number = Real();
      std::memcpy(raw.data() + Below(raw.size() / 4) * 4, &number, 4);
    } else if (!raw.empty()) {
      raw[Below(raw.size())] = static_cast<char>(random_());
    }
    if (tensor.dims_size() == 1 && Below(6) == 0) {  // one element more or less
      const size_t element =
          raw.size() / std::max<size_t>(static_cast<size_t>(std::max<int64_t>(tensor.dims(0), 1)), 1);
      const int64_t count = std::clamp<int64_t>(tensor.dims(0) + (Below(2) == 0 ? 1 : -1), 0, 64);
      tensor.set_dims(0, count);
      raw.resize(element * static_cast<size_t>(count));
    }
  }

  void ChangeNode(onnx::GraphProto& graph, onnx::NodeProto& node) {
    const size_t inputs = static_cast<size_t>(node.input_size()),
                 attributes = static_cast<size_t>(node.attribute_size());
    switch (Below(6)) {
      case 0: {
        const auto ops = hachi::AllOps();
        node.set_op_type(std::string(ops[Below(ops.size())]->name));
        return;
      }
      case 1:
        if (inputs > 0) node.set_input(static_cast<int>(Below(inputs)), AnyName(graph));
        return;
      case 2:
        node.add_input(AnyName(graph));
        return;
      case 3:
        if (attributes > 0)
          node.mutable_attribute()->SwapElements(static_cast<int>(Below(attributes)),
                                                 static_cast<int>(attributes) - 1);
        if (attributes > 0 && Below(3) == 0) node.mutable_attribute()->RemoveLast();
        return;
      default:
        if (attributes > 0) ChangeAttribute(*node.mutable_attribute(static_cast<int>(Below(attributes))));
    }
  }

  void ChangeAttribute(onnx::AttributeProto& attribute) {
    if (attribute.type() == onnx::AttributeProto::INT) attribute.set_i(Number());
    if (attribute.type() == onnx::AttributeProto::FLOAT) attribute.set_f(Real());
    if (attribute.type() == onnx::AttributeProto::INTS) {
      if (attribute.ints_size() == 0 || Below(6) == 0) attribute.add_ints(Number());
      attribute.set_ints(static_cast<int>(Below(static_cast<size_t>(attribute.ints_size()))), Number());
    }
  }

  std::string AnyName(const onnx::GraphProto& graph) {
    std::vector<std::string> names = {""};
    for (const auto& input : graph.input()) names.push_back(input.name());
    for (const auto& tensor : graph.initializer()) names.push_back(tensor.name());
    for (const auto& node : graph.node())
      names.insert(names.end(), node.output().begin(), node.output().end());
    return names[Below(names.size())];
  }

  std::minstd_rand random_;
};

}  // namespace

extern "C" size_t LLVMFuzzerCustomMutator(uint8_t* data, size_t size, size_t max_size, unsigned seed) {
  onnx::ModelProto model;
  const bool parsed = model.ParseFromArray(data, static_cast<int>(size));
  if ((!parsed || seed % 16 == 0) && LLVMFuzzerMutate != nullptr)
    return LLVMFuzzerMutate(data, size, max_size);
  if (!parsed) return size;
  Mutator mutator(seed);
  for (unsigned changes = 1 + seed % 3; changes > 0; --changes) mutator.Change(model);
  const std::string bytes = model.SerializeAsString();
  if (bytes.size() > max_size) return size;
  std::copy(bytes.begin(), bytes.end(), data);
  return bytes.size();
}

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  const hachi::InputFile file(data, size);
  (void)hachi::LoadModel({.name = "fuzz", .model = file.path(), .plan_bytes = 64 << 20});
  return 0;
}
