#pragma once

#include <google/protobuf/io/zero_copy_stream.h>

#include <cstddef>
#include <cstdint>
#include <span>
#include <vector>

namespace hachi::server {

// Bytes as they lie in the network's buffers, split anywhere.
using Chunks = std::vector<std::span<const std::byte>>;

size_t SizeOfChunks(const Chunks& chunks);

// Chunks as protobuf reads them, in place.
//
// Confined to one thread. Outlived by the chunks.
class ChunkStream final : public google::protobuf::io::ZeroCopyInputStream {
 public:
  explicit ChunkStream(const Chunks& chunks) : chunks_(chunks) {}

  bool Next(const void** data, int* size) override;
  void BackUp(int count) override;
  bool Skip(int count) override;
  int64_t ByteCount() const override { return read_; }

 private:
  const Chunks& chunks_;
  size_t index_ = 0;   // of the chunk with the next byte
  size_t offset_ = 0;  // of that byte in it
  int64_t read_ = 0;
};

}  // namespace hachi::server
