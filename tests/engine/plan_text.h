#pragma once

#include <gtest/gtest.h>

#include <set>
#include <string>
#include <vector>

#include "absl/strings/str_split.h"
#include "engine/cpu/isa.h"

namespace hachi {

// Names of the f32 tensors of one part of a plan's line: "in a:u8[...] ...; b:f32[...];".
inline std::set<std::string> Fp32Tensors(const std::string& part) {
  std::set<std::string> names;
  const std::vector<std::string> tensors = absl::StrSplit(part, ';');
  for (const std::string& tensor : tensors) {
    const size_t type = tensor.find(":f32");
    if (type != std::string::npos)
      names.insert(tensor.substr(tensor.rfind(' ', type) + 1, type - tensor.rfind(' ', type) - 1));
  }
  return names;
}

// Holds a plan's text to what is promised of INT8: no tensor is stored as FP32 between two INT8 steps, and on
// a CPU with VNNI every INT8 product runs on a VNNI kernel. Returns how many INT8 products there are.
inline int CheckInt8Plan(const std::string& text) {
  std::set<std::string> written, read;
  int products = 0;
  const std::vector<std::string> lines = absl::StrSplit(text, '\n');
  for (const std::string& line : lines) {
    const std::vector<std::string> parts = absl::StrSplit(line, " | ");
    if (parts.size() != 4 || !parts[1].starts_with("int8 ")) continue;
    read.merge(Fp32Tensors(parts[2]));
    written.merge(Fp32Tensors(parts[3]));
    if (parts[1].find(" macs=0 ") != std::string::npos) continue;
    ++products;
    EXPECT_TRUE(!HasVnni(DetectIsa()) || parts[1].find("vnni") != std::string::npos) << line;
  }
  for (const std::string& name : written) {
    EXPECT_FALSE(read.contains(name)) << name << " is FP32 between INT8 steps";
  }
  return products;
}

}  // namespace hachi
