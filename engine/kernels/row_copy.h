#pragma once

#include <array>
#include <cstddef>
#include <cstdint>
#include <optional>
#include <span>
#include <vector>

#include "absl/status/statusor.h"
#include "engine/tensor/dtype.h"
#include "engine/tensor/layout.h"
#include "engine/tensor/quant_params.h"
#include "engine/tensor/shape.h"

namespace hachi {

// What Intake and Outlet have in common: rows go from one memory order to another and are converted on the
// way, in one pass, from memory that may be in pieces.
//
// Thread-safe: immutable. Runs on the calling thread's team, without allocating.
class RowCopy {
 public:
  // How elements change. Channels are the row's first axis; a list of one stands for all channels.
  struct Conversion {
    // Bytes through a table a channel, 256 entries each, of the type they become: at most one is not empty.
    std::vector<uint8_t> byte_tables;
    std::vector<float> float_tables;
    // f32: (x - mean) * scale, then QuantizeValue where the result is u8 or s8. Both empty, or of one size.
    std::vector<float> mean, scale;
    std::optional<QuantParams> quant;
  };

  // Layouts are of the tensor with its batch axis, which must be outermost: INVALID_ARGUMENT where it is not.
  // Without a conversion the types are the same. REQUIRES: conversion and types agree.
  static absl::StatusOr<RowCopy> Create(const Shape& row_shape, DType from_dtype, const Layout& from,
                                        DType to_dtype, const Layout& to, Conversion conversion);

  // REQUIRES: the chunks hold `rows` rows; `out` has room for them.
  void Run(std::span<const std::span<const std::byte>> chunks, int64_t rows, std::byte* out) const;

 private:
  enum class Kind { kCopy, kTable, kFloat };
  // An axis of a row in the order of the source, outermost first; the stride is the destination's.
  struct Axis {
    int64_t size, stride;
  };
  // A place in the chunks, perhaps at the end of one.
  struct Cursor {
    const std::span<const std::byte>* chunk;
    size_t offset = 0;
    void Skip(size_t bytes);
    void ToNextByte();  // REQUIRES: there is one
  };
  static constexpr int64_t kConverted = 1024;  // elements converted at a time
  static constexpr int64_t kBlock = 2048;      // elements that wait for their places at a time
  static constexpr int64_t kMostPlanes = 64;

  RowCopy() = default;
  void CopyRow(Cursor& cursor, std::byte* out_row) const;
  void CopyInOrder(Cursor& cursor, int64_t position, int64_t count, std::byte* out) const;
  void ConvertPiece(const std::byte* in, int64_t position, int64_t count, std::byte* out) const;
  void Convert(const std::byte* in, int64_t position, int64_t count, std::byte* out) const;
  template <typename T>
  void Place(const std::byte* from, int64_t position, int64_t count, std::byte* out_row) const;

  Kind kind_ = Kind::kCopy;
  size_t from_bytes_ = 1, to_bytes_ = 1;
  DType to_dtype_ = DType::kF32;
  int64_t row_elements_ = 0;
  std::vector<Axis> axes_;  // empty: both sides have the same order
  // The channel of the element at a position of its row is position / channel_run_ % channels_.
  int64_t channels_ = 1, channel_run_ = 1;
  Conversion conversion_;  // mean and scale are repeated past channels_ by a vector, for loads at any channel
};

}  // namespace hachi
