#include "server/rpc/chunks.h"

#include <functional>
#include <numeric>

namespace hachi::server {

size_t SizeOfChunks(const Chunks& chunks) {
  return std::transform_reduce(chunks.begin(), chunks.end(), size_t{0}, std::plus<>(),
                               [](const auto& chunk) { return chunk.size(); });
}

bool ChunkStream::Next(const void** data, int* size) {
  while (index_ < chunks_.size() && offset_ == chunks_[index_].size()) {
    ++index_;
    offset_ = 0;
  }
  if (index_ == chunks_.size()) return false;
  *data = chunks_[index_].data() + offset_;
  *size = static_cast<int>(chunks_[index_].size() - offset_);
  offset_ = chunks_[index_].size();
  read_ += *size;
  return true;
}

void ChunkStream::BackUp(int count) {
  offset_ -= static_cast<size_t>(count);
  read_ -= count;
}

bool ChunkStream::Skip(int count) {
  const void* data = nullptr;
  int size = 0;
  for (; count > 0; count -= size)
    if (!Next(&data, &size)) return false;
  BackUp(-count);
  return true;
}

}  // namespace hachi::server
