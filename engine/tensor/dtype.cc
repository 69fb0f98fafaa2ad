#include "engine/tensor/dtype.h"

#include <array>

namespace hachi {
namespace {

struct Row {
  std::string_view name;
  size_t bytes;
};

// In the order of the enum.
constexpr std::array<Row, 13> kRows = {{{"f32", 4},
                                        {"f64", 8},
                                        {"f16", 2},
                                        {"bf16", 2},
                                        {"u8", 1},
                                        {"u16", 2},
                                        {"u32", 4},
                                        {"u64", 8},
                                        {"s8", 1},
                                        {"s16", 2},
                                        {"s32", 4},
                                        {"s64", 8},
                                        {"bool", 1}}};

}  // namespace

size_t SizeOf(DType dtype) { return kRows[static_cast<size_t>(dtype)].bytes; }

std::string_view NameOf(DType dtype) { return kRows[static_cast<size_t>(dtype)].name; }

std::optional<DType> ParseDType(std::string_view name) {
  for (size_t i = 0; i < kRows.size(); ++i)
    if (kRows[i].name == name) return static_cast<DType>(i);
  return std::nullopt;
}

}  // namespace hachi
