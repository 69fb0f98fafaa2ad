#pragma once

#include <cstddef>
#include <memory>
#include <string>
#include <vector>

#include "absl/functional/any_invocable.h"
#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "engine/cpu/kernel_facts.h"

// A Status-returning wrapper of oneDNN: the only home of its version's API. Specifications (convolution.h,
// matmul.h ...) speak in real units and in our types; what comes out is a Primitive, in two steps: Find...
// asks the library for a kernel, what it returns makes it.
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

  // By the library's name of it, "brgconv:avx512_core_vnni".
  const KernelFacts& kernel() const;
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

// Makes a primitive of the kernel that the library has chosen: packs weights, generates code. Called once at
// most.
using PrimitiveMaker = absl::AnyInvocable<absl::StatusOr<std::unique_ptr<Primitive>>()>;

}  // namespace hachi
