#pragma once

#include <cstdint>
#include <functional>
#include <map>
#include <memory>
#include <utility>
#include <vector>

#include "absl/status/statusor.h"
#include "engine/base/mutex.h"
#include "engine/tensor/tensor.h"

namespace hachi {

// A packed layout of the library, or the name of one of our own, compared bit by bit.
using PackedLayout = std::vector<uint8_t>;

// What the caches of several models have packed: weights of equal content share a copy for as long as one of
// the caches keeps it.
//
// Thread-safe.
class PackedWeights {
 public:
  using Packer = std::function<absl::StatusOr<AlignedBuffer>()>;

  // The packed copy, made by `pack` when nobody keeps one. Concurrent callers wait for one packing.
  absl::StatusOr<std::shared_ptr<const AlignedBuffer>> GetOrPack(const Tensor& weights,
                                                                 const PackedLayout& layout,
                                                                 const Packer& pack);

  int64_t bytes() const;  // of the copies that are kept

 private:
  // Content goes by a hash of 64 bits beside type and shape: the weights themselves may be gone.
  struct Key {
    DType dtype;
    Shape shape;
    size_t content;
    PackedLayout layout;
    auto operator<=>(const Key&) const = default;
  };
  mutable Mutex mutex_;
  std::map<Key, std::weak_ptr<const AlignedBuffer>> copies_ ABSL_GUARDED_BY(mutex_);
};

// A model's packed weights: one copy for each (weight, packed layout), shared by every plan, batch size and
// worker, and kept as long as the cache.
//
// Thread-safe. A weight is known by its Tensor's address: the tensors must outlive the cache's use.
class WeightCache {
 public:
  // `shared`: with the caches of other models; null: with none.
  explicit WeightCache(std::shared_ptr<PackedWeights> shared = nullptr)
      : shared_(shared != nullptr ? std::move(shared) : std::make_shared<PackedWeights>()) {}

  // The packed copy, made by `pack` when there is none yet.
  absl::StatusOr<std::shared_ptr<const AlignedBuffer>> GetOrPack(const Tensor* weights,
                                                                 const PackedLayout& layout,
                                                                 const PackedWeights::Packer& pack);

  // Layouts in which `weights` is packed already, oldest first: plans prefer one of these.
  std::vector<PackedLayout> LayoutsOf(const Tensor* weights) const;

  int64_t bytes() const;         // of all copies
  int64_t extra_copies() const;  // beyond one for each weight

 private:
  struct Copy {
    const Tensor* weights;
    PackedLayout layout;
    std::shared_ptr<const AlignedBuffer> packed;
  };
  const std::shared_ptr<PackedWeights> shared_;
  mutable Mutex mutex_;  // before that of shared_
  std::vector<Copy> copies_ ABSL_GUARDED_BY(mutex_);
};

}  // namespace hachi
