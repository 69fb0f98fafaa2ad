#pragma once

#include <algorithm>
#include <cstddef>
#include <initializer_list>
#include <memory>
#include <span>

#include "engine/tensor/dtype.h"
#include "engine/tensor/shape.h"

namespace hachi {

// Bytes aligned to 64 (a cache line, a ZMM register). Zero-filled. Move-only.
class AlignedBuffer {
 public:
  AlignedBuffer() = default;
  explicit AlignedBuffer(size_t bytes);

  std::byte* data() const { return data_.get(); }
  size_t size() const { return data_.get_deleter().size; }

 private:
  struct Free {
    void operator()(std::byte* p) const;
    size_t size;
  };
  std::unique_ptr<std::byte, Free> data_;  // what frees it knows its size
};

// A dense row-major view of someone else's elements.
struct TensorView {
  DType dtype = DType::kF32;
  std::span<const int64_t> shape;
  const std::byte* bytes = nullptr;

  int64_t count() const { return CountOf(shape); }

  // REQUIRES: dtype is that of T.
  template <typename T>
  std::span<const T> As() const {
    return {reinterpret_cast<const T*>(bytes), static_cast<size_t>(count())};
  }
};

// A dense row-major tensor that owns its elements. Move-only; shared ones are std::shared_ptr<const Tensor>.
//
// Thread-compatible.
class Tensor {
 public:
  Tensor() : Tensor(DType::kF32, Shape{0}) {}

  // Elements are zero. REQUIRES: no negative dimension.
  Tensor(DType dtype, Shape shape)
      : dtype_(dtype),
        shape_(std::move(shape)),
        buffer_(static_cast<size_t>(CountOf(shape_)) * SizeOf(dtype)) {}

  template <typename T>
  static Tensor Of(Shape shape, std::span<const T> values) {
    Tensor tensor(kDTypeOf<T>, std::move(shape));
    std::copy(values.begin(), values.end(), tensor.As<T>().begin());
    return tensor;
  }
  template <typename T>
  static Tensor Of(Shape shape, std::initializer_list<T> values) {
    return Of<T>(std::move(shape), std::span<const T>(values.begin(), values.size()));
  }

  DType dtype() const { return dtype_; }
  const Shape& shape() const { return shape_; }
  int64_t count() const { return CountOf(shape_); }
  std::span<std::byte> bytes() { return {buffer_.data(), buffer_.size()}; }
  std::span<const std::byte> bytes() const { return {buffer_.data(), buffer_.size()}; }
  TensorView view() const { return {dtype_, shape_, buffer_.data()}; }

  // REQUIRES: dtype() is that of T.
  template <typename T>
  std::span<T> As() {
    return {reinterpret_cast<T*>(buffer_.data()), static_cast<size_t>(count())};
  }
  template <typename T>
  std::span<const T> As() const {
    return {reinterpret_cast<const T*>(buffer_.data()), static_cast<size_t>(count())};
  }

 private:
  DType dtype_;
  Shape shape_;
  AlignedBuffer buffer_;
};

// Calls `fn` with a value of the C++ type that `dtype` names: VisitDType(d, [&](auto zero) { using T =
// decltype(zero); }). f16 and bf16 have no C++ type here: for them it returns false without a call.
template <typename Fn>
bool VisitDType(DType dtype, Fn&& fn) {
  switch (dtype) {
    case DType::kF32:
      fn(float{});
      return true;
    case DType::kF64:
      fn(double{});
      return true;
    case DType::kU8:
      fn(uint8_t{});
      return true;
    case DType::kU16:
      fn(uint16_t{});
      return true;
    case DType::kU32:
      fn(uint32_t{});
      return true;
    case DType::kU64:
      fn(uint64_t{});
      return true;
    case DType::kS8:
      fn(int8_t{});
      return true;
    case DType::kS16:
      fn(int16_t{});
      return true;
    case DType::kS32:
      fn(int32_t{});
      return true;
    case DType::kS64:
      fn(int64_t{});
      return true;
    case DType::kBool:
      fn(bool{});
      return true;
    case DType::kF16:
    case DType::kBF16:
      return false;
  }
  return false;
}

}  // namespace hachi
