#pragma once

#include <string>
#include <vector>

namespace hachi {

// What a load made of a calibration table that another tool wrote. Such a table doesn't say which model it is
// for: names are all that ties the two.
struct TableReport {
  std::string tool;                    // "ONNX Runtime"; empty: there is no table, or it is our own
  std::vector<std::string> matched;    // the table's names that the model has
  std::vector<std::string> unmatched;  // and those that it has not
  std::vector<std::string> missing;    // computed f32 tensors that the table says nothing of: they stay FP32
};

}  // namespace hachi
