#include "server/record/copied_row.h"

#include <algorithm>
#include <cstring>
#include <span>
#include <utility>

namespace hachi::server {
namespace {

// Copies bytes [begin, begin + to.size()) of what the chunks hold one after the other.
void CopyFrom(const InputChunks& chunks, size_t begin, std::span<std::byte> to) {
  for (const std::span<const std::byte> chunk : chunks) {
    if (begin >= chunk.size()) {
      begin -= chunk.size();
      continue;
    }
    const size_t bytes = std::min(chunk.size() - begin, to.size());
    std::memcpy(to.data(), chunk.data() + begin, bytes);
    to = to.subspan(bytes);
    if (to.empty()) return;
    begin = 0;
  }
}

Shape WithRow(const Signature& signature, std::vector<int64_t> shape) {
  if (signature.batched) shape.insert(shape.begin(), 1);
  return Shape(shape.begin(), shape.end());
}

}  // namespace

std::map<std::string, Tensor> CopyOfInputs(const Signature& signature, const Rows& request, int64_t row) {
  std::map<std::string, Tensor> inputs;
  for (size_t i = 0; i < request.inputs.size(); ++i) {
    const TensorSignature& input = signature.inputs[i];
    Tensor tensor(input.dtype,
                  WithRow(signature, request.shapes != nullptr ? request.shapes->inputs[i] : input.dims));
    const std::span<std::byte> bytes = tensor.bytes();
    CopyFrom(request.inputs[i], bytes.size() * static_cast<size_t>(row), bytes);
    inputs.emplace(input.name, std::move(tensor));
  }
  return inputs;
}

std::vector<Tensor> CopyOfOutputs(const Signature& signature, const Rows& request, int64_t row) {
  std::vector<Tensor> outputs;
  for (size_t i = 0; i < signature.outputs.size(); ++i) {
    const TensorSignature& output = signature.outputs[i];
    Tensor& tensor = outputs.emplace_back();
    if (request.outputs[i].empty()) continue;
    tensor = Tensor(output.dtype,
                    WithRow(signature, request.shapes != nullptr ? request.shapes->outputs[i] : output.dims));
    const size_t size = tensor.bytes().size();
    std::ranges::copy(request.outputs[i].subspan(size * static_cast<size_t>(row), size),
                      tensor.bytes().begin());
  }
  return outputs;
}

}  // namespace hachi::server
