#pragma once

#include <cstdint>
#include <string_view>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "engine/tensor/tensor.h"

// The two formats of images, each decoded by the library that everybody decodes it with.
namespace hachi {

inline constexpr int64_t kMaxPixels = int64_t{1} << 26;  // a camera's largest picture

// INVALID_ARGUMENT where there are more pixels than that.
absl::Status CheckPixels(int64_t width, int64_t height);

// u8 [height, width, 1 or 3], without alpha. DATA_LOSS where the bytes are damaged.
absl::StatusOr<Tensor> ParsePng(std::string_view bytes);
absl::StatusOr<Tensor> ParseJpeg(std::string_view bytes);

}  // namespace hachi
