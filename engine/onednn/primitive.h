#pragma once

#include <cstddef>
#include <memory>
#include <string>
#include <vector>

#include "absl/status/status.h"

// A Status-returning wrapper of oneDNN: the only home of its version's API. Specifications (convolution.h,
// matmul.h ...) speak in real units and in our types; what comes out is a Primitive.
namespace hachi {

// Where a thread's primitives execute.
//
// Confined to one thread at a time.
class Stream {
 public:
  Stream();
  ~Stream();

  struct Impl;
  Impl& impl() { return *impl_; }

 private:
  std::unique_ptr<Impl> impl_;
};

// A primitive with every address resolved.
//
// Confined to one thread at a time.
class BoundPrimitive {
 public:
  struct Impl;
  explicit BoundPrimitive(std::unique_ptr<Impl> impl);
  ~BoundPrimitive();

  // INTERNAL when oneDNN refuses. Does not allocate.
  absl::Status Execute(Stream& stream);

 private:
  std::unique_ptr<Impl> impl_;
};

// A prepared kernel: weights packed, scales and shapes fixed. Made for the OpenMP team size of the thread
// that made it. Scratch memory is always the caller's: a library-owned scratchpad breaks when threads share a
// primitive.
//
// Immutable and thread-safe.
class Primitive {
 public:
  struct Impl;
  explicit Primitive(std::unique_ptr<Impl> impl);
  ~Primitive();

  // The library's name of the kernel, "brgconv:avx512_core_vnni".
  const std::string& kernel() const;
  size_t scratch_bytes() const;

  struct Buffers {
    const std::byte* src = nullptr;
    const std::byte* src1 =
        nullptr;               // second operand of binary operations and of matmuls without constant weights
    std::byte* dst = nullptr;  // a residual (PostOp::Kind::kAdd) lies here before the run
    std::byte* scratch = nullptr;  // scratch_bytes(), aligned to 64
  };
  std::unique_ptr<BoundPrimitive> Bind(const Buffers& buffers) const;

 private:
  std::unique_ptr<Impl> impl_;
};

}  // namespace hachi
