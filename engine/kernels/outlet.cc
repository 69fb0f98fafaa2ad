#include "engine/kernels/outlet.h"

#include <string>

#include "absl/strings/str_cat.h"
#include "engine/base/status_macros.h"
#include "engine/kernels/lut.h"

namespace hachi {

absl::StatusOr<Outlet> Outlet::Create(const OutletSpec& spec) {
  RowCopy::Conversion conversion;
  const auto contradiction = [&](const char* expected) {
    return absl::InvalidArgumentError(absl::StrCat("output is ", std::string(NameOf(spec.dtype)), " for ",
                                                   std::string(NameOf(spec.client_dtype)), ", expected ",
                                                   expected));
  };
  if (!spec.quant) {
    if (spec.dtype != spec.client_dtype) return contradiction("one type where nothing is quantized");
  } else {
    if (spec.client_dtype != DType::kF32) return contradiction("f32 for quantized values");
    if (!spec.quant->per_tensor())
      return absl::InvalidArgumentError("output is quantized per axis, expected per tensor");
    const auto real = [&](auto q) {
      return DequantizeValue(q, spec.quant->scale(), spec.quant->zero_point());
    };
    std::array<float, 256> table;
    if (spec.dtype == DType::kU8)
      table = TableOf<uint8_t, float>(real);
    else if (spec.dtype == DType::kS8)
      table = TableOf<int8_t, float>(real);
    else
      return contradiction("quantized values of u8 or s8");
    conversion.float_tables.assign(table.begin(), table.end());
  }
  ASSIGN_OR_RETURN(const int64_t row_elements, CheckedCount(spec.row_shape, SizeOf(spec.dtype)));
  ASSIGN_OR_RETURN(RowCopy copy, RowCopy::Create(spec.row_shape, spec.dtype, spec.layout, spec.client_dtype,
                                                 Layout(), std::move(conversion)));
  return Outlet(std::move(copy), static_cast<size_t>(row_elements) * SizeOf(spec.dtype));
}

}  // namespace hachi
