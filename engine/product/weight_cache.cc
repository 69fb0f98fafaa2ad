#include "engine/product/weight_cache.h"

#include <set>
#include <string_view>

#include "engine/base/status_macros.h"

namespace hachi {

absl::StatusOr<std::shared_ptr<const AlignedBuffer>> PackedWeights::GetOrPack(const Tensor& weights,
                                                                              const PackedLayout& layout,
                                                                              const Packer& pack) {
  const auto bytes = weights.bytes();
  Key key{weights.dtype(), weights.shape(),
          std::hash<std::string_view>()({reinterpret_cast<const char*>(bytes.data()), bytes.size()}), layout};
  // Packing under the lock: models of one file are made by one loader thread, so nobody waits in practice.
  const MutexLock lock(mutex_);
  if (const auto found = copies_.find(key); found != copies_.end())
    if (auto packed = found->second.lock(); packed != nullptr) return packed;
  ASSIGN_OR_RETURN(AlignedBuffer made, pack());
  auto packed = std::make_shared<const AlignedBuffer>(std::move(made));
  copies_[std::move(key)] = packed;
  return packed;
}

int64_t PackedWeights::bytes() const {
  const MutexLock lock(mutex_);
  int64_t bytes = 0;
  for (const auto& [key, copy] : copies_)
    if (const auto packed = copy.lock(); packed != nullptr) bytes += static_cast<int64_t>(packed->size());
  return bytes;
}

absl::StatusOr<std::shared_ptr<const AlignedBuffer>> WeightCache::GetOrPack(
    const Tensor* weights, const PackedLayout& layout, const PackedWeights::Packer& pack) {
  const MutexLock lock(mutex_);
  for (const Copy& copy : copies_)
    if (copy.weights == weights && copy.layout == layout) return copy.packed;
  ASSIGN_OR_RETURN(auto packed, shared_->GetOrPack(*weights, layout, pack));
  copies_.push_back({weights, layout, std::move(packed)});
  return copies_.back().packed;
}

std::vector<PackedLayout> WeightCache::LayoutsOf(const Tensor* weights) const {
  const MutexLock lock(mutex_);
  std::vector<PackedLayout> layouts;
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
