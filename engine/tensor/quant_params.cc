#include "engine/tensor/quant_params.h"

#include "absl/strings/str_cat.h"

namespace hachi {

std::string QuantParams::ToText() const {
  if (!per_tensor()) return absl::StrCat("axis=", axis, " scales=", scales.size());
  return absl::StrCat("scale=", scales[0], " zero_point=", zero_points[0]);
}

}  // namespace hachi
