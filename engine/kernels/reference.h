#pragma once

#include <cstddef>
#include <cstdint>
#include <span>

#include "engine/kernels/avgpool.h"
#include "engine/kernels/depthwise.h"
#include "engine/kernels/intake.h"
#include "engine/kernels/layer_norm.h"
#include "engine/kernels/outlet.h"
#include "engine/kernels/pointwise.h"
#include "engine/kernels/reduce.h"
#include "engine/kernels/select.h"
#include "engine/kernels/unary.h"
#include "engine/tensor/layout.h"
#include "engine/tensor/shape.h"

// The kernels' answers by plain loops over indices, one element at a time and one thread: what the fast forms
// are held to. They share no code with them.
namespace hachi::reference {

// `in` holds dense rows in one piece.
void Intake(const IntakeSpec& spec, const std::byte* in, int64_t rows, std::byte* out);
void Outlet(const OutletSpec& spec, const std::byte* in, int64_t rows, std::byte* out);
void Permute(const Shape& shape, const Layout& from, const Layout& to, size_t element_bytes,
             const std::byte* in, std::byte* out);
void Softmax(std::span<const float> in, int64_t row_length, std::span<float> out);
void GlobalAveragePool(const AvgPoolSpec& spec, int64_t rows, const std::byte* in, std::byte* out);
void ApplyUnary(UnaryFunction function, std::span<const float> in, std::span<float> out);
void HardSigmoid(std::span<const float> in, float alpha, float beta, std::span<float> out);
void Reduce(Reduction reduction, std::span<const float> in, int64_t length, int64_t inner,
            std::span<float> out);
void LayerNorm(const LayerNormSpec& spec, const std::byte* in, int64_t rows, std::byte* out);
void Select(const bool* condition, SelectSource a, SelectSource b, size_t count, uint32_t* out);

void Depthwise(const DepthwiseSpec& spec, const std::byte* in, int64_t images, std::byte* out);
void Pointwise(const PointwiseSpec& spec, const std::byte* in, int64_t pixels, const std::byte* residual,
               std::byte* out);

}  // namespace hachi::reference
