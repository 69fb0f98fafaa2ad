#pragma once

#include <cstddef>
#include <cstdint>
#include <memory>
#include <span>
#include <string>
#include <utility>
#include <vector>

#include "engine/engine.h"
#include "server/commands/rows.h"

namespace hachi::server {

// A request of made-up rows that stays the same from run to run, with memory for its answers.
//
// Confined to one thread.
class BenchRequest {
 public:
  BenchRequest(const Signature& signature, std::shared_ptr<const RowShapes> shapes, int64_t rows) {
    rows_.count = rows;
    for (size_t i = 0; i < signature.inputs.size(); ++i) {
      Shape shape = shapes->inputs[i];
      if (signature.batched) shape.insert(shape.begin(), rows);
      inputs_.push_back(TensorRows::Random({signature.inputs[i].name, signature.inputs[i].dtype, shape},
                                           signature.batched, rows)
                            .Bytes(0, rows));
    }
    for (const std::string& bytes : inputs_) rows_.inputs.push_back({std::as_bytes(std::span(bytes))});
    for (const size_t bytes : shapes->output_bytes) outputs_.emplace_back(bytes * static_cast<size_t>(rows));
    if (shapes->measured) rows_.measured = &measured_;
    rows_.shapes = std::move(shapes);
    for (std::vector<std::byte>& bytes : outputs_) rows_.outputs.emplace_back(bytes);
  }
  BenchRequest(const BenchRequest&) = delete;
  BenchRequest& operator=(const BenchRequest&) = delete;

  std::span<const Rows> rows() const { return {&rows_, 1}; }

 private:
  std::vector<std::string> inputs_;
  std::vector<std::vector<std::byte>> outputs_;
  std::vector<MeasuredOutput> measured_;
  Rows rows_;
};

}  // namespace hachi::server
