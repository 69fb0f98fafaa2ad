#include <array>

#include "engine/tune/strategy.h"

namespace hachi {
namespace {

constexpr std::array<Strategy, 5> kStrategies = {{
    {"greedy", "range methods and repairs, then few layers by halving, then all that cost no time",
     SearchGreedily},
    {"exhaustive", "every combination of the layers that add most noise", SearchExhaustively},
    {"bayesian", "a model of each layer's noise, learnt from trials, says what to try next", SearchByBayes},
    {"random", "layers, range methods and repairs by chance", SearchAtRandom},
    {"order", "one layer after the other, that which adds most noise first", FallBackInOrder},
}};

}  // namespace

std::span<const Strategy> Strategies() { return kStrategies; }

}  // namespace hachi
