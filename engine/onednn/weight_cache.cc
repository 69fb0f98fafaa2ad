#include "engine/onednn/weight_cache.h"

#include <set>

#include "engine/base/status_macros.h"

namespace hachi {

absl::StatusOr<std::shared_ptr<const AlignedBuffer>> WeightCache::GetOrPack(
    const Tensor* weights, const LayoutKey& layout,
    const std::function<absl::StatusOr<AlignedBuffer>()>& pack) {
  // Packing under the lock: plans of one model are made by one loader thread, so nobody waits in practice.
  const MutexLock lock(mutex_);
  for (const Copy& copy : copies_)
    if (copy.weights == weights && copy.layout == layout) return copy.packed;
  ASSIGN_OR_RETURN(AlignedBuffer packed, pack());
  copies_.push_back({weights, layout, std::make_shared<const AlignedBuffer>(std::move(packed))});
  return copies_.back().packed;
}

std::vector<WeightCache::LayoutKey> WeightCache::LayoutsOf(const Tensor* weights) const {
  const MutexLock lock(mutex_);
  std::vector<LayoutKey> layouts;
  for (const Copy& copy : copies_)
    if (copy.weights == weights) layouts.push_back(copy.layout);
  return layouts;
}

int64_t WeightCache::bytes() const {
  const MutexLock lock(mutex_);
  int64_t bytes = 0;
  for (const Copy& copy : copies_) bytes += static_cast<int64_t>(copy.packed->size());
  return bytes;
}

int64_t WeightCache::extra_copies() const {
  const MutexLock lock(mutex_);
  std::set<const Tensor*> weights;
  for (const Copy& copy : copies_) weights.insert(copy.weights);
  return static_cast<int64_t>(copies_.size() - weights.size());
}

}  // namespace hachi
