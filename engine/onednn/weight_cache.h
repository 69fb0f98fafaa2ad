#pragma once

#include <cstdint>
#include <functional>
#include <memory>
#include <vector>

#include "absl/status/statusor.h"
#include "engine/base/mutex.h"
#include "engine/tensor/tensor.h"

namespace hachi {

// A model's packed weights: one copy for each (weight, packed layout), shared by every plan, batch size and
// worker.
//
// Thread-safe. A weight is known by its Tensor's address: the tensors must outlive the cache's use.
class WeightCache {
 public:
  // A packed layout of the library, or the name of one of our own, compared bit by bit.
  using LayoutKey = std::vector<uint8_t>;

  // The packed copy, made by `pack` when there is none yet. Concurrent callers wait for one packing.
  absl::StatusOr<std::shared_ptr<const AlignedBuffer>> GetOrPack(
      const Tensor* weights, const LayoutKey& layout,
      const std::function<absl::StatusOr<AlignedBuffer>()>& pack);

  // Layouts in which `weights` is packed already, oldest first: plans prefer one of these.
  std::vector<LayoutKey> LayoutsOf(const Tensor* weights) const;

  int64_t bytes() const;         // of all copies
  int64_t extra_copies() const;  // beyond one for each weight

 private:
  struct Copy {
    const Tensor* weights;
    LayoutKey layout;
    std::shared_ptr<const AlignedBuffer> packed;
  };
  mutable Mutex mutex_;
  std::vector<Copy> copies_ ABSL_GUARDED_BY(mutex_);
};

}  // namespace hachi
