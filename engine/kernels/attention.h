#pragma once

#include <cstddef>
#include <cstdint>

namespace hachi {

// How an operand [batch, heads, positions, features] lies, in elements; features lie together.
struct HeadStrides {
  int64_t batch, head, position;
};

// How a mask [batch, heads, queries, keys] lies, in elements: 0 along what it broadcasts. Keys lie together.
struct MaskStrides {
  int64_t batch, head, query;
};

struct AttentionSpec {
  int64_t batch = 1, heads = 1, queries = 1, keys = 1;
  int64_t depth = 1;    // features of a query and of a key
  int64_t columns = 1;  // features of a value
  HeadStrides q, k, v, out;
  MaskStrides mask = {};  // where there is one
  float scale = 1;        // of the products, before the mask is added
};

// softmax(q kᵀ × scale + mask) v of each head in integers: queries and keys are quantized by token to 127
// steps of what they hold (keys less their mean, which softmax takes out again), values by feature, and
// probabilities to 255 steps of the row's largest, whose integers' sum divides the result (as SageAttention,
// Zhang et al., 2024, but for bytes on either side). Nothing but a tile of scores is ever written to memory.
// Keys behind the last that the mask leaves in for any query, where it is one for all queries, are not
// computed: what is masked by -9000 or less counts as left out.
//
// An answer depends on its own batch row alone. A NaN or infinity in a query spoils its row, in a key its
// head, in a value its feature.
class Attention {
 public:
  // REQUIRES: all sizes are positive.
  explicit Attention(const AttentionSpec& spec, int threads);

  // Of scratch that Run needs, aligned to 64.
  size_t scratch_bytes() const { return slot_bytes_ * static_cast<size_t>(threads_); }

  // On the calling thread's team of at most so many threads. `mask` null: none. REQUIRES: a CPU with AVX-512
  // VNNI; `out` overlaps nothing.
  void Run(const float* q, const float* k, const float* v, const float* mask, float* out,
           std::byte* scratch) const;

 private:
  const AttentionSpec spec_;
  const int threads_;
  size_t slot_bytes_;
};

}  // namespace hachi
