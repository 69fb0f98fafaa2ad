#pragma once

#include <cstddef>
#include <cstdint>
#include <span>

#include "engine/kernels/avgpool.h"
#include "engine/kernels/depthwise.h"
#include "engine/kernels/gather.h"
#include "engine/kernels/pointwise.h"
#include "engine/kernels/scatter.h"
#include "engine/tensor/layout.h"
#include "engine/tensor/shape.h"

// The kernels' answers by plain loops over indices, one element at a time and one thread: what the fast forms
// are held to. They share no code with them.
namespace hachi::reference {

// `in` holds dense rows in one piece.
void Gather(const GatherSpec& spec, const std::byte* in, int64_t rows, std::byte* out);
void Scatter(const ScatterSpec& spec, const std::byte* in, int64_t rows, std::byte* out);
void Permute(const Shape& shape, const Layout& from, const Layout& to, size_t element_bytes,
             const std::byte* in, std::byte* out);
void Softmax(std::span<const float> in, int64_t row_length, std::span<float> out);
void GlobalAveragePool(const AvgPoolSpec& spec, int64_t rows, const std::byte* in, std::byte* out);

void Depthwise(const DepthwiseSpec& spec, const std::byte* in, int64_t images, std::byte* out);
void Pointwise(const PointwiseSpec& spec, const std::byte* in, int64_t pixels, const std::byte* residual,
               std::byte* out);

}  // namespace hachi::reference
