#include "engine/passes/decide_int8.h"

#include <utility>

#include "engine/decide/rules.h"

namespace hachi {

bool DecideInt8(const PassOptions& options, const Node& product, const std::function<bool()>& could) {
  Decision decision = {.precision = WantedPrecision(options, product.name)};
  const Decision* given = options.given == nullptr ? nullptr : options.given->Find(product.name);
  if (given != nullptr)
    decision.origin = given->origin;
  else if (PinOf(options.pins, product.name))
    decision.origin = Origin::kPin;
  if (decision.precision == Precision::kInt8 && !could()) decision.precision = Precision::kFp32;
  const bool int8 = decision.precision == Precision::kInt8;
  if (options.decided != nullptr && options.table == nullptr)
    options.decided->Set(product.name, std::move(decision));
  return int8;
}

}  // namespace hachi
