#include "engine/ops/window.h"

#include <algorithm>

#include "absl/strings/str_cat.h"
#include "engine/base/status_macros.h"

namespace hachi {
namespace {

// Larger values have no use and would let products overflow.
constexpr int64_t kLargest = 1 << 20;

absl::Status CheckList(std::string_view name, std::span<const int64_t> values, size_t count,
                       int64_t smallest) {
  if (values.size() != count)
    return absl::InvalidArgumentError(absl::StrCat("attribute '", std::string(name), "' has ", values.size(),
                                                   " entries, expected ", count));
  for (const int64_t value : values)
    if (value < smallest || value > kLargest)
      return absl::InvalidArgumentError(absl::StrCat("attribute '", std::string(name), "' has ", value,
                                                     ", expected ", smallest, " to ", kLargest));
  return absl::OkStatus();
}

}  // namespace

absl::StatusOr<Window> Window::Read(const Node& node, size_t spatial_axes, AxisNumbers kernel) {
  Window window;
  ASSIGN_OR_RETURN(window.kernel, node.Ints("kernel_shape", std::move(kernel)));
  ASSIGN_OR_RETURN(window.strides, node.Ints("strides", AxisNumbers(spatial_axes, 1)));
  ASSIGN_OR_RETURN(window.dilations, node.Ints("dilations", AxisNumbers(spatial_axes, 1)));
  ASSIGN_OR_RETURN(const AxisNumbers pads, node.Ints("pads", AxisNumbers(2 * spatial_axes, 0)));
  ASSIGN_OR_RETURN(const int64_t ceil_mode, node.Int("ceil_mode", 0));
  ASSIGN_OR_RETURN(window.auto_pad, node.String("auto_pad", "NOTSET"));
  RETURN_IF_ERROR(CheckList("kernel_shape", window.kernel, spatial_axes, 1));
  RETURN_IF_ERROR(CheckList("strides", window.strides, spatial_axes, 1));
  RETURN_IF_ERROR(CheckList("dilations", window.dilations, spatial_axes, 1));
  RETURN_IF_ERROR(CheckList("pads", pads, 2 * spatial_axes, 0));
  window.ceil_mode = ceil_mode != 0;
  const auto middle = pads.begin() + static_cast<std::ptrdiff_t>(spatial_axes);
  window.pads_begin.assign(pads.begin(), middle);
  window.pads_end.assign(middle, pads.end());
  if (window.auto_pad != "NOTSET" && window.auto_pad != "VALID" && window.auto_pad != "SAME_UPPER" &&
      window.auto_pad != "SAME_LOWER")
    return absl::InvalidArgumentError(absl::StrCat("attribute 'auto_pad' is '", window.auto_pad,
                                                   "', expected NOTSET, VALID, SAME_UPPER or SAME_LOWER"));
  if (window.auto_pad != "NOTSET") {
    window.pads_begin.assign(spatial_axes, 0);
    window.pads_end.assign(spatial_axes, 0);
  }
  return window;
}

absl::StatusOr<SymbolicShape> Window::OutputDims(std::span<const Dim> spatial) const {
  SymbolicShape dims;
  for (size_t i = 0; i < spatial.size(); ++i) {
    if (auto_pad == "SAME_UPPER" || auto_pad == "SAME_LOWER") {
      dims.push_back(Dim::FloorDiv(spatial[i] + strides[i] - 1, strides[i]));
      continue;
    }
    const Dim room = spatial[i] + pads_begin[i] + pads_end[i] - Reach(i);
    if (const auto number = room.constant(); number && *number < 0)
      return absl::InvalidArgumentError(
          absl::StrCat("the window reaches over ", Reach(i), " of ", (room + Reach(i)).ToText(),
                       " padded elements of spatial axis ", i, ", expected it to fit"));
    Dim output = Dim::FloorDiv(room + (ceil_mode ? strides[i] - 1 : 0), strides[i]) + 1;
    // A window that starts in the end padding is dropped.
    if (ceil_mode)
      if (const auto out = output.constant(), in = spatial[i].constant();
          out && in && (*out - 1) * strides[i] >= *in + pads_begin[i])
        output = output - 1;
    dims.push_back(output);
  }
  return dims;
}

Window Window::For(std::span<const int64_t> input, std::span<const int64_t> output) const {
  Window window = *this;
  for (size_t i = 0; i < input.size(); ++i) {
    const int64_t needed = std::max<int64_t>((output[i] - 1) * strides[i] + Reach(i) - input[i], 0);
    if (auto_pad == "SAME_UPPER" || auto_pad == "SAME_LOWER") {
      window.pads_begin[i] = auto_pad == "SAME_UPPER" ? needed / 2 : needed - needed / 2;
      window.pads_end[i] = needed - window.pads_begin[i];
    } else if (ceil_mode) {
      window.pads_end[i] = std::max(window.pads_end[i], needed - window.pads_begin[i]);
    }
  }
  window.auto_pad = "NOTSET";
  return window;
}

}  // namespace hachi
