#include "engine/kernels/intake.h"

#include <algorithm>
#include <cmath>
#include <limits>
#include <string>
#include <utility>

#include "absl/strings/str_cat.h"
#include "engine/base/status_macros.h"
#include "engine/kernels/lut.h"

namespace hachi {
namespace {

bool IsByte(DType dtype) { return dtype == DType::kU8 || dtype == DType::kS8; }

absl::Status Check(const IntakeSpec& spec, size_t channels) {
  for (const auto& [name, list] : {std::pair{"mean", &spec.mean}, std::pair{"scale", &spec.scale}}) {
    if (list->size() > 1 && list->size() != channels)
      return absl::InvalidArgumentError(
          absl::StrCat(name, " has ", list->size(), " values, expected 1 or ", channels, " (channels)"));
    for (const float value : *list)
      if (!std::isfinite(value))
        return absl::InvalidArgumentError(absl::StrCat(name, " is ", value, ", expected a finite number"));
  }
  if (!spec.quant) return absl::OkStatus();
  if (!IsByte(spec.dtype))
    return absl::InvalidArgumentError(
        absl::StrCat("quantized to ", std::string(NameOf(spec.dtype)), ", expected u8 or s8"));
  if (!spec.quant->per_tensor())
    return absl::InvalidArgumentError("input is quantized per axis, expected per tensor");
  const float scale = spec.quant->scale();
  if (!(scale > 0) || !std::isfinite(scale))
    return absl::InvalidArgumentError(absl::StrCat("scale is ", scale, ", expected a positive number"));
  const int lowest = spec.dtype == DType::kU8 ? 0 : -128;
  const int zero_point = spec.quant->zero_point();
  if (zero_point < lowest || zero_point > lowest + 255)
    return absl::InvalidArgumentError(
        absl::StrCat("zero point is ", zero_point, ", expected ", lowest, " to ", lowest + 255));
  return absl::OkStatus();
}

template <typename Q>
uint8_t QuantizedBits(double real, const QuantParams& quant) {
  const double q = std::nearbyint(real / quant.scale()) + quant.zero_point();
  const double lowest = std::numeric_limits<Q>::lowest(), highest = std::numeric_limits<Q>::max();
  return static_cast<uint8_t>(static_cast<Q>(std::clamp(q, lowest, highest)));
}

// The tables of one channel after the other.
template <typename In>
void AddTables(const IntakeSpec& spec, double mean, double scale, RowCopy::Conversion& conversion) {
  const auto real = [=](In x) { return (static_cast<double>(x) - mean) * scale; };
  if (spec.dtype == DType::kF32) {
    const auto table = TableOf<In, float>([&](In x) { return static_cast<float>(real(x)); });
    conversion.float_tables.insert(conversion.float_tables.end(), table.begin(), table.end());
    return;
  }
  const auto table = TableOf<In, uint8_t>([&](In x) {
    return spec.dtype == DType::kU8 ? QuantizedBits<uint8_t>(real(x), *spec.quant)
                                    : QuantizedBits<int8_t>(real(x), *spec.quant);
  });
  conversion.byte_tables.insert(conversion.byte_tables.end(), table.begin(), table.end());
}

}  // namespace

absl::StatusOr<Intake> Intake::Create(const IntakeSpec& spec) {
  const size_t row_channels = spec.row_shape.empty() ? 1 : static_cast<size_t>(spec.row_shape[0]);
  RETURN_IF_ERROR(Check(spec, row_channels));
  RowCopy::Conversion conversion;
  const bool normalises = !spec.mean.empty() || !spec.scale.empty();
  if (normalises || spec.quant || spec.client_dtype != spec.dtype) {
    const bool reads = spec.client_dtype == DType::kF32 || IsByte(spec.client_dtype);
    const bool writes = spec.dtype == DType::kF32 || (IsByte(spec.dtype) && spec.quant);
    if (!reads || !writes)
      return absl::UnimplementedError(absl::StrCat("conversion from ", std::string(NameOf(spec.client_dtype)),
                                                   " to ", std::string(NameOf(spec.dtype)),
                                                   spec.quant ? " with" : " without", " quantization"));
    const size_t channels = std::max(spec.mean.size(), spec.scale.size());
    const auto at = [](const std::vector<float>& list, size_t c, float otherwise) {
      return list.empty() ? otherwise : list[list.size() == 1 ? 0 : c];
    };
    for (size_t c = 0; c < std::max<size_t>(channels, 1); ++c) {
      const float mean = at(spec.mean, c, 0.0f), scale = at(spec.scale, c, 1.0f);
      if (spec.client_dtype == DType::kU8) {
        AddTables<uint8_t>(spec, mean, scale, conversion);
      } else if (spec.client_dtype == DType::kS8) {
        AddTables<int8_t>(spec, mean, scale, conversion);
      } else if (normalises) {
        conversion.mean.push_back(mean);
        conversion.scale.push_back(scale);
      }
    }
    if (spec.client_dtype == DType::kF32) conversion.quant = spec.quant;
  }
  const Layout from = spec.client_channels_last ? Layout::ChannelsLast(spec.row_shape.size() + 1) : Layout();
  ASSIGN_OR_RETURN(RowCopy copy, RowCopy::Create(spec.row_shape, spec.client_dtype, from, spec.dtype,
                                                 spec.layout, std::move(conversion)));
  return Intake(std::move(copy));
}

}  // namespace hachi
